// The ATTACH: a person's terminal on panes, as a temporary child of the sandbox's supervisor, or on
// a shell, which belongs to the ATTACH DESK: it may outlive its run, in a sandbox that is kept.
//
//   client --read, write--> ATTACH DESK --> ATTACH --envd's terminal--> viewer inside --> pane
//                                                                 or: a shell inside
//
// Output waits here until the client has acknowledged it; when too much waits, the network is no
// longer read, and in the end the viewer blocks. Nothing of it is journaled. Secrets that are known
// when it begins are masked as in logs; only what comes slowly, byte by byte, is shown before it is
// known to be one.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

struct attach_plan {
  attachment_id attachment;
  std::vector<std::string> argv; ///< The viewer, or the shell, as it is run inside.
  sandbox::command::terminal size;
  bool read_only = false;
  bool is_shell = false; ///< Whatever it exits with, it has done what it was for.
};

/// An ATTACH of nobody's supervisor. It begins at once; on an exit message it ends its viewer.
attach_actor spawn_attach(caf::scheduled_actor* parent, context_ptr context, attach_plan plan);

/// An ATTACH as a child: temporary, named by its attachment.
child_spec attach_child(context_ptr context, attach_plan plan);

} // namespace skep::actors
