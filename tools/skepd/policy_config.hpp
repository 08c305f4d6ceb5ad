// The table [policy] of skep.toml, and on_stop of [daemon]: deadlines, limits and waits that users
// may set, each with its range; and how the daemon ends. docs/configuration.md lists them.
//
//   [policy]
//   warn_at_s = [1800, 3000]      # soft limits of a run's time, for `skep run` without --warn-at
//   stop_grace_s = 10             # numbers: a whole number in the unit that ends the key's name
//
//   [daemon]
//   on_stop = "detach"            # or "kill": what a signal does to sandboxes
#pragma once

#include "actors/policy.hpp"

#include <cstdint>
#include <vector>

namespace skep::tools {

/// What a signal to skepd does to its sandboxes.
enum class on_stop : std::uint8_t {
  detach, ///< They go on; the next daemon takes them over.
  kill    ///< Agents are interrupted, results collected, sandboxes killed, within a time.
};

struct policy_config {
  actors::policies limits; ///< The defaults with what [policy] sets.
  std::vector<std::int64_t> warn_at_ms = {1'800'000, 3'000'000};
  on_stop at_signal = on_stop::detach;
};

} // namespace skep::tools
