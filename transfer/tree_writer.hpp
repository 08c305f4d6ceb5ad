// Writes into a work tree that people and programs use at the same time: everything is staged
// first, committed by exchanging names, and undone as a whole when something fails.
#pragma once

#include "transfer/apply_stage.hpp"
#include "transfer/manifest.hpp"

#include <sys/stat.h>

namespace skep::transfer {

/// What lay at a path when it was looked at.
struct seen {
  enum class kind : std::uint8_t {
    absent,
    entry,
    directory,
    blocked, ///< Something above it is no folder: a file or a symlink, which is not followed.
    other    ///< A device, a pipe, a socket.
  };
  kind is = kind::absent;
  file_entry entry; ///< When kind::entry; with its hash.
  struct stat facts {};
};

/// Looks at `path` beneath `root` without following symlinks.
result<seen> look_at(int root, const std::string& path);

/// Calls must come in this order: stage_*() for all, then commit(), which runs deletions before
/// writes. The destructor removes the stage, unless something of the user's may be in it.
class tree_writer {
public:
  /// Makes the stage ROOT/.skep-apply-XXXXXX, locked (flock) as long as this lives. Stages of ours
  /// that nobody holds any more are removed first: their writers were killed. One whose writer was
  /// killed in commit() stays when something that had lain in the tree is in it, and is
  /// apply_unfinished: what would be planned now would know nothing of that.
  static result<tree_writer> open(const std::string& root);
  tree_writer(tree_writer&&) noexcept = default;
  tree_writer& operator=(tree_writer&&) = delete;
  ~tree_writer();

  /// `path` shall hold the content of `source` (a file or symlink; its hash must be that of
  /// `entry`, else results_changed) in the place of what was `seen` there. Permission bits of a
  /// file that is replaced stay, but for the execute bits, which follow entry.mode.
  result<void> stage_write(const std::string& path, const file_entry& entry,
                           const std::string& source, const seen& before);
  /// `path`, which was an entry, shall go, and folders that get empty by it.
  void stage_delete(const std::string& path, const seen& before);

  /// Carries everything out, to the disk. `exists` with the path when something changed since it
  /// was looked at; then, and on any other error but one, everything is as before. That one is
  /// apply_unfinished: what somebody wrote meanwhile in the place of what this had written is left,
  /// and what lay there before stays in the stage; the message names both. It also is the error
  /// where all was carried out, and a program that had a file open wrote to what had lain there:
  /// these files stay in the stage, named, and nothing is undone.
  result<void> commit();

private:
  struct step {
    std::string path;
    std::string staged; ///< Name in the stage: what shall be there, later what was there.
    seen before;
    struct stat ours {}; ///< Of what was staged: by it is known what of the tree is ours.
    bool remove = false;
    bool done = false;
    bool left = false; ///< Could not be undone.
  };
  tree_writer() = default;
  result<void> make_stage();
  result<void> begin_exchange();
  result<void> carry_out(step& s);
  result<void> put_in(step& s, int parent, const std::string& leaf);
  result<void> take_out(step& s, int parent, const std::string& leaf);
  bool still_as_seen(const step& s) const;
  std::vector<held_file> written_late() const;
  void prune(const std::string& path);
  bool put_back(const step& s, int parent, const std::string& leaf);
  error undo(const error& why);
  std::vector<held_file> drop_copies();
  std::string left_text() const;
  std::string root_path_;
  unique_fd root_, stage_;
  std::string stage_name_;
  std::vector<step> steps_;
  bool may_hold_ = false; ///< Something of the user's may be in the stage alone.
};

} // namespace skep::transfer
