#include "host/syscall_filter.hpp"

#include <cerrno>
#include <cstddef>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
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

constexpr unsigned refused_calls[] = {
    SYS_add_key,       SYS_request_key,       SYS_keyctl,
    SYS_bpf,           SYS_perf_event_open,   SYS_userfaultfd,
    SYS_kexec_load,    SYS_init_module,       SYS_finit_module,
    SYS_delete_module, SYS_open_by_handle_at, SYS_io_uring_setup,
};

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
  // ioctl(fd, TIOCSTI): the low word of the second argument.
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3));
  out.push_back(load(offsetof(seccomp_data, args) + 8));
  out.push_back(unless(TIOCSTI));
  out.push_back(answer(EPERM));
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return out;
}

} // namespace

std::string_view syscall_filter() {
  static const std::vector<sock_filter> program = build();
  return {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)};
}

} // namespace skep::host
