#include "transfer/piece_codec.hpp"

#include <isa-l/igzip_lib.h>
#include <vector>
#include <zlib.h>
#include <zstd.h>

namespace skep::transfer {
namespace {

void make_room(std::string& out, std::size_t bytes) {
  if (out.size() < bytes) out.resize(bytes);
}

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

class zstd_codec : public piece_codec {
public:
  explicit zstd_codec(int level) : zstd_(ZSTD_createCCtx()) {
    if (!zstd_) throw std::bad_alloc{};
    ZSTD_CCtx_setParameter(zstd_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd_, ZSTD_c_checksumFlag, 1);
  }
  zstd_codec(const zstd_codec&) = delete;
  ~zstd_codec() override { ZSTD_freeCCtx(zstd_); }

  result<std::size_t> compress(std::string_view piece, std::string& out) override {
    make_room(out, ZSTD_compressBound(piece.size()));
    auto n = ZSTD_compress2(zstd_, out.data(), out.size(), piece.data(), piece.size());
    if (ZSTD_isError(n)) return make_error(errc::internal, "zstd", ZSTD_getErrorName(n));
    return n;
  }

private:
  ZSTD_CCtx* zstd_;
};

class igzip_codec : public piece_codec {
public:
  explicit igzip_codec(int level) : level_(static_cast<std::uint32_t>(level)) {
    static constexpr std::size_t room[] = {0, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
                                           ISAL_DEF_LVL3_DEFAULT};
    buffer_.resize(room[level_]);
  }

  result<std::size_t> compress(std::string_view piece, std::string& out) override {
    // Stored blocks of 64 KiB at the worst, and the member's head and tail.
    make_room(out, piece.size() + piece.size() / 1024 + 4096);
    isal_deflate_init(stream_.get());
    stream_->level = level_;
    stream_->level_buf = buffer_.data();
    stream_->level_buf_size = static_cast<std::uint32_t>(buffer_.size());
    stream_->gzip_flag = IGZIP_GZIP;
    stream_->flush = NO_FLUSH;
    stream_->end_of_stream = 1;
    stream_->next_in = bytes_of(piece);
    stream_->avail_in = static_cast<std::uint32_t>(piece.size());
    for (std::size_t done = 0;;) {
      stream_->next_out = bytes_of(out) + done;
      stream_->avail_out = static_cast<std::uint32_t>(out.size() - done);
      if (auto code = isal_deflate(stream_.get()); code != COMP_OK)
        return make_error(errc::internal, "igzip", std::to_string(code));
      done = out.size() - stream_->avail_out;
      if (stream_->internal_state.state == ZSTATE_END) return done;
      out.resize(out.size() * 2);
    }
  }

private:
  std::uint32_t level_;
  std::vector<std::uint8_t> buffer_;
  std::unique_ptr<isal_zstream> stream_ = std::make_unique<isal_zstream>();
};

class zlib_codec : public piece_codec {
public:
  explicit zlib_codec(int level) {
    constexpr int window = 15, gzip = 16, memory = 8;
    if (deflateInit2(&stream_, level, Z_DEFLATED, window + gzip, memory, Z_DEFAULT_STRATEGY)
        != Z_OK)
      throw std::bad_alloc{};
  }
  zlib_codec(const zlib_codec&) = delete;
  ~zlib_codec() override { deflateEnd(&stream_); }

  result<std::size_t> compress(std::string_view piece, std::string& out) override {
    deflateReset(&stream_);
    make_room(out, deflateBound(&stream_, static_cast<uLong>(piece.size())));
    stream_.next_in = bytes_of(piece);
    stream_.avail_in = static_cast<uInt>(piece.size());
    stream_.next_out = bytes_of(out);
    stream_.avail_out = static_cast<uInt>(out.size());
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return make_error(errc::internal, "zlib");
    return out.size() - stream_.avail_out;
  }

private:
  z_stream stream_{};
};

} // namespace

result<std::unique_ptr<piece_codec>> piece_codec::make(const archive_form& form) {
  if (form.level < 1 || form.level > most_level(form.kind))
    return make_error(errc::bad_argument, std::string{to_string(form.kind)}
                                              + " has the levels 1 to "
                                              + std::to_string(most_level(form.kind)) + ", not "
                                              + std::to_string(form.level));
  if (form.kind == compression::zstd)
    return std::unique_ptr<piece_codec>{std::make_unique<zstd_codec>(form.level)};
  if (form.level <= 3)
    return std::unique_ptr<piece_codec>{std::make_unique<igzip_codec>(form.level)};
  return std::unique_ptr<piece_codec>{std::make_unique<zlib_codec>(form.level)};
}

} // namespace skep::transfer
