// Scans contents of any length, given in pieces, with a few MiB of memory: windows of 1 MiB that
// overlap by 16 KiB. A match that begins in the last 8 KiB of a window is left to the next one, so
// that every value of up to 8 KiB is seen whole, once.
//
// All bytes are read, also those of binary files; in these only values of a known form count, no
// words and no assignments. UTF-16 with a byte order mark is read as text.
#pragma once

#include "transfer/scan_engine.hpp"

#include <string>
#include <unordered_set>

namespace skep::transfer {

/// Prints of values, each the SHA-256 of a rule, a severity and a value. They tell values apart in
/// memory, while something is scanned; nothing stores, sends or shows them.
using value_prints = std::unordered_set<std::string>;

/// What a scanner does with prints; by default it makes none.
struct print_use {
  bool keep = false; ///< take_met() has what was met.
  /// Values that are not told, and neither is one twice a content; they use up no place of their
  /// rule. Outlives the scanner, and is changed by nobody meanwhile.
  const value_prints* known = nullptr;
};

/// A value that a content holds, told or not.
struct met_value {
  scan_finding where; ///< Without its line.
  std::string print;
};

/// begin(), data() any number of times, end(); again for the next content. whole() is one data()
/// and end(), without a copy of what is short. One thread at a time.
class content_scanner {
public:
  static result<content_scanner> make(scan_engine_ptr engine, print_use prints = {});

  void begin(std::string path);
  /// errc::scan_failed when the engine fails.
  result<void> data(std::string_view piece);
  result<void> end();
  result<void> whole(std::string_view content);

  /// What was found since the last call: places in order, each rule at most once a line and ten
  /// times a content (what is low for itself), words once a content.
  std::vector<scan_finding> take();
  /// With print_use::keep the values of the last content, each once: also those that are not told
  /// because their rule has no place left, but no words. At most `most_prints`.
  std::vector<met_value> take_met();
  static constexpr std::size_t most_prints = 10'000;

private:
  struct place {
    std::size_t rule;
    std::uint64_t offset; ///< Of the value, in the content.
    finding_severity severity;
    std::string print; ///< Empty for a word, and where nobody asks for prints.
  };
  content_scanner(scan_scratch scratch, print_use prints)
      : scratch_(std::move(scratch)), prints_(prints) {}
  void note_start(std::string_view piece);
  result<void> scan_window(std::string_view window, bool last);
  void on_match(std::string_view window, std::size_t rule, std::size_t from, std::size_t to,
                std::size_t limit);
  void tell(std::string_view window, std::size_t limit);
  void meet(const place& p);
  bool is_known(const place& p) const;

  scan_scratch scratch_;
  print_use prints_;
  std::string path_;
  std::string window_;
  std::uint64_t base_ = 0;  ///< Offset of the window's first byte.
  std::uint64_t done_ = 0;  ///< Matches that begin before this offset were looked at.
  std::uint64_t lines_ = 0; ///< Line ends before the window.
  std::uint64_t known_ = 0; ///< Offset of the last value of a known form, plus 1.
  bool started_ = false;
  bool binary_ = false;
  bool wide_ = false; ///< UTF-16.
  std::vector<place> places_;
  std::vector<std::uint64_t> last_; ///< By rule: the start of the last match, plus 1.
  // By rule and whether the finding is low, so that examples never use up the place of a value.
  std::vector<unsigned> told_;      ///< Findings in this content.
  std::vector<std::uint64_t> line_; ///< Line of the last one.
  std::vector<scan_finding> findings_;
  value_prints told_prints_; ///< Of this content; kept where values are known.
  value_prints met_prints_;
  std::vector<met_value> met_;
};

} // namespace skep::transfer
