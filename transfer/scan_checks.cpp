#include "transfer/scan_checks.hpp"

#include "messages/json.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <zlib.h>

namespace skep::transfer {
namespace {

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alnum(char c) {
  return is_lower(c) || is_upper(c) || is_digit(c);
}
bool one_of(char c, std::string_view set) {
  return set.find(c) != set.npos;
}

bool in_class(value_chars chars, char c) {
  if (is_alnum(c)) return true;
  switch (chars) {
  case value_chars::word:
    return c == '_';
  case value_chars::url64:
    return c == '_' || c == '-';
  case value_chars::dotted:
    return one_of(c, "_-.~=");
  case value_chars::base64:
    return one_of(c, "+/=");
  case value_chars::any64:
    return one_of(c, "+/=_-");
  case value_chars::colon:
    return one_of(c, "_-:");
  case value_chars::dollar:
    return c == '_' || c == '$';
  case value_chars::url:
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && !one_of(c, "\"'`<>\\)]},");
  case value_chars::exact:
    return false;
  }
  return false;
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (auto& c : out)
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// Nothing before `at` that would make the value the end of a longer word. A '-' or '+' in the
/// first column is a patch's, and "\n" written as two characters ends a word.
bool begins_here(std::string_view text, std::size_t at) {
  if (at == 0) return true;
  auto c = text[at - 1];
  auto before = at >= 2 ? text[at - 2] : '\n';
  if (c == '-') return before == '\n';
  if (one_of(c, "nrt")) return before == '\\';
  return !is_alnum(c) && c != '_';
}

std::string_view run_of(value_chars chars, std::string_view text, std::size_t from) {
  auto to = from;
  while (to < text.size() && in_class(chars, text[to]))
    ++to;
  // The end of a sentence is no part of it.
  while (chars == value_chars::dotted && to > from && text[to - 1] == '.')
    --to;
  return text.substr(from, to - from);
}

bool fits(const scan_rule& rule, std::string_view value) {
  return value.size() >= rule.least && value.size() <= rule.most;
}

finding_severity severity_of(const scan_rule& rule, std::string_view value) {
  bool real = entropy_of(value) >= rule.entropy && !looks_made_up(value);
  return real ? rule.severity : finding_severity::low;
}

checked_match check_value(const scan_rule& rule, std::string_view text, std::size_t from) {
  auto value = run_of(rule.chars, text, from);
  if (!begins_here(text, from) || !fits(rule, value)) return {};
  return {true, severity_of(rule, value), from, value};
}

/// 30 characters between prefix and checksum; of GitHub's tokens, and of npm's that follow them.
bool checksum_holds(std::string_view token) {
  if (token.size() != 40) return false;
  auto body = token.substr(4, 30);
  auto crc = ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), 30);
  constexpr std::string_view letters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::array<char, 6> check{};
  for (auto i = check.size(); i-- > 0; crc /= 62)
    check[i] = letters[crc % 62];
  return token.substr(34) == std::string_view{check.data(), check.size()};
}

checked_match check_github(const scan_rule& rule, std::string_view text, std::size_t from) {
  auto out = check_value(rule, text, from);
  if (out.found && checksum_holds(run_of(rule.chars, text, from))) out.severity = rule.severity;
  return out;
}

/// What stands behind a name: where its value begins and ends, and how it was written.
struct assigned_value {
  std::size_t at = 0;
  std::string_view value;
  bool quoted = false;
  bool tight = false; ///< NAME=VALUE, without a space.
};

/// Reads on behind a name that begins before `at`: NAME = "V", "NAME": "V", NAME=V, NAME: V,
/// 'NAME' => 'V', NAME := "V".
std::optional<assigned_value> value_behind(std::string_view text, std::size_t at) {
  auto end = std::min(text.size(), at + 512);
  auto name_end = std::min(end, at + 40);
  while (at < name_end && (is_alnum(text[at]) || one_of(text[at], "_-.")))
    ++at;
  auto skip = [&](std::string_view set, std::size_t most) {
    auto begin = at;
    while (at < end && at - begin < most && one_of(text[at], set))
      ++at;
    return at - begin;
  };
  skip("\\\"'`]", 3);
  auto spaces = skip(" \t", 8);
  auto sign = at;
  if (skip(":=", 2) == 0) return {};
  // Comparisons and scopes, no assignments.
  auto operation = text.substr(sign, at - sign);
  if (operation == "==" || operation == "::") return {};
  if (at < end && text[at] == '>') ++at; // =>
  if (at < end && text[at] == '=') return {};
  spaces += skip(" \t", 8);
  assigned_value out;
  out.tight = spaces == 0;
  skip("\\", 1);
  char quote = at < end && one_of(text[at], "\"'`") ? text[at] : '\0';
  out.quoted = quote != '\0';
  if (out.quoted) ++at;
  out.at = at;
  while (at < end && static_cast<unsigned char>(text[at]) >= 0x20 && text[at] != 0x7f
         && (out.quoted ? text[at] != quote && text[at] != '\\' : !one_of(text[at], " ,;\"'`&")))
    ++at;
  if (out.quoted && (at >= end || (text[at] != quote && text[at] != '\\'))) return {};
  out.value = text.substr(out.at, at - out.at);
  return out;
}

checked_match check_named(const scan_rule& rule, std::string_view text, std::size_t to) {
  auto got = value_behind(text, to);
  if (!got) return {};
  auto value = run_of(rule.chars, text, got->at);
  if (!fits(rule, value)) return {};
  return {true, severity_of(rule, value), got->at, value};
}

checked_match check_assigned(const scan_rule& rule, std::string_view text, std::size_t to) {
  auto got = value_behind(text, to);
  if (!got || !fits(rule, got->value)) return {};
  auto value = got->value;
  // Code, a path, a URL, a variable or a text stands there instead of a value.
  if (std::any_of(value.begin(), value.end(), [](char c) {
        return one_of(c, " \t()[]{}<>$\\|;,?") || static_cast<unsigned char>(c) >= 0x7f;
      }))
    return {};
  if (!got->quoted && value.find('.') != value.npos) return {}; // a.member.of.something
  if (value.find("://") != value.npos || value.front() == '/' || value.front() == '@') return {};
  if (!looks_random(value) || looks_made_up(value)) return {};
  return {true, rule.severity, got->at, value};
}

/// True when base64 stands in the next lines: one stretch of 40 characters, drawn by lot.
bool base64_follows(std::string_view text, std::size_t at) {
  auto rest = text.substr(at, 1200);
  std::size_t lines = 0;
  for (std::size_t i = 0; i < rest.size() && lines < 12;) {
    auto stretch = run_of(value_chars::base64, rest, i);
    if (stretch.size() >= 40) return entropy_of(stretch.substr(0, 64)) >= 3.0;
    if (rest.substr(i, 5) == "-----") return false;
    if (stretch.empty() && (rest[i] == '\n' || rest[i] == '\\')) ++lines;
    i += std::max<std::size_t>(stretch.size(), 1);
  }
  return false;
}

constexpr std::size_t most_body = 8 * 1024; // of a key, with all that stands between its lines

checked_match check_key_block(const scan_rule& rule, std::string_view text, std::size_t from,
                              std::size_t to) {
  if (!base64_follows(text, to)) return {};
  auto body = text.substr(to, most_body);
  return {true, rule.severity, from, body.substr(0, body.find("-----"))};
}

checked_match check_putty(const scan_rule& rule, std::string_view text, std::size_t from,
                          std::size_t to) {
  auto rest = text.substr(to, 4096);
  auto lines = rest.find("Private-Lines:");
  if (lines == rest.npos || !base64_follows(rest, lines)) return {};
  auto body = rest.substr(lines);
  return {true, rule.severity, from, body.substr(0, body.find("Private-MAC:"))};
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (char c : text) {
    unsigned v = 0;
    if (is_upper(c))
      v = static_cast<unsigned>(c - 'A');
    else if (is_lower(c))
      v = static_cast<unsigned>(c - 'a' + 26);
    else if (is_digit(c))
      v = static_cast<unsigned>(c - '0' + 52);
    else if (c == '-')
      v = 62;
    else if (c == '_')
      v = 63;
    else
      return {};
    bits = bits << 6 | v;
    if ((count += 6) >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return out;
}

checked_match check_jwt(const scan_rule& rule, std::string_view text, std::size_t from) {
  auto out = check_value(rule, text, from);
  if (!out.found) return {};
  auto token = run_of(rule.chars, text, from);
  auto first = token.find('.');
  auto second = token.find('.', first + 1);
  if (first == token.npos || second == token.npos || token.size() - second < 20) return {};
  auto head = from_base64url(token.substr(0, first));
  auto payload = from_base64url(token.substr(first + 1, second - first - 1));
  if (!head || !payload) return {};
  auto parsed = json::parse(*head, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("alg")) return {};
  // Supabase's keys for servers pass every check of a row's owner, and live for ten years.
  auto claims = json::parse(*payload, nullptr, false);
  if (claims.is_object() && claims.contains("role") && claims["role"] == "service_role"
      && out.severity == rule.severity)
    out.severity = finding_severity::high;
  return out;
}

checked_match check_url_password(const scan_rule& rule, std::string_view text, std::size_t from) {
  auto url = run_of(value_chars::url, text, from);
  auto begin = url.find("://");
  if (begin == url.npos || !begins_here(text, from)) return {};
  auto rest = url.substr(begin + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  auto at = rest.rfind('@');
  if (at == rest.npos || at + 1 == rest.size()) return {};
  auto user = rest.substr(0, at);
  auto host = lower(rest.substr(at + 1));
  auto colon = user.find(':');
  if (colon == user.npos) return {};
  auto password = user.substr(colon + 1);
  auto word = lower(password);
  constexpr std::string_view defaults[] = {
      "password", "passwd",   "secret",   "postgres", "example",  "mysecret", "mypass",
      "testpass", "username", "changeit", "rootpass", "userpass", "dbpass",   "guest"};
  bool variable = password.find_first_of("${}<>%*()[]") != password.npos;
  bool known = std::any_of(std::begin(defaults), std::end(defaults),
                           [&](auto d) { return word.find(d) != word.npos; });
  if (variable || known || password.size() < 6 || looks_made_up(password)) return {};
  bool near = host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]")
              || host.starts_with("host") || host.find("example.") != host.npos
              || host.find(".test") != host.npos || host.find(".invalid") != host.npos;
  bool mixed = std::any_of(password.begin(), password.end(), is_digit)
               && std::any_of(password.begin(), password.end(),
                              [](char c) { return is_lower(c) || is_upper(c); });
  bool strong = (mixed && password.size() >= 8 && entropy_of(password) >= 2.5)
                || (password.size() >= 14 && entropy_of(password) >= 3.2);
  return {true, near || !strong ? finding_severity::low : rule.severity, from, url};
}

} // namespace

double entropy_of(std::string_view value) {
  if (value.empty()) return 0;
  std::array<std::size_t, 256> count{};
  for (unsigned char c : value)
    ++count[c];
  double out = 0;
  auto size = static_cast<double>(value.size());
  for (auto n : count)
    if (n > 0) out -= static_cast<double>(n) / size * std::log2(static_cast<double>(n) / size);
  return out;
}

bool looks_made_up(std::string_view value) {
  constexpr std::string_view words[] = {
      "example", "placeholder", "redacted", "changeme", "replace", "insert", "xxxxx",   "00000000",
      "1234567", "abcdefg",     "your-",    "your_",    "yourto",  "yourap", "yourse",  "dummy",
      "foobar",  "deadbeef",    "fffffff",  "******",   "......",  "-here",  "invalid", "notreal"};
  auto text = lower(value);
  return std::any_of(std::begin(words), std::end(words),
                     [&](auto w) { return text.find(w) != text.npos; });
}

bool looks_random(std::string_view value) {
  while (value.ends_with('='))
    value.remove_suffix(1);
  std::size_t digits = 0, lowers = 0, uppers = 0, others = 0, changes = 0;
  auto kind = [](char c) { return is_digit(c) ? 0 : is_lower(c) ? 1 : is_upper(c) ? 2 : 3; };
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto k = kind(value[i]);
    ++(k == 0 ? digits : k == 1 ? lowers : k == 2 ? uppers : others);
    if (i > 0 && k != kind(value[i - 1])) ++changes;
  }
  auto size = static_cast<double>(value.size());
  // A number, a word, a name in one case, or what is mostly marks.
  if (digits == 0 || lowers + uppers == 0 || static_cast<double>(others) > size / 4) return false;
  bool uuid = value.size() == 36 && value[8] == '-' && value[13] == '-' && value[18] == '-'
              && value[23] == '-';
  if (uuid) return false;
  auto rate = static_cast<double>(changes) / size;
  bool hex = std::all_of(value.begin(), value.end(), [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
  if (hex) return value.size() >= 32 && entropy_of(value) >= 3.0 && rate >= 0.2;
  // Names in camel case change at every word; with hardly a digit it takes more than that.
  if (lowers > 0 && uppers > 0)
    return entropy_of(value) >= 3.4 && rate >= (digits < 2 ? 0.45 : 0.35);
  // One case and digits: dates and versions in names have few changes.
  return value.size() >= 20 && entropy_of(value) >= 3.4 && rate >= 0.25 && digits >= 4
         && others <= 1;
}

checked_match check_match(const scan_rule& rule, std::string_view text, std::size_t from,
                          std::size_t to) {
  switch (rule.check) {
  case scan_check::value:
    return check_value(rule, text, from);
  case scan_check::named:
    return check_named(rule, text, to);
  case scan_check::github:
    return check_github(rule, text, from);
  case scan_check::key_block:
    return check_key_block(rule, text, from, to);
  case scan_check::putty:
    return check_putty(rule, text, from, to);
  case scan_check::jwt:
    return check_jwt(rule, text, from);
  case scan_check::url_password:
    return check_url_password(rule, text, from);
  case scan_check::assigned:
    return check_assigned(rule, text, to);
  case scan_check::word:
    return {true, rule.severity, from};
  }
  return {};
}

} // namespace skep::transfer
