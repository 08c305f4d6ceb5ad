// The filter by itself, as the second layer: what it refuses it refuses to whoever runs this, root
// included, without any namespace.
#include "host/syscall_filter.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <functional>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace skep;

namespace {

// Runs `act` in a child behind the filter; its exit code, or -1 when it ended in another way.
int behind_the_filter(const std::function<int()>& act) {
  auto text = host::syscall_filter();
  std::vector<sock_filter> program(text.size() / sizeof(sock_filter));
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(program.data()));
  auto child = ::fork();
  if (child == 0) {
    sock_fprog loaded{static_cast<unsigned short>(program.size()), program.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &loaded, 0, 0) != 0) ::_exit(250);
    ::_exit(act());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// errno of a call whose arguments make no sense, so that it changes nothing where it is let
// through.
int errno_of(long number, long first = -1, long second = -1) {
  return behind_the_filter([=] {
    errno = 0;
    return ::syscall(number, first, second, -1L, -1L, -1L) < 0 ? errno : 0;
  });
}

} // namespace

TEST_CASE("the system call filter is a whole number of instructions") {
  CHECK(host::syscall_filter().size() % sizeof(sock_filter) == 0);
  CHECK_FALSE(host::syscall_filter().empty());
}

TEST_CASE("the filter alone refuses what reaches shared state of the kernel") {
  for (long number : {SYS_add_key,
                      SYS_request_key,
                      SYS_keyctl,
                      SYS_bpf,
                      SYS_perf_event_open,
                      SYS_userfaultfd,
                      SYS_io_uring_setup,
                      SYS_io_uring_enter,
                      SYS_io_uring_register,
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
                      SYS_open_by_handle_at}) {
    INFO("system call " << number);
    CHECK(errno_of(number) == EPERM);
  }
}

TEST_CASE("the filter alone refuses a clone into a new namespace, and clone3 altogether") {
  for (long flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
                    CLONE_NEWUTS, CLONE_NEWCGROUP})
    CHECK(errno_of(SYS_clone, flag | SIGCHLD, 0) == EPERM);
  CHECK(errno_of(SYS_clone3) == ENOSYS);
}

TEST_CASE("the filter alone lets through sockets of four families and no other") {
  for (long family : {AF_UNIX, AF_INET, AF_INET6})
    CHECK(behind_the_filter([=] { return ::syscall(SYS_socket, family, SOCK_DGRAM, 0) < 0; }) == 0);
  CHECK(behind_the_filter([] { return ::socket(AF_NETLINK, SOCK_RAW, 0) < 0; }) == 0);
  for (long family = 0; family < 64; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
      continue;
    INFO("family " << family);
    CHECK(behind_the_filter(
              [=] { return ::syscall(SYS_socket, family, SOCK_STREAM, 0) < 0 ? errno : 0; })
          == EAFNOSUPPORT);
  }
}

TEST_CASE("the filter alone refuses typing into a terminal, also under a longer number") {
  for (long request : {long{TIOCSTI}, long{TIOCLINUX}, long{TIOCSTI} | 1L << 32})
    CHECK(errno_of(SYS_ioctl, -1, request) == EPERM);
  CHECK(errno_of(SYS_ioctl, -1, long{TIOCGWINSZ}) == EBADF);
}

TEST_CASE("behind the filter ordinary programs run: threads, children, files") {
  CHECK(behind_the_filter([] {
          int seen = 0;
          std::thread{[&] { seen = 7; }}.join();
          return seen;
        })
        == 7);
  CHECK(behind_the_filter([] {
          auto child = ::fork();
          if (child == 0) {
            ::execl("/bin/sh", "sh", "-c", "cat /proc/self/status | grep -q '^Seccomp:.2'",
                    nullptr);
            ::_exit(127);
          }
          int status = 1;
          ::waitpid(child, &status, 0);
          return status == 0 ? 9 : 1;
        })
        == 9);
}
