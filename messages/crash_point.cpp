#include "messages/crash_point.hpp"

#include <charconv>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <unistd.h>

namespace skep {

namespace detail {
std::atomic<bool> crash_points_armed{false};
} // namespace detail

namespace {

struct crash_plan {
  std::mutex mutex; ///< Held while the process ends, so that nobody passes another point.
  std::uint64_t at_number = 0;
  std::string at_name;
  int count_fd = -1;
  std::uint64_t passed = 0;
  std::map<std::string, std::uint64_t, std::less<>> by_name;
};

crash_plan& plan() {
  static auto* the_one = new crash_plan; // threads may pass points while statics end
  return *the_one;
}

std::string_view name_of(crash_kind kind) {
  switch (kind) {
  case crash_kind::append:
    return "append";
  case crash_kind::stored:
    return "stored";
  case crash_kind::call:
    return "call";
  case crash_kind::answer:
    return "answer";
  case crash_kind::file:
    return "file";
  }
  return "";
}

} // namespace

void detail::pass_crash_point(crash_kind kind, std::string_view label, std::string_view more) {
  auto& p = plan();
  auto name = std::string{name_of(kind)} + ":" + std::string{label};
  std::lock_guard guard{p.mutex};
  auto number = ++p.passed;
  name += "#" + std::to_string(++p.by_name[name]);
  if (p.count_fd >= 0) {
    auto line = std::to_string(number) + " " + name;
    if (!more.empty()) line += " " + std::string{more};
    line += "\n";
    // What cannot be written is missed by the test that reads it.
    static_cast<void>(!::write(p.count_fd, line.data(), line.size()));
  }
  if (number != p.at_number && name != p.at_name) return;
  ::kill(::getpid(), SIGKILL);
  for (;;)
    ::pause();
}

result<void> arm_crash_points(const std::string& at, const std::string& count_file) {
  auto& p = plan();
  if (!at.empty() && at.find_first_not_of("0123456789") == std::string::npos) {
    auto [end, bad] = std::from_chars(at.data(), at.data() + at.size(), p.at_number);
    if (bad != std::errc{} || p.at_number == 0)
      return make_error(errc::bad_argument, "not the number of a crash point: " + at);
  } else if (!at.empty()) {
    auto colon = at.find(':');
    auto hash = at.rfind('#');
    if (colon == std::string::npos || hash == std::string::npos || hash < colon)
      return make_error(errc::bad_argument, "not the name of a crash point: " + at);
    p.at_name = at;
  }
  if (!count_file.empty()) {
    p.count_fd =
        ::open(count_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p.count_fd < 0)
      return make_error(errc::io, "cannot open " + count_file, std::strerror(errno));
  }
  detail::crash_points_armed.store(true, std::memory_order_relaxed);
  return {};
}

} // namespace skep
