// What `skep-guest diff` says about a pane's changes. On the host it is a claim: results.hpp
// compares it with the patch and the files.
//
//   {"commits":2,"modified":["a"],"added":["b"],"deleted":["c"],"renamed":[["d","e"]],
//    "copied":[["f","g"]],"patch_bytes":812,"patch_sha256":"...","tar_bytes":440,
//    "tar_sha256":"...","squashed":false,"head":"...","nested":[]}
//
// A name is a JSON string when it is UTF-8, else {"base64":"..."}.
#pragma once

#include "messages/json.hpp"

#include <utility>

namespace skep::transfer {

struct diff_summary {
  std::uint64_t commits = 0;                         ///< Since the base; 0 when nothing changed.
  std::vector<std::string> modified, added, deleted; ///< Paths, raw bytes. Mode changes: modified.
  std::vector<std::pair<std::string, std::string>> renamed; ///< From, to.
  /// From, to: files that are new and began as a file of the base, which need not be changed. They
  /// are not in `added`, and count as those do: what they hold comes whole, so nothing rests on
  /// where they are from.
  std::vector<std::pair<std::string, std::string>> copied = {};
  std::uint64_t patch_bytes = 0;
  std::string patch_sha256;
  std::uint64_t tar_bytes = 0;
  std::string tar_sha256;
  bool squashed = false; ///< The patch is one diff, because the commits cannot be a mail series.
  std::string head;      ///< The commit that was compared with the base.
  std::vector<std::string>
      nested; ///< Repositories inside the tree; their files are not brought back.
  bool empty() const {
    return modified.empty() && added.empty() && deleted.empty() && renamed.empty()
           && copied.empty();
  }
};

/// True when `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);
json name_to_json(const std::string& name);
bool name_from_json(const json& j, std::string& name);

json to_json(const diff_summary& x);
/// Reads the line that `skep-guest diff` prints; errc::protocol when it makes no sense, and
/// errc::remote_command_failed with its text when it is an error.
result<diff_summary> parse_diff_summary(std::string_view line);

} // namespace skep::transfer
