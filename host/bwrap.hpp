// The bubblewrap command line of a sandbox, and its start.
//
// Inside: uid and gid 1000 (`user`), own pids, users, mounts, ipc, host name and an empty network
// (lo only); read-only /usr of this machine and the `--bind` list; a private HOME and /tmp; nothing
// else is writable. skep-envd is the main program: when it ends, or bubblewrap, or the holder, all
// processes inside end.
//
// Descriptors of skep-envd: 3 = its listening socket, 4 = its configuration (JSON, read to the
// end).
#pragma once

#include "host/posix.hpp"
#include "host/spec.hpp"

#include <sys/types.h>
#include <vector>

namespace skep::host {

/// Sizes of the writable memory file systems.
struct sandbox_limits {
  std::uint64_t tmp_bytes = 1ull << 30;
  std::uint64_t shm_bytes = 256ull << 20;
  std::uint64_t open_files = 65536;
};

/// What the holder prepared for the sandbox.
struct sandbox_parts {
  std::string home_dir;    ///< Becomes /home/user, unless the order limits the disk.
  std::string gateway_dir; ///< Becomes /run/skep, read-only; empty: no gateway.
  unique_fd listener;      ///< envd's listening socket; closed in this process by start_sandbox.
  unique_fd error_output;  ///< Write end for what bubblewrap and envd print.
  std::vector<int> cgroup_joins; ///< Open `cgroup.procs` files of the groups to be in.
};

/// Starts the sandbox as a child of the calling process, which must be single-threaded (bubblewrap
/// dies with the thread that started it). Never as uid 0: errc::no_isolation.
result<pid_t> start_sandbox(const sandbox_order& order, sandbox_parts parts,
                            const sandbox_limits& limits = {});

} // namespace skep::host
