#include "host/envd/deflate.hpp"

#include <zlib.h>

#include <array>
#include <new>

namespace skep::envd {

gzip_encoder::gzip_encoder() : z_(std::make_unique<z_stream>()) {
  *z_ = {};
  // The fastest level: both ends are on one machine or near each other.
  if (deflateInit2(z_.get(), Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc{};
}

gzip_encoder::~gzip_encoder() {
  deflateEnd(z_.get());
}

std::string gzip_encoder::feed(std::string_view bytes, bool last) {
  std::string out;
  std::array<unsigned char, 32768> piece;
  z_->next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())); // only read
  z_->avail_in = static_cast<unsigned>(bytes.size());
  do {
    z_->next_out = piece.data();
    z_->avail_out = piece.size();
    ::deflate(z_.get(), last ? Z_FINISH : Z_NO_FLUSH);
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size() - z_->avail_out);
  } while (z_->avail_out == 0);
  return out;
}

bool accepts_gzip(std::string_view header) {
  while (!header.empty()) {
    auto end = header.find(',');
    auto one = header.substr(0, end);
    header = end == std::string_view::npos ? std::string_view{} : header.substr(end + 1);
    while (one.starts_with(' '))
      one.remove_prefix(1);
    auto name = one.substr(0, one.find(';'));
    while (name.ends_with(' '))
      name.remove_suffix(1);
    if (name != "gzip" && name != "*") continue;
    auto q = one.find("q=");
    // q=0, q=0.0 and so on refuse it.
    return q == std::string_view::npos
           || one.substr(q + 2).find_first_of("123456789") != std::string_view::npos;
  }
  return false;
}

} // namespace skep::envd
