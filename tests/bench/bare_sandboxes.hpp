// What somebody without Skep would run, for bench_host: bubblewrap with the namespaces and mounts
// of a sandbox, and in it a tmux server whose first window runs a command.
#pragma once

#include "host/isolation.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace skep::bench {

using clock_type = std::chrono::steady_clock;

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "bench_host: %s\n", what.c_str());
  std::exit(2);
}

inline double ms_since(clock_type::time_point from) {
  return std::chrono::duration<double, std::milli>(clock_type::now() - from).count();
}

/// Who both sides run as: the service user where root starts the bench.
struct account {
  bool other = false;
  host::service_account who;
  void own(const std::filesystem::path& path) const {
    if (other && ::chown(path.c_str(), who.uid, who.gid) != 0) fail("chown " + path.string());
  }
};

struct folder {
  folder() {
    auto name = (std::filesystem::temp_directory_path() / "skep-bench-host-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail("mkdtemp");
    path = name;
    ::chmod(name.c_str(), 0755);
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream{path} << text;
  ::chmod(path.c_str(), 0644);
}

/// The options of host/bwrap.cpp; its generated files are files of `etc` here.
inline std::vector<std::string> bare_words(const std::string& etc, const std::string& home) {
  std::vector<std::string> out{host::find_bwrap()};
  auto add = [&](std::initializer_list<std::string> words) {
    out.insert(out.end(), words.begin(), words.end());
  };
  for (auto& word : host::isolation_args())
    out.push_back(std::move(word));
  add({"--hostname", "bare", "--size", "268435456", "--tmpfs", "/dev/shm", "--size", "1073741824",
       "--perms", "1777", "--tmpfs", "/tmp"});
  for (const char* path : {"/proc/keys", "/proc/key-users"})
    if (::access(path, F_OK) == 0) add({"--ro-bind", "/dev/null", path});
  add({"--dir", "/run", "--dir", "/var", "--symlink", "../tmp", "/var/tmp"});
  for (const char* path :
       {"/etc/alternatives", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates.conf",
        "/etc/ld.so.cache", "/etc/localtime", "/etc/protocols", "/etc/services", "/etc/mime.types"})
    add({"--ro-bind-try", path, path});
  for (const char* name : {"passwd", "group", "nsswitch.conf", "hosts"})
    add({"--ro-bind", etc + "/" + name, std::string{"/etc/"} + name});
  add({"--bind",
       home,
       "/home/user",
       "--remount-ro",
       "/",
       "--clearenv",
       "--setenv",
       "HOME",
       "/home/user",
       "--setenv",
       "USER",
       "user",
       "--setenv",
       "SHELL",
       "/bin/sh",
       "--setenv",
       "LANG",
       "C.UTF-8",
       "--setenv",
       "PATH",
       "/usr/bin:/bin",
       "--chdir",
       "/home/user",
       "--",
       "/bin/sh",
       "-c",
       "tmux -f /dev/null -S /tmp/tmux new-session -d 'echo ready > out' && exec sleep 1000000"});
  return out;
}

struct bare_sandbox {
  pid_t pid = -1;
  int out = -1;
  clock_type::time_point began;
  double ms = 0;
};

inline pid_t start_bare(std::vector<std::string> words, const account& user, int errors) {
  std::vector<char*> argv;
  for (auto& w : words)
    argv.push_back(w.data());
  argv.push_back(nullptr);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid != 0) return pid;
  ::dup2(errors, 2);
  ::close_range(3, ~0U, 0);
  if (user.other
      && (::setgroups(0, nullptr) != 0 || ::setresgid(user.who.gid, user.who.gid, user.who.gid) != 0
          || ::setresuid(user.who.uid, user.who.uid, user.who.uid) != 0))
    ::_exit(126);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

/// Milliseconds of each of `count` sandboxes that are started at once.
inline std::vector<double> bare_loop(std::size_t count, const account& user) {
  folder work;
  const auto etc = work.path / "etc";
  std::filesystem::create_directory(etc);
  write_file(etc / "passwd", "user:x:1000:1000:user:/home/user:/bin/bash\n");
  write_file(etc / "group", "user:x:1000:\n");
  write_file(etc / "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
  write_file(etc / "hosts", "127.0.0.1 localhost\n");
  const auto said = work.path / "errors";
  const int errors = ::open(said.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  std::vector<bare_sandbox> all(count);
  std::vector<pollfd> waiting;
  for (std::size_t i = 0; i < count; ++i) {
    auto& b = all[i];
    b.began = clock_type::now();
    const auto home = work.path / std::to_string(i);
    const auto out = home / "out";
    if (::mkdir(home.c_str(), 0755) != 0 || ::mkfifo(out.c_str(), 0666) != 0) fail("mkfifo");
    user.own(home);
    user.own(out);
    // Open for writing too, so that it is not at its end before the first writer.
    b.out = ::open(out.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    b.pid = start_bare(bare_words(etc, home), user, errors);
    if (b.out < 0 || b.pid < 0) fail("cannot start the bare loop");
    waiting.push_back({b.out, POLLIN, 0});
  }
  for (std::size_t left = count; left > 0;) {
    if (::poll(waiting.data(), waiting.size(), 120'000) <= 0) {
      std::ifstream in{said};
      fail("the bare loop hangs: " + std::string{std::istreambuf_iterator<char>{in}, {}});
    }
    for (std::size_t i = 0; i < count; ++i) {
      if ((waiting[i].revents & POLLIN) == 0) continue;
      all[i].ms = ms_since(all[i].began);
      waiting[i].fd = -1;
      waiting[i].revents = 0;
      --left;
    }
  }
  std::vector<double> ms;
  for (auto& b : all) {
    ::kill(b.pid, SIGKILL);
    ms.push_back(b.ms);
  }
  for (auto& b : all) {
    ::waitpid(b.pid, nullptr, 0);
    ::close(b.out);
  }
  ::close(errors);
  return ms;
}

} // namespace skep::bench
