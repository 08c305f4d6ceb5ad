// Starting, finding, replacing and ending the daemon. The fake daemon stands beside a copy of
// `skep` under the name skepd.
#include "broker/client.hpp"
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/catch.hpp"
#include "tools/skep/daemon_link.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

/// True as soon as `seen` holds, looked at again and again; false after 15 s.
template <class F>
bool awaited(F seen) {
  auto end = std::chrono::steady_clock::now() + 15s;
  while (!seen() && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  return seen();
}

struct installed_world : cli_world {
  installed_world() {
    auto bin = dir.path + "/bin";
    std::filesystem::create_directories(bin);
    std::filesystem::copy_file(skep_program, bin + "/skep");
    std::filesystem::copy_file(bin_dir() + "/fake_daemon", bin + "/skepd");
    for (const auto* name :
         {"skep-host", "skep-envd"}) // only looked for: the daemon is not the real one
      std::filesystem::create_symlink("/bin/true", bin + "/" + name);
    skep_program = bin + "/skep";
  }
  ~installed_world() { (void)skep({"daemon", "stop", "--force"}); }
  /// Makes the state directory and tells the fake daemon what to do.
  void tell_fake(const std::string& file) {
    std::filesystem::create_directories(state);
    std::filesystem::permissions(state, std::filesystem::perms::owner_all);
    write_text(state + "/" + file, "");
  }
  /// The process that has the lock of the state directory; waits up to 15 s for one.
  std::int64_t lock_owner() const {
    storage::state_paths paths;
    paths.root = state;
    std::int64_t owner = -1;
    awaited([&] {
      if (auto holder = storage::lock_holder(paths)) owner = holder->value_or(-1);
      return owner > 0;
    });
    return owner;
  }
  pid_t daemon_pid() {
    auto x = skep({"daemon", "status", "--json"});
    return x.code == 0 ? x.document()["pid"].get<pid_t>() : -1;
  }
};

std::string read_proc(pid_t pid, const std::string& name) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/" + name, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// Those that run `program` and have not ended.
std::set<pid_t> processes_of(const std::string& program) {
  std::set<pid_t> out;
  std::error_code gone;
  for (const auto& p : std::filesystem::directory_iterator{"/proc"}) {
    auto name = p.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (std::filesystem::read_symlink(p.path() / "exe", gone) == program)
      out.insert(static_cast<pid_t>(std::stoi(name)));
  }
  return out;
}

/// In a new state: a run that is over, with one sandbox, of which these are the last events.
template <class... Last>
sandbox_id run_that_is_over(const storage::state_paths& paths, const Last&... last) {
  using namespace storage::testing;
  const auto box = sandbox_no(1);
  auto j = open_journal(paths.database());
  REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
  REQUIRE(put(j, swarm_no(1), box, 2, sandbox_queued{0, "local"}, phase_changed{phase::creating, 1},
              create_intended{"in1", "base", 120000}, sandbox_created{"in1", "r1", "0.2"}, last...)
          == errc::none);
  REQUIRE(put(j, swarm_no(1), {}, 3, swarm_closed{outcome::completed, {}}) == errc::none);
  return box;
}

} // namespace

