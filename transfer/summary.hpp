// What `skep-guest diff` says about a pane's changes. On the host it is a claim: results.hpp
// compares it with the patch and the files.
//
//   {"commits":2,"modified":["a"],"added":["b"],"deleted":["c"],"renamed":[["d","e"]],
//    "copied":[["f","g"]],"patch_bytes":812,"patch_sha256":"...","tar_bytes":440,
//    "tar_sha256":"...","squashed":false,"head":"...","nested":[],"unreadable":[],
//    "too_large":[],"no_history":false}
//
// It lies in a file beside patch and files: a line of output is cut where it is long, and a pane
// may have changed a million paths. The line that is printed says how long that file is:
//
//   {"commits":2,"paths":6,"summary_bytes":438,"summary_sha256":"..."}
//
// A name is a JSON string when it is UTF-8, else {"base64":"..."}.
#pragma once

#include "messages/json.hpp"

#include <optional>
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
  /// Files and folders that could not be read, and were not the agent's to make readable: of these
  /// paths the result has what the base has.
  std::vector<std::string> unreadable = {};
  /// Files that would have made the patch larger than git takes one: of these paths, too, the
  /// result has what the base has. None in summaries of older releases.
  std::vector<std::string> too_large = {};
  /// The tree's repository has no commit to go by (it was replaced, or HEAD is yet to be born): the
  /// result is all of the tree against the base, as one diff.
  bool no_history = false;
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
/// Reads a summary; errc::protocol when it makes no sense, and errc::remote_command_failed with its
/// text when it is an error.
result<diff_summary> parse_diff_summary(std::string_view line);

/// A summary in a file, as its maker announces it.
struct summary_file {
  std::uint64_t bytes = 0;
  std::string sha256;
};

/// A file that is larger is refused by its announcement: a million names have room.
inline constexpr std::uint64_t largest_summary_bytes = 256ull << 20;

/// What `skep-guest diff` prints of a summary that lies in `file`.
json to_json(const diff_summary& x, const summary_file& file);
/// The file that an answer of `skep-guest diff` announces. None: the answer is the summary itself,
/// as earlier releases print it. errc::protocol when it makes no sense, errc::too_large for a file
/// beyond largest_summary_bytes.
result<std::optional<summary_file>> parse_summary_file(const json& answer);
/// Reads the file that came for `announced`, which may hold anything. errc::checksum when it is
/// another one, errc::protocol when it makes no sense or holds more than a million files could
/// need.
result<diff_summary> read_diff_summary(const std::string& path, const summary_file& announced);

} // namespace skep::transfer
