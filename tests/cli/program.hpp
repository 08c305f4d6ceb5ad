// Running the real `skep` in tests: to its end, or watched while it runs.
#pragma once

#include "messages/json.hpp"
#include "tests/broker/fake_world.hpp"
#include "transfer/process.hpp"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::cli_test {

using broker_test::scratch_dir;
using namespace std::chrono_literals;

inline std::string bin_dir() {
  const auto* dir = std::getenv("SKEP_BIN");
  if (dir == nullptr) throw std::runtime_error("SKEP_BIN is not set");
  return dir;
}

struct finished {
  int code = -1;
  std::string out;
  std::string err;
  /// Standard output as lines.
  std::vector<std::string> lines() const {
    std::vector<std::string> list;
    for (std::size_t begin = 0; begin < out.size();) {
      auto end = out.find('\n', begin);
      if (end == std::string::npos) end = out.size();
      list.push_back(out.substr(begin, end - begin));
      begin = end + 1;
    }
    return list;
  }
  /// Standard output as one JSON document; null when it is not exactly one.
  json document() const { return json::parse(out, nullptr, false); }
};

/// Environment of the programs under test: nothing of the caller's but what they need.
inline std::vector<std::string> clean_environment(const std::string& home) {
  return {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8", "TERM=dumb",
          "GIT_CONFIG_NOSYSTEM=1"};
}

/// Runs `argv` to its end; at most 30 s.
inline finished run_to_end(std::vector<std::string> argv, const std::string& home,
                           const std::string& input = {}, const std::string& dir = "/") {
  transfer::program p;
  p.argv = std::move(argv);
  p.environment = clean_environment(home);
  p.working_dir = dir;
  p.stdin_data = input;
  p.limit = 30s;
  auto x = transfer::run_program(p);
  if (!x) throw std::runtime_error(render(x.err()));
  return {x->exit_code, x->out, x->err};
}

/// A program that runs beside the test, and what it says; killed and reaped at the end of its
/// scope.
class running_program {
public:
  running_program(const running_program&) = delete;
  running_program& operator=(const running_program&) = delete;
  virtual ~running_program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(from_);
  }
  void signal(int s) { ::kill(pid_, s); }
  pid_t pid() const { return pid_; }
  /// What can be read of it so far.
  virtual std::string text() const = 0;
  /// True when `what` came to be read within 15 s.
  bool shows(const std::string& what) {
    auto end = std::chrono::steady_clock::now() + 15s;
    while (text().find(what) == std::string::npos)
      if (!read_more(end)) return false;
    return true;
  }
  /// Its exit code; -1 when it did not end within 15 s.
  int wait() {
    auto end = std::chrono::steady_clock::now() + 15s;
    while (read_more(end)) {
    }
    if (std::chrono::steady_clock::now() >= end) return -1;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

protected:
  running_program() = default;
  /// Starts it; `files` become its own, and are used up.
  void spawn(std::vector<std::string> argv, std::vector<std::string> environment,
             posix_spawn_file_actions_t& files, const posix_spawnattr_t* how = nullptr) {
    std::vector<char*> args, env;
    for (auto& x : argv)
      args.push_back(x.data());
    args.push_back(nullptr);
    for (auto& x : environment)
      env.push_back(x.data());
    env.push_back(nullptr);
    auto failed = ::posix_spawn(&pid_, argv[0].c_str(), &files, how, args.data(), env.data());
    posix_spawn_file_actions_destroy(&files);
    if (failed != 0) throw std::runtime_error("posix_spawn " + argv[0]);
  }
  /// A piece of what it says.
  virtual void took(std::string_view piece) = 0;
  int from_ = -1; ///< Where it is read.

private:
  /// False at the deadline, and at the end of what it says.
  bool read_more(std::chrono::steady_clock::time_point end) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd item{from_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&item, 1, static_cast<int>(left.count())) <= 0) return false;
    char piece[4096];
    auto n = ::read(from_, piece, sizeof piece);
    if (n <= 0) return false;
    took({piece, static_cast<std::size_t>(n)});
    return true;
  }
  pid_t pid_ = -1;
};

/// Without input; both outputs are one pipe.
class background : public running_program {
public:
  background(std::vector<std::string> argv, const std::string& home) {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    from_ = out[0];
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, out[1], 2);
    transfer::unique_fd theirs{out[1]};
    spawn(std::move(argv), clean_environment(home), files);
  }
  std::string text() const override { return text_; }

private:
  void took(std::string_view piece) override { text_ += piece; }
  std::string text_;
};

inline void write_text(const std::string& file, const std::string& text) {
  std::ofstream{file, std::ios::binary} << text;
}

/// A scratch place with a git repository of one commit, a state directory to be, and `skep`.
class cli_world {
public:
  scratch_dir dir;
  std::string home = dir.path;
  std::string state = dir.path + "/state";
  std::string repo = dir.path + "/repo";
  std::string skep_program = bin_dir() + "/skep";

  cli_world() {
    std::filesystem::create_directories(repo);
    git({"init", "-q", "-b", "main"});
    write_text(repo + "/a.txt", "one\n");
    git({"add", "-A"});
    git({"-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"});
  }

  void git(std::vector<std::string> args) {
    args.insert(args.begin(), {"git", "-C", repo});
    auto x = run_to_end(args, home);
    if (x.code != 0) throw std::runtime_error("git: " + x.err);
  }

  std::vector<std::string> argv(std::vector<std::string> args) const {
    args.insert(args.begin(), {skep_program, "--state", state});
    return args;
  }
  finished skep(std::vector<std::string> args, const std::string& input = {}) const {
    return run_to_end(argv(std::move(args)), home, input, repo);
  }
  /// `skep run` on the repository.
  finished run(std::vector<std::string> args) const {
    args.insert(args.begin(), {"run", "--repo", repo});
    return skep(std::move(args));
  }
};

/// The fake daemon on the world's state directory.
class fake_daemon {
public:
  explicit fake_daemon(const cli_world& w)
      : program_({bin_dir() + "/fake_daemon", "--state", w.state}, w.home) {
    auto where = broker::endpoints_of(w.state);
    auto end = std::chrono::steady_clock::now() + 15s;
    while (!broker::somebody_listens(where.control) || !broker::somebody_listens(where.events)) {
      if (std::chrono::steady_clock::now() > end)
        throw std::runtime_error("fake_daemon: no socket");
      std::this_thread::yield();
    }
  }
  void kill() { program_.signal(SIGKILL); }
  void signal(int s) { program_.signal(s); }

private:
  background program_;
};

/// The id of a run that goes on by this script of the fake daemon.
inline std::string start(const cli_world& w, const std::string& script, int panes = 1) {
  auto x = w.run({"--name", script, "--panes", std::to_string(panes), "--detach", "--", "true"});
  auto lines = x.lines();
  if (x.code != 0 || lines.empty() || !swarm_id{lines[0]}.valid())
    throw std::runtime_error("skep run --name " + script + ": " + x.out + x.err);
  return lines[0];
}

} // namespace skep::cli_test
