// Secrets in text: the one place that knows how they look. Two ways to use it:
//
//   masker      a stream of bytes, known values alone, '*' of the same length: output of agents
//   redactor    whole lines of ours (log, audit): known values, and what looks like a secret
//
// A value is known in these forms: plain, URL, base64 and base64url at their three alignments, hex
// in both cases; a line break between two of its characters does not hide it, since terminals,
// base64 and xxd break long values. What merely looks like a secret: blocks of private keys, public
// keys and fingerprints, keys of providers by their beginnings, tokens with three parts, what
// follows "Bearer " or "password=", passwords in URLs, and long base64. It is replaced by
// "[removed: WHAT]".
#pragma once

#include "messages/error.hpp"

#include <bitset>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Values shorter than this are ignored: masking them would destroy ordinary text.
inline constexpr std::size_t shortest_masked = 5;

/// Every form in which a secret value is masked; none for values that are too short.
std::vector<std::string> masked_forms(const std::vector<std::string>& secrets);

/// Values to look for, ordered so that each place of a text is decided quickly.
class form_set {
public:
  form_set() = default;
  /// `forms`: as masked_forms() gives them. Too short ones are ignored.
  explicit form_set(std::vector<std::string> forms);
  bool empty() const { return values_.empty(); }
  /// How many bytes of a text one value takes at most, line breaks inside of it included.
  std::size_t longest() const;
  /// Length of the longest value that `rest` (not empty) begins with, 0 for none; line breaks
  /// inside of it (LF, CR LF) count. `undecided`: `rest` is the beginning of a longer one; never
  /// when nothing more comes (`over`).
  std::size_t match(std::string_view rest, bool over, bool& undecided) const;

private:
  std::vector<std::string> values_; ///< By their first byte, then longest first.
  std::bitset<256> first_bytes_;
};

/// Replaces known values in a stream of bytes, keeping its length.
class masker {
public:
  /// `forms`: what is replaced, as masked_forms() gives it. Too short ones are ignored.
  explicit masker(std::vector<std::string> forms) : forms_(std::move(forms)) {}
  /// Masks all whole values in held-back bytes + `data`, returns what is decided, holds the rest
  /// back.
  std::string feed(std::string_view data);
  /// Everything still held back: nothing more comes, what is whole in it is masked.
  std::string flush();
  /// Bytes are missing, `since` bytes ago: what is held back is dropped, and what came behind them
  /// may begin with the rest of a value. So many bytes as the longest value may have are stars, up
  /// to line breaks.
  void lose(std::size_t since = 0);
  /// For those who cannot wait: what is held back and was not shown yet, whole values masked. It
  /// stays known, so of a value that comes slowly only its beginning is seen.
  std::string show();
  std::size_t held() const { return held_.size(); }

private:
  std::string decide(bool over);
  std::string unseen(std::string masked);
  std::string blinded(std::string text);
  form_set forms_;
  std::string held_;
  std::size_t shown_ = 0; ///< So many bytes of held_ were given out by show().
  std::size_t blind_ = 0; ///< So many bytes that come may be the rest of a value.
};

/// Replaces what looks like a secret, whatever its value. About linear in the text.
std::string without_shapes(std::string_view text);

/// Known values and shapes, for whole texts. const, so that threads may share one.
class redactor {
public:
  redactor() = default;
  explicit redactor(const std::vector<std::string>& secrets) : forms_(masked_forms(secrets)) {}
  std::string operator()(std::string_view text) const;

private:
  form_set forms_;
};

// ---- the mask of this process ---------------------------------------------------------------

/// Sets what texts of errors and events pass through; without it they lose shapes alone. To be
/// called before other threads are there; `mask` must be thread-safe.
void set_process_mask(std::function<std::string(std::string_view)> mask);
/// A text through that mask. Thread-safe.
std::string masked_text(std::string_view text);
/// An error with its message and cause through that mask. Thread-safe.
error masked(error e);

} // namespace skep
