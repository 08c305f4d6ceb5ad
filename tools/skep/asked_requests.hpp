// Which requests a forge was asked for, kept beside a pane's results, so that `skep apply
// --mode pr` can be repeated: what the forge answered once is not asked for again.
//
//   OUT/SWARM/NAME/requests.json  {"version":1,"requests":[{"repo":"/home/u/x","remote":"origin",
//                                 "branch":"skep/sw_x/p0","commit":"...","target":"main",
//                                 "answered":true,"answer":"https://forge.example.org/1"}]}
//
// An entry is written before the forge is asked, and its answer after. One without an answer says
// that a request may exist: the command failed, or skep ended before it wrote the answer down. Then
// the forge is asked again, for it alone knows.
#pragma once

#include "messages/error.hpp"

namespace skep::cli {

struct asked_request {
  std::string repo; ///< Work tree that the branch was pushed from; not UTF-8: quoted as git does.
  std::string remote, branch, commit, target;
  bool answered = false;
  std::string answer; ///< What the forge command printed; may be empty.
  /// Asks for the same thing: all but the answer.
  bool same(const asked_request& x) const {
    return repo == x.repo && remote == x.remote && branch == x.branch && commit == x.commit
           && target == x.target;
  }
  SKEP_FIELDS(field(1, "repo", x.repo), field(2, "remote", x.remote), field(3, "branch", x.branch),
              field(4, "commit", x.commit), field(5, "target", x.target),
              field(6, "answered", x.answered), field(7, "answer", x.answer))
};

/// requests.json of one pane. One program at a time: who has transfer::hold_results().
class asked_requests {
public:
  /// Of the pane whose results lie in `folder`; no file is an empty record. results_changed when it
  /// is damaged, io.
  static result<asked_requests> read(const std::string& folder);
  /// What is known of this request; null when it was never asked for.
  const asked_request* find(const asked_request& x) const;
  /// Puts `x` in place of what is known of it; on disk when this returns. io, disk_full.
  result<void> keep(const asked_request& x);

private:
  std::string file_;
  std::vector<asked_request> all_;
};

} // namespace skep::cli
