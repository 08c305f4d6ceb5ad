// The folder ROOT/.skep-apply-XXXXXX in which a tree_writer stages, and what tells whether
// something of the user's is in it: its lock, its mark, its list.
//
//   its own sticky bit, set before anything else: without it a folder is no stage, whatever its
//         name and what is in it. Results and git bring files alone, which lie in folders of plain
//         permissions, so nothing that an agent made can be taken for a stage.
//   lock  (flock) held as long as its writer lives
//   mark  "copies-only": all in it are copies of results, and may go
//   list  what it put where, written before the first name is exchanged. From then until the end
//         the mark is missing, and what the list does not know as a copy is the user's.
#pragma once

#include "transfer/posix.hpp"

#include <string>
#include <sys/stat.h>
#include <vector>

namespace skep::transfer {

/// For mkdtemp(3): the folder's name below the root, six X at its end.
std::string stage_template();

/// Makes an empty folder of that name a stage. errc::io, also where the file system does not keep
/// the bit that tells it from a folder of results.
result<void> claim_stage(int stage);

/// True when both are the same file with, by size and time, the same content.
bool same_file(const struct stat& a, const struct stat& b);

/// One line of the list.
struct staged_file {
  std::string name; ///< In the stage.
  std::string path; ///< Beneath the root, or what shown_path() makes of it when it was read.
  bool brings = false;
  struct stat copy {}; ///< When it `brings` a copy of a result: inode, size and time of it.
};

/// Something of the user's in a stage.
struct held_file {
  std::string name;
  std::string path; ///< Where it lay, as shown_path() has it; empty when no list tells.
};

/// Sets the mark; one that is there already is fine. errc::io, disk_full.
result<void> mark_stage(int stage);
/// Removes the mark. errc::io.
result<void> unmark_stage(int stage);
/// On disk when this returns. errc::io, disk_full.
result<void> write_stage_list(int stage, const std::vector<staged_file>& list);

/// Removes a stage in which nothing of the user's is, its mark last: whoever is killed meanwhile
/// leaves what the next one removes.
void remove_stage(int stage, const std::string& path);

/// Removes stages of ours without a living writer that hold nothing of the user's.
void remove_abandoned_stages(int root, const std::string& root_path);

/// apply_unfinished, with the folder and what of the user's is in it, when a stage without a living
/// writer may hold such. Changes nothing. A stage that this user cannot read is passed over.
result<void> refuse_unfinished(int root, const std::string& root_path);

/// "FOLDER holds what lay here before: PATH (there as 0), ...": a few of them, and how many more.
std::string held_text(const std::string& folder, std::vector<held_file> held);

} // namespace skep::transfer
