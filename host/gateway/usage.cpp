#include "host/gateway/usage.hpp"

#include <algorithm>

namespace skep::host::gate {

namespace {
constexpr std::size_t line_limit_bytes = 1U << 20;
constexpr std::size_t body_limit_bytes = 4U << 20;
// Of a longer body: the figures of all three APIs stand at its end.
constexpr std::size_t tail_bytes = 64U << 10;
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

// The object that `text` begins with, behind spaces; empty where there is none, or not all of it.
std::string_view first_object(std::string_view text) {
  auto begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  std::size_t depth = 0;
  bool in_string = false;
  for (auto at = begin; at < text.size(); ++at) {
    char c = text[at];
    if (in_string && c == '\\')
      ++at;
    else if (c == '"')
      in_string = !in_string;
    else if (!in_string && c == '{')
      ++depth;
    else if (!in_string && c == '}' && depth > 0 && --depth == 0)
      return text.substr(begin, at + 1 - begin);
    if (depth == 0) break; // it begins as something else
  }
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
    buffer_ += bytes;
    overflow_ = overflow_ || buffer_.size() > body_limit_bytes;
    // Moved seldom; a new string, which gives the memory of the long one back.
    if (overflow_ && buffer_.size() >= 2 * tail_bytes)
      buffer_ = buffer_.substr(buffer_.size() - tail_bytes);
    return;
  }
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    auto part = bytes.substr(0, end);
    overflow_ = overflow_ || buffer_.size() + part.size() > line_limit_bytes;
    lost_ = lost_ || overflow_;
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
  // Cut, it does not end with the answer's own figures.
  if (form_ == form::json && overflow_) lost_ = !complete || !tail(buffer_);
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
  figures(*usage);
  if (model_.empty()) model_ = model_in(j);
  for (const char* outer : {"message", "response"})
    if (const auto* inner = member(j, outer); inner && model_.empty()) model_ = model_in(*inner);
  return true;
}

bool usage_reader::tail(std::string_view text) {
  for (std::string_view name : {"\"usage\":", "\"usageMetadata\":"}) {
    auto at = text.rfind(name);
    if (at == std::string_view::npos) continue;
    auto usage = json::parse(first_object(text.substr(at + name.size())), nullptr, false);
    if (!usage.is_object()) continue;
    figures(usage);
    return true;
  }
  return false;
}

void usage_reader::figures(const json& usage) {
  reported_ = true;
  auto in = number(usage, "input_tokens") + number(usage, "prompt_tokens")
            + number(usage, "promptTokenCount");
  auto out = number(usage, "output_tokens") + number(usage, "completion_tokens")
             + number(usage, "candidatesTokenCount") + number(usage, "thoughtsTokenCount");
  // A stream reports its running totals several times.
  auto raise = [](std::uint64_t& to, std::uint64_t n) { to = std::max(to, n); };
  raise(tokens_.input, in);
  raise(tokens_.cache_write, number(usage, "cache_creation_input_tokens"));
  raise(tokens_.cache_read, number(usage, "cache_read_input_tokens"));
  raise(tokens_.output, out);
  if (const auto* written = member(usage, "cache_creation"))
    raise(tokens_.cache_write_1h, number(*written, "ephemeral_1h_input_tokens"));
  if (const auto* tools = member(usage, "server_tool_use"))
    raise(tokens_.web_searches, number(*tools, "web_search_requests"));
}

} // namespace skep::host::gate
