// The end of skepd's own parts, in a process of its own: it ends by what is tested here. And how
// long a daemon that ends everything waits for sandboxes that no swarm ends.
#include "tools/skepd/ending.hpp"
#include "tests/support/catch.hpp"
#include "tools/skepd/json_log.hpp"

#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace std::chrono_literals;

namespace {

using over_function = std::function<bool()>;
constexpr int came_back = 7; ///< The child's exit code when the wait was over.

/// A child that waits for its part "work", and how it ended.
struct waiting_child {
  int exit_code = -1;
  std::string log;
  std::chrono::steady_clock::duration took{};

  /// `meanwhile` is given the child's process once its signals are blocked, as skepd's are.
  waiting_child(std::chrono::milliseconds limit, const over_function& over,
                const std::function<void(pid_t)>& meanwhile = {}) {
    auto file = std::filesystem::temp_directory_path()
                / ("skep-ending-" + std::to_string(::getpid()) + ".log");
    std::filesystem::remove(file);
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    auto began = std::chrono::steady_clock::now();
    auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) wait(file, ready[1], limit, over);
    ::close(ready[1]);
    char byte = 0;
    auto told = ::read(ready[0], &byte, 1);
    ::close(ready[0]);
    if (meanwhile && told == 1) meanwhile(pid);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    took = std::chrono::steady_clock::now() - began;
    REQUIRE(told == 1);
    REQUIRE(WIFEXITED(status));
    exit_code = WEXITSTATUS(status);
    std::ifstream in{file};
    std::stringstream text;
    text << in.rdbuf();
    log = text.str();
    std::filesystem::remove(file);
  }

  /// What the log's only line says: "EVENT PART".
  std::string told() const {
    auto j = json::parse(log.substr(0, log.find('\n')), nullptr, false);
    if (!j.is_object() || log.find('\n') + 1 != log.size()) return "not one line: " + log;
    return j.value("event", "") + " " + j.value("waited_for", "");
  }

private:
  [[noreturn]] static void wait(const std::filesystem::path& file, int ready,
                                std::chrono::milliseconds limit, const over_function& over) {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigaddset(&signals, SIGINT);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    auto log = tools::json_log::open(file, tools::log_level::info, {});
    if (!log || ::write(ready, "x", 1) != 1) ::_exit(1);
    tools::set_process_log(*log);
    tools::await_or_exit(signals, std::chrono::steady_clock::now() + limit, "work", over);
    ::_exit(came_back);
  }
};

/// What is asked of a daemon without a tree whose tables have this one sandbox.
struct keeping_daemon {
  actors::services svc;
  actors::swarm_registry registry;
  sigset_t signals;
  caf::actor_system_config cfg;
  caf::actor_system sys{cfg};
  int looks = 0;
  int gone_after = -1; ///< Looks; below 0: never.

  keeping_daemon() {
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigaddset(&signals, SIGINT);
    sandbox_record kept;
    kept.sandbox = {"sb_a"};
    kept.swarm = {"sw_a"};
    kept.provider = "cloud";
    kept.remote_id = "i1";
    kept.state = phase::closed;
    kept.kept = true;
    svc.handles = std::make_shared<actors::directory>();
    svc.wall_now = [] { return utc_time{1h}; };
    svc.knows_provider = [](const std::string&) { return true; };
    svc.living_sandboxes = [this, kept]() -> result<std::vector<sandbox_record>> {
      if (gone_after >= 0 && looks++ >= gone_after) return std::vector<sandbox_record>{};
      return std::vector{kept};
    };
  }
  tools::ending end() { return tools::end_swarms(sys, svc, registry, signals); }
};

} // namespace

TEST_CASE("a daemon that ends everything waits until what was kept is gone, without a run, too") {
  keeping_daemon d;
  d.gone_after = 3;
  CHECK(d.end().refused.empty());
  CHECK(d.looks == 4);
  CHECK(d.registry.ending());
}

TEST_CASE("a kept sandbox that outlives the end of the daemon is named") {
  keeping_daemon d;
  d.svc.limits.shutdown_limit = 0s;
  CHECK(d.end().refused == std::vector<std::string>{"sw_a sb_a: kept"});
}

TEST_CASE("a part of the daemon that hangs holds up its end no longer than the limit") {
  waiting_child c{300ms, [] { return false; }};
  CHECK(c.exit_code == 79); // docs/operations.md
  CHECK(c.told() == "daemon.stop_timed_out work");
  CHECK(c.took >= 300ms);
  CHECK(c.took < 30s);
}

TEST_CASE("another signal ends a daemon whose part hangs at once") {
  auto number = GENERATE(SIGTERM, SIGINT);
  waiting_child c{10min, [] { return false; }, [number](pid_t pid) { ::kill(pid, number); }};
  CHECK(c.exit_code == 79);
  CHECK(c.told() == "daemon.ending_forced work");
  CHECK(c.took < 30s);
}

TEST_CASE("a daemon whose parts end is held up and cut short by nothing") {
  int looks = 0;
  waiting_child c{10min, [&looks] {
                    ::kill(::getpid(), SIGTERM); // its own, which only wakes its main thread
                    return ++looks == 3;
                  }};
  CHECK(c.exit_code == came_back);
  CHECK(c.log.empty());
  CHECK(c.took < 30s);
}
