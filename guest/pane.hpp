// `skep-guest pane`: starts an agent under a holder of its own, once.
#pragma once

#include "guest/layout.hpp"

#include <vector>

namespace skep::guest {

struct pane_options {
  std::string dir; ///< R/PANE/GENERATION; made when missing.
  std::string cwd;
  std::uint64_t epoch = 0;
  std::string stdin_file;  ///< Given to the agent as its standard input; removed once it is open.
  bool stdin_open = false; ///< Keyed input through the control socket. Else /dev/null.
  bool pty = false;        ///< A terminal; always takes input.
  unsigned short columns = 200, rows = 50;
  std::uint64_t log_cap_bytes = 0; ///< About so many of the newest bytes of the log stay. 0: all.
  unsigned agent_umask = 022;      ///< What the agent runs with; files of the pane itself are 0600.
  std::vector<std::string> argv;
};

/// Claims `dir` and starts the agent under a holder that survives this process.
/// {"state":"started","pid":N} when its exec succeeded; {"state":"exited", exit record} when it
/// could not be executed (exit code 127, 126 when not permitted; the log says why) or has ended
/// already;
/// {"state":"running","pid":N} when `dir` was claimed before, {"state":"starting"} while the holder
/// that claimed it has no agent yet: ask again. Errors: stale_epoch, bad_argument, io.
result<json> start_pane(const pane_options& options);

} // namespace skep::guest
