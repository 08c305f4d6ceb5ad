#include "transfer/decoder.hpp"

#include <zlib.h>
#include <zstd.h>

namespace skep::transfer {
namespace {

class zstd_decoder : public decoder {
public:
  zstd_decoder() : zstd_(ZSTD_createDCtx()) {}
  zstd_decoder(const zstd_decoder&) = delete;
  ~zstd_decoder() override { ZSTD_freeDCtx(zstd_); }
  bool good() const { return zstd_ != nullptr; }

  result<std::size_t> step(std::string_view& in, std::string& out) override {
    ZSTD_inBuffer i{in.data(), in.size(), 0};
    ZSTD_outBuffer o{out.data(), out.size(), 0};
    auto left = ZSTD_decompressStream(zstd_, &o, &i);
    if (ZSTD_isError(left)) return make_error(errc::checksum, "", ZSTD_getErrorName(left));
    in.remove_prefix(i.pos);
    inside_ = left != 0;
    // A full buffer: there may be more without further input, but not behind the end of a frame,
    // where being asked again would begin another one.
    more_ = inside_ && o.pos == o.size;
    return o.pos;
  }

private:
  ZSTD_DCtx* zstd_;
};

class gzip_decoder : public decoder {
public:
  gzip_decoder() {
    constexpr int window = 15, gzip_alone = 16;
    good_ = inflateInit2(&stream_, window + gzip_alone) == Z_OK;
  }
  gzip_decoder(const gzip_decoder&) = delete;
  ~gzip_decoder() override { inflateEnd(&stream_); }
  bool good() const { return good_; }

  result<std::size_t> step(std::string_view& in, std::string& out) override {
    if (!inside_ && in.empty()) return std::size_t{0};
    if (!inside_) inflateReset(&stream_); // the next member
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    auto code = inflate(&stream_, Z_NO_FLUSH);
    in.remove_prefix(in.size() - stream_.avail_in);
    // Z_BUF_ERROR: neither input nor something held back; more input helps.
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
      return make_error(errc::checksum, "", stream_.msg ? stream_.msg : "gzip");
    inside_ = code != Z_STREAM_END;
    more_ = inside_ && stream_.avail_out == 0;
    return out.size() - stream_.avail_out;
  }

private:
  z_stream stream_{};
  bool good_ = false;
};

template <class Decoder>
result<std::unique_ptr<decoder>> made() {
  auto out = std::make_unique<Decoder>();
  if (!out->good()) return make_error(errc::internal, "out of memory");
  return std::unique_ptr<decoder>{std::move(out)};
}

} // namespace

result<std::unique_ptr<decoder>> decoder::of(std::string_view start) {
  if (start.starts_with("\x28\xB5\x2F\xFD")) return made<zstd_decoder>();
  if (start.starts_with("\x1F\x8B")) return made<gzip_decoder>();
  return std::unique_ptr<decoder>{};
}

} // namespace skep::transfer
