// The rules of the scan for credentials as data; the table itself is scan_rules.def.
#pragma once

#include "messages/findings.hpp"

#include <string_view>
#include <vector>

namespace skep::transfer {

/// Characters that a value may consist of.
enum class value_chars : std::uint8_t {
  exact,  ///< What the pattern matched, and nothing more.
  word,   ///< A-Z a-z 0-9 _
  url64,  ///< word and -
  dotted, ///< url64 and . ~ = (a full stop at the end belongs to the sentence)
  base64, ///< A-Z a-z 0-9 + / =
  any64,  ///< base64 and url64
  colon,  ///< url64 and :
  dollar, ///< word and $
  url     ///< Everything but spaces, quotes, brackets and control characters.
};

/// What a match must stand before it is a finding; scan_checks.hpp says what each does.
enum class scan_check : std::uint8_t {
  value,
  named,
  github,
  key_block,
  putty,
  jwt,
  url_password,
  assigned,
  word
};

struct scan_rule {
  std::string_view name;
  std::string_view kind;
  finding_severity severity;
  value_chars chars;
  std::size_t least; ///< Bytes of the value, both ends included.
  std::size_t most;
  double entropy; ///< Bits a character.
  scan_check check;
  const char* pattern;
};

/// All rules, in the table's order; a rule's index is its id in the engine.
const std::vector<scan_rule>& scan_rules();
/// Null when there is none of this name.
const scan_rule* find_scan_rule(std::string_view name);

} // namespace skep::transfer