TEST_CASE("the daemon is started once, found again, and ended") {
  installed_world w;
  auto first = w.skep({"daemon", "start", "--json"});
  INFO(first.out << first.err);
  REQUIRE(first.code == 0);
  auto pid = first.document()["pid"].get<pid_t>();
  CHECK(w.skep({"daemon", "start", "--json"}).document()["pid"] == pid);
  CHECK(w.daemon_pid() == pid);

  SECTION("it has nothing of its starter: session, folder, environment, descriptors") {
    CHECK(::getsid(pid) == pid);
    CHECK(std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/cwd") == "/");
    auto environment = read_proc(pid, "environ");
    CHECK(environment.find("HOME=" + w.home) != std::string::npos);
    CHECK(environment.find("GIT_CONFIG_NOSYSTEM") == std::string::npos);
    CHECK(environment.find("TERM=") == std::string::npos);
    for (const auto& f :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/fd"}) {
      std::error_code gone;
      auto target = std::filesystem::read_symlink(f, gone).string();
      CHECK(target.find("pipe:") == std::string::npos); // those of the test
    }
  }
  SECTION("a run uses it and says how to end what still runs") {
    auto x = w.run({"--name", "completes", "--", "true"});
    CHECK(x.code == 0);
    CHECK(x.err.find("skep daemon stop") != std::string::npos);
    CHECK(w.daemon_pid() == pid);
  }
  auto end = w.skep({"daemon", "stop"});
  CHECK(end.code == 0);
  CHECK(w.daemon_pid() == -1);
  CHECK_FALSE(broker::somebody_listens(broker::endpoints_of(w.state).control));
}

TEST_CASE("a run starts the daemon when none runs") {
  installed_world w;
  auto x = w.run({"--name", "completes", "--", "true"});
  INFO(x.err);
  CHECK(x.code == 0);
  CHECK(w.daemon_pid() > 0);
}

TEST_CASE("several clients at once end up with one daemon") {
  installed_world w;
  std::vector<std::unique_ptr<background>> clients;
  for (int i = 0; i < 4; ++i)
    clients.push_back(std::make_unique<background>(w.argv({"daemon", "start", "--json"}), w.home));
  std::set<std::string> pids;
  for (auto& c : clients) {
    CHECK(c->wait() == 0);
    pids.insert(json::parse(c->text(), nullptr, false).value("pid", json{}).dump());
  }
  CHECK(pids.size() == 1);
}

TEST_CASE("a daemon that cannot start is reported with the end of its log") {
  installed_world w;
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/fake-refuse", "");
  auto x = w.skep({"daemon", "start", "--json"});
  CHECK(x.code == info(errc::no_daemon).exit_code);
  auto e = x.document()["error"];
  CHECK(e["message"].get<std::string>().find("exit code 74") != std::string::npos);
  CHECK(e["cause"].get<std::string>().find("refuses to start, as it was told")
        != std::string::npos);
}

TEST_CASE("an idle daemon of another release is replaced, a busy one is explained") {
  installed_world w;
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/fake-version", "0.0.1");
  background old{{w.dir.path + "/bin/skepd", "--state", w.state}, w.home};
  REQUIRE(awaited([&] { return w.daemon_pid() == old.pid(); }));
  std::filesystem::remove(w.state + "/fake-version");

  SECTION("idle") {
    auto x = w.skep({"daemon", "start", "--json"});
    INFO(x.out << x.err);
    CHECK(x.code == 0);
    CHECK(x.document()["pid"] != old.pid());
    CHECK(x.document()["version"] != "0.0.1");
    CHECK(x.err.find("replaced") != std::string::npos);
  }
  SECTION("busy") {
    broker::control_client client{broker::endpoints_of(w.state).control};
    run_request ask;
    ask.spec.name = "runs";
    REQUIRE(client.call(ask, 5s).ok());
    auto x = w.skep({"daemon", "start", "--json"});
    CHECK(x.code == info(errc::wrong_version).exit_code);
    auto e = x.document()["error"];
    CHECK(e["message"].get<std::string>().find("skepd 0.0.1 runs 1 swarm,") != std::string::npos);
    CHECK(w.daemon_pid() == old.pid());
  }
}

TEST_CASE("a daemon with open swarms ends only by force") {
  installed_world w;
  REQUIRE(w.run({"--name", "runs", "--detach", "--", "true"}).code == 0);
  CHECK(w.skep({"daemon", "status"}).out.find(", 1 open swarm\n") != std::string::npos);
  auto refused = w.skep({"daemon", "stop", "--json"});
  CHECK(refused.code == info(errc::wrong_phase).exit_code);
  CHECK(refused.out.find("1 swarm is open: ") != std::string::npos);
  CHECK(w.daemon_pid() > 0);
  CHECK(w.skep({"daemon", "stop", "--force"}).code == 0);
  CHECK(w.daemon_pid() == -1);
}

TEST_CASE("the end of the daemon, its status and the plan of the next one tell what was kept") {
  using namespace storage::testing;
  cli_world w;
  auto paths = storage::prepare_state(w.state);
  REQUIRE(paths.ok());
  const auto box = run_that_is_over(*paths, lease_intended{storage::now() + 1h},
                                    sandbox_closed{outcome::completed, {}, true});
  const auto told = "1 kept sandbox: " + swarm_no(1).value + ", for at most ";
  const auto how = "`skep kill " + swarm_no(1).value + "` ends it";
  auto plan = w.skep({"recover", "--plan"}).out;
  INFO(plan);
  CHECK(plan.find("keep") != std::string::npos);
  CHECK(plan.find(how) != std::string::npos);
  for (bool as_json : {false, true}) {
    fake_daemon daemon{w};
    auto status = w.skep({"daemon", "status"}).out;
    CHECK(status.find(told) != std::string::npos);
    auto end = w.skep(as_json ? std::vector<std::string>{"daemon", "stop", "--json"}
                              : std::vector<std::string>{"daemon", "stop"});
    INFO(end.out << end.err);
    CHECK(end.code == 0);
    if (as_json) {
      auto document = end.document();
      CHECK(mismatch(all_schemas().at("daemon-stop"), document) == "");
      REQUIRE(document["kept"].size() == 1);
      CHECK(document["kept"].at(0)["sandbox"] == box.value);
    } else {
      CHECK(end.out == "skepd ended.\n");
      CHECK(end.err.find("Still there: " + told) != std::string::npos);
      CHECK(end.err.find(how) != std::string::npos);
    }
  }
}

TEST_CASE("the end of the daemon and its status tell of a sandbox whose end is not confirmed") {
  using namespace storage::testing;
  cli_world w;
  auto paths = storage::prepare_state(w.state);
  REQUIRE(paths.ok());
  const auto box = run_that_is_over(*paths, kill_intended{"done"},
                                    sandbox_closed{outcome::completed, {}, false});
  const auto told = "1 sandbox of " + swarm_no(1).value
                    + " whose end its provider has not confirmed: it may cost until its lease "
                      "ends; skepd repeats the kill while it runs (skep status "
                    + swarm_no(1).value + ")\n";
  for (bool as_json : {false, true}) {
    fake_daemon daemon{w};
    auto found = w.skep({"daemon", "start"});
    CHECK(found.out.find(told) != std::string::npos);
    CHECK(found.err.find("skep daemon stop") == std::string::npos);
    CHECK(w.skep({"daemon", "status"}).out.find(told) != std::string::npos);
    auto end = w.skep(as_json ? std::vector<std::string>{"daemon", "stop", "--json"}
                              : std::vector<std::string>{"daemon", "stop"});
    INFO(end.out << end.err);
    CHECK(end.code == 0);
    if (as_json) {
      auto document = end.document();
      CHECK(mismatch(all_schemas().at("daemon-stop"), document) == "");
      CHECK_FALSE(document.contains("kept"));
      REQUIRE(document["unconfirmed"].size() == 1);
      CHECK(document["unconfirmed"].at(0)["sandbox"] == box.value);
    } else {
      CHECK(end.out == "skepd ended.\n");
      CHECK(end.err.find("Still there: " + told) != std::string::npos);
    }
  }
}

TEST_CASE("a stop of a daemon that listens no more, or not yet, waits for its end and succeeds") {
  installed_world w;
  w.tell_fake("fake-slow"); // it has the lock and no sockets
  background other{{w.dir.path + "/bin/skepd", "--state", w.state}, w.home};
  REQUIRE(w.lock_owner() == other.pid());
  background stop{w.argv({"daemon", "stop"}), w.home};
  REQUIRE(stop.shows("skepd (process " + std::to_string(other.pid())
                     + ") has the state directory and does not answer"));
  SECTION("it was ending") {
    other.signal(SIGTERM);
  }
  SECTION("it was starting, and is asked to end once it answers") {
    std::filesystem::remove(w.state + "/fake-slow");
  }
  CHECK(stop.wait() == 0);
  CHECK(stop.text().find("skepd ended.") != std::string::npos);
  CHECK(other.wait() == 0);
  CHECK(w.skep({"daemon", "stop"}).code == info(errc::no_daemon).exit_code);
}

TEST_CASE("two stops of the daemon at once both wait for its end and succeed") {
  cli_world w;
  fake_daemon daemon{w};
  write_text(w.state + "/fake-lingers", "");
  background first{w.argv({"daemon", "stop"}), w.home};
  REQUIRE(awaited([&] { return std::filesystem::exists(w.state + "/fake-ending"); }));
  auto second = w.skep({"daemon", "stop"}); // its first question is the daemon's last
  INFO(second.out << second.err);
  CHECK(second.code == 0);
  CHECK(first.wait() == 0);
  CHECK(w.skep({"daemon", "stop"}).code == info(errc::no_daemon).exit_code);
}

TEST_CASE("a start is waited for while a process has the state directory, and the user is told") {
  CHECK(cli::start_policy{}.limit(false) == 20s);
  CHECK(cli::start_policy{}.limit(true) == 10min);
  installed_world w;
  w.tell_fake("fake-slow");
  background start{w.argv({"daemon", "start"}), w.home};
  auto pid = w.lock_owner();
  REQUIRE(pid > 0);
  REQUIRE(start.shows("skepd (process " + std::to_string(pid) + ") does not answer yet"));
  std::filesystem::remove(w.state + "/fake-slow");
  CHECK(start.wait() == 0);
  CHECK(w.daemon_pid() == pid);
}

TEST_CASE("a start that met a daemon that was ending is made again when that one has ended") {
  installed_world w;
  w.tell_fake("fake-slow"); // it has the lock and no sockets, as one that ends
  background ending{{w.dir.path + "/bin/skepd", "--state", w.state}, w.home};
  const auto old = ending.pid();
  REQUIRE(w.lock_owner() == old);
  background start{w.argv({"daemon", "start"}), w.home};
  auto refused = [&] {
    std::ifstream in{w.state + "/skepd.log", std::ios::binary};
    std::string log{std::istreambuf_iterator<char>{in}, {}};
    return log.find("daemon_running") != std::string::npos;
  };
  REQUIRE(awaited(refused));
  ending.signal(SIGKILL);
  CHECK(ending.wait() == 128 + SIGKILL);
  std::filesystem::remove(w.state + "/fake-slow");
  CHECK(start.wait() == 0);
  INFO(start.text());
  CHECK(w.daemon_pid() > 0);
  CHECK(w.daemon_pid() != old);
}

TEST_CASE("a start that finds another's daemon leaves none of its own that would come after it") {
  installed_world w;
  w.tell_fake("fake-slow");
  background first{{w.dir.path + "/bin/skepd", "--state", w.state}, w.home};
  REQUIRE(w.lock_owner() == first.pid());
  w.tell_fake("fake-late"); // for the next one, which does not come to the lock
  background start{w.argv({"daemon", "start", "--json"}), w.home};
  auto others = [&] {
    auto all = processes_of(w.dir.path + "/bin/skepd");
    all.erase(first.pid());
    return all;
  };
  REQUIRE(awaited([&] { return others().size() == 1; }));
  std::filesystem::remove(w.state + "/fake-slow");
  CHECK(start.wait() == 0);
  CHECK(json::parse(start.text(), nullptr, false).value("pid", 0) == first.pid());
  CHECK(awaited([&] { return others().empty(); }));
  CHECK(w.skep({"daemon", "stop"}).code == 0);
  CHECK(first.wait() == 0);
  std::filesystem::remove(w.state + "/fake-late");
  CHECK(w.daemon_pid() == -1);
}

TEST_CASE("Ctrl+C is heard while a start of the daemon is waited for") {
  installed_world w;
  w.tell_fake("fake-slow");
  background run{w.argv({"run", "--repo", w.repo, "--name", "runs", "--", "true"}), w.home};
  auto pid = w.lock_owner();
  REQUIRE(pid > 0);
  run.signal(SIGINT);
  CHECK(run.wait() == 130);
  std::filesystem::remove(w.state + "/fake-slow");
  REQUIRE(w.skep({"daemon", "start"}).code == 0); // what was started comes up all the same
  CHECK(w.daemon_pid() == pid);
  CHECK(w.skep({"ps", "--json"}).document()["swarms"].empty());
}

TEST_CASE("stop --wait goes on with the next daemon when the one it asked is killed") {
  installed_world w;
  auto run = w.run({"--name", "stubborn", "--detach", "--", "true"});
  REQUIRE(run.code == 0);
  auto swarm = run.lines().at(0);
  auto pid = w.daemon_pid();
  REQUIRE(pid > 0);
  background stop{w.argv({"stop", swarm, "--wait"}), w.home};
  REQUIRE(stop.shows("is stopping"));
  write_text(w.state + "/fake-closed", swarm); // the next one has closed it
  ::kill(pid, SIGKILL);
  CHECK(stop.wait() == 0);
  INFO(stop.text());
  CHECK(stop.text().find("skepd is away; the next one is asked") != std::string::npos);
  CHECK(w.daemon_pid() != pid);
}
