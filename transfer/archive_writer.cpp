#include "transfer/archive_writer.hpp"

#include "transfer/sha256.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

namespace skep::transfer {
namespace {
constexpr int compression_workers = 2;
} // namespace

struct archive_writer::state {
  unique_fd file;
  std::string path;
  ::archive* tar = nullptr;
  ZSTD_CCtx* zstd = nullptr;
  std::string out;
  sha256 hash;
  std::uint64_t bytes = 0;
  error trouble; // the first one of compress(), which libarchive calls back

  ~state() {
    if (tar) archive_write_free(tar); // may call compress() once more
    ZSTD_freeCCtx(zstd);
  }

  bool compress(std::string_view data, ZSTD_EndDirective how) {
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    for (;;) {
      ZSTD_outBuffer o{out.data(), out.size(), 0};
      auto left = ZSTD_compressStream2(zstd, &o, &in, how);
      if (ZSTD_isError(left)) {
        trouble = make_error(errc::internal, "zstd", ZSTD_getErrorName(left));
        return false;
      }
      std::string_view piece{out.data(), o.pos};
      if (auto written = write_all(file.get(), piece); !written) {
        trouble = written.err();
        trouble.message = path;
        return false;
      }
      hash.update(piece);
      bytes += piece.size();
      if (how == ZSTD_e_end ? left == 0 : in.pos == in.size) return true;
    }
  }

  result<void> check(long outcome) {
    if (outcome >= ARCHIVE_WARN) return {}; // warnings speak of names in other character sets
    if (trouble) return trouble;
    const char* text = archive_error_string(tar);
    return make_error(errc::io, path, text ? text : "cannot write the archive");
  }

  static la_ssize_t write(::archive*, void* self, const void* data, std::size_t size) {
    auto* s = static_cast<state*>(self);
    if (!s->zstd || s->trouble) return -1;
    return s->compress({static_cast<const char*>(data), size}, ZSTD_e_continue)
               ? static_cast<la_ssize_t>(size)
               : -1;
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
  s->tar = archive_write_new();
  if (!s->zstd || !s->tar) return make_error(errc::internal, "out of memory");
  s->out.resize(ZSTD_CStreamOutSize());
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
  // Refused by a zstd built without threads: then this thread compresses.
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_nbWorkers, compression_workers);
  archive_write_set_format_pax_restricted(s->tar);
  archive_write_set_options(s->tar, "hdrcharset=BINARY"); // names are bytes
  archive_write_set_bytes_per_block(s->tar, 128 * 1024);
  archive_write_set_bytes_in_last_block(s->tar, 1);
  auto opened = s->check(archive_write_open(s->tar, s.get(), nullptr, &state::write, nullptr));
  if (!opened) return opened.err();
  return archive_writer{std::move(s)};
}

result<void> archive_writer::begin(const file_entry& entry, std::int64_t mtime_s,
                                   const std::string& link_target) {
  std::unique_ptr<archive_entry, void (*)(archive_entry*)> e{archive_entry_new(),
                                                             archive_entry_free};
  archive_entry_set_pathname(e.get(), entry.path.c_str());
  archive_entry_set_perm(e.get(), static_cast<unsigned short>(entry.mode));
  archive_entry_set_mtime(e.get(), mtime_s, 0);
  if (entry.type == file_entry::kind::symlink) {
    archive_entry_set_filetype(e.get(), AE_IFLNK);
    archive_entry_set_symlink(e.get(), link_target.c_str());
    archive_entry_set_size(e.get(), 0);
  } else {
    archive_entry_set_filetype(e.get(), AE_IFREG);
    archive_entry_set_size(e.get(), static_cast<la_int64_t>(entry.size));
  }
  return s_->check(archive_write_header(s_->tar, e.get()));
}

result<void> archive_writer::data(std::string_view bytes) {
  return s_->check(static_cast<long>(archive_write_data(s_->tar, bytes.data(), bytes.size())));
}

result<archive_writer::finished> archive_writer::finish() {
  if (auto closed = s_->check(archive_write_close(s_->tar)); !closed) return closed.err();
  if (!s_->compress({}, ZSTD_e_end)) return s_->trouble;
  return finished{s_->bytes, s_->hash.hex()};
}

result<void> append_file(archive_writer& writer, opened_entry& opened, std::string& buffer,
                         const std::atomic<bool>* cancel) {
  auto& entry = opened.entry;
  auto changed = make_error(errc::io, entry.path + " changed while it was read");
  if (entry.type == file_entry::kind::symlink)
    return writer.begin(entry, opened.mtime_s, opened.link_target);
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
    if (auto written = writer.data(piece); !written) return written;
  }
  if (size != entry.size) return changed;
  entry.sha256 = hash.hex();
  return {};
}

} // namespace skep::transfer
