// Streaming gzip encoding for downloads.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct z_stream_s;

namespace skep::envd {

class gzip_encoder {
public:
  gzip_encoder();
  ~gzip_encoder();
  gzip_encoder(const gzip_encoder&) = delete;
  gzip_encoder& operator=(const gzip_encoder&) = delete;

  /// What of the compressed form of `bytes` is ready; with `last`, all that is left. Throws
  /// std::bad_alloc.
  std::string feed(std::string_view bytes, bool last);

private:
  std::unique_ptr<z_stream_s> z_;
};

/// True when an Accept-Encoding header allows gzip.
bool accepts_gzip(std::string_view header);

} // namespace skep::envd
