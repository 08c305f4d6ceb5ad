// The end of the daemon with on_stop = "kill": in which order, and who did not listen. The loop
// that waits is skepd's own (tools/skepd/ending.cpp); here is what it decides, and what it is told.
//
//   0 s     no new runs; every swarm is asked to end: agents get SIGINT, after 5 s SIGKILL, results
//           are collected, sandboxes are killed. What was kept, and what belongs to runs that
//           nobody leads, is killed at once
//   1 s ..  asked again each second: a swarm that just starts, is taken up or restarted has nobody
//           who hears it
//   22 s    what is left is killed without its results
//   30 s    the daemon ends and names who refused; a second signal brings this forward
//
#pragma once

#include "actors/command_desk.hpp"

#include <map>
#include <set>

namespace skep::actors {

/// When which step is due. Pure.
class shutdown_course {
public:
  using milliseconds = std::chrono::milliseconds;
  enum class step {
    wait,
    ask,   ///< Again, in the present mode().
    force, ///< Once: kill what is left, which is mode() from here on.
    give_up
  };
  /// Between two times of asking.
  static constexpr std::chrono::seconds again{1};

  explicit shutdown_course(milliseconds limit) : limit_(limit) {}

  /// What is due after `elapsed`, while swarms are left; at 0 the caller has asked. A second signal
  /// gives up at once. Nothing left is no reason to wait: the caller looks at that first.
  step due(milliseconds elapsed, bool signalled_again);
  /// How swarms are to end at present.
  stop_mode mode() const { return forced_ ? stop_mode::kill : stop_mode::shutdown; }

private:
  milliseconds limit_;
  milliseconds ask_at_{again};
  bool forced_ = false;
};

/// Refuses new runs from here on and asks every live swarm to end; once more in the same mode
/// changes nothing for one that heard it. Any thread, never blocks.
void ask_all_to_end(swarm_registry& registry, stop_mode how);

/// The end of what no SWARM ends: sandboxes that were kept, of closed and of open swarms, and those
/// of runs that nobody leads. Their kills are the REAPER's, who is told when the intents are on
/// disk. For one thread, which need not be an actor's; reads the tables, never waits.
class unled_ending {
public:
  using milliseconds = std::chrono::milliseconds;
  /// Between two words about a sandbox that is still there.
  static constexpr std::chrono::seconds again{5};

  /// Both outlive it.
  unled_ending(const services& svc, swarm_registry& registry) : svc_(svc), registry_(registry) {}

  /// Does what is due `elapsed` after the beginning. True while something is left to wait for, or
  /// the tables cannot tell.
  bool go_on(milliseconds elapsed);
  /// As of the last look: "sw_x sb_y: kept", or without the word where it was not kept.
  std::vector<std::string> who_is_left() const;

private:
  bool may_end(const sandbox_record& x) const;
  void end(const sandbox_record& x, milliseconds elapsed);

  const services& svc_;
  swarm_registry& registry_;
  bool looked_ = false;
  std::set<sandbox_id> ours_;                               ///< Those that are to end here.
  std::map<std::pair<sandbox_id, bool>, milliseconds> due_; ///< By whether the intent is on disk.
  std::vector<sandbox_record> left_;
};

/// Who has not ended: "sw_x sb_y: p0, p1", one line a sandbox, from the state tables.
std::vector<std::string> who_is_left(const services& svc, const swarm_registry& registry);

} // namespace skep::actors
