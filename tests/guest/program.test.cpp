#include "guest/control.hpp"
#include "tests/guest/guest.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE("skep-guest runs in an empty root") {
  // Sanitizers need their libraries; then the program is linked dynamically.
  if (get(guest_path()).substr(0, 4096).find("ld-linux") != std::string::npos) { // its PT_INTERP
    WARN("linked dynamically");
    return;
  }
  auto text = run({"bwrap", "--unshare-all", "--ro-bind", guest_path(), "/skep-guest",
                   "/skep-guest", "--version"});
  CHECK(text.starts_with("skep-guest 0."));
  temp t;
  repo r;
  r.put("a \xC3\xA4", "x");
  r.commit();
  run({"tar", "-C", r.path, "--exclude=.git", "-cf", t / "a.tar", "."});
  text = run({"bwrap", "--unshare-all", "--ro-bind", guest_path(), "/skep-guest", "--bind", t.path,
              "/w", "/skep-guest", "unpack", "--archive", "/w/a.tar", "--dest", "/w/d"});
  CHECK(json::parse(text)["files"] == 1);
  CHECK(get(t / "d/a \xC3\xA4") == "x");
}

TEST_CASE("errors are one line of JSON and an exit code") {
  auto bad = test::guest({"unpack", "--archive", "/no/such/file", "--dest", "/tmp/skep-never"});
  CHECK(bad.exit_code == 1);
  CHECK(bad.j["error"] == "file_not_found");
  bad = test::guest({"unpack"});
  CHECK(bad.exit_code == 2);
  CHECK(bad.j["error"] == "bad_argument");
  bad = test::guest({"no-such-program"});
  CHECK(bad.exit_code == 2);
  bad = test::guest({"signal", "--dir", "/no/such/pane", "--signal", "TERM"});
  CHECK(bad.j["error"] == "not_found");
  CHECK_FALSE(exists("/tmp/skep-never"));
}

TEST_CASE("requests of the control socket are parsed strictly") {
  using guest::parse_control;
  CHECK(parse_control("input k:1 12")->length == 12);
  CHECK(parse_control("close k")->what == guest::control_request::verb::close);
  CHECK(parse_control("signal INT")->signal == SIGINT);
  CHECK(parse_control("resize 80 24")->columns == 80);
  for (const char* bad :
       {"", "input", "input k", "input k x", "input k -1", "input k 1 2", "input k 99999999",
        "input a/b 1", "signal HUP", "signal", "resize 0 1", "resize 80 70000", "close", "what"})
    CHECK_FALSE(parse_control(bad).ok());
}

namespace {

/// `skep-guest` with a git of ours, which finds its folder as $PLACE and leaves its process id in
/// the file "pid" there.
struct with_git : temp {
  explicit with_git(const std::string& script) { put(*this / "bin/git", script, 0755); }

  /// Starts the call, waits until its git runs, and kills the call. That git's process id.
  pid_t killed_call(std::vector<std::string> words) const {
    words.insert(words.begin(),
                 {"env", "PLACE=" + path,
                  "PATH=" + (*this / "bin") + ":/usr/local/bin:/usr/bin:/bin", guest_path()});
    std::vector<char*> raw;
    for (auto& word : words)
      raw.push_back(word.data());
    raw.push_back(nullptr);
    pid_t caller = ::fork();
    REQUIRE(caller >= 0);
    if (caller == 0) {
      ::execv("/usr/bin/env", raw.data());
      ::_exit(127);
    }
    bool runs = await(path, [&] { return get(*this / "pid").ends_with('\n'); });
    CHECK(::kill(caller, SIGKILL) == 0);
    ::waitpid(caller, nullptr, 0);
    REQUIRE(runs);
    return std::stoi(get(*this / "pid"));
  }
};

} // namespace

TEST_CASE("a git that skep-guest waits for dies with it") {
  with_git t{"#!/bin/sh\necho $$ > \"$PLACE/pid\"\nexec sleep 600\n"};
  auto child = t.killed_call({"settle", "--repo", t.path});
  auto gone = await(t.path, [&] { return !alive(child); });
  CHECK(gone);
  if (!gone) ::kill(child, SIGKILL);
}

TEST_CASE("a git that is making a work tree finishes it, though skep-guest was killed") {
  with_git t{"#!/bin/sh\ncase \"$*\" in\n*check-ref-format*) exit 0 ;;\n"
             "*'worktree add'*) echo $$ > \"$PLACE/pid\" ;;\n*) exit 1 ;;\nesac\n"
             "until test -e \"$PLACE/go\"; do sleep 0.05; done\necho yes > \"$PLACE/finished\"\n"};
  std::filesystem::create_directories(t / ".git");
  t.killed_call({"worktree", "--repo", t.path, "--name", "p0", "--dest", t / "p0", "--base",
                 std::string(40, 'a')});
  put(t / "go", "");
  CHECK(await(t.path, [&] { return get(t / "finished") == "yes\n"; }));
}

TEST_CASE("a git that is missing and a folder that is are told apart by skep-guest") {
  temp t;
  std::filesystem::create_directories(t / "none");
  transfer::program p;
  p.argv = {"/usr/bin/env", "PATH=" + (t / "none"), guest_path(), "settle", "--repo", t.path};
  auto without = transfer::run_program(p);
  REQUIRE(without.ok());
  CHECK(without->exit_code == 1);
  CHECK(json::parse(without->out)["error"] == "program_missing");
  auto a = test::guest({"settle", "--repo", t / "no-such-folder"});
  CHECK(a.exit_code == 1);
  CHECK(a.j["error"] == "io");
}
