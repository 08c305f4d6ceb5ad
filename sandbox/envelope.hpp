// Envelopes of the Connect protocol's streams, as envd speaks them.
//
//   byte 0     flags: bit 0 (0x01) payload compressed, bit 1 (0x02) end of stream, others 0
//   bytes 1-4  payload length N, unsigned, big endian
//   bytes 5..  N bytes of payload (JSON)
//
// The reader takes bytes cut anywhere. We never ask for compression, so a compressed payload, an
// unknown flag, a length above the cap and anything after the end of the stream make it bad for
// good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skep::sandbox {

struct envelope {
  bool end_of_stream = false;
  std::string_view payload; ///< Until the next call of the reader.
};

class envelope_reader {
public:
  explicit envelope_reader(std::size_t payload_cap_bytes = 4U << 20U) : cap_(payload_cap_bytes) {}

  /// Adds bytes as they came.
  void feed(std::string_view bytes);
  /// The next whole envelope; nothing when more bytes are needed or the stream is bad.
  std::optional<envelope> next();

  bool bad() const { return bad_; }
  /// True once the end-of-stream envelope was returned by next().
  bool ended() const { return ended_; }
  /// Bytes held that next() has not returned.
  std::size_t pending_bytes() const { return buffer_.size() - position_; }

private:
  std::size_t cap_;
  std::string buffer_;
  std::size_t position_ = 0; ///< Start of the next envelope in buffer_.
  bool bad_ = false;
  bool ended_ = false;
};

/// One envelope, flags 0. `payload` shorter than 4 GiB.
std::string make_envelope(std::string_view payload);

} // namespace skep::sandbox
