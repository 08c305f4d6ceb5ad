// A JSON reader of our own, for no library fits: nlohmann-json cannot be fed in pieces, and
// Boost.JSON came with Boost 1.75, while Debian 12 has 1.74 and a 1.81 that goes together neither
// with it nor with libmsgpack-cxx-dev. A strict parser would besides end at the first byte that is
// no JSON, and miss bounds behind it that a laxer server may read.
#include "host/gateway/ask.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace skep::host::gate {

namespace {
constexpr std::size_t text_limit_bytes = 100;
constexpr std::uint64_t unsaid_output_tokens = 4096;
// Above any model's; sums of such numbers do not overflow.
constexpr double most_output_tokens = 1e8;
constexpr std::uint64_t most_answers = 128;

char printable(char c) {
  return c >= 0x20 && c < 0x7f ? c : '?';
}

std::string_view path_of(std::string_view target) {
  return target.substr(0, target.find('?'));
}

unsigned hex_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return 0;
}

bool bounds_output(std::string_view key, std::size_t depth) {
  if (key == "max_output_tokens") return true;
  if (depth == 2) return key == "maxOutputTokens";
  return key == "max_tokens" || key == "max_completion_tokens";
}
} // namespace

bool may_cost(std::string_view method, std::string_view target) {
  auto path = path_of(target);
  return method == "POST" && !path.ends_with("/count_tokens") && !path.ends_with(":countTokens")
         && !path.ends_with("/input_tokens");
}

ask_reader::ask_reader(std::string_view target) {
  constexpr std::string_view models = "/models/";
  auto path = path_of(target);
  auto begin = path.rfind(models);
  auto end = path.rfind(':');
  if (begin == std::string_view::npos || end == std::string_view::npos) return;
  begin += models.size();
  if (end <= begin) return;
  by_path_ = true;
  for (char c : path.substr(begin, std::min(end - begin, text_limit_bytes)))
    model_ += printable(c);
}

std::uint64_t ask_reader::output_tokens() const {
  return (most_output_ > 0 ? most_output_ : unsaid_output_tokens) * answers_;
}

void ask_reader::feed(std::string_view bytes) {
  bytes_ += bytes.size();
  for (std::size_t i = 0; i < bytes.size() && !whole_; ++i) {
    if (!in_string_) {
      outside(bytes[i]);
      continue;
    }
    // Most of a request is text that says nothing here.
    while (!kept_ && !escaped_ && i < bytes.size() && bytes[i] != '"' && bytes[i] != '\\')
      ++i;
    if (i < bytes.size()) in_string(bytes[i]);
  }
}

void ask_reader::outside(char c) {
  switch (c) {
  case '"':
    in_string_ = true;
    kept_ = watched() && (at_key_ || key_ == "model");
    text_.clear();
    break;
  case '{':
  case '[':
    ++depth_;
    if (depth_ == 1) object_ = c == '{';
    if (depth_ == 2)
      inner_ = c == '{' && (key_ == "generationConfig" || key_ == "generation_config");
    at_key_ = c == '{';
    break;
  case '}':
  case ']':
    number_ends();
    if (depth_ > 0) --depth_;
    at_key_ = false;
    whole_ = object_ && depth_ == 0;
    break;
  case ':':
    at_key_ = false;
    break;
  case ',':
    number_ends();
    at_key_ = watched();
    break;
  default:
    if (watched() && !at_key_ && text_.size() < text_limit_bytes
        && std::string_view{"+-.0123456789eE"}.find(c) != std::string_view::npos)
      text_ += c;
  }
}

void ask_reader::in_string(char c) {
  if (digits_left_ > 0) {
    code_ = code_ * 16 + hex_value(c);
    if (--digits_left_ == 0) keep(code_ < 0x7f ? static_cast<char>(code_) : '?');
  } else if (std::exchange(escaped_, false)) {
    if (c == 'u' && kept_) {
      digits_left_ = 4;
      code_ = 0;
    } else {
      keep(c == '/' || c == '"' || c == '\\' ? c : '?');
    }
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
    if (kept_) string_ends();
  } else {
    keep(c);
  }
}

void ask_reader::keep(char c) {
  // What is kept may be shown: printable, whatever was sent.
  if (kept_ && text_.size() < text_limit_bytes) text_ += printable(c);
}

void ask_reader::string_ends() {
  auto text = std::exchange(text_, {});
  if (at_key_)
    key_ = std::move(text);
  else if (depth_ == 1 && !by_path_)
    model_ = std::move(text);
}

void ask_reader::number_ends() {
  auto text = std::exchange(text_, {});
  double n = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec == std::errc::result_out_of_range && text.find('-') == std::string::npos)
    n = most_output_tokens;
  else if (ec != std::errc{})
    return;
  if (!(n >= 1)) return;
  auto value = static_cast<std::uint64_t>(std::min(n, most_output_tokens));
  // Named twice, or by two names: the largest.
  if (bounds_output(key_, depth_)) most_output_ = std::max(most_output_, value);
  if (depth_ == 1 && key_ == "n") answers_ = std::max(answers_, std::min(value, most_answers));
}

} // namespace skep::host::gate
