// The daemon's wall time, which goes by elapsed time whatever becomes of the system's clock:
//
//   at first      the system's time
//   from then on  plus the boot-time clock, which counts while the machine sleeps and which nobody
//                 sets; where the system's time is another one, it is approached by 1 s in 20 s
//
// So what is subtracted from each other (costs, windows of limits) is elapsed time, at most a
// twentieth off while a difference is being closed, and a clock that somebody sets neither ends a
// budget nor prolongs it (decision 0055).
#pragma once

#include "messages/events.hpp"

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>

namespace skep::actors {

/// Thread-safe. Cheap: each event asks it.
class slewed_clock {
public:
  using milliseconds = std::chrono::milliseconds;

  /// Differences up to this are taken over at once; where the system's time is the earlier one,
  /// this clock stands still until it has come.
  static constexpr milliseconds at_once{1000};
  /// Larger ones are closed by 1 ms in so many of elapsed time.
  static constexpr int slew = 20;
  /// How far the system's clock must be set to be worth telling.
  static constexpr milliseconds told{5000};

  slewed_clock(std::function<utc_time()> system_now, std::function<milliseconds()> boot_now);

  /// Never less than what it said before.
  utc_time now();
  /// How far the system's clock was set since the last call: forward, or back (below 0). Nothing
  /// where that was less than `told`.
  std::optional<milliseconds> take_jump();

private:
  /// Both clocks at one moment.
  struct reading {
    utc_time system;
    milliseconds boot{0};
  };
  reading read() const;
  utc_time go_on();
  milliseconds step_towards(milliseconds difference, milliseconds elapsed);

  std::function<utc_time()> system_now_;
  std::function<milliseconds()> boot_now_;
  std::mutex mutex_;
  reading last_;
  utc_time own_;
  milliseconds credit_{0}; ///< Elapsed time that was not enough for a step of 1 ms yet.
  milliseconds untold_{0}; ///< Jumps that nobody has taken.
};

/// What people are told of a jump.
notice notice_of_jump(slewed_clock::milliseconds jump);

} // namespace skep::actors
