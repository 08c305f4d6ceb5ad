#include "actors/slewed_clock.hpp"

#include <algorithm>
#include <utility>

namespace skep::actors {

slewed_clock::slewed_clock(std::function<utc_time()> system_now,
                           std::function<milliseconds()> boot_now)
    : system_now_(std::move(system_now)), boot_now_(std::move(boot_now)), last_(read()),
      own_(last_.system) {}

// Who is put aside between his looks at the two clocks, or sleeps with the machine there, would see
// a jump: then he looks again.
slewed_clock::reading slewed_clock::read() const {
  constexpr milliseconds one_moment{100};
  constexpr int most_looks = 5;
  reading out;
  for (int i = 0; i < most_looks; ++i) {
    auto before = boot_now_();
    out.system = system_now_();
    out.boot = boot_now_();
    if (out.boot - before <= one_moment) break;
  }
  return out;
}

utc_time slewed_clock::now() {
  std::lock_guard guard{mutex_};
  return go_on();
}

std::optional<slewed_clock::milliseconds> slewed_clock::take_jump() {
  std::lock_guard guard{mutex_};
  go_on();
  auto out = std::exchange(untold_, milliseconds{0});
  if (std::chrono::abs(out) < told) return std::nullopt;
  return out;
}

utc_time slewed_clock::go_on() {
  const auto at = read();
  const auto elapsed = std::max(at.boot - last_.boot, milliseconds{0});
  const auto set_by = at.system - last_.system - elapsed;
  if (std::chrono::abs(set_by) >= told) untold_ += set_by;
  last_ = at;
  auto next = own_ + elapsed;
  const auto difference = at.system - next;
  if (std::chrono::abs(difference) <= at_once) {
    credit_ = milliseconds{0};
    next = at.system;
  } else {
    next += step_towards(difference, elapsed);
  }
  own_ = std::max(own_, next);
  return own_;
}

// It is called many times in a millisecond: what is too short for a step counts in the next one.
slewed_clock::milliseconds slewed_clock::step_towards(milliseconds difference,
                                                      milliseconds elapsed) {
  credit_ += elapsed;
  const auto most = credit_ / slew;
  credit_ -= most * slew;
  return std::clamp(difference, -most, most);
}

notice notice_of_jump(slewed_clock::milliseconds jump) {
  auto seconds = std::chrono::round<std::chrono::seconds>(std::chrono::abs(jump)).count();
  return {severity::warning, "clock_jumped",
          "the system's clock was set " + std::string{jump.count() > 0 ? "forward" : "back"}
              + " by " + std::to_string(seconds)
              + " s; times and costs of runs go by elapsed time, and the daemon's clock follows by "
                "1 s in 20 s"};
}

} // namespace skep::actors
