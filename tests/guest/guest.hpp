// Runs the built skep-guest as the daemon would: argv in, one line of JSON out.
#pragma once

#include "guest/layout.hpp"
#include "messages/follow.hpp"
#include "tests/transfer/repo.hpp"

#include <csignal>
#include <functional>
#include <map>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/wait.h>

namespace skep::test {

inline std::string guest_path() {
  const char* bin = std::getenv("SKEP_BIN");
  REQUIRE(bin);
  return std::string{bin} + "/skep-guest";
}

struct answer {
  int exit_code = 0;
  json j;
  std::string text;
};

inline answer guest(std::vector<std::string> arguments, const std::string& input = {},
                    std::vector<std::string> extra_env = {}) {
  transfer::program p;
  p.argv = std::move(arguments);
  p.argv.insert(p.argv.begin(), guest_path());
  p.stdin_data = input;
  p.environment = transfer::git_environment();
  p.environment->insert(p.environment->end(), extra_env.begin(), extra_env.end());
  auto out = transfer::run_program(p);
  REQUIRE(out.ok());
  INFO(out->out << out->err);
  answer a{out->exit_code, json::parse(out->out, nullptr, false), out->out};
  return a;
}

/// Waits until `good` holds, looking again whenever something in `dir` changes; false after 20 s.
inline bool await(const std::string& dir, const std::function<bool()>& good) {
  transfer::unique_fd watch{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  ::inotify_add_watch(watch.get(), dir.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  char buffer[4096];
  while (!good()) {
    if (transfer::ms_until(deadline) == 0) return false;
    pollfd p{watch.get(), POLLIN, 0};
    ::poll(&p, 1, std::min(transfer::ms_until(deadline), 200)); // some evidence makes no event
    while (::read(watch.get(), buffer, sizeof buffer) > 0) {
    }
  }
  return true;
}

/// The directory of a pane below a root of its own; kills what is left at the end.
struct pane_dir : temp {
  pane_id id = pane_id::make();
  std::string root() const { return path + "/panes"; }
  std::string dir(int generation = 1) const {
    return root() + "/" + id.value + "/" + std::to_string(generation);
  }
  ~pane_dir() {
    for (const auto& e : std::filesystem::recursive_directory_iterator(root()))
      if (e.path().filename() == "claim"
          && guest::look(e.path().parent_path()) == guest::pane_state::running)
        test::guest({"signal", "--dir", e.path().parent_path(), "--signal", "KILL"});
  }
  /// `skep-guest pane`; options come before the program.
  answer start(std::vector<std::string> argv, std::vector<std::string> options = {},
               int generation = 1, int epoch = 1) const {
    std::vector<std::string> all{"pane", "--dir",   dir(generation),      "--cwd",
                                 path,   "--epoch", std::to_string(epoch)};
    all.insert(all.end(), options.begin(), options.end());
    all.push_back("--");
    all.insert(all.end(), argv.begin(), argv.end());
    return test::guest(all);
  }
  bool await_exit(int generation = 1) const {
    return await(dir(generation), [&] { return exists(dir(generation) + "/exit.json"); });
  }
  json exit(int generation = 1) const { return json::parse(get(dir(generation) + "/exit.json")); }
  std::string log(int generation = 1) const { return get(dir(generation) + "/log"); }
};

inline bool alive(pid_t pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto close = text.rfind(')');
  return close != text.npos && text[close + 2] != 'Z';
}

/// A running `skep-guest follow`.
class follower {
public:
  follower(const std::string& root, int epoch, std::vector<std::string> options = {}) {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    out_.reset(fds[0]);
    std::vector<std::string> argv{guest_path(), "follow",  "--root",
                                  root,         "--epoch", std::to_string(epoch)};
    argv.insert(argv.end(), options.begin(), options.end());
    std::vector<char*> raw;
    for (auto& a : argv)
      raw.push_back(a.data());
    raw.push_back(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(fds[1], 1);
      int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 2);
      ::execv(raw[0], raw.data());
      ::_exit(127);
    }
    ::close(fds[1]);
  }
  ~follower() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  follower(const follower&) = delete;
  pid_t pid() const { return pid_; }

  /// Reads frames until `enough` says so or the stream ends; false when it is damaged or 60 s
  /// passed.
  bool read(const std::function<bool(follow_reader::frame&)>& enough) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    for (;;) {
      follow_reader::frame f;
      auto got = reader_.next(f);
      if (!got) return false;
      if (*got) {
        if (enough(f)) return true;
        continue;
      }
      pollfd p{out_.get(), POLLIN, 0};
      if (::poll(&p, 1, transfer::ms_until(deadline)) <= 0) return false;
      char buffer[64 * 1024];
      auto n = ::read(out_.get(), buffer, sizeof buffer);
      if (n <= 0) {
        ended_ = true;
        return true;
      }
      reader_.feed({buffer, static_cast<std::size_t>(n)});
    }
  }
  /// Collects output of all panes until `exits` exit frames came.
  struct seen {
    std::map<std::pair<std::string, std::uint32_t>, std::string> text;
    std::map<std::pair<std::string, std::uint32_t>, follow_exit> exits;
    bool in_order = true;
    std::size_t largest = 0;
  };
  seen until_exits(std::size_t exits, std::uint64_t first_offset = 0) {
    seen s;
    bool good = read([&](follow_reader::frame& f) {
      if (f.kind == follow_kind::data) {
        follow_data d;
        REQUIRE(unpack_value(f.body.get(), d));
        auto& text = s.text[{d.pane.value, d.generation}];
        s.in_order = s.in_order && d.offset == first_offset + text.size();
        s.largest = std::max(s.largest, d.data.data.size());
        text += d.data.data;
      } else if (f.kind == follow_kind::exit) {
        follow_exit e;
        REQUIRE(unpack_value(f.body.get(), e));
        s.exits[{e.pane.value, e.generation}] = e;
      }
      return s.exits.size() == exits;
    });
    CHECK(good);
    return s;
  }
  bool ended() const { return ended_; }
  void close_reader() { out_.reset(); }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

private:
  transfer::unique_fd out_;
  follow_reader reader_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

} // namespace skep::test
