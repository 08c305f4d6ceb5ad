#include "sandbox/errors.hpp"

#include "messages/masking.hpp"
#include "messages/nesting.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace skep::sandbox {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* name) {
  auto i = object.find(name);
  return i != object.end() && i->is_string() ? i->get<std::string>() : std::string{};
}

constexpr std::string_view exhausted = "resource_exhausted";

/// What a code word of the Connect protocol means; nothing for other words, which other services
/// have as they like. Exhausted is the sandbox, whose words the cause holds: it says nothing of the
/// account at the provider.
std::optional<errc> meaning_of(std::string_view code) {
  static constexpr std::array<std::pair<std::string_view, errc>, 16> table{{
      {"unauthenticated", errc::auth},
      {"not_found", errc::not_found},
      {"already_exists", errc::exists},
      {"aborted", errc::wrong_phase},
      {"deadline_exceeded", errc::timed_out},
      {"canceled", errc::timed_out},
      {"unavailable", errc::network},
      {exhausted, errc::remote_command_failed},
      {"unimplemented", errc::protocol},
      {"invalid_argument", errc::refused},
      {"permission_denied", errc::refused},
      {"failed_precondition", errc::refused},
      {"out_of_range", errc::refused},
      {"internal", errc::refused},
      {"data_loss", errc::refused},
      {"unknown", errc::refused},
  }};
  auto i = std::find_if(table.begin(), table.end(), [&](auto& x) { return x.first == code; });
  return i == table.end() ? std::nullopt : std::optional{i->second};
}

bool placement_code(std::string_view code) {
  constexpr std::array<std::string_view, 3> known{
      "sandbox_capacity_unavailable", "sandbox_placement_timeout", "sandbox_no_compatible_node"};
  return std::find(known.begin(), known.end(), code) != known.end();
}

/// Whole seconds of Retry-After; a date or nonsense counts as one second.
std::int64_t retry_after_ms(const std::string& value) {
  constexpr std::int64_t day = 86'400;
  std::int64_t seconds = 0;
  auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (bad != std::errc{} || end != value.data() + value.size()) seconds = 1;
  return std::clamp<std::int64_t>(seconds, 1, day) * 1000;
}

} // namespace

std::string foreign_text(std::string_view text, std::size_t cap_bytes) {
  // Before the cut, so that half a key is not left for none.
  const auto clean = masked_text(text.substr(0, 8 * cause_cap_bytes));
  auto out = clean.substr(0, cap_bytes);
  if (out.size() < clean.size()) // step back over a cut UTF-8 sequence
    while (!out.empty() && (static_cast<unsigned char>(clean[out.size()]) & 0xc0U) == 0x80)
      out.pop_back();
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  while (!out.empty() && out.back() == ' ')
    out.pop_back();
  return out;
}

error classify_connect(std::string_view code, std::string_view message) {
  auto known = meaning_of(code);
  error out = make_error(known.value_or(errc::refused));
  if (code == exhausted) out.message = "the sandbox itself is out of something";
  out.cause = foreign_text("[" + std::string{code} + "] " + std::string{message});
  return out;
}

error classify(int status, const std::map<std::string, std::string>& headers, std::string_view body,
               answerer who) {
  auto j = nested_too_deep(body) ? json{} : json::parse(body, nullptr, false);
  const bool object = j.is_object();
  if (!object) j = json::object();
  const bool has_number_code = object && j.contains("code") && j["code"].is_number_integer();
  const std::string connect_code = text_of(j, "code");
  const std::string message = text_of(j, "message");

  error out;
  out.message = "HTTP status " + std::to_string(status);
  out.cause = foreign_text(object && !message.empty() ? std::string_view{message} : body);
  auto is = [&](errc code) {
    out.code = code;
    return out;
  };

  if (status == 429) {
    if (auto i = headers.find("retry-after"); i != headers.end()) {
      out.retry_after_ms = retry_after_ms(i->second);
      return is(errc::rate);
    }
    if (j.contains("connectionLimit")) return is(errc::rate);
    if (who == answerer::control) return is(errc::quota);
    if (connect_code != exhausted) return is(errc::rate);
  }
  if (status == 502)
    return is(!text_of(j, "sandboxId").empty() && !j.contains("port") ? errc::gone : errc::network);
  if (meaning_of(connect_code)) {
    if (connect_code == exhausted && who == answerer::control) return is(errc::quota);
    auto e = classify_connect(connect_code, message);
    if (e.message.empty()) e.message = out.message;
    return e;
  }
  if (status == 503 && text_of(j, "error_code") == "no_isolation") { // our own host's word
    out.message = foreign_text(message);
    out.cause = foreign_text(text_of(j, "cause"));
    return is(errc::no_isolation);
  }
  switch (status) {
  case 401:
  case 403:
    return is(errc::auth);
  case 402: // payment required: the account's money is its quota
    return is(errc::quota);
  case 404:
    return is(has_number_code ? errc::not_found : errc::protocol);
  case 408:
  case 499:
    return is(errc::timed_out);
  case 409:
    return is(errc::wrong_phase);
  case 507:
    return is(errc::refused);
  default:
    break;
  }
  if (status >= 500)
    return is(placement_code(text_of(j, "error_code")) ? errc::capacity : errc::network);
  return is(status >= 400 ? errc::refused : errc::protocol);
}

} // namespace skep::sandbox
