// git's plumbing on the user's repository, with an index of our own: work tree, index and HEAD of
// the user stay as they are. It reads files of the user's and of agents, and the latter must not
// choose what runs on this machine:
//
//   hooks, fsmonitor   never run
//   filters            the user's configuration has their commands, and the user's .gitattributes
//                      say which paths get one: those of the work tree, and where a folder has none
//                      there, those of the index. An agent's .gitattributes say nothing here. A
//                      filter runs in the user's work tree, as for `git add`, and gets its file on
//                      standard input: "./clean.sh" is the user's, whatever an agent called so.
//   text, eol, ident,  run nothing. A path with a filter has them of the user's attributes, any
//   encodings          other one as in the commit that is made: an agent's own .gitattributes count
//                      first, for it goes into that commit, and whoever adds the file there next
//                      gets the same.
#pragma once

#include "transfer/manifest.hpp"
#include "transfer/process.hpp"

#include <map>
#include <set>

namespace skep::transfer {

/// Author and committer of everything that is made here.
struct git_identity {
  std::string name, email;
  std::string from;     ///< Where it was found: "options", "environment", "git", "default".
  bool partial = false; ///< A source had only one half and was passed over.
};

/// Files that went through filters of the user's; their objects are in the repository.
struct filtered_files {
  std::set<std::string> paths;
  std::string lines; ///< For `update-index -z --index-info`.
};

/// Every call blocks for up to 5 minutes per program of git's; each error is errc::io, timed_out or
/// program_missing unless said otherwise.
class plumbing {
public:
  /// All absolute: GIT_DIR, the top of the user's work tree, an empty folder of ours.
  plumbing(std::string git_dir, std::string repo, std::string scratch)
      : git_dir_(std::move(git_dir)), repo_(std::move(repo)), scratch_(std::move(scratch)) {}

  /// git, started in the scratch folder, with that or `work_tree` as its work tree.
  program call(std::vector<std::string> arguments, const std::string& work_tree = {}) const;

  /// What the call prints, without the end of its line.
  result<std::string> line(std::vector<std::string> arguments) const;

  /// Takes these paths out of the index.
  result<void> remove(const std::vector<std::string>& paths) const;

  /// Has those of `entries`, which lie in `dir`, filtered for which the user's attributes have a
  /// filter. To be called while the index holds nothing of an agent's, as its attributes count.
  /// Also results_changed where a file is missing.
  result<filtered_files> filter(const std::vector<file_entry>& entries,
                                const std::string& dir) const;
  /// Puts `entries` into the index, those of `filtered` as they were made, the rest unfiltered.
  result<void> add(const std::vector<file_entry>& entries, const std::string& dir,
                   const filtered_files& filtered) const;

  /// A commit of `tree` upon `parent`; its id.
  result<std::string> commit(const std::string& tree, const std::string& parent,
                             const std::string& message, const git_identity& who,
                             const std::string& author_date, const std::string& date) const;

private:
  program call_in_repo(std::vector<std::string> arguments) const;
  result<std::set<std::string>> filter_names() const;
  result<std::map<std::string, std::string>>
  filter_rules(const std::vector<file_entry>& entries) const;
  result<std::string> hash_filtered(const file_entry& entry, int root,
                                    const std::string& rule) const;
  result<void> switch_filters_off(program& p) const;
  std::string git_dir_, repo_, scratch_;
};

} // namespace skep::transfer
