// What git prints for programs, taken apart. Everything here is pure and takes any bytes: names in
// a repository are chosen by strangers, and what git reads for us came out of a sandbox.
//
//   ls-files -v -z, -t -z             "H PATH\0"          H: as usual, S: skip-worktree, ?: not
//                                                         tracked, lower case: assume-unchanged
//   status --porcelain -z             "XY PATH\0"         without renames
//   diff-tree -r -z --name-status     "M\0PATH\0", "R100\0FROM\0TO\0", "C75\0FROM\0TO\0"
//   apply --numstat -z                "1\t2\tPATH\0"      "-\t-\tPATH\0": binary
//   diff -U0                          "@@ -FIRST,COUNT +FIRST,COUNT @@"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::transfer {

/// Splits NUL-terminated items as git's -z prints them; the last one may lack its NUL.
std::vector<std::string> split_nul(std::string_view text);

struct tagged_path {
  char tag = '?';
  std::string path;
  bool tracked() const { return tag != '?'; }
  /// skip-worktree or assume-unchanged: git does not look at the file.
  bool not_watched() const { return tag == 'S' || (tag >= 'a' && tag <= 'z'); }
  friend bool operator==(const tagged_path&, const tagged_path&) = default;
};

/// `ls-files -v -z` or `-t -z`, in git's order. Items that are neither are left out.
std::vector<tagged_path> read_tagged(std::string_view text);

/// The paths of `status --porcelain -z --no-renames`, in git's order.
std::vector<std::string> read_status(std::string_view text);

/// What `diff-tree -r -z --name-status` tells.
struct name_changes {
  std::vector<std::string> modified, added, deleted;            ///< Changes of the type: modified.
  std::vector<std::pair<std::string, std::string>> renamed;     ///< From, to.
  std::vector<std::pair<std::string, std::string>> copied = {}; ///< From, which stays; to.
  friend bool operator==(const name_changes&, const name_changes&) = default;
};

/// False where the text is cut short or holds a letter that was not asked for.
bool read_name_status(std::string_view text, name_changes& out);

/// Lines of one file, up to 2^31 - 1; both -1 for a binary one.
struct numstat_line {
  std::int64_t added = 0, deleted = 0;
  std::string path;
  friend bool operator==(const numstat_line&, const numstat_line&) = default;
};

/// `apply --numstat -z`: false where an item is none.
bool read_numstat(std::string_view text, std::vector<numstat_line>& out);

/// Lines of the old file that a hunk takes the place of; an insertion has none.
struct hunk_range {
  std::int64_t first = 0, count = 0; ///< 0 to 2^31 each.
  friend bool operator==(const hunk_range&, const hunk_range&) = default;
};

/// The ranges of `diff -U0`. A head that is none counts as one that meets every other range.
std::vector<hunk_range> read_hunks(std::string_view diff);
/// True when two of them have a line in common, or insert at one place.
bool hunks_meet(const std::vector<hunk_range>& a, const std::vector<hunk_range>& b);

} // namespace skep::transfer
