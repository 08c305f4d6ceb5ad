// Starting, finding, replacing and ending the daemon. The fake daemon stands beside a copy of
// `skep` under the name skepd.
#include "broker/client.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

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
  pid_t daemon_pid() {
    auto x = skep({"daemon", "status", "--json"});
    return x.code == 0 ? x.document()["pid"].get<pid_t>() : -1;
  }
};

std::string read_proc(pid_t pid, const std::string& name) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/" + name, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
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
  auto end = std::chrono::steady_clock::now() + 15s;
  while (w.daemon_pid() != old.pid() && std::chrono::steady_clock::now() < end) {
  }
  REQUIRE(w.daemon_pid() == old.pid());
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

TEST_CASE("two stops of the daemon at once both wait for its end and succeed") {
  cli_world w;
  fake_daemon daemon{w};
  write_text(w.state + "/fake-lingers", "");
  background first{w.argv({"daemon", "stop"}), w.home};
  auto end = std::chrono::steady_clock::now() + 15s;
  while (!std::filesystem::exists(w.state + "/fake-ending")
         && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  auto second = w.skep({"daemon", "stop"}); // its first question is the daemon's last
  INFO(second.out << second.err);
  CHECK(second.code == 0);
  CHECK(first.wait() == 0);
  CHECK(w.skep({"daemon", "stop"}).code == info(errc::no_daemon).exit_code);
}
