#include "host/envd/file_answer.hpp"

#include "host/envd/deflate.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace skep::envd {

namespace {

std::string http_date(std::time_t t) {
  tm utc{};
  ::gmtime_r(&t, &utc);
  std::array<char, 64> text;
  auto n = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text.data(), n};
}

// What is packed already only costs time.
bool worth_packing(std::string_view type) {
  return !type.starts_with("image/") && type != "application/gzip" && type != "application/zip"
         && type != "application/pdf";
}

} // namespace

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

file_plan plan_answer(const exchange& x, std::string_view name, std::uint64_t size,
                      std::time_t modified, std::string_view first_bytes) {
  file_plan out;
  auto date = http_date(modified);
  if (!x.has_header("Range") && x.header("If-Modified-Since") == date) {
    out.status = 304;
    out.headers = "Last-Modified: " + date + "\r\n";
    return out;
  }
  out.range = {0, size};
  auto kind = range_kind::whole;
  auto if_range = x.header("If-Range");
  if (x.has_header("Range") && (if_range.empty() || if_range == date))
    kind = parse_range(x.header("Range"), size, out.range);
  auto total = std::to_string(size);
  if (kind == range_kind::unsatisfiable) {
    out.status = 416;
    out.headers = "Content-Range: bytes */" + total + "\r\n";
    return out;
  }
  out.type = content_type(name, first_bytes);
  out.headers = "Accept-Ranges: bytes\r\nVary: Accept-Encoding\r\nLast-Modified: " + date
                + "\r\nContent-Disposition: inline; filename=" + header_quoted(name) + "\r\n";
  if (kind == range_kind::part) {
    out.status = 206;
    out.headers += "Content-Range: bytes " + std::to_string(out.range.begin) + '-'
                   + std::to_string(out.range.end - 1) + '/' + total + "\r\n";
  }
  out.packed = !x.has_header("Range") && worth_packing(out.type)
               && accepts_gzip(x.header("Accept-Encoding"));
  return out;
}

task<bool> send_head(exchange& x, const file_plan& plan) {
  if (plan.status == 304) {
    co_await x.reply(304, {}, {}, plan.headers);
    co_return true;
  }
  if (plan.status == 416) {
    co_await x.reply(416, "text/plain; charset=utf-8", "invalid range: failed to overlap\n",
                     plan.headers);
    co_return true;
  }
  if (plan.packed) {
    auto headers = "Content-Encoding: gzip\r\n" + plan.headers;
    co_await x.begin_stream(plan.status, plan.type, headers);
  } else {
    co_await x.begin_sized(plan.status, plan.type, plan.range.end - plan.range.begin, plan.headers);
  }
  co_return x.method() == "HEAD";
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
