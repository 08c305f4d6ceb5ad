#include "tests/guest/guest.hpp"

#include <thread>

using namespace skep;
using namespace skep::test;

TEST_CASE("a pane runs once however often it is started") {
  pane_dir p;
  auto first = p.start({"sh", "-c", "echo run >> runs; echo hello; echo oops >&2; exit 3"});
  CHECK(first.exit_code == 0);
  CHECK(first.j["state"] == "started");
  CHECK(first.j["pid"].get<int>() > 0);
  REQUIRE(p.await_exit());
  auto second = p.start({"sh", "-c", "echo run >> runs"});
  CHECK(second.j["state"] == "exited");
  CHECK(second.j["exit_code"] == 3);
  CHECK(get(p / "runs") == "run\n");
  CHECK(p.log() == "hello\noops\n");
  CHECK(p.exit()["exit_code"] == 3);
  CHECK(p.exit()["signal"] == 0);
  CHECK(p.exit()["final_offset"] == 11);
  CHECK(p.exit()["ended_at_ms"].get<std::int64_t>() > 1'600'000'000'000);
}

TEST_CASE("many starts at once start one agent") {
  pane_dir p;
  std::vector<std::string> states(8);
  std::vector<std::thread> threads;
  std::filesystem::create_directories(p.dir());
  auto path = guest_path();
  for (auto& s : states)
    threads.emplace_back([&] {
      transfer::program g;
      g.argv = {path,      "pane", "--dir", p.dir(), "--cwd", p.path,
                "--epoch", "1",    "--",    "sh",    "-c",    "echo run >> runs; read x",
                "--stdin"};
      g.argv.insert(g.argv.begin() + 8, {"--stdin", "open"});
      g.argv.pop_back();
      auto out = transfer::run_program(g);
      if (out) s = json::parse(out->out)["state"];
    });
  for (auto& t : threads)
    t.join();
  CHECK(std::count(states.begin(), states.end(), "started") == 1);
  CHECK(std::count(states.begin(), states.end(), "running")
            + std::count(states.begin(), states.end(), "starting")
        == 7);
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k"}, "\n").j["state"] == "written");
  REQUIRE(p.await_exit());
  CHECK(get(p / "runs") == "run\n");
}

TEST_CASE("a pane is starting, and not running, until its holder has named the agent's process") {
  pane_dir p;
  std::filesystem::create_directories(p.dir());
  transfer::unique_fd lock; // as the holder has it
  auto ours = guest::claim(p.dir(), 1, lock);
  REQUIRE((ours.ok() && *ours));
  auto again = [&] { return p.start({"sh", "-c", "echo run >> runs"}); };
  auto a = again();
  CHECK(a.exit_code == 0);
  CHECK(a.j["state"] == "starting");
  CHECK_FALSE(a.j.contains("pid"));
  put(p.dir() + "/pid", "4711 4710\n");
  a = again();
  CHECK(a.j["state"] == "running");
  CHECK(a.j["pid"] == 4711);
  lock.reset();
  CHECK(again().j["state"] == "exited");
  CHECK_FALSE(exists(p / "runs"));
}

TEST_CASE("an agent that cannot be executed is an exit with 127 and a text") {
  pane_dir p;
  auto a = p.start({"skep-no-such-agent"});
  CHECK(a.exit_code == 0);
  CHECK(a.j["state"] == "exited");
  CHECK(a.j["exit_code"] == 127);
  CHECK(p.log().find("skep-no-such-agent") != std::string::npos);
  CHECK(p.exit()["final_offset"] == p.log().size());
  put(p / "not-executable", "x");
  CHECK(p.start({p / "not-executable"}, {}, 2).j["exit_code"] == 126);
}

TEST_CASE("an agent that a signal ended has exit code -1 and the signal") {
  pane_dir p;
  p.start({"sh", "-c", "kill -TERM $$"});
  REQUIRE(p.await_exit());
  CHECK(p.exit()["exit_code"] == -1);
  CHECK(p.exit()["signal"] == SIGTERM);
}

TEST_CASE("arguments that a parser would read as lists or options reach the agent as they are") {
  pane_dir p;
  p.start({"printf", "<%s>", "[a-z]", "[a,b]", "[]", "", "--dir", "--", "-h"});
  REQUIRE(p.await_exit());
  CHECK(p.log() == "<[a-z]><[a,b]><[]><><--dir><--><-h>");
}

TEST_CASE("a file is the agent's input") {
  pane_dir p;
  auto prompt = std::string("prompt with $(id) 'quotes' and \\ \n") + std::string(200000, 'p');
  put(p / "prompt", prompt);
  p.start({"sh", "-c", "cat; exec cat /dev/stdin"}, {"--stdin-file", p / "prompt"});
  REQUIRE(p.await_exit());
  CHECK((p.log() == prompt + prompt)); // opened anew, it begins anew
  // It is gone, and whoever asks again needs none.
  CHECK_FALSE(std::filesystem::exists(p / "prompt"));
  CHECK(p.start({"cat"}, {"--stdin-file", p / "prompt"}).j["state"] == "exited");
}

