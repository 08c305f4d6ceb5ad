#include "host/envd/multipart.hpp"

#include <algorithm>
#include <utility>

namespace skep::envd {

namespace {
constexpr std::size_t part_header_limit_bytes = 16U << 10;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
    s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
    s.remove_suffix(1);
  return s;
}
// A name is a token (RFC 9110, 5.6.2), as far as it matters here: nothing that ends a line or a
// word.
bool valid_name(std::string_view name) {
  return !name.empty()
         && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

// Any bytes but control characters: file names need not be UTF-8.
bool valid_value(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto x = static_cast<unsigned char>(c);
    return (x < ' ' && c != '\t') || c == '\x7f';
  });
}
} // namespace

multipart_reader::multipart_reader(std::string_view boundary, handlers h)
    : delimiter_("\r\n--" + std::string{boundary}), handlers_(std::move(h)) {}

bool multipart_reader::feed(std::string_view bytes) {
  buffer_ += bytes;
  for (;;) {
    switch (state_) {
    case state::preamble:
    case state::data: {
      auto at = buffer_.find(delimiter_);
      // Without a delimiter all but its possible beginning is content.
      auto content = at != std::string::npos               ? at
                     : buffer_.size() >= delimiter_.size() ? buffer_.size() - delimiter_.size() + 1
                                                           : 0;
      if (state_ == state::data && content > 0)
        handlers_.data(std::string_view{buffer_}.substr(0, content));
      if (at == std::string::npos) {
        buffer_.erase(0, content);
        return true;
      }
      buffer_.erase(0, at + delimiter_.size());
      if (state_ == state::data) handlers_.end();
      state_ = state::after_boundary;
      break;
    }
    case state::after_boundary: {
      if (buffer_.size() < 2) return true;
      if (buffer_.starts_with("--")) {
        state_ = state::done;
        break;
      }
      auto end = buffer_.find("\r\n");
      if (end == std::string::npos) return buffer_.size() < part_header_limit_bytes;
      if (end >= part_header_limit_bytes || !trim(std::string_view{buffer_}.substr(0, end)).empty())
        return false;
      buffer_.erase(0, end); // its CRLF may be that of an empty header
      state_ = state::headers;
      break;
    }
    case state::headers: {
      auto end = buffer_.find("\r\n\r\n");
      if (end == std::string::npos) return buffer_.size() < part_header_limit_bytes;
      if (end >= part_header_limit_bytes
          || !parse_headers(std::string_view{buffer_}.substr(0, end)))
        return false;
      // The second CRLF stays out: an empty part's delimiter brings a CRLF of its own.
      buffer_.erase(0, end + 4);
      state_ = state::data;
      break;
    }
    case state::done:
      buffer_.clear();
      return true;
    }
  }
}

bool multipart_reader::parse_headers(std::string_view text) {
  std::map<std::string, std::string> headers;
  while (!text.empty()) {
    auto end = text.find("\r\n");
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 2);
    if (line.empty()) continue;
    auto colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    std::string name;
    for (char c : trim(line.substr(0, colon)))
      name += lower(c);
    const auto value = trim(line.substr(colon + 1));
    if (!valid_name(name) || !valid_value(value)) return false;
    headers[name] = value;
  }
  handlers_.begin(headers);
  return true;
}

bool header_parameter(std::string_view header, std::string_view name, std::string& out) {
  auto at = header.find(';');
  while (at != std::string_view::npos) {
    header = trim(header.substr(at + 1));
    auto equals = header.find_first_of("=;");
    if (equals == std::string_view::npos) return false;
    if (header[equals] == ';') {
      at = equals;
      continue;
    }
    std::string key;
    for (char c : trim(header.substr(0, equals)))
      key += lower(c);
    header = trim(header.substr(equals + 1));
    std::string value;
    std::size_t i = 0;
    if (header.starts_with("\"")) {
      for (i = 1; i < header.size() && header[i] != '"'; ++i) {
        // Only a quote or a backslash is escaped, as browsers and Go's mime package do.
        if (header[i] == '\\' && i + 1 < header.size()
            && (header[i + 1] == '"' || header[i + 1] == '\\'))
          ++i;
        value += header[i];
      }
    } else {
      i = std::min(header.find(';'), header.size());
      value = trim(header.substr(0, i));
    }
    if (key == name) {
      out = value;
      return true;
    }
    at = header.find(';', i);
  }
  return false;
}

} // namespace skep::envd
