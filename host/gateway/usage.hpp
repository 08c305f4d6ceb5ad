// Token counts out of the answers of model APIs, as they pass: server-sent events and JSON bodies
// with a `usage` object (Anthropic, OpenAI, Gemini). Best effort: what cannot be read is not
// counted.
#pragma once

#include "host/gateway/spend.hpp"
#include "messages/json.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::host::gate {

/// Of a JSON body that is longer than it keeps (4 MiB) it reads the figures at the end.
class usage_reader {
public:
  /// `content_type` of the answer; `encoded`: it has a Content-Encoding, so nothing can be read.
  usage_reader(std::string_view content_type, bool encoded);
  void feed(std::string_view bytes);
  /// The answer is over. When it was cut, or tells no figures to its end, what its text must have
  /// cost is counted where the answer has not said more: a token for each four bytes, which is an
  /// estimate.
  void finish(bool complete = true);

  /// Figures were reported.
  bool reported() const { return reported_; }
  /// Figures were reported, or after finish(): text of a stream has passed without.
  bool seen() const { return reported_ || streamed_; }
  const token_usage& tokens() const { return tokens_; }
  /// After finish(): its text was looked at from beginning to end. False for one that is encoded,
  /// of another kind, or too long, and has told no figures at its end.
  bool readable() const { return form_ != form::none && !lost_; }
  /// As the answer names it; at most 100 bytes, and empty when it names none.
  const std::string& model() const { return model_; }
  std::uint64_t input_tokens() const { return tokens_.all() - tokens_.output; }
  std::uint64_t output_tokens() const { return tokens_.output; }

private:
  void line(std::string_view text);
  bool document(std::string_view text); ///< False: no figures in it.
  bool tail(std::string_view text);     ///< The same for the end of a document.
  void figures(const json& usage);
  void pass(std::string_view text);

  enum class form { none, events, json } form_ = form::none;
  std::string buffer_;
  bool overflow_ = false; ///< The present line (or the body) is too long to be looked at whole.
  bool lost_ = false;     ///< Something was, and what it said is not known.
  bool reported_ = false;
  bool streamed_ = false;
  std::uint64_t text_bytes_ = 0; ///< Of the answer's text, in events and bodies without figures.
  token_usage tokens_;
  std::string model_;
};

} // namespace skep::host::gate
