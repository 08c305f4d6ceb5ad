// A skep-host that a test has for itself.
#pragma once

#include "messages/json.hpp"
#include "sandbox/client.hpp"
#include "tests/sandbox/await.hpp"
#include "tests/support/skip.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace skep::sandbox::test {

inline std::string program(const char* name) {
  const char* bin = std::getenv("SKEP_BIN");
  return std::string{bin ? bin : "."} + "/" + name;
}

/// A skep-host of this test alone, on a free port; it ends with the object. Its sandboxes would
/// outlive it: they are killed before.
class own_host {
public:
  explicit own_host(std::vector<std::string> more = {}) {
    std::string name = std::filesystem::temp_directory_path() / "skep-contract-XXXXXX";
    dir_ = ::mkdtemp(name.data());
    ::chmod(dir_.c_str(), 0711); // the user that sandboxes run as passes through
    std::vector<std::string> words{program("skep-host"), "--listen",
                                   "127.0.0.1:0",        "--state",
                                   dir_ / "state",       "--insecure-loopback"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& w : words)
      argv.push_back(w.data());
    argv.push_back(nullptr);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, (dir_ / "log").c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int rc = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (rc == 0) url_ = read_url(ends[0]);
    ::close(ends[0]);
  }
  ~own_host() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      pollfd over{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};
      if (over.fd < 0 || ::poll(&over, 1, 20'000) <= 0) ::kill(pid_, SIGKILL);
      if (over.fd >= 0) ::close(over.fd);
      ::waitpid(pid_, nullptr, 0);
    }
    std::filesystem::remove_all(dir_);
  }
  own_host(const own_host&) = delete;
  own_host& operator=(const own_host&) = delete;

  /// Empty when it did not start.
  const std::string& url() const { return url_; }
  std::string log() const {
    std::ifstream in{dir_ / "log"};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  const std::filesystem::path& dir() const { return dir_; }

private:
  static std::string read_url(int fd) {
    std::string line;
    pollfd ready{fd, POLLIN, 0};
    while (line.find('\n') == std::string::npos && ::poll(&ready, 1, 20'000) > 0) {
      char piece[512];
      auto n = ::read(fd, piece, sizeof piece);
      if (n <= 0) break;
      line.append(piece, static_cast<std::size_t>(n));
    }
    auto j = nlohmann::json::parse(line, nullptr, false);
    return j.is_object() ? j.value("url", "") : "";
  }

  std::filesystem::path dir_;
  pid_t pid_ = 0;
  std::string url_;
};

} // namespace skep::sandbox::test
