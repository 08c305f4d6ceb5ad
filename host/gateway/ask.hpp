// What a request asks of a model, read from its bytes as they pass: which model, how much it sends,
// how much answer it allows. Nothing of the text is kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::host::gate {

/// False for requests that no model works on for money: all but POST, and those that only count
/// tokens (`/count_tokens`, `:countTokens`, `/input_tokens`).
bool may_cost(std::string_view method, std::string_view target);

/// Reads a JSON body that comes in pieces cut anywhere (Anthropic, OpenAI, Gemini). Best effort, as
/// usage_reader: a body that is something else names nothing.
class ask_reader {
public:
  /// `target` is path and query; a path as Gemini's (`/models/NAME:generateContent`) names the
  /// model.
  explicit ask_reader(std::string_view target);
  void feed(std::string_view bytes);

  /// At most 100 printable characters; empty when none is named. The last one, if it is named
  /// twice.
  const std::string& model() const { return model_; }
  /// A model is named, or the body is no JSON, so that it may be.
  bool may_name_model() const { return !model_.empty() || (bytes_ > 0 && !whole_); }
  /// An estimate: a token for each four bytes.
  std::uint64_t input_tokens() const { return (bytes_ + 3) / 4; }
  /// The most that may be answered, by all bounds that the request names; 4096 where it names none.
  std::uint64_t output_tokens() const;

private:
  void outside(char c);
  void in_string(char c);
  void keep(char c);
  void string_ends();
  void number_ends();
  /// Inside the outermost object, or in its `generationConfig`.
  bool watched() const { return object_ && (depth_ == 1 || (depth_ == 2 && inner_)); }

  std::string model_;
  bool by_path_ = false; ///< The path names the model, and the body has no say.
  std::uint64_t bytes_ = 0;
  std::uint64_t most_output_ = 0;
  std::uint64_t answers_ = 1; ///< How many are asked for at once (`n`).

  std::string key_;  ///< The last one at a watched place.
  std::string text_; ///< Of the string or the number that is being read, its beginning.
  std::size_t depth_ = 0;
  bool object_ = false; ///< The body begins as an object.
  bool whole_ = false;  ///< And that object has ended.
  bool inner_ = false;
  bool at_key_ = false;
  bool in_string_ = false;
  bool kept_ = false; ///< The string is one that counts here.
  bool escaped_ = false;
  unsigned digits_left_ = 0; ///< Of \uXXXX.
  unsigned code_ = 0;
};

} // namespace skep::host::gate
