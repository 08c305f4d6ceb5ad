// Taking results over: what `skep apply` and `skep run --apply` do.
#pragma once

#include "tools/skep/results_json.hpp"
#include "tools/skep/results_target.hpp"

namespace skep::cli {

struct apply_options {
  std::string mode = "files"; ///< files, patch, branch, pr.
  std::string repo;           ///< Empty: where the swarm began.
  bool only_check = false;
  std::string branch;
  std::string message_file; ///< "-": standard input.
  std::string git_name, git_email;
  std::string remote, target, title, body_file;
};

/// Options against each other, before anything is looked at.
error check_apply(const apply_options& o);

/// What a request to a forge needs besides results, for the work tree `repo`: the remote, the
/// target, the command and the token of [forge]. None when all of it is there; bad_argument,
/// bad_config, secret_missing.
error check_forge(const app& a, const std::string& repo, const apply_options& o);

/// Does it. Conflicts are no error here: `conflicts` counts them; with branch and pr nothing was
/// made then. What stopped one pane of branch and pr stands with that pane, and the others went on.
result<apply_answer> apply_results(const app& a, const results_target& t, const apply_options& o);

/// For people, or as {"apply": ...} when `wrapped`; the exit code: 0, that of apply_conflict, or of
/// the first pane that something stopped, whose error then stands in the document, too.
int tell_applied(const app& a, const apply_answer& x, bool wrapped);

} // namespace skep::cli
