// The pax interchange format (POSIX.1-2001), written by hand: the writing half of libarchive comes
// with every format and compressor it knows, which the static guest cannot link.
//
//   per file: [pax header 'x' when needed] ustar header, 512 bytes; content, padded to 512 with NUL
//   end: 1,024 NUL bytes
// A pax header is needed for a path or link target that does not fit (100 bytes; or 155 '/' 100)
// and for 8 GiB and more. Names are bytes: "hdrcharset=BINARY" says so where one is not ASCII.
#include "transfer/archive_writer.hpp"

#include "transfer/sha256.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

namespace skep::transfer {
namespace {
constexpr int compression_workers = 2;
constexpr std::size_t block = 512;
constexpr std::size_t flush_bytes = 128 * 1024;
constexpr std::uint64_t max_octal_size = 077777777777; // 11 digits

struct header {
  std::array<char, block> b{};
  void text(std::size_t at, std::string_view value) {
    std::copy(value.begin(), value.end(), b.begin() + static_cast<std::ptrdiff_t>(at));
  }
  /// `digits` octal digits; the field's last byte stays NUL.
  void octal(std::size_t at, std::size_t digits, std::uint64_t value) {
    for (auto i = digits; i-- > 0; value >>= 3)
      b[at + i] = static_cast<char>('0' + (value & 7));
  }
  std::string_view finish() {
    text(257, std::string_view{"ustar\0"
                               "00",
                               8});
    octal(108, 7, 0); // user and group: nobody's business
    octal(116, 7, 0);
    text(148, "        ");
    unsigned sum = 0;
    for (char c : b)
      sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    b[154] = '\0';
    return {b.data(), b.size()};
  }
};

/// Where to cut `path` into prefix and name; npos when it does not fit in a ustar header.
std::size_t split_path(std::string_view path) {
  if (path.size() <= 100) return 0;
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    if (slash <= 155 && path.size() - slash - 1 <= 100) return slash;
  return path.npos;
}

/// "LENGTH KEY=VALUE\n"; the length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  auto rest = key.size() + value.size() + 3;
  auto length = rest + 1;
  while (std::to_string(length).size() + rest != length)
    ++length;
  return std::to_string(length) + " " + std::string{key} + "=" + std::string{value} + "\n";
}

bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
} // namespace

struct archive_writer::state {
  unique_fd file;
  std::string path;
  std::string tar;              // not compressed yet
  std::uint64_t open_bytes = 0; // of the file begun, not given yet
  std::size_t padding = 0;      // behind it
  ZSTD_CCtx* zstd = nullptr;
  std::string out;
  sha256 hash;
  std::uint64_t bytes = 0;

  state() = default;
  state(const state&) = delete;
  ~state() { ZSTD_freeCCtx(zstd); }

  result<void> compress(std::string_view data, ZSTD_EndDirective how) {
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    for (;;) {
      ZSTD_outBuffer o{out.data(), out.size(), 0};
      auto left = ZSTD_compressStream2(zstd, &o, &in, how);
      if (ZSTD_isError(left)) return make_error(errc::internal, "zstd", ZSTD_getErrorName(left));
      std::string_view piece{out.data(), o.pos};
      if (auto written = write_all(file.get(), piece); !written) {
        auto e = written.err();
        e.message = path;
        return e;
      }
      hash.update(piece);
      bytes += piece.size();
      if (how == ZSTD_e_end ? left == 0 : in.pos == in.size) return {};
    }
  }

  result<void> add(std::string_view data) {
    tar += data;
    if (tar.size() < flush_bytes) return {};
    auto done = compress(tar, ZSTD_e_continue);
    tar.clear();
    return done;
  }
};

archive_writer::archive_writer(std::unique_ptr<state> s) : s_(std::move(s)) {}
archive_writer::archive_writer(archive_writer&&) noexcept = default;
archive_writer::~archive_writer() = default;

result<archive_writer> archive_writer::create(const std::string& path, int level) {
  auto s = std::make_unique<state>();
  s->path = path;
  s->file = unique_fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  if (!s->file) return io_error(path, errno);
  s->zstd = ZSTD_createCCtx();
  if (!s->zstd) return make_error(errc::internal, "out of memory");
  s->out.resize(ZSTD_CStreamOutSize());
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
  // Refused by a zstd built without threads: then this thread compresses.
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_nbWorkers, compression_workers);
  return archive_writer{std::move(s)};
}

