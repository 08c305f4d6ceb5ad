// What people see of panes: `view` on a terminal of its own, `windows` in tmux.
#include "tests/guest/guest.hpp"

#include "guest/control.hpp"

#include <fcntl.h>
#include <sstream>
#include <sys/ioctl.h>
#include <termios.h>

using namespace skep;
using namespace skep::test;

namespace {

/// `skep-guest view` on a terminal.
class viewer {
public:
  viewer(const pane_dir& p, std::vector<std::string> options = {}, unsigned short columns = 80,
         unsigned short rows = 24) {
    master_.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master_);
    REQUIRE(::grantpt(master_.get()) == 0);
    REQUIRE(::unlockpt(master_.get()) == 0);
    char name[64];
    REQUIRE(::ptsname_r(master_.get(), name, sizeof name) == 0);
    winsize size{rows, columns, 0, 0};
    // Kept open, so that its modes can be looked at when the viewer has gone.
    slave_.reset(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(slave_);
    ::ioctl(slave_.get(), TIOCSWINSZ, &size);
    REQUIRE(::tcgetattr(slave_.get(), &before_) == 0);
    std::vector<std::string> argv{guest_path(), "view", "--dir", p.dir()};
    argv.insert(argv.end(), options.begin(), options.end());
    std::vector<char*> raw;
    for (auto& a : argv)
      raw.push_back(a.data());
    raw.push_back(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::setsid();
      ::ioctl(slave_.get(), TIOCSCTTY, 0);
      for (int fd : {0, 1, 2})
        ::dup2(slave_.get(), fd);
      ::execv(raw[0], raw.data());
      ::_exit(127);
    }
  }
  ~viewer() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  viewer(const viewer&) = delete;
  void type(std::string_view keys) {
    REQUIRE(::write(master_.get(), keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  /// Reads until `text` came; false after 20 s.
  bool shows(const std::string& text) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (screen.find(text) == std::string::npos) {
      pollfd item{master_.get(), POLLIN, 0};
      if (::poll(&item, 1, transfer::ms_until(deadline)) <= 0) return false;
      char piece[4096];
      auto n = ::read(master_.get(), piece, sizeof piece);
      if (n <= 0) return false;
      screen.append(piece, static_cast<std::size_t>(n));
    }
    return true;
  }
  void resize(unsigned short columns, unsigned short rows) {
    winsize size{rows, columns, 0, 0};
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  /// Reads what it writes until it has ended well; false after 20 s.
  bool leaves() {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    char piece[4096];
    while (transfer::ms_until(deadline) > 0) {
      pollfd item{master_.get(), POLLIN, 0};
      if (::poll(&item, 1, 50) > 0 && ::read(master_.get(), piece, sizeof piece) < 0) return false;
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) != pid_) continue;
      pid_ = -1;
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return false;
  }
  /// The modes are what they were.
  bool terminal_is_back() const {
    termios now{};
    ::tcgetattr(slave_.get(), &now);
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag
           && now.c_oflag == before_.c_oflag;
  }
  std::string screen;

private:
  transfer::unique_fd master_, slave_;
  termios before_{};
  pid_t pid_ = -1;
};

/// A terminal's agent that answers lines and tells its size when asked.
const std::vector<std::string> talker{
    "sh", "-c",
    "echo ready; while read x; do if test \"$x\" = size; then stty size;"
    " else echo \"<$x>\"; fi; done"};

std::string tmux(const json& made, std::vector<std::string> arguments) {
  transfer::program p;
  p.argv = {"tmux", "-S", made["socket"].get<std::string>(), "-f", "/dev/null"};
  p.argv.insert(p.argv.end(), arguments.begin(), arguments.end());
  auto out = transfer::run_program(p);
  REQUIRE(out.ok());
  INFO(out->err);
  CHECK(out->exit_code == 0);
  return out->out;
}

/// A session of one pane directory, shown many times; its server is ended at the end.
struct session {
  pane_dir p;
  std::string name = "skep-" + sandbox_id::make().value;
  json made;
  std::vector<std::string> arguments(std::size_t panes) const {
    std::vector<std::string> out{"windows", "--session", name};
    for (std::size_t i = 0; i < panes; ++i) {
      out.push_back("--pane");
      out.push_back("p" + std::to_string(i) + ":" + p.dir());
    }
    return out;
  }
  answer make(std::size_t panes) {
    auto a = test::guest(arguments(panes));
    if (a.exit_code == 0) made = a.j;
    return a;
  }
  ~session() {
    if (!made.is_null()) tmux(made, {"kill-server"});
  }
};

} // namespace

TEST_CASE("view passes keys and its size to a pane with a terminal, and the key detaches") {
  pane_dir p;
  p.start(talker, {"--pty", "200x50"});
  CHECK(get(p.dir() + "/terminal") == "200 50\n");
  viewer v{p, {}, 101, 31};
  REQUIRE(v.shows("ready"));
  v.type("hello\r");
  REQUIRE(v.shows("<hello>"));
  v.type("size\r");
  REQUIRE(v.shows("31 101"));
  v.resize(90, 20);
  // The change of size is a signal, and reaches the pane some time later.
  REQUIRE(await(p.dir(), [&] {
    v.type("size\r");
    return v.shows("\n") && p.log().find("20 90") != std::string::npos;
  }));
  v.type("\x1d");
  CHECK(v.wait() == 0);
  CHECK(v.terminal_is_back());
  CHECK(guest::look(p.dir()) == guest::pane_state::running);
}

TEST_CASE("view passes whole lines to a pane that reads a pipe, and no interrupt") {
  pane_dir p;
  p.start({"sh", "-c", "echo ready; while read x; do echo \"<$x>\"; done"}, {"--stdin", "open"});
  viewer v{p};
  REQUIRE(v.shows("ready\r\n")); // as a terminal needs it
  v.type("wrong\x7f\x7f\x7f\x7f\x7fright\r");
  REQUIRE(v.shows("<right>"));
  v.type("\x03");
  REQUIRE(v.shows("is not passed on"));
  v.type("after\r");
  REQUIRE(v.shows("<after>"));
  v.type("\x1d");
  CHECK(v.wait() == 0);
  CHECK(v.terminal_is_back());
  CHECK(guest::look(p.dir()) == guest::pane_state::running);
}

TEST_CASE("a viewer that only watches passes nothing in and changes no size") {
  auto with_terminal = GENERATE(true, false);
  pane_dir p;
  p.start(talker, with_terminal ? std::vector<std::string>{"--pty", "200x50"}
                                : std::vector<std::string>{"--stdin", "open"});
  viewer v{p, {"--read-only"}};
  REQUIRE(v.shows("ready"));
  v.type("hello\r");
  // What this sends comes after what the viewer would have sent.
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k"}, "from elsewhere\n").j["state"]
        == "written");
  REQUIRE(v.shows("<from elsewhere>"));
  if (with_terminal) {
    test::guest({"input", "--dir", p.dir(), "--key", "l"}, "size\n");
    REQUIRE(v.shows("50 200"));
  }
  CHECK(v.screen.find("hello") == std::string::npos);
  CHECK(get(p.dir() + "/inputs").find("view:") == std::string::npos);
  v.type("\x03");
  CHECK(v.wait() == 0);
  CHECK(v.terminal_is_back());
}

TEST_CASE("view begins with the end of a long log, at a line, and tells the agent's end") {
  pane_dir p;
  p.start({"sh", "-c", "seq 1 5000; exit 3"});
  REQUIRE(p.await_exit());
  auto a = test::guest({"view", "--dir", p.dir(), "--tail", "17"});
  CHECK(a.text == "4998\n4999\n5000\n");
  viewer v{p};
  CHECK(v.shows("5000"));
  CHECK(v.shows("the agent ended with exit code 3"));
  CHECK(v.wait() == 0);
  CHECK(test::guest({"view", "--dir", p.dir(9)}).exit_code == 1);
}

TEST_CASE("a viewer of a flood is left at once") {
  pane_dir p;
  p.start({"yes"});
  viewer v{p};
  REQUIRE(v.shows("y"));
  v.type("\x1d");
  CHECK(v.leaves());
}

TEST_CASE("tmux shows the most panes in windows of nine, tiled on 200x50") {
  session s;
  s.p.start({"sh", "-c", "echo shown; exec sleep 60"});
  REQUIRE(s.make(100).exit_code == 0);
  CHECK(s.made["windows"] == 12);
  CHECK(s.made["panes"] == 100);
  auto panes = tmux(s.made, {"list-panes", "-s", "-t", s.name, "-F",
                             "#{window_index} #{pane_width}x#{pane_height} #{@name}"});
  CHECK(std::count(panes.begin(), panes.end(), '\n') == 100);
  for (std::size_t i = 0; i < 100; ++i) {
    INFO(i);
    auto end = panes.find(" p" + std::to_string(i) + "\n");
    REQUIRE(end != std::string::npos);
    auto start = panes.rfind('\n', end) + 1; // 0 for the first line
    // Three columns of three; the last one is alone in its window.
    auto wanted = std::to_string(i / 9) + (i == 99 ? " 200x49" : " 66x1");
    CHECK(panes.substr(start, end - start).starts_with(wanted));
  }
  auto size =
      tmux(s.made, {"list-windows", "-t", s.name, "-F", "#{window_width}x#{window_height}"});
  CHECK(size.starts_with("200x50\n200x50\n"));
  CHECK(await(s.p.dir(), [&] {
    return tmux(s.made, {"capture-pane", "-p", "-t", s.name + ":11.0"}).find("shown")
           != std::string::npos;
  }));
  // A hundred viewers that end at once, and look for leaks, take a sanitizer minutes.
  std::istringstream pids{tmux(s.made, {"list-panes", "-s", "-t", s.name, "-F", "#{pane_pid}"})};
  tmux(std::exchange(s.made, nullptr), {"kill-server"});
  for (pid_t pid = 0; pids >> pid;)
    ::kill(pid, SIGKILL);
}

TEST_CASE("a session of tmux is made once, and anew when it shows something else") {
  session s;
  s.p.start({"sleep", "60"});
  REQUIRE(s.make(2).exit_code == 0);
  auto born = [&] { return tmux(s.made, {"list-panes", "-s", "-t", s.name, "-F", "#{pane_pid}"}); };
  auto first = born();
  CHECK(std::count(first.begin(), first.end(), '\n') == 2);
  REQUIRE(s.make(2).exit_code == 0);
  CHECK(born() == first);
  REQUIRE(s.make(3).exit_code == 0);
  auto third = born();
  CHECK(std::count(third.begin(), third.end(), '\n') == 3);
  CHECK(third.find(first.substr(0, first.find('\n'))) == std::string::npos);
  // One that was left unfinished is no session.
  tmux(s.made, {"set-option", "-u", "-t", s.name, "@skep_shows"});
  REQUIRE(s.make(3).exit_code == 0);
  CHECK(born() != third);
}

TEST_CASE("two sandboxes on one machine have servers and sessions of their own") {
  session a, b;
  a.p.start({"sleep", "60"});
  b.p.start({"sleep", "60"});
  REQUIRE(a.make(1).exit_code == 0);
  REQUIRE(b.make(1).exit_code == 0);
  CHECK(a.made["session"] == a.name);
  CHECK(a.made["socket"] != b.made["socket"]);
  CHECK(tmux(a.made, {"list-sessions", "-F", "#{session_name}"}) == a.name + "\n");
  CHECK(tmux(b.made, {"list-sessions", "-F", "#{session_name}"}) == b.name + "\n");
}

TEST_CASE("what makes no sense makes no session") {
  pane_dir p;
  p.start({"sleep", "60"});
  auto refused = [&](const std::string& session, const std::string& pane) {
    return test::guest({"windows", "--session", session, "--pane", pane}).exit_code;
  };
  CHECK(refused("skep-x", "p0:" + p.dir()) == 2);
  CHECK(refused("sb_x", "p0:" + p.dir()) == 2);
  CHECK(refused("skep-sb_x;y", "p0:" + p.dir()) == 2);
  CHECK(refused("skep-sb_x", "p0") == 2);
  CHECK(refused("skep-sb_x", "p 0:" + p.dir()) == 2);
  CHECK(refused("skep-sb_x", "p0:relative") == 2);
  CHECK_FALSE(std::filesystem::exists(p.path + "/tmux"));
}
