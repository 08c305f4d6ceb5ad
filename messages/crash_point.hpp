// Crash points: the places where a daemon may die that a test wants to see it die at.
//
//   kind     the process ends ...
//   append   before events are given to the database
//   stored   after their COMMIT, before anybody has the answer
//   call     before a request to a provider is sent
//   answer   after it took effect, before its answer is read
//   file     before a file operation of the collection of results
//
// Every passage has a number, counted over all of them, and a name, KIND:LABEL#K, the K-th passage
// of that kind and label; the name of a step stays while the number depends on who was faster.
// skepd alone can arm them, by options that no help shows and nothing but tests/support gives. In
// every other process, and in every other skepd, a passage is one relaxed load and a branch.
#pragma once

#include "messages/error.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace skep {

enum class crash_kind : std::uint8_t { append, stored, call, answer, file };

namespace detail {
extern std::atomic<bool> crash_points_armed;
void pass_crash_point(crash_kind kind, std::string_view label, std::string_view detail);
} // namespace detail

/// True in a daemon that a test has armed: what only serves the labels may be computed.
inline bool crash_points_armed() {
  return detail::crash_points_armed.load(std::memory_order_relaxed);
}

/// One passage. `label` names the step without ids; `detail` goes to the count file alone. Any
/// thread. Does not return where the process was to end here.
inline void crash_point(crash_kind kind, std::string_view label, std::string_view detail = {}) {
  if (crash_points_armed()) [[unlikely]]
    detail::pass_crash_point(kind, label, detail);
}

/// Arms the points of this process, before it starts threads. `at`: where it ends by SIGKILL, a
/// passage's number or a name with its #K; empty: nowhere. `count_file`: gets a line for every
/// passage, "NUMBER NAME#K DETAIL", the last one included; empty: none. bad_argument, io.
result<void> arm_crash_points(const std::string& at, const std::string& count_file);

} // namespace skep
