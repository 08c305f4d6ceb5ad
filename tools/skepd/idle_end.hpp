// When skepd ends by itself: for a time nothing ran, nobody asked, and nothing that may cost money
// waits for a word of its provider, for which the REAPER asks while the daemon lives.
#pragma once

#include "storage/spend_state.hpp"

#include <chrono>
#include <cstdint>
#include <functional>

namespace skep::tools {

/// Nothing is waited for longer after the create of a sandbox or the end of its lease, whichever is
/// later: a day, the longest lease, and two hours for clocks that differ. Its provider has ended it
/// by then; a daemon that cannot learn it, such as for a key that expired, asks when it is next
/// started.
inline constexpr std::chrono::hours longest_unseen{26};

/// Between two looks at what holds an idle daemon.
inline constexpr std::chrono::minutes held_look_interval{1};

/// True while a sandbox may be there that nobody would look after without this daemon: one that was
/// kept, one whose kill is not confirmed, a create without an answer.
bool holds_daemon(const storage::spend_state& s, utc_time now);

class idle_end {
public:
  using clock = std::chrono::steady_clock;

  /// `idle` 0: never. `held` is asked only when the time is over, and then at most once each
  /// held_look_interval: true when something holds the daemon, or that cannot be known.
  idle_end(std::chrono::minutes idle, std::function<bool()> held, clock::time_point now)
      : idle_(idle), held_(std::move(held)), idle_since_(now), next_look_(now) {}

  /// Called about once a second by one thread. `asked`: the number of requests so far. True: the
  /// daemon is to end.
  bool is_due(clock::time_point now, bool runs, std::uint64_t asked);

private:
  std::chrono::minutes idle_;
  std::function<bool()> held_;
  clock::time_point idle_since_; ///< Since then nothing ran and nobody asked.
  clock::time_point next_look_;  ///< `held_` is not asked before.
  std::uint64_t asked_ = 0;
};

} // namespace skep::tools
