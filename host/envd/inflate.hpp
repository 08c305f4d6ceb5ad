// Streaming gzip decoding for uploads with Content-Encoding: gzip.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string_view>

struct z_stream_s;

namespace skep::envd {

class gzip_decoder {
public:
  gzip_decoder();
  ~gzip_decoder();
  gzip_decoder(const gzip_decoder&) = delete;
  gzip_decoder& operator=(const gzip_decoder&) = delete;

  /// Decodes `bytes` and hands on what comes out. False: this is no gzip.
  bool feed(std::string_view bytes, const std::function<void(std::string_view)>& out);
  /// True when the last member was complete.
  bool complete() const { return complete_; }

private:
  std::unique_ptr<z_stream_s> z_;
  bool complete_ = false;
};

} // namespace skep::envd
