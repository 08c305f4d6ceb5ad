// The end of the daemon with on_stop = "kill": in which order, and who did not listen. The loop
// that waits is skepd's own (tools/skepd/ending.cpp); here is what it decides, and what it is told.
//
//   0 s     no new runs; every swarm is asked to end: agents get SIGINT, after 5 s SIGKILL, results
//           are collected, sandboxes are killed
//   1 s ..  asked again each second: a swarm that just starts, is taken up or restarted has nobody
//           who hears it
//   22 s    what is left is killed without its results
//   30 s    the daemon ends and names who refused; a second signal brings this forward
//
#pragma once

#include "actors/command_desk.hpp"

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

/// Who has not ended: "sw_x sb_y: p0, p1", one line a sandbox, from the state tables.
std::vector<std::string> who_is_left(const services& svc, const swarm_registry& registry);

} // namespace skep::actors
