#include "host/syscall_filter.hpp"

#include <cerrno>
#include <cstddef>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vector>

namespace skep::host {
namespace {

#if defined(__x86_64__)
constexpr unsigned native_arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned native_arch = AUDIT_ARCH_AARCH64;
#else
constexpr unsigned native_arch = 0;
#endif

// Answered EPERM. Most of them the kernel refuses to a process without capabilities anyway: this is
// the second layer, for the day when one of them has a hole.
constexpr unsigned refused_calls[] = {
    // Key rings, shared by all sandboxes of one user.
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // Large interfaces of the kernel that have let programs out before.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    // The kernel's code, log, clocks and other settings of the machine.
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_syslog,
    SYS_clock_settime,
    SYS_settimeofday,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
#if defined(SYS_kexec_file_load)
    SYS_kexec_file_load,
#endif
#if defined(SYS_iopl)
    SYS_iopl,
    SYS_ioperm,
#endif
    // Mounts, roots, namespaces.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_setns,
    SYS_unshare,
    SYS_open_by_handle_at,
#if defined(SYS_mount_setattr)
    SYS_mount_setattr,
#endif
};

// A clone with one of these makes a namespace.
constexpr unsigned namespace_flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
                                     | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

// The families whose sockets belong to the sandbox's own network. Others reach past it: those of
// virtual machines (AF_VSOCK) know no network namespace at all.
constexpr unsigned allowed_families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

sock_filter load(unsigned offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
}
sock_filter answer(unsigned code) {
  return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code);
}
// Skips the next instruction unless the loaded word is `value`.
sock_filter unless(unsigned value) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
}

// The low word of an argument, of which the kernel looks at no more here.
sock_filter load_argument(unsigned index) {
  return load(offsetof(seccomp_data, args) + 8 * index);
}
// What to do after the number was `call`: `steps`, which end the program on every path or fall
// through to the end.
void on_call(std::vector<sock_filter>& out, unsigned call, const std::vector<sock_filter>& steps) {
  out.push_back(
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, static_cast<unsigned char>(steps.size() + 1)));
  out.insert(out.end(), steps.begin(), steps.end());
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

std::vector<sock_filter> socket_steps() {
  std::vector<sock_filter> steps{load_argument(0)};
  for (auto family : allowed_families) {
    steps.push_back(unless(family));
    steps.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  steps.push_back(answer(EAFNOSUPPORT));
  return steps;
}

std::vector<sock_filter> build() {
  std::vector<sock_filter> out;
  if (native_arch == 0) return out;
  out.push_back(load(offsetof(seccomp_data, arch)));
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, native_arch, 1, 0));
  out.push_back(answer(ENOSYS));
  out.push_back(load(offsetof(seccomp_data, nr)));
#if defined(__x86_64__)
  // x32 calls share the architecture word but not the numbers.
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1));
  out.push_back(answer(ENOSYS));
#endif
  for (auto call : refused_calls) {
    out.push_back(unless(call));
    out.push_back(answer(EPERM));
  }
  // Its flags lie in memory, where no filter can look; programs then take clone.
  out.push_back(unless(SYS_clone3));
  out.push_back(answer(ENOSYS));
  on_call(out, SYS_clone,
          {load_argument(0), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, namespace_flags, 0, 1),
           answer(EPERM)});
  on_call(out, SYS_socket, socket_steps());
  on_call(out, SYS_ioctl,
          {load_argument(1), unless(TIOCSTI), answer(EPERM), unless(TIOCLINUX), answer(EPERM)});
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return out;
}

} // namespace

std::string_view syscall_filter() {
  static const std::vector<sock_filter> program = build();
  return {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)};
}

} // namespace skep::host