TEST_CASE("without its input file a pane is not started, and can be started later") {
  pane_dir p;
  CHECK(p.start({"cat"}, {"--stdin-file", p / "prompt"}, 1).j["error"] == "io");
  put(p / "prompt", "here now");
  p.start({"cat"}, {"--stdin-file", p / "prompt"});
  REQUIRE(p.await_exit());
  CHECK(p.log() == "here now");
}

TEST_CASE("input is written once per key") {
  pane_dir p;
  p.start({"cat"}, {"--stdin", "open"});
  auto send = [&](const std::string& key, const std::string& text) {
    return test::guest({"input", "--dir", p.dir(), "--key", key}, text).j["state"];
  };
  CHECK(send("k1", "one\n") == "written");
  CHECK(send("k1", "one\n") == "duplicate");
  CHECK(send("k2", "two\n") == "written");
  CHECK(send("k1", "one\n") == "duplicate");
  CHECK(get(p.dir() + "/inputs") == "k1 4\nk2 4\n");
  put(p / "file", "three\n");
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k3", "--file", p / "file", "--eof"})
            .j["state"]
        == "written");
  REQUIRE(p.await_exit());
  CHECK(p.log() == "one\ntwo\nthree\n");
  CHECK(send("k4", "x") == "exited");
}

TEST_CASE("a pane without input says so") {
  pane_dir p;
  p.start({"sh", "-c", "cat; exec sleep 60"});
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k"}, "x").j["state"] == "no_input");
}

TEST_CASE("large input arrives whole although the agent reads late") {
  pane_dir p;
  p.start({"sh", "-c", "until test -e go; do sleep 0.05; done; cat | wc -c"}, {"--stdin", "open"});
  auto done = std::thread([&] { put(p / "go", ""); });
  auto a =
      test::guest({"input", "--dir", p.dir(), "--key", "k", "--eof"}, std::string(1'000'000, 'i'));
  done.join();
  CHECK(a.j["state"] == "written");
  REQUIRE(p.await_exit());
  CHECK(p.log() == "1000000\n");
}

TEST_CASE("signals reach the agent's group") {
  pane_dir p;
  p.start({"sh", "-c", "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.1; done"});
  REQUIRE(await(p.dir(), [&] { return p.log() == "ready\n"; }));
  CHECK(test::guest({"signal", "--dir", p.dir(), "--signal", "TERM"}).j["state"] == "signalled");
  REQUIRE(p.await_exit());
  CHECK(p.log().find("got it") != std::string::npos);
  CHECK(p.exit()["exit_code"] == 5);
  CHECK(test::guest({"signal", "--dir", p.dir(), "--signal", "TERM"}).j["state"] == "exited");
}

TEST_CASE("what the agent left running is killed, also in sessions of its own") {
  pane_dir p;
  p.start({"sh", "-c",
           "setsid sh -c 'trap \"\" TERM; echo $$ > left; while :; do sleep 1; done' & "
           "until test -s left; do sleep 0.05; done; echo bye"});
  REQUIRE(p.await_exit());
  CHECK(p.log() == "bye\n");
  CHECK(p.exit()["exit_code"] == 0);
  auto left = std::stoi(get(p / "left"));
  CHECK_FALSE(alive(left));
}

TEST_CASE("KILL ends all descendants at once") {
  pane_dir p;
  p.start({"sh", "-c",
           "setsid sh -c 'trap \"\" TERM; echo $$ > left; while :; do sleep 1; done' & "
           "trap '' TERM; while :; do sleep 1; done"});
  REQUIRE(await(p.path, [&] { return !get(p / "left").empty(); }));
  auto left = std::stoi(get(p / "left"));
  CHECK(test::guest({"signal", "--dir", p.dir(), "--signal", "KILL"}).j["state"] == "signalled");
  REQUIRE(p.await_exit());
  CHECK(p.exit()["signal"] == SIGKILL);
  CHECK_FALSE(alive(left));
}

TEST_CASE("a KILL is answered when nothing of the pane lives any more, whether its agent had ended "
          "before or not") {
  pane_dir p;
  auto ended_before = GENERATE(true, false);
  // What the agent leaves only says that TERM came: by then the agent has ended.
  p.start({"sh", "-c",
           std::string{"setsid sh -c 'trap \"echo yes > asked\" TERM; echo $$ > left; "
                       "while :; do sleep 1; done' & until test -s left; do sleep 0.05; done; "}
               + (ended_before ? "exit 0" : "trap '' TERM; while :; do sleep 1; done")});
  REQUIRE(await(p.path, [&] { return !get(p / (ended_before ? "asked" : "left")).empty(); }));
  auto left = std::stoi(get(p / "left"));
  auto a = test::guest({"signal", "--dir", p.dir(), "--signal", "KILL"});
  CHECK_FALSE(alive(left)); // the answer is proof that nobody works there
  CHECK(a.j["state"] == (ended_before ? "exited" : "signalled"));
  REQUIRE(p.await_exit());
  CHECK(p.exit()["signal"] == (ended_before ? 0 : SIGKILL));
}

