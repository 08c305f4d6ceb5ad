#include "host/gateway/usage.hpp"

#include "messages/json.hpp"

#include <algorithm>

namespace skep::host::gate {

namespace {
constexpr std::size_t line_limit_bytes = 1U << 20;
constexpr std::size_t body_limit_bytes = 4U << 20;
constexpr std::size_t model_limit_bytes = 100;

std::uint64_t number(const json& j, const char* name) {
  auto i = j.find(name);
  return i != j.end() && i->is_number_unsigned() ? i->get<std::uint64_t>() : 0;
}

const json* member(const json& j, const char* name) {
  if (!j.is_object()) return nullptr;
  auto i = j.find(name);
  return i != j.end() && i->is_object() ? &*i : nullptr;
}
std::string model_in(const json& j) {
  for (const char* name : {"model", "modelVersion"})
    if (auto i = j.find(name); i != j.end() && i->is_string())
      return i->get<std::string>().substr(0, model_limit_bytes);
  return {};
}
} // namespace

usage_reader::usage_reader(std::string_view content_type, bool encoded) {
  if (encoded) return;
  if (content_type.starts_with("text/event-stream")) form_ = form::events;
  if (content_type.starts_with("application/json")) form_ = form::json;
}

void usage_reader::feed(std::string_view bytes) {
  if (form_ == form::none) return;
  if (form_ == form::json) {
    overflow_ = overflow_ || buffer_.size() + bytes.size() > body_limit_bytes;
    if (overflow_)
      buffer_.clear();
    else
      buffer_ += bytes;
    return;
  }
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    auto part = bytes.substr(0, end);
    overflow_ = overflow_ || buffer_.size() + part.size() > line_limit_bytes;
    if (overflow_)
      buffer_.clear();
    else
      buffer_ += part;
    if (end == std::string_view::npos) return;
    if (!overflow_) line(buffer_);
    buffer_.clear();
    overflow_ = false;
    bytes.remove_prefix(end + 1);
  }
}

void usage_reader::finish(bool complete) {
  if (form_ == form::events && !overflow_) line(buffer_);
  if (form_ == form::json && !overflow_ && !document(buffer_)) pass(buffer_);
  buffer_.clear();
  streamed_ = form_ == form::events && text_bytes_ > 0;
  if (!complete || !reported_) tokens_.output = std::max(tokens_.output, (text_bytes_ + 3) / 4);
}

// Text of the model in an event, or in a body that was cut, by the names that the three APIs have
// for it; without parsing.
void usage_reader::pass(std::string_view text) {
  for (std::string_view name : {"\"text\":", "\"thinking\":", "\"partial_json\":", "\"content\":",
                                "\"arguments\":", "\"delta\":", "\"reasoning_content\":"}) {
    for (auto at = text.find(name); at < text.size(); at = text.find(name, at)) {
      at = std::min(text.find_first_not_of(' ', at + name.size()), text.size());
      if (at == text.size() || text[at] != '"') continue;
      auto begin = ++at;
      while (at < text.size() && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
      at = std::min(at, text.size());
      text_bytes_ += at - begin;
    }
  }
}

void usage_reader::line(std::string_view text) {
  if (!text.starts_with("data:")) return;
  text.remove_prefix(5);
  // Most events carry text only; they are not worth parsing. Some say "usage":null beside it.
  if (text.find("\"usage") == std::string_view::npos || !document(text)) pass(text);
}

bool usage_reader::document(std::string_view text) {
  auto j = json::parse(text, nullptr, false);
  if (!j.is_object()) return false;
  const json* usage = member(j, "usage");
  for (const char* outer : {"message", "response"})
    if (const auto* inner = member(j, outer); inner && !usage) usage = member(*inner, "usage");
  if (const auto* gemini = member(j, "usageMetadata"); gemini && !usage) usage = gemini;
  if (!usage) return false;
  reported_ = true;
  if (model_.empty()) model_ = model_in(j);
  for (const char* outer : {"message", "response"})
    if (const auto* inner = member(j, outer); inner && model_.empty()) model_ = model_in(*inner);
  auto in = number(*usage, "input_tokens") + number(*usage, "prompt_tokens")
            + number(*usage, "promptTokenCount");
  auto out = number(*usage, "output_tokens") + number(*usage, "completion_tokens")
             + number(*usage, "candidatesTokenCount") + number(*usage, "thoughtsTokenCount");
  // A stream reports its running totals several times.
  auto raise = [](std::uint64_t& to, std::uint64_t n) { to = std::max(to, n); };
  raise(tokens_.input, in);
  raise(tokens_.cache_write, number(*usage, "cache_creation_input_tokens"));
  raise(tokens_.cache_read, number(*usage, "cache_read_input_tokens"));
  raise(tokens_.output, out);
  return true;
}

} // namespace skep::host::gate
