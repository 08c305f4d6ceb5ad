// The ATTACH: a person's terminal on panes, as a temporary child of the sandbox's supervisor.
//
//   client --read, write--> ATTACH DESK --> ATTACH --envd's terminal--> viewer inside --> pane
//
// Output waits here until the client has acknowledged it; when too much waits, the network is no
// longer read, and in the end the viewer blocks. Nothing of it is journaled. Known secrets are
// masked as in logs; only what comes slowly, byte by byte, is shown before it is known to be one.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

struct attach_plan {
  attachment_id attachment;
  std::vector<std::string> argv; ///< The viewer, as it is run inside.
  sandbox::command::terminal size;
  bool read_only = false;
};

/// An ATTACH as a child: temporary, named by its attachment.
child_spec attach_child(context_ptr context, attach_plan plan);

} // namespace skep::actors
