#include "host/envd/inflate.hpp"

#include <zlib.h>

namespace skep::envd {

gzip_decoder::gzip_decoder() : z_(std::make_unique<z_stream>()) {
  *z_ = {};
  if (inflateInit2(z_.get(), 15 + 16) != Z_OK) z_.reset();
}

gzip_decoder::~gzip_decoder() {
  if (z_) inflateEnd(z_.get());
}

bool gzip_decoder::feed(std::string_view bytes, const std::function<void(std::string_view)>& out) {
  if (!z_) return false;
  std::array<unsigned char, 32768> piece;
  z_->next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())); // only read
  z_->avail_in = static_cast<unsigned>(bytes.size());
  while (z_->avail_in > 0) {
    if (complete_) { // another member follows
      if (inflateReset(z_.get()) != Z_OK) return false;
      complete_ = false;
    }
    do {
      z_->next_out = piece.data();
      z_->avail_out = piece.size();
      int status = inflate(z_.get(), Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return false;
      out({reinterpret_cast<const char*>(piece.data()), piece.size() - z_->avail_out});
      if (status == Z_STREAM_END) complete_ = true;
    } while (z_->avail_out == 0 && !complete_);
  }
  return true;
}

} // namespace skep::envd
