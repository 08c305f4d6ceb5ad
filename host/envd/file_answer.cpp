#include "host/envd/file_answer.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace skep::envd {

std::string content_type(std::string_view name, std::string_view first_bytes) {
  constexpr std::pair<std::string_view, std::string_view> by_extension[] = {
      {".html", "text/html; charset=utf-8"},
      {".htm", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".json", "application/json"},
      {".xml", "text/xml; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".webp", "image/webp"},
      {".pdf", "application/pdf"},
      {".wasm", "application/wasm"},
      {".gz", "application/gzip"},
      {".zip", "application/zip"}};
  for (auto [extension, type] : by_extension)
    if (name.ends_with(extension)) return std::string{type};
  for (unsigned char c : first_bytes)
    if (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b)
      return "application/octet-stream";
  return "text/plain; charset=utf-8";
}

range_kind parse_range(std::string_view text, std::uint64_t size, byte_range& out) {
  if (!text.starts_with("bytes=") || text.find(',') != std::string_view::npos)
    return range_kind::whole;
  text.remove_prefix(6);
  auto dash = text.find('-');
  if (dash == std::string_view::npos) return range_kind::whole;
  auto number = [](std::string_view digits, std::uint64_t& value) {
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return ec == std::errc{} && end == digits.data() + digits.size();
  };
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  auto left = text.substr(0, dash);
  auto right = text.substr(dash + 1);
  if (left.empty()) {
    if (!number(right, last)) return range_kind::whole;
    if (last == 0 || size == 0) return range_kind::unsatisfiable;
    out = {size - std::min(last, size), size};
    return range_kind::part;
  }
  if (!number(left, first) || (!right.empty() && (!number(right, last) || last < first)))
    return range_kind::whole;
  if (first >= size) return range_kind::unsatisfiable;
  out = {first, right.empty() || last >= size ? size : last + 1};
  return range_kind::part;
}

std::string header_quoted(std::string_view name) {
  std::string out = "\"";
  for (char c : name)
    if (c == '"' || c == '\\')
      out.append({'\\', c});
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += '_'; // a file name may hold line ends, a header may not
    else
      out += c;
  return out + '"';
}

} // namespace skep::envd
