// .skep-scan-allow in the root of a work tree: findings that somebody looked at.
//
//   # PATH               RULE           # REASON
//   tests/keys/*.pem     private_key    # made for the tests, opens nothing
//   docs/*               *              # examples out of the manual
//
// PATH is a glob over the whole path, in which '*' matches '/' too. RULE is the name of a rule, or
// '*'. The reason must not be empty. Lines that are empty or begin with '#' say nothing.
#pragma once

#include "messages/error.hpp"
#include "messages/findings.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace skep::transfer {

inline constexpr std::string_view allow_file_name = ".skep-scan-allow";

class allow_list {
public:
  /// errc::bad_allow_file names the line.
  static result<allow_list> parse(std::string_view text);
  /// That of the work tree `root`; none allows nothing. errc::io where it cannot be read.
  static result<allow_list> read(const std::string& root);

  bool allows(const scan_finding& f) const;
  /// True when a line has the rule '*' and a path of nothing but wildcards: such a list turns the
  /// scan off.
  bool allows_everything() const;
  /// A hash of all that it allows.
  std::string id() const;

private:
  struct entry {
    std::string path, rule;
  };
  std::vector<entry> entries_;
};

} // namespace skep::transfer
