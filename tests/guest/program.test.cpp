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
