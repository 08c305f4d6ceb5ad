// The ATTACH: a person's terminal on panes, as a temporary child of the sandbox's supervisor.
//
//   client --read, write--> ATTACH DESK --> ATTACH --envd's terminal--> viewer inside --> pane
//                                                                 or: a shell inside
//
// In a sandbox that was kept, which has no supervisor any more, it belongs to the ATTACH DESK.
//
// Output waits here until the client has acknowledged it; when too much waits, the network is no
// longer read, and in the end the viewer blocks. Nothing of it is journaled. Known secrets are
// masked as in logs; only what comes slowly, byte by byte, is shown before it is known to be one.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

struct attach_plan {
  attachment_id attachment;
  std::vector<std::string> argv; ///< The viewer, or the shell, as it is run inside.
  sandbox::command::terminal size;
  bool read_only = false;
  bool is_shell = false; ///< However it ends, it has done what it was for.
};

/// A shell in the folder of the pane called `pane`, in the user's home for an empty name.
attach_plan shell_plan(const shell_open_request& r, const std::string& pane);

/// An ATTACH of nobody's supervisor. It begins at once; on an exit message it ends its viewer.
attach_actor spawn_attach(caf::scheduled_actor* parent, context_ptr context, attach_plan plan);

/// An ATTACH as a child: temporary, named by its attachment.
child_spec attach_child(context_ptr context, attach_plan plan);

} // namespace skep::actors
