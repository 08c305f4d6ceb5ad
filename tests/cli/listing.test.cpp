// What skep ps, skep status and skep budget say of runs, against the fake daemon.
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::cli_test;

TEST_CASE("ps shows what was kept, in which run, and what ends it, until it has ended") {
  cli_world w;
  fake_daemon daemon{w};
  auto run = w.run(
      {"--name", "keeps", "--sandboxes", "2", "--panes", "1", "--keep", "--detach", "--", "true"});
  REQUIRE(run.code == 0);
  auto kept = run.lines().at(0);
  const auto told = "2 kept sandboxes: " + kept + ", for at most ";
  const auto how = " more; `skep kill " + kept + "` ends them\n";
  auto text = w.skep({"ps"}).out;
  INFO(text);
  CHECK(text.find("Nothing runs") != std::string::npos);
  CHECK(text.find(told) != std::string::npos);
  CHECK(text.find(how) != std::string::npos);
  auto all = w.skep({"ps", "--all"}).out;
  INFO(all);
  CHECK(all.find("completed (2 kept)") != std::string::npos);
  CHECK(all.find(told) != std::string::npos);
  for (bool closed_ones : {false, true}) {
    std::vector<std::string> words{"ps", "--json"};
    if (closed_ones) words.emplace_back("--all");
    auto document = w.skep(words).document();
    CHECK(mismatch(all_schemas().at("ps"), document) == "");
    CHECK(document["swarms"].size() == (closed_ones ? 1U : 0U));
    REQUIRE(document["kept"].size() == 2);
    CHECK(document["kept"].at(0)["swarm"] == kept);
    CHECK(document["kept"].at(1)["kept"] == true);
  }
  CHECK(w.skep({"ps", "--repo", w.repo}).out.find(told) != std::string::npos);
  CHECK(w.skep({"ps", "--repo", w.home}).out.find("kept") == std::string::npos);

  auto refused = w.skep({"stop", "keeps", "--json"});
  CHECK(refused.code == info(errc::wrong_phase).exit_code);
  auto why = refused.document()["error"]["message"].get<std::string>();
  CHECK(why.starts_with(kept + " is closed; " + told));
  CHECK(why.ends_with("`skep kill " + kept + "` ends them"));

  REQUIRE(w.skep({"kill", "keeps"}).code == 0);
  CHECK(w.skep({"ps"}).out.find("kept") == std::string::npos);
  CHECK(w.skep({"ps", "--all"}).out.find("kept") == std::string::npos);
  CHECK_FALSE(w.skep({"ps", "--json"}).document().contains("kept"));
}

TEST_CASE("sandboxes whose end is not confirmed are told at the end of their run and by ps, and "
          "nobody is told to end the daemon that repeats the kill") {
  cli_world w;
  fake_daemon daemon{w};
  auto run = w.run({"--name", "unconfirmed", "--sandboxes", "2", "--panes", "1", "--", "true"});
  INFO(run.out << run.err);
  REQUIRE(run.code == 0);
  auto list = w.skep({"ps", "--all", "--json"}).document();
  REQUIRE(list["swarms"].size() == 1);
  auto id = list["swarms"].at(0)["swarm"].get<std::string>();
  const auto told = "2 sandboxes of " + id
                    + " whose end their provider has not confirmed: they may cost until their "
                      "leases end; skepd repeats the kill while it runs (skep status "
                    + id + ")\n";
  CHECK(run.out.find("Still there: " + told) != std::string::npos);
  CHECK(run.err.find("skepd stays to repeat the kill of 2 sandboxes that providers have not "
                     "confirmed to be gone: skep ps\n")
        != std::string::npos);
  CHECK(run.err.find("skep daemon stop") == std::string::npos);
  for (bool closed_ones : {false, true}) {
    std::vector<std::string> words{"ps"};
    if (closed_ones) words.emplace_back("--all");
    auto text = w.skep(words).out;
    INFO(text);
    CHECK(text.find(told) != std::string::npos);
    CHECK(text.find("kept") == std::string::npos);
  }
  CHECK(mismatch(all_schemas().at("ps"), list) == "");
  CHECK_FALSE(list.contains("kept"));
  REQUIRE(list["unconfirmed"].size() == 2);
  CHECK(list["unconfirmed"].at(0)["swarm"] == id);
  CHECK(list["unconfirmed"].at(1)["remote_id"] == "i1");
  CHECK_FALSE(w.skep({"ps", "--repo", w.home, "--json"}).document().contains("unconfirmed"));
}

TEST_CASE("the columns of ps say that they count what is open") {
  cli_world w;
  fake_daemon daemon{w};
  (void)start(w, "completes", 2);
  auto lines = w.skep({"ps", "--all"}).lines();
  REQUIRE(lines.size() == 2);
  auto at = lines.at(0).find("OPEN PANES");
  REQUIRE(at != std::string::npos);
  CHECK(lines.at(1).substr(at, 3) == "0/2");
  CHECK(lines.at(1).substr(lines.at(0).find("OPEN SB"), 3) == "0/1");
}

TEST_CASE("ps of a folder that does not exist is not_found, unless a run of it is known") {
  cli_world w;
  fake_daemon daemon{w};
  auto wrong = w.skep({"ps", "--repo", w.dir.path + "/nowhere", "--json"});
  CHECK(wrong.code == 66);
  CHECK(wrong.document()["error"]["code"] == "not_found");
  auto none = w.skep({"ps", "--repo", w.repo});
  CHECK(none.code == 0);
  CHECK(none.out.find("Nothing runs") != std::string::npos);
  auto open = start(w, "runs");
  std::filesystem::rename(w.repo, w.dir.path + "/moved");
  auto gone = run_to_end(w.argv({"ps", "--repo", w.repo}), w.home);
  CHECK(gone.code == 0);
  CHECK(gone.out.find(open) != std::string::npos);
}