TEST_CASE("a terminal has the asked size and takes typed lines") {
  pane_dir p;
  p.start({"sh", "-c", "stty size; read line; echo \"<$line>\"; stty size"}, {"--pty", "123x45"});
  REQUIRE(await(p.dir(), [&] { return p.log().find("45 123") != std::string::npos; }));
  CHECK(test::guest({"resize", "--dir", p.dir(), "--columns", "90", "--rows", "33"}).j["state"]
        == "resized");
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k"}, "typed\n").j["state"] == "written");
  REQUIRE(p.await_exit());
  CHECK(p.log().find("<typed>") != std::string::npos);
  CHECK(p.log().find("33 90") != std::string::npos);
}

TEST_CASE("a start that comes after its KILL starts nothing") {
  pane_dir p;
  auto signal = [&](const char* name) {
    return test::guest({"signal", "--dir", p.dir(), "--signal", name}).j;
  };
  CHECK(signal("TERM")["error"] == "not_found"); // bars nothing
  CHECK_FALSE(exists(p.dir()));
  CHECK(signal("KILL")["state"] == "exited");
  CHECK(signal("KILL")["state"] == "exited");
  auto late = p.start({"sh", "-c", "echo run >> runs"});
  CHECK(late.exit_code == 0);
  CHECK(late.j["state"] == "exited");
  CHECK(late.j["exit_code"] == -1);
  CHECK(late.j["signal"] == SIGKILL);
  CHECK(late.j["final_offset"] == 0);
  CHECK_FALSE(exists(p / "runs"));
  CHECK(p.start({"sh", "-c", "echo run >> runs"}, {}, 2).j["state"] == "started");
  REQUIRE(await(p.path, [&] { return exists(p / "runs"); })); // the next attempt is another one
}

TEST_CASE("a pane whose holder was killed is settled, not started again") {
  pane_dir p;
  auto a = p.start({"sh", "-c", "echo run >> runs; echo text; exec sleep 60"});
  REQUIRE(await(p.dir(), [&] { return p.log() == "text\n"; }));
  int agent = 0, holder = 0;
  std::istringstream{get(p.dir() + "/pid")} >> agent >> holder;
  CHECK(agent == a.j["pid"]);
  REQUIRE(::kill(holder, SIGKILL) == 0);
  REQUIRE(await(p.dir(), [&] { return !alive(agent); }));
  auto again = p.start({"sh", "-c", "echo run >> runs"});
  CHECK(again.j["state"] == "exited");
  CHECK(again.j["exit_code"] == -1);
  CHECK(again.j["signal"] == SIGKILL);
  CHECK(again.j["final_offset"] == 5);
  CHECK(get(p / "runs") == "run\n");
}

TEST_CASE("a lower epoch starts nothing") {
  pane_dir p;
  CHECK(p.start({"true"}, {}, 1, 7).exit_code == 0);
  auto stale = p.start({"true"}, {}, 2, 6);
  CHECK(stale.exit_code == 3);
  CHECK(stale.j["error"] == "stale_epoch");
  CHECK_FALSE(exists(p.dir(2) + "/claim"));
  REQUIRE(p.await_exit());
}

TEST_CASE("the agent gets a usual umask, the pane's own files are private") {
  pane_dir p;
  p.start({"sh", "-c", "umask; touch made"});
  REQUIRE(p.await_exit());
  CHECK(p.log() == "0022\n");
  struct stat st {};
  REQUIRE(::stat((p.dir() + "/log").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
}

TEST_CASE("nothing of the starter is inherited by holder and agent") {
  pane_dir p;
  int fds[2];
  REQUIRE(::pipe(fds) == 0); // not close-on-exec
  p.start({"sh", "-c", "ls /proc/self/fd; exec sleep 60"});
  ::close(fds[1]);
  REQUIRE(await(p.dir(), [&] { return !p.log().empty(); }));
  pollfd end{fds[0], POLLIN, 0};
  CHECK(::poll(&end, 1, 10000) == 1);
  CHECK((end.revents & POLLHUP) != 0);
  ::close(fds[0]);
  CHECK(p.log() == "0\n1\n2\n3\n");
}

TEST_CASE("view shows a pane to its end and passes lines on") {
  pane_dir p;
  p.start({"sh", "-c", "echo begin; read x; echo \"<$x>\"; exit 4"}, {"--stdin", "open"});
  auto a = test::guest({"view", "--dir", p.dir()}, "a line\n");
  CHECK(a.exit_code == 0);
  CHECK(a.text == "begin\n<a line>\n");
}
