// Finds the events of a chunk body without building objects: a chunk of 32 events is checked in
// microseconds, which is what lets the journal check every one.
#pragma once

#include "messages/error.hpp"

#include <vector>

namespace skep::storage {

/// Where one event stands in a chunk body.
struct event_place {
  std::uint32_t type = 0;
  std::size_t offset = 0;
  std::size_t size = 0;
};

/// Replaces `out` by the events of `body`. bad_frame when a byte is missing or left over, when an
/// event is not [type, at_ms, body, ...], when it is nested deeper than a reader accepts, or when
/// there are not exactly `count`.
result<void> scan_chunk(std::string_view body, std::uint32_t count, std::vector<event_place>& out);

} // namespace skep::storage
