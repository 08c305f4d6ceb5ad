// One error type from the lowest room to the CLI, and result<T>.
//
// Text form, in fixed order (row S2-37):
//   not_found: there is nothing of this name: sw_x | Sandbox: sb_y | Step: upload | Cause: ... |
//   Hint: ...
#pragma once

#include "messages/fields.hpp"
#include "messages/ids.hpp"

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skep {

/// Error codes of errors.def; 0 is "no error".
enum class errc : std::uint16_t {
  none = 0,
#define SKEP_ERROR(number, name, family, exit_code, text, hint) name = number,
#include "messages/errors.def"
#undef SKEP_ERROR
};

enum class error_family : std::uint8_t {
  invalid,
  missing,
  conflict,
  limit,
  unavailable,
  timeout,
  remote,
  corrupt,
  internal
};

/// What errors.def says of one code.
struct error_info {
  errc code;
  std::string_view name;
  error_family family;
  int exit_code; ///< What `skep` exits with.
  std::string_view text;
  std::string_view hint;
};

/// All codes in order of their numbers.
const std::vector<error_info>& all_errors();
/// Facts of `code`; those of errc::internal for a number that is not in the list.
const error_info& info(errc code);
std::string_view to_string(errc code);
std::string_view to_string(error_family family);

/// What went wrong, with its context. `code == none` means no error.
struct error {
  errc code = errc::none;
  std::string message;             ///< What exactly; holds no secret value.
  sandbox_id sandbox;              ///< The sandbox concerned, or empty.
  std::string step;                ///< The step that failed ("create", "upload", ...), or empty.
  std::string cause;               ///< Text of the underlying failure, or empty.
  std::int64_t retry_after_ms = 0; ///< > 0: the peer asked to wait this long.

  SKEP_FIELDS(field(1, "code", x.code), field(2, "message", x.message),
              field(3, "sandbox", x.sandbox), field(4, "step", x.step), field(5, "cause", x.cause),
              field(6, "retry_after_ms", x.retry_after_ms))
  explicit operator bool() const { return code != errc::none; }
};

inline error make_error(errc code, std::string message = {}, std::string cause = {}) {
  return {code, std::move(message), {}, {}, std::move(cause), 0};
}

/// The error of this name (internal for an unknown one) with its text and cause; none for an empty
/// name.
error error_of(std::string_view name, std::string message, std::string cause = {});

/// Whole text for people: code, text, message, sandbox, step, cause, hint in that order.
std::string render(const error& e);
/// True for errors that a later attempt may not meet: families unavailable and timeout, and `rate`.
bool retriable(const error& e);
/// True for errors that somebody has to mend, and that tell nothing of what was asked for: a key
/// that is refused or missing, a provider that this daemon's configuration does not name.
bool mendable(const error& e);

/// A value or an error. Reading the wrong side is a bug and asserts.
template <class T>
class [[nodiscard]] result {
public:
  result(T value) : x_(std::in_place_index<0>, std::move(value)) {}
  result(error e) : x_(std::in_place_index<1>, std::move(e)) { assert(std::get<1>(x_)); }
  bool ok() const { return x_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    assert(ok());
    return std::get<0>(x_);
  }
  const T& value() const {
    assert(ok());
    return std::get<0>(x_);
  }
  const error& err() const {
    assert(!ok());
    return std::get<1>(x_);
  }

private:
  std::variant<T, error> x_;
};

template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(error e) : e_(std::move(e)) { assert(e_); }
  bool ok() const { return !e_; }
  explicit operator bool() const { return ok(); }
  const error& err() const {
    assert(!ok());
    return e_;
  }

private:
  error e_;
};

} // namespace skep
