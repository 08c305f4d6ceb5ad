// .skepignore, and the directories that are left out unless it says otherwise. Git itself decides:
// the patterns are given to `git ls-files` as its own, so that they mean exactly what they mean in
// .gitignore, in any directory, with negation, anchors and '**'. Where there is no .skepignore git
// need not be asked: a default is the name of a directory, and nothing takes it back.
//
//   git decides first:   tracked files and those that .gitignore and its like do not ignore
//   .skepignore          leaves out of these, tracked or not; '!' undoes an earlier line of its own
//   default_excludes()   leave out untracked files only; '!node_modules/' in .skepignore undoes one
//   always_excluded()    (exclude.hpp) stay out whatever anything says
#pragma once

#include "transfer/git_output.hpp"
#include "transfer/process.hpp"

#include <functional>

namespace skep::transfer {

inline constexpr std::string_view ignore_file_name = ".skepignore";

/// Directories that programs make anew: node_modules/, dist/, build/, coverage/, .next/,
/// __pycache__/ and their like; as lines of an ignore file, each the name of a directory.
const std::vector<std::string_view>& default_excludes();

/// core.ignoreCase of a repository. Errors as run_program.
result<bool> ignores_case(const std::string& root);

/// What .skepignore and the defaults leave out of a work tree.
class own_excludes {
public:
  /// For `known`, all that may travel, sorted. Asks git where a .skepignore lies in one of their
  /// directories. `folds_case` (ignores_case()) is called at most once, where the case of a name
  /// matters. Errors as run_for_output, and errc::io.
  static result<own_excludes> read(const std::string& root, const std::vector<tagged_path>& known,
                                   const std::function<result<bool>()>& folds_case,
                                   const std::atomic<bool>* cancel = nullptr);
  /// Why a path is left out: "left out by .skepignore", "left out by default: build/", "left out by
  /// .skepignore or by default: build/" where a folder took a tracked file's place (then git tells
  /// no folders apart), or empty.
  std::string reason(std::string_view path, bool tracked) const;

private:
  bool asked_ = true;                  ///< False: there are the defaults alone.
  bool each_file_ = false;             ///< untracked_ names files, no directories.
  std::vector<std::string> tracked_;   ///< Sorted.
  std::vector<std::string> untracked_; ///< Sorted; a directory ends with '/'.
};

/// Paths that git ignores, as one for a directory where all of it is.
result<std::vector<std::string>> ignored_by_git(const std::string& root);

/// The line by which .gitignore and its like ignore `path`, "FILE:LINE: PATTERN"; empty when none
/// does. A tracked path counts as if it were not.
result<std::string> line_of_git(const std::string& root, const std::string& path);
/// The same for .skepignore and the defaults ("default: PATTERN").
result<std::string> line_of_skep(const std::string& root, const std::string& path, bool tracked);

} // namespace skep::transfer
