// System calls that no program inside a sandbox needs and that reach shared state of the kernel.
#pragma once

#include <string_view>

namespace skep::host {

/// A compiled seccomp filter (struct sock_filter[], as bubblewrap's --seccomp reads it).
///
/// EPERM: key rings (shared by all sandboxes of one user), bpf, perf events, userfaultfd, io_uring,
/// loading of kernels, the kernel's log, clocks, mounts, new namespaces and joining others, typing
/// into a terminal from outside (TIOCSTI, TIOCLINUX). EAFNOSUPPORT: sockets of families besides
/// unix, IPv4, IPv6 and netlink. ENOSYS: calls of a foreign architecture, and clone3, whose flags
/// no filter can see. Empty where the architecture is unknown to us.
std::string_view syscall_filter();

} // namespace skep::host
