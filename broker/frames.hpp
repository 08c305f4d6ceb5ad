// Frames of the event stream (XPUB -> SUB). The specification with examples in bytes is
// docs/protocol.md.
//
//   frame = topic, NUL, header, body                            one ZeroMQ message part
//
//   topic                  header (one msgpack array)                       body
//   "e/SWARM/SANDBOX/"     [1, stream, first, count, prev_sandbox,          count packed events,
//                           prev_swarm]                                     one after the other
//   "o/SWARM/SANDBOX/"     [1, pane, generation, offset]                    raw output bytes
//   "m/"                   [1, stream, head]                                nothing
//
// The first element is the version of the header; later elements may be added, readers ignore those
// they do not know. SWARM and SANDBOX are ids or "-" (above a sandbox, above a swarm). stream is
// the id of this journal, all other elements are non-negative integers.
#pragma once

#include "messages/event_io.hpp"

#include <string>
#include <string_view>

namespace skep::broker {

inline constexpr std::uint32_t frame_version = 1;

/// A committed chunk as it travels. `body` points into the frame it was read from.
struct event_frame {
  swarm_id swarm;     ///< Empty above swarms.
  sandbox_id sandbox; ///< Empty above sandboxes.
  std::string stream;
  std::uint64_t first_seq = 0; ///< Event i has first_seq + i.
  std::uint32_t count = 0;     ///< >= 1
  std::uint64_t previous_in_sandbox = 0;
  std::uint64_t previous_in_swarm = 0;
  std::string_view body;
  std::uint64_t last_seq() const { return first_seq + count - 1; }
};

/// Output of a pane. `data` points into the frame it was read from.
struct output_frame {
  swarm_id swarm;
  sandbox_id sandbox;
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t offset = 0; ///< Of the first byte of `data` in the log of this generation.
  std::string_view data;
};

/// Head beacon: everything up to `head` was published before it.
struct head_frame {
  std::string stream;
  std::uint64_t head = 0;
};

/// What a subscriber asks for. Empty ids: all. A sandbox needs its swarm.
struct selector {
  swarm_id swarm;
  sandbox_id sandbox;
};

inline constexpr std::string_view head_topic = "m/";
/// Subscription prefix for events ('e') or output ('o').
std::string topic_prefix(char kind, const selector& s);

/// Replaces `out` with topic, NUL and header of an event frame; the chunk's body follows.
void put_event_prefix(std::string& out, std::string_view stream, const chunk& c);
/// Replaces `out` with topic, NUL and header of an output frame; the bytes follow.
void put_output_prefix(std::string& out, const output_frame& f);
/// A whole beacon.
std::string encode_head(const head_frame& f);

/// Each reads a whole frame of its kind; errc::bad_frame for anything else. Nothing is trusted:
/// ids must be well-formed, counts and sequences must not overflow.
result<event_frame> decode_event(std::string_view frame);
result<output_frame> decode_output(std::string_view frame);
result<head_frame> decode_head(std::string_view frame);

} // namespace skep::broker
