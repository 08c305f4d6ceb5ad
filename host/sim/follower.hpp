// `skep-guest follow` in a simulated sandbox: the frames of messages/follow.hpp from logs in
// memory.
#pragma once

#include "host/sim/box.hpp"

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace skep::host::sim {

struct follow_request {
  struct known {
    std::uint32_t generation = 0;
    std::uint64_t offset = 0;
  };
  std::uint64_t epoch = 0;
  std::chrono::seconds limit{0};
  std::map<std::string, known> from; ///< By pane: what the daemon has.
  /// "PANE:GENERATION:OFFSET"; a pane's highest generation counts.
  void add(std::string_view text);
};

/// Sends until the deadline, a signal or a newer follower; true for the last.
task<bool> follow(program_ptr p, follow_request wanted);

} // namespace skep::host::sim
