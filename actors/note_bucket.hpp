// How many blocks of one pane's agent are journaled: a token bucket. What it leaves out is counted,
// and told when the next block is let through or the attempt ends. Plain data, no actor.
#pragma once

#include "actors/policy.hpp"
#include "messages/ids.hpp"

#include <algorithm>
#include <utility>

namespace skep::actors {

class note_bucket {
public:
  struct gap {
    std::uint64_t count = 0; ///< 0: nothing was left out.
    utc_time since{};
  };

  explicit note_bucket(note_policy limits) : limits_(limits), milli_(full()) {}

  /// One block at `now` (boot-time clock), `wall` by the calendar: true when it may be journaled.
  /// After a gap the bucket waits until a tenth of the burst is there, so that gaps are few.
  bool take(std::chrono::milliseconds now, utc_time wall) {
    if (now > at_) {
      auto gained =
          static_cast<std::uint64_t>((now - std::exchange(at_, now)).count()) * limits_.per_second;
      milli_ = std::min(full(), milli_ + gained);
    }
    auto needed = gap_.count > 0 ? std::max<std::uint64_t>(one, full() / 10) : one;
    if (milli_ < needed) {
      if (gap_.count++ == 0) gap_.since = wall;
      return false;
    }
    milli_ -= one;
    return true;
  }
  /// What was left out since the last call.
  gap left_out() { return std::exchange(gap_, {}); }

private:
  static constexpr std::uint64_t one = 1000; ///< Token, in thousandths: a rate of 1/s counts by ms.
  std::uint64_t full() const { return std::uint64_t{limits_.burst} * one; }

  note_policy limits_;
  std::uint64_t milli_;
  std::chrono::milliseconds at_{0};
  gap gap_;
};

} // namespace skep::actors
