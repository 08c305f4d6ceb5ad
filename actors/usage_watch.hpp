// What is made of samples of a sandbox's resources: which are worth an event, and when to warn.
// No actor, no clock: the HEALTH POLLER feeds it on the sandbox's tick.
#pragma once

#include "messages/events.hpp"

#include <optional>
#include <vector>

namespace skep::actors {

class usage_watch {
public:
  struct verdict {
    bool worth_an_event = false; ///< It differs, or the last one is old.
    std::vector<notice> notices; ///< near_limit, limit_relaxed; each once per crossing.
  };
  verdict take(const usage_sampled& x, utc_time now);

  /// Used part of memory or disk at which to warn; and to be at ease again.
  static constexpr double near = 0.9, at_ease = 0.8;
  /// Samples that differ by less (of 100 %) are told after this time only.
  static constexpr double differs_percent = 5;
  static constexpr std::chrono::minutes told_after{5};

private:
  void look(const char* what, std::uint64_t used, std::uint64_t total, bool& warned, verdict& out);
  std::optional<usage_sampled> told_;
  utc_time told_at_{};
  bool memory_warned_ = false;
  bool disk_warned_ = false;
};

} // namespace skep::actors
