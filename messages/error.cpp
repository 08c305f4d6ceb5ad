#include "messages/error.hpp"

#include <algorithm>

namespace skep {

const std::vector<error_info>& all_errors() {
  static const std::vector<error_info> list = {
#define SKEP_ERROR(number, name, family, exit_code, text, hint)                                    \
  {errc::name, #name, error_family::family, exit_code, text, hint},
#include "messages/errors.def"
#undef SKEP_ERROR
  };
  return list;
}

const error_info& info(errc code) {
  const auto& list = all_errors();
  auto find = [&](errc c) {
    return std::find_if(list.begin(), list.end(), [c](const auto& x) { return x.code == c; });
  };
  auto i = find(code);
  return i != list.end() ? *i : *find(errc::internal);
}

error error_of(std::string_view name, std::string message, std::string cause) {
  if (name.empty()) return {};
  auto code = errc::internal;
  for (const auto& known : all_errors())
    if (known.name == name) code = known.code;
  return make_error(code, std::move(message), std::move(cause));
}

std::string_view to_string(errc code) {
  return code == errc::none ? "none" : info(code).name;
}

std::string_view to_string(error_family family) {
  switch (family) {
  case error_family::invalid:
    return "invalid";
  case error_family::missing:
    return "missing";
  case error_family::conflict:
    return "conflict";
  case error_family::limit:
    return "limit";
  case error_family::unavailable:
    return "unavailable";
  case error_family::timeout:
    return "timeout";
  case error_family::remote:
    return "remote";
  case error_family::corrupt:
    return "corrupt";
  case error_family::internal:
    return "internal";
  }
  return "?";
}

std::string render(const error& e) {
  const auto& facts = info(e.code);
  std::string out{facts.name};
  out += ": ";
  out += facts.text;
  if (!e.message.empty()) out += ": " + e.message;
  if (!e.sandbox.empty()) out += " | Sandbox: " + e.sandbox.value;
  if (!e.step.empty()) out += " | Step: " + e.step;
  if (!e.cause.empty()) out += " | Cause: " + e.cause;
  if (e.retry_after_ms > 0)
    out += " | Wait: " + std::to_string((e.retry_after_ms + 999) / 1000) + " s";
  out += " | Hint: ";
  out += facts.hint;
  return out;
}

bool retriable(const error& e) {
  auto family = info(e.code).family;
  return family == error_family::unavailable || family == error_family::timeout
         || e.code == errc::rate;
}

bool mendable(const error& e) {
  return e.code == errc::auth || e.code == errc::secret_missing || e.code == errc::unknown_provider;
}

} // namespace skep
