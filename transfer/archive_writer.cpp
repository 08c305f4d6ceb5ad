#include "transfer/archive_writer.hpp"

#include "transfer/read_content.hpp"
#include "transfer/sha256.hpp"
#include "transfer/tar_format.hpp"

#include <cerrno>
#include <fcntl.h>
#include <zstd.h>

namespace skep::transfer {
namespace {
constexpr int compression_workers = 2;
constexpr std::size_t flush_bytes = 128 * 1024;
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
  s_->open_bytes = entry.type == file_entry::kind::symlink ? 0 : entry.size;
  s_->padding = tar_padding(s_->open_bytes);
  return s_->add(tar_header(entry, mtime_s, link_target));
}

result<void> archive_writer::data(std::string_view bytes) {
  if (bytes.size() > s_->open_bytes) return make_error(errc::internal, "more than announced");
  s_->open_bytes -= bytes.size();
  if (auto added = s_->add(bytes); !added) return added;
  return s_->open_bytes ? result<void>{} : s_->add(std::string(s_->padding, '\0'));
}

result<archive_writer::finished> archive_writer::finish() {
  if (s_->open_bytes) return make_error(errc::internal, "the last file of " + s_->path);
  s_->tar.append(tar_end_bytes, '\0');
  if (auto ended = s_->compress(s_->tar, ZSTD_e_end); !ended) return ended.err();
  s_->tar.clear();
  return finished{s_->bytes, s_->hash.hex()};
}

result<void> append_file(archive_writer& writer, opened_entry& opened, std::string& buffer,
                         const std::atomic<bool>* cancel) {
  auto& entry = opened.entry;
  if (entry.type == file_entry::kind::symlink)
    return writer.begin(entry, opened.mtime_s, opened.link_target);
  if (auto begun = writer.begin(entry, opened.mtime_s); !begun) return begun;
  sha256 hash;
  content_taker to;
  to.room = [&](std::uint64_t) { return std::span{buffer}; };
  to.take = [&](std::size_t bytes, bool) {
    std::string_view piece{buffer.data(), bytes};
    hash.update(piece);
    return bytes > 0 ? writer.data(piece) : result<void>{};
  };
  if (auto done = read_content(opened.file.get(), entry, cancel, to); !done) return done;
  entry.sha256 = hash.hex();
  return {};
}

} // namespace skep::transfer
