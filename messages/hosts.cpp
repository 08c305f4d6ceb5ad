#include "messages/hosts.hpp"

#include <algorithm>

namespace skep {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-'
         && std::all_of(text.begin(), text.end(),
                        [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-'; });
}

// Resolvers take a last label of digits, or of 0x and hex digits, for a part of an IPv4 address.
bool is_number(std::string_view label) {
  bool hex = label.starts_with("0x");
  if (hex) label.remove_prefix(2);
  return std::all_of(label.begin(), label.end(),
                     [hex](char c) { return is_digit(c) || (hex && c >= 'a' && c <= 'f'); });
}

} // namespace

std::string lower_ascii(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (;;) {
    auto dot = text.find('.');
    auto label = text.substr(0, dot);
    if (!is_label(label)) return false;
    if (dot == std::string_view::npos) return !is_number(label);
    text.remove_prefix(dot + 1);
  }
}

bool is_host_pattern(std::string_view text) {
  if (text.starts_with("*.")) return is_host_name(text.substr(2));
  return text.find('.') != std::string_view::npos && is_host_name(text);
}

bool matches_host(std::string_view pattern, std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  auto name = lower_ascii(host);
  if (!pattern.starts_with("*.")) return name == pattern;
  auto end = pattern.substr(1); // with its dot
  return name.size() > end.size() && name.ends_with(end);
}

} // namespace skep
