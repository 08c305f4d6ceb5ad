// Every message there is, for tests that hold for all of them, and a generic way to fill one.
#pragma once

#include "messages/commands.hpp"
#include "messages/follow.hpp"

#include <string>
#include <string_view>

namespace skep::test {

/// Calls `visit.operator()<T>(name)` for every struct with a field list, each once. That none is
/// missing is tested in schema.test.cpp.
template <class Visitor>
void for_each_message(Visitor&& visit) {
#define SKEP_TEST_VISIT(Type) visit.template operator()<Type>(std::string_view{#Type});
#define SKEP_TEST_VISIT_EVENT(number, Type, text, cls) SKEP_TEST_VISIT(Type)
#define SKEP_TEST_VISIT_COMMAND(number, Request, Reply, text)                                      \
  SKEP_TEST_VISIT(Request)                                                                         \
  SKEP_TEST_VISIT(Reply)
  SKEP_EVENTS(SKEP_TEST_VISIT_EVENT)
  SKEP_COMMANDS(SKEP_TEST_VISIT_COMMAND)
  SKEP_TEST_VISIT(error)
  SKEP_TEST_VISIT(chunk)
  SKEP_TEST_VISIT(swarm_spec)
  SKEP_TEST_VISIT(scan_finding)
  SKEP_TEST_VISIT(scan_report)
  SKEP_TEST_VISIT(selection)
  SKEP_TEST_VISIT(request_frame)
  SKEP_TEST_VISIT(reply_frame)
  SKEP_TEST_VISIT(budget_line)
  SKEP_TEST_VISIT(limit_line)
  SKEP_TEST_VISIT(waiting_line)
  SKEP_TEST_VISIT(swarm_record)
  SKEP_TEST_VISIT(sandbox_record)
  SKEP_TEST_VISIT(pane_record)
  SKEP_TEST_VISIT(transfer_record)
  SKEP_TEST_VISIT(replacement_record)
  SKEP_TEST_VISIT(phase_time)
  SKEP_TEST_VISIT(swarm_summary)
  SKEP_TEST_VISIT(daemon_health)
  SKEP_TEST_VISIT(swarm_health)
  SKEP_TEST_VISIT(sandbox_health)
  SKEP_TEST_VISIT(pane_health)
  SKEP_TEST_VISIT(follow_hello)
  SKEP_TEST_VISIT(follow_data)
  SKEP_TEST_VISIT(follow_exit)
  SKEP_TEST_VISIT(follow_pulse)
  SKEP_TEST_VISIT(follow_failure)
  SKEP_TEST_VISIT(follow_dropped)
#undef SKEP_TEST_VISIT_COMMAND
#undef SKEP_TEST_VISIT_EVENT
#undef SKEP_TEST_VISIT
}

/// Which values a filler gives numbers and times; all else is the same in every mode.
enum class fill_mode { distinct, lowest, highest };

/// Gives every field of a message a value of its own that is not the default, so that a codec that
/// drops or swaps two fields is found out.
class filler {
public:
  explicit filler(fill_mode mode = fill_mode::distinct) : mode_(mode) {}

  template <class T>
  void fill(T& x) {
    if constexpr (message<T>) {
      for_each_field(x, [&](auto&& f) { fill(f.value); });
    } else if constexpr (std::is_same_v<T, bool>) {
      x = true;
    } else if constexpr (std::is_same_v<T, errc>) {
      x = all_errors().back().code;
    } else if constexpr (std::is_enum_v<T>) {
      constexpr auto last = static_cast<T>(enum_size<T> - 1);
      x = x == last ? T{} : last;
    } else if constexpr (std::is_integral_v<T>) {
      x = integer<T>();
    } else if constexpr (std::is_floating_point_v<T>) {
      x = ++n_ + 0.1;
    } else if constexpr (std::is_same_v<T, std::string>) {
      x = text();
    } else if constexpr (std::is_same_v<T, bytes>) {
      x.data = std::string{"\0\xff\xc3\x28", 4} + std::to_string(++n_) + '\0';
    } else if constexpr (is_id<T>) {
      x.value = std::string{T::sigil} + "id" + std::to_string(++n_);
    } else if constexpr (detail::is_duration<T>) {
      x = T{integer<typename T::rep>()};
    } else if constexpr (std::is_same_v<T, utc_time>) {
      x = utc_time{std::chrono::milliseconds{integer<std::int64_t>()}};
    } else if constexpr (detail::is_vector<T>) {
      x.clear();
      for (int i = 0; i < 2; ++i)
        fill(x.emplace_back());
    } else {
      x.clear();
      for (int i = 0; i < 2; ++i) {
        auto key = text();
        x[key] = text();
      }
    }
  }

private:
  /// Distinct, and beyond what the next smaller type or the other sign could carry.
  template <class T>
  T integer() {
    using limits = std::numeric_limits<T>;
    ++n_;
    if (mode_ == fill_mode::lowest) return limits::min();
    if (mode_ == fill_mode::highest) return limits::max();
    if constexpr (std::is_signed_v<T>)
      return static_cast<T>(limits::min() / 2 - static_cast<T>(n_));
    else
      return static_cast<T>(limits::max() - static_cast<T>(n_));
  }
  std::string text() {
    return "text " + std::to_string(++n_) + " \"\\/\n\t\x01\x7f \xc3\xa4\xe2\x82\xac"
           + std::string(1, '\0') + "end";
  }

  fill_mode mode_;
  int n_ = 0;
};

template <message T>
T filled(fill_mode mode = fill_mode::distinct) {
  T x;
  filler{mode}.fill(x);
  return x;
}

/// True when `data` is one whole message of this type. As unpack<T>(), also for `error`, of which
/// there is no result.
template <message T>
bool reads(std::string_view data, T& out) {
  std::size_t used = 0;
  auto handle = parse_object(data, used);
  return handle.ok() && used == data.size() && unpack_value(handle->get(), out);
}

/// Path of a file or folder of the source tree.
std::string source_path(std::string_view below);

} // namespace skep::test
