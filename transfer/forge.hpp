// A branch goes to a remote, and a forge hears of it. Everything runs here, on the user's machine,
// with the user's own git; a token is handed over in the environment and never enters a sandbox,
// an argument, a log or a file.
#pragma once

#include "transfer/process.hpp"

namespace skep::transfer {

struct push_options {
  std::string repo;
  std::string remote; ///< Name of a configured remote; never an address.
  std::string branch; ///< Without refs/heads/; the same name there.
  std::string token;  ///< For https remotes: sent to that host alone. Empty: git's own ways.
  std::chrono::milliseconds limit{120'000};
};

/// bad_argument for what cannot be the name of a remote: empty, beginning with "-", with white
/// space, control characters or ":" (an address). Looks at the name alone.
result<void> check_remote_name(const std::string& remote);

/// bad_argument for a remote that is not configured in this repository, or is an address.
result<void> check_remote(const std::string& repo, const std::string& remote);

/// `git push`, never forced. bad_argument for a remote that is not configured; push_failed with
/// git's last words (the token replaced by stars).
result<void> push_branch(const push_options& options);

struct forge_options {
  std::vector<std::string> command; ///< argv; {branch} {target} {title} {body_file} {remote} {repo}
  std::string repo;
  std::string branch, target, title, body_file, remote;
  std::string token, token_variable; ///< The token comes in this variable when both are given.
  std::chrono::milliseconds limit{120'000};
};

/// Runs the forge command in the repository; its standard output, trimmed (usually the address of
/// the request). forge_failed with the end of its standard error; bad_argument for a placeholder
/// that does not exist.
result<std::string> ask_forge(const forge_options& options);

/// The argv that ask_forge runs.
result<std::vector<std::string>> forge_argv(const forge_options& options);

} // namespace skep::transfer