TEST_CASE("status says how long an agent that works has worked, and what its log holds by now") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = start(w, "runs");
  auto pane = w.skep({"status", swarm, "--json"}).document()["panes"].at(0);
  REQUIRE(pane["final_offset"] == 0);
  auto cells = [&] { // LOG and TIME of its row
    auto lines = w.skep({"status", swarm}).lines();
    auto head = std::find_if(lines.begin(), lines.end(), [](const auto& l) {
      return l.starts_with("PANE ") && l.find(" LOG") != l.npos;
    });
    if (head == lines.end() || head + 1 == lines.end())
      return std::pair<std::string, std::string>{};
    auto cell = [&](const std::string& name, const std::string& next) {
      auto from = head->find(name), to = head->find(next);
      auto text = (head + 1)->substr(from, to - from);
      return text.substr(0, text.find_last_not_of(' ') + 1);
    };
    return std::pair{cell("LOG", "COST"), cell("TIME", "LOG")};
  };
  CHECK(cells().first == "0 B");
  const auto logs = w.state + "/logs/" + swarm;
  std::filesystem::create_directories(logs);
  write_text(logs + "/" + pane["pane"].get<std::string>() + ".1.log", "eighteen bytes are\n");
  CHECK(cells().first == "19 B");
  CHECK(cells().second.find(" h ") != std::string::npos); // the fake's clock stands years ago
  REQUIRE(w.skep({"kill", swarm}).code == 0);
  write_text(logs + "/" + pane["pane"].get<std::string>() + ".1.log", std::string(2048, 'x'));
  CHECK(cells().first == "2.0 KiB");
  CHECK(cells().second.find(" h ") == std::string::npos);
}

TEST_CASE("budget of a run that is closed says what that run has cost") {
  cli_world w;
  fake_daemon daemon{w};
  auto closed = start(w, "completes");
  auto document = w.skep({"budget", closed, "--json"}).document();
  CHECK(mismatch(all_schemas().at("budget"), document) == "");
  auto lines = document["budgets"];
  REQUIRE(lines.size() == 2);
  CHECK(lines.at(1)["scope"] == "swarm");
  CHECK(lines.at(1)["id"] == closed);
  CHECK(lines.at(1)["spent_usd"] == 0.25);
  CHECK(lines.at(1)["limit_usd"].get<double>() < 0);
  CHECK(w.skep({"budget", closed}).out.find(closed + "  -") != std::string::npos);
  CHECK(w.skep({"budget"}).out.find(closed) == std::string::npos);
  auto unknown = w.skep({"budget", swarm_id::make().value, "--json"});
  CHECK(unknown.code == info(errc::no_such_swarm).exit_code);
}

TEST_CASE("a command without a swarm means the one of the work tree that one is in") {
  cli_world w;
  fake_daemon daemon{w};
  auto in = [&](const std::string& folder, std::vector<std::string> args) {
    return run_to_end(w.argv(std::move(args)), w.home, {}, folder);
  };
  auto meant = [&] {
    auto x = w.skep({"status", "--json"});
    INFO(x.out << x.err);
    REQUIRE(x.code == 0);
    return x.document()["swarm"]["swarm"].get<std::string>();
  };
  auto none = w.skep({"status"});
  CHECK(none.code == info(errc::no_such_swarm).exit_code);
  CHECK(none.err.find("there was no run of " + w.repo) != std::string::npos);
  REQUIRE(w.run({"--name", "completes", "--", "true"}).code == 0);
  auto closed = meant(); // the newest, as nothing runs
  auto open = start(w, "runs");
  CHECK(open != closed);
  CHECK(meant() == open);
  std::filesystem::create_directories(w.repo + "/deep/below");
  auto below = in(w.repo + "/deep/below", {"status"});
  CHECK(below.code == 0);
  CHECK(below.out.find(open) != std::string::npos);
  CHECK(below.err.find("Of " + w.repo + ": " + open) != std::string::npos);
  CHECK(w.skep({"logs"}).code == 0);

  auto outside = in(w.dir.path, {"status"});
  CHECK(outside.code == info(errc::bad_argument).exit_code);
  CHECK(outside.err.find("git work tree") != std::string::npos);
  CHECK(in(w.dir.path, {"stop"}).code == info(errc::bad_argument).exit_code);
  CHECK(w.skep({"kill"}).code == info(errc::bad_argument).exit_code); // it loses something
  CHECK(w.skep({"diff"}).code == info(errc::no_results).exit_code);
  CHECK(w.skep({"download"}).code == info(errc::no_results).exit_code);
  // A script whose variable is empty means nothing, and not what happens to be here.
  for (std::vector<std::string> args : {std::vector<std::string>{"stop", ""},
                                        {"status", ""},
                                        {"logs", ""},
                                        {"logs", "/p0"},
                                        {"send", "/p0", "x"},
                                        {"apply", ""}})
    CHECK(w.skep(args).code != 0);
  CHECK(meant() == open);

  auto second = start(w, "runs");
  for (const auto* command : {"status", "stop", "logs"}) {
    auto several = w.skep({command, "--json"});
    CHECK(several.code == info(errc::bad_argument).exit_code);
    auto text = several.out + several.err;
    CHECK(text.find(open) != std::string::npos);
    CHECK(text.find(second) != std::string::npos);
  }
  REQUIRE(w.skep({"stop", second, "--wait"}).code == 0);
  auto stopped = w.skep({"stop", "--wait"});
  CHECK(stopped.code == 0);
  CHECK(stopped.out.find(open + " is stopping") != std::string::npos);
}
