#include "host/lease.hpp"

#include "host/spec.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <sys/timerfd.h>
#include <unistd.h>

namespace skep::host {
namespace {

/// The end of a lease that stands still.
constexpr auto standing = std::numeric_limits<std::int64_t>::max();

std::int64_t boot_now_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

} // namespace

result<lease> lease::start(std::int64_t duration_ms) {
  lease out;
  out.timer_.reset(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!out.timer_) return system_error("timerfd");
  out.started_at_ms_ = wall_now_ms();
  out.boot_start_ms_ = boot_now_ms();
  if (auto r = out.set(duration_ms); !r) return r.err();
  return out;
}

result<void> lease::set(std::int64_t duration_ms) {
  duration_ms = std::clamp<std::int64_t>(duration_ms, 0, max_lifetime_ms);
  return end_at(std::min(boot_now_ms() + duration_ms, boot_start_ms_ + max_lifetime_ms));
}

result<void> lease::end_at(std::int64_t end) {
  itimerspec when{};
  // An absolute time of zero would disarm; every boot time of a running process is later.
  when.it_value.tv_sec = static_cast<time_t>(end / 1000);
  when.it_value.tv_nsec = static_cast<long>(end % 1000) * 1'000'000;
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0)
    return system_error("timerfd_settime");
  boot_end_ms_ = end;
  end_at_ms_ = wall_now_ms() + (end - boot_now_ms());
  return {};
}

result<void> lease::extend(std::int64_t duration_ms) {
  if (boot_now_ms() + duration_ms <= boot_end_ms_) return {};
  return set(duration_ms);
}

result<void> lease::suspend() {
  itimerspec never{};
  if (::timerfd_settime(timer_.get(), 0, &never, nullptr) != 0)
    return system_error("timerfd_settime");
  if (boot_end_ms_ != standing) boot_kept_ms_ = boot_end_ms_;
  boot_end_ms_ = standing;
  end_at_ms_ = wall_now_ms();
  return {};
}

result<void> lease::go_on() {
  return boot_end_ms_ == standing ? end_at(boot_kept_ms_) : result<void>{};
}

result<void> lease::restart(std::int64_t duration_ms) {
  boot_start_ms_ = boot_now_ms();
  return set(duration_ms);
}

bool lease::exhausted() const {
  return boot_now_ms() >= boot_start_ms_ + max_lifetime_ms;
}

bool lease::ended() {
  std::uint64_t count = 0;
  while (::read(timer_.get(), &count, sizeof count) > 0) {
  }
  return boot_now_ms() >= boot_end_ms_;
}

} // namespace skep::host
