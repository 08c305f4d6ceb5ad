// System calls that no program inside a sandbox needs and that reach shared state of the kernel.
#pragma once

#include <string_view>

namespace skep::host {

/// A compiled seccomp filter (struct sock_filter[], as bubblewrap's --seccomp reads it): key rings
/// (shared by all sandboxes of one uid), bpf, perf events, userfaultfd and kernel loading answer
/// EPERM, and so does typing into a terminal from outside (TIOCSTI). A call of a foreign
/// architecture answers ENOSYS. Empty where the architecture is unknown to us.
std::string_view syscall_filter();

} // namespace skep::host
