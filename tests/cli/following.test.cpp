// How commands that follow something end: by a signal, with the reader of their pipe, on a full
// disk.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

std::string started(const cli_world& w, const std::string& script) {
  auto x = w.run({"--name", script, "--detach", "--", "true"});
  REQUIRE(x.code == 0);
  return x.lines().at(0);
}

/// `skep` with these arguments as "$0" "$@" of a line for the shell.
std::vector<std::string> in_shell(const cli_world& w, const std::string& line,
                                  std::vector<std::string> args) {
  auto words = w.argv(std::move(args));
  words.insert(words.begin(), {"/bin/sh", "-c", line});
  return words;
}

constexpr auto no_space = "No space left on device";

} // namespace

TEST_CASE("following ends with the reader of its pipe, also where SIGPIPE was ignored") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = started(w, "runs");
  background follow{in_shell(w, "trap '' PIPE; \"$0\" \"$@\" | head -n 1",
                             {"events", "-f", "--from", "1", "--json"}),
                    w.home};
  REQUIRE(follow.shows("\"seq\":1,"));
  for (int i = 0; i < 3; ++i) // `head` is about to end: at the latest the second meets nobody
    REQUIRE(w.skep({"send", swarm + "/p0", "more"}).code == 0);
  CHECK(follow.wait() == 0); // of `head`; the shell waits for both
}

TEST_CASE("following ends with 74 and its reason where what it shows cannot be written") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = started(w, "runs");
  const std::vector<std::vector<std::string>> commands{{"events", "-f", "--from", "1"},
                                                       {"events", "-f", "--from", "1", "--json"},
                                                       {"logs", "-f", swarm + "/p0"},
                                                       {"logs", "-f", swarm, "--json"}};
  for (const auto& words : commands) {
    background follow{in_shell(w, "exec \"$0\" \"$@\" > /dev/full", words), w.home};
    CHECK(follow.wait() == info(errc::io).exit_code);
    INFO(words.at(0) << ": " << follow.text());
    CHECK(follow.text().find(no_space) != std::string::npos);
  }
}

TEST_CASE("a run whose events nobody can read any more leaves it to itself and says so") {
  cli_world w;
  fake_daemon daemon{w};
  background run{in_shell(w, "exec \"$0\" \"$@\" > /dev/full",
                          {"run", "--repo", w.repo, "--json", "--name", "runs", "--", "true"}),
                 w.home};
  CHECK(run.wait() == info(errc::io).exit_code);
  INFO(run.text());
  CHECK(run.text().find(no_space) != std::string::npos);
  CHECK(run.text().find("goes on without this command") != std::string::npos);
  auto list = w.skep({"ps", "--json"}).document();
  CHECK(list["swarms"].at(0)["state"] == "running");
}

TEST_CASE("a stop that was refused is asked for again by the next Ctrl+C") {
  cli_world w;
  fake_daemon daemon{w};
  background run{w.argv({"run", "--repo", w.repo, "--name", "runs", "--", "true"}), w.home};
  REQUIRE(run.shows("p0 started"));
  write_text(w.state + "/fake-refuses-stop", "");
  run.signal(SIGINT);
  REQUIRE(run.shows("Ctrl+C asks again"));
  CHECK(run.text().find("as it was told") != std::string::npos);
  std::filesystem::remove(w.state + "/fake-refuses-stop");
  run.signal(SIGINT);
  CHECK(run.wait() == 130);
  INFO(run.text());
  CHECK(run.text().find("cancelled") != std::string::npos);
  CHECK(run.text().find("goes on without this terminal") == std::string::npos);
}

TEST_CASE("a hangup ends stop --wait with 129, Ctrl+C with 130; the swarm goes on ending") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = started(w, "stubborn");
  for (auto [s, code] : {std::pair{SIGHUP, 129}, std::pair{SIGINT, 130}}) {
    background stop{w.argv({"stop", swarm, "--wait"}), w.home};
    REQUIRE(stop.shows("is stopping"));
    stop.signal(s);
    CHECK(stop.wait() == code);
  }
  CHECK(w.skep({"status", swarm, "--json"}).document()["swarm"]["state"] == "stopping");
}

TEST_CASE("events -f gets over a history that is not answered in time, and misses nothing") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = started(w, "runs");
  write_text(w.state + "/fake-slow-history", "");
  background follow{w.argv({"events", "-f", "--from", "1", "--json"}), w.home};
  REQUIRE(follow.shows("asking again"));
  REQUIRE(w.skep({"send", swarm + "/p0", "more"}).code == 0);
  std::filesystem::remove(w.state + "/fake-slow-history");
  const auto all = w.skep({"events", "--json"}).lines();
  REQUIRE(all.size() > 3);
  CHECK(follow.shows(all.back()));
  follow.signal(SIGINT);
  CHECK(follow.wait() == 130);
  const auto text = follow.text();
  std::size_t at = 0;
  for (const auto& line : all) {
    INFO(line);
    const auto found = text.find(line, at);
    REQUIRE(found != std::string::npos);
    at = found + line.size();
    CHECK(text.find(line, at) == std::string::npos);
  }
  const auto said = text.find("asking again");
  CHECK(text.find("asking again", said + 1) == std::string::npos); // once
}
