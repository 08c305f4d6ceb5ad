// The second look at a match: is it the value of a credential, a made-up one, or nothing at all.
// Pure functions of the bytes around it.
//
//   value         the run of the rule's characters from the match's start, whole, of its length,
//                 with its entropy, and not made up ("example", "xxxxx", "12345678", ...)
//   named         the same for the value behind a name: NAME = "VALUE", NAME: VALUE, NAME=VALUE
//   github        as value; a right checksum (CRC-32 in base 62) outweighs entropy and words
//   key_block     a head line with base64 below it, also escaped in one line
//   putty         as key_block, in PuTTY's form: it has private lines
//   jwt           its head is a JSON object with "alg"; high when it is a service role
//   url_password  a password in a URL that is none of a template, a variable, or a default
//   assigned      behind a telling name a quoted or plain value that looks drawn by lot
//   word          the word itself
#pragma once

#include "transfer/scan_rules.hpp"

namespace skep::transfer {

/// What became of a match.
struct checked_match {
  bool found = false;
  finding_severity severity = finding_severity::low;
  std::size_t at = 0; ///< Where the value begins, in `text`.
  /// The value, in `text`; of a key in several lines, what stands below its head. Empty for a word.
  std::string_view value{};
};

/// Looks again at the match [from, to) of `rule` in `text`.
checked_match check_match(const scan_rule& rule, std::string_view text, std::size_t from,
                          std::size_t to);

/// Shannon entropy in bits a byte; 0 for nothing.
double entropy_of(std::string_view value);
/// True for what people write where a value would stand.
bool looks_made_up(std::string_view value);
/// True for what is drawn by lot rather than written: letters and digits mixed as chance does.
bool looks_random(std::string_view value);

} // namespace skep::transfer