result<void> archive_writer::begin(const file_entry& entry, std::int64_t mtime_s,
                                   const std::string& link_target) {
  if (s_->open_bytes) return make_error(errc::internal, "the file before " + entry.path);
  bool link = entry.type == file_entry::kind::symlink;
  auto size = link ? 0 : entry.size;
  auto mtime = static_cast<std::uint64_t>(std::max<std::int64_t>(mtime_s, 0));
  auto cut = split_path(entry.path);
  std::string records;
  if (cut == entry.path.npos) records += pax_record("path", entry.path);
  if (link_target.size() > 100) records += pax_record("linkpath", link_target);
  if (size > max_octal_size) records += pax_record("size", std::to_string(size));
  if (!records.empty()) {
    if (!ascii(records)) records.insert(0, pax_record("hdrcharset", "BINARY"));
    header x;
    x.text(0, "PaxHeader");
    x.octal(100, 7, 0644);
    x.octal(124, 11, records.size());
    x.octal(136, 11, mtime);
    x.b[156] = 'x';
    records.resize((records.size() + block - 1) / block * block);
    if (auto added = s_->add(x.finish()); !added) return added;
    if (auto added = s_->add(records); !added) return added;
  }
  header h;
  std::string_view path{entry.path};
  if (cut == path.npos) {
    h.text(0, path.substr(0, 100)); // for readers without pax
  } else if (cut > 0) {
    h.text(345, path.substr(0, cut));
    h.text(0, path.substr(cut + 1));
  } else {
    h.text(0, path);
  }
  h.octal(100, 7, link ? 0777 : entry.mode);
  h.octal(124, 11, std::min(size, max_octal_size));
  h.octal(136, 11, mtime & max_octal_size);
  h.b[156] = link ? '2' : '0';
  h.text(157, std::string_view{link_target}.substr(0, 100));
  s_->open_bytes = size;
  s_->padding = static_cast<std::size_t>((block - size % block) % block);
  return s_->add(h.finish());
}

result<void> archive_writer::data(std::string_view bytes) {
  if (bytes.size() > s_->open_bytes) return make_error(errc::internal, "more than announced");
  s_->open_bytes -= bytes.size();
  if (auto added = s_->add(bytes); !added) return added;
  return s_->open_bytes ? result<void>{} : s_->add(std::string(s_->padding, '\0'));
}

result<archive_writer::finished> archive_writer::finish() {
  if (s_->open_bytes) return make_error(errc::internal, "the last file of " + s_->path);
  s_->tar.append(2 * block, '\0');
  if (auto ended = s_->compress(s_->tar, ZSTD_e_end); !ended) return ended.err();
  s_->tar.clear();
  return finished{s_->bytes, s_->hash.hex()};
}

result<void> append_file(archive_writer& writer, opened_entry& opened, std::string& buffer,
                         const std::atomic<bool>* cancel, content_watcher* watcher) {
  auto& entry = opened.entry;
  auto changed = make_error(errc::io, entry.path + " changed while it was read");
  if (watcher) watcher->begin(entry.path);
  if (entry.type == file_entry::kind::symlink) {
    if (watcher) {
      watcher->data(opened.link_target);
      watcher->end();
    }
    return writer.begin(entry, opened.mtime_s, opened.link_target);
  }
  if (auto begun = writer.begin(entry, opened.mtime_s); !begun) return begun;
  sha256 hash;
  std::uint64_t size = 0;
  for (;;) {
    if (cancel && cancel->load()) return make_error(errc::cancelled, entry.path);
    auto n = ::read(opened.file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(entry.path, errno);
    if (n == 0) break;
    std::string_view piece{buffer.data(), static_cast<std::size_t>(n)};
    size += piece.size();
    if (size > entry.size) return changed;
    hash.update(piece);
    if (watcher) watcher->data(piece);
    if (auto written = writer.data(piece); !written) return written;
  }
  if (size != entry.size) return changed;
  if (watcher) watcher->end();
  entry.sha256 = hash.hex();
  return {};
}

} // namespace skep::transfer
