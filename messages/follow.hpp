// Frames that `skep-guest follow` writes on its standard output and the daemon's output poller
// reads.
//
//   bytes 0-3   length N of the payload, unsigned, big endian; at most follow_max_payload
//   bytes 4-7   CRC-32 (IEEE 802.3, as in zlib) of the payload, big endian
//   bytes 8..   payload: msgpack array [kind, body]; kind = follow_kind, body = map by field number
//
// Everything in a frame is a claim of the sandbox, to be checked before use.
#pragma once

#include "messages/codec.hpp"

namespace skep {

inline constexpr std::size_t follow_max_payload = 64 * 1024;
inline constexpr std::size_t follow_header_size = 8;

enum class follow_kind : std::uint8_t { hello, data, exit, pulse, failure, dropped };
SKEP_ENUM_NAMES(follow_kind, "hello", "data", "exit", "pulse", "failure", "dropped");

/// First frame of every follower.
struct follow_hello {
  std::string version;
  std::uint64_t epoch = 0; ///< The one it was started with; a newer one ends it.
  SKEP_FIELDS(field(1, "version", x.version), field(2, "epoch", x.epoch))
};

/// Bytes of a pane's log. The offset is their identity within (pane, generation).
struct follow_data {
  pane_id pane;
  std::uint32_t generation = 0; ///< The attempt.
  std::uint64_t offset = 0;
  bytes data; ///< At most 32 KiB.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "generation", x.generation),
              field(3, "offset", x.offset), field(4, "data", x.data))
};

/// The agent of an attempt ended. Comes after all of its bytes.
struct follow_exit {
  pane_id pane;
  std::uint32_t generation = 0;
  std::int32_t exit_code = 0; ///< -1 when a signal ended it.
  std::int32_t signal = 0;
  std::uint64_t final_offset = 0;
  utc_time ended_at{};
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "generation", x.generation),
              field(3, "exit_code", x.exit_code), field(4, "signal", x.signal),
              field(5, "final_offset", x.final_offset), field(6, "ended_at_ms", x.ended_at))
};

/// Sent after some silence, so that a dead stream is noticed.
struct follow_pulse {
  std::uint64_t count = 0;
  SKEP_FIELDS(field(1, "count", x.count))
};

/// A log has lost its front before it was sent: the next byte of it that comes is `begin_offset`.
struct follow_dropped {
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t begin_offset = 0; ///< Whole MiB.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "generation", x.generation),
              field(3, "begin_offset", x.begin_offset))
};

/// The follower ends because of this; the daemon starts another.
struct follow_failure {
  std::string text;
  SKEP_FIELDS(field(1, "text", x.text))
};

/// CRC-32 (IEEE, reflected 0xEDB88320) of `data`.
std::uint32_t crc32(std::string_view data);

/// Appends a whole frame to `out`.
template <message T>
void pack_follow(std::string& out, follow_kind kind, const T& x) {
  auto start = out.size();
  out.append(follow_header_size, '\0');
  string_sink sink{out};
  packer p{sink};
  p.pack_array(2);
  pack_value(p, kind);
  pack_value(p, x);
  auto put = [&](std::size_t at, std::uint32_t v) {
    for (int i = 0; i < 4; ++i)
      out[at + static_cast<std::size_t>(i)] = static_cast<char>(v >> (24 - 8 * i));
  };
  auto payload = std::string_view{out}.substr(start + follow_header_size);
  put(start, static_cast<std::uint32_t>(payload.size()));
  put(start + 4, crc32(payload));
}

/// Cuts a byte stream into frames. Fed with arbitrary pieces; stops at the first damage.
class follow_reader {
public:
  struct frame {
    follow_kind kind = follow_kind::hello;
    msgpack::object_handle body;
  };
  void feed(std::string_view data) { buffer_.append(data); }
  /// True: `out` holds the next frame. False: more bytes are needed. Error: the stream is damaged.
  result<bool> next(frame& out);
  /// Part of a frame has come, and its rest has not.
  bool amid() const { return offset_ < buffer_.size(); }

private:
  std::string buffer_;
  std::size_t offset_ = 0;
};

} // namespace skep
