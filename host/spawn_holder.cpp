#include "host/spawn_holder.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <spawn.h>

namespace skep::host {

result<spawned_holder> spawn_holder(const std::string& program, const std::string& id) {
  auto order = make_pipe();
  if (!order) return order.err();
  auto answer = make_pipe();
  if (!answer) return answer.err();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, order->read.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, answer->write.get(), 1);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", 1, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::string name = "skep-host", verb = "hold", target = id;
  char* argv[] = {name.data(), verb.data(), target.data(), nullptr};
  char path[] = "PATH=/usr/bin:/bin";
  char* environment[] = {path, nullptr};
  pid_t pid = -1;
  auto code = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv, environment);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (code != 0) return make_error(errc::host_failed, "start " + program + ": " + errno_text(code));
  return spawned_holder{std::move(order->write), std::move(answer->read)};
}

} // namespace skep::host
