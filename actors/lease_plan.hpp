// How long a sandbox may live at its provider. Pure.
//
//   born ---- time limit of the run ---- grace ---- the lease ends        never beyond born + cap
//                                  '-- results are collected, then the kill
#pragma once

#include "messages/fields.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

namespace skep::actors {

/// The time limit that fits below the longest life that the provider gives (0: not known) with the
/// lease's grace: min(asked, cap - grace). Nothing when there is no room for any.
inline std::optional<std::chrono::milliseconds> limit_within(std::chrono::milliseconds asked,
                                                             std::chrono::seconds grace,
                                                             std::chrono::seconds cap) {
  if (cap.count() == 0) return asked;
  std::chrono::milliseconds room = cap - grace;
  if (room < std::chrono::seconds{1}) return std::nullopt;
  return std::min(asked, room);
}

/// The lease to ask for when agents are about to work, or when a sandbox is found again after
/// `now - born`: limit + grace from now on, not beyond the cap, and nothing when the one it has
/// (until `present_end`) is as long: a lease is never shortened.
inline std::optional<std::chrono::seconds> lease_to_ask(std::chrono::milliseconds limit,
                                                        std::chrono::seconds grace,
                                                        std::chrono::seconds cap, utc_time born,
                                                        utc_time present_end, utc_time now) {
  // Limits have milliseconds, leases do not: rounded up, or it would be shorter than was promised.
  auto end = now + std::chrono::ceil<std::chrono::seconds>(limit) + grace;
  if (cap.count() > 0) end = std::min(end, born + std::chrono::milliseconds{cap});
  if (end <= present_end || end <= now) return std::nullopt;
  return std::chrono::ceil<std::chrono::seconds>(end - now);
}

/// The whole life that a provider gives a sandbox by its own account (`started`, `end`), where that
/// is less than the `lease` that was asked for. Nothing when it is as long, when the provider does
/// not say, and when it is no longer than the `first` lease: what was seen may be from before.
/// No clock is compared with another one.
inline std::optional<std::chrono::milliseconds> capped_life(utc_time started, utc_time end,
                                                            std::chrono::seconds first,
                                                            std::chrono::seconds lease) {
  constexpr std::chrono::seconds rounding{5};
  auto life = end - started;
  if (life <= first + rounding || life >= lease - rounding) return std::nullopt;
  return life;
}

} // namespace skep::actors
