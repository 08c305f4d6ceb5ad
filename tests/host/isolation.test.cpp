// What a program inside a sandbox can and cannot see, and who we are outside.
#include "host/isolation.hpp"
#include "tests/host/host_fixture.hpp"
#include "tests/support/skip.hpp"

#include <fstream>
#include <pwd.h>
#include <sstream>

using namespace skep;
using namespace skep::test;

namespace {

// Real uid of a process by /proc, and its parent.
std::pair<int, int> uid_and_parent(int pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/status"};
  std::pair<int, int> out{-1, -1};
  for (std::string line; std::getline(in, line);) {
    std::istringstream words{line};
    std::string name;
    words >> name;
    if (name == "PPid:") words >> out.second;
    if (name == "Uid:") words >> out.first;
  }
  return out;
}

// Ids of all processes below `root`.
std::vector<int> descendants(int root) {
  std::map<int, int> parents;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == name.npos)
      parents[std::stoi(name)] = uid_and_parent(std::stoi(name)).second;
  }
  std::vector<int> out;
  for (auto [pid, parent] : parents)
    for (auto at = parent; at > 1; at = parents.contains(at) ? parents[at] : 0)
      if (at == root) {
        out.push_back(pid);
        break;
      }
  return out;
}

} // namespace

TEST_CASE("this machine can isolate a sandbox") {
  auto r = host::check_isolation();
  INFO((r ? std::string{} : render(r.err())));
  CHECK(r);
}

TEST_CASE("isolation for a user that does not exist is refused and says what to do") {
  if (::geteuid() != 0) return; // only root switches users
  auto r = host::check_isolation("no-such-user-here");
  REQUIRE_FALSE(r);
  CHECK(r.err().code == errc::no_isolation);
  CHECK(r.err().message.find("tools/setup") != std::string::npos);
  CHECK(host::check_isolation("root").err().code == errc::no_isolation);
  host_state state;
  host_process host{state, {"--service-user", "no-such-user-here"}};
  CHECK_FALSE(host.serving());
  CHECK(WEXITSTATUS(host.await_exit()) == 69);
  CHECK_FALSE(std::filesystem::exists(state.path()));
}

TEST_CASE("inside, everything is user 1000 with pids, host name and network of its own") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  CHECK(host.run(s, "id -u; id -g; id -un; hostname; pwd; echo $HOME")
        == "1000\n1000\nuser\n" + s.id + "\n/home/user\n/home/user\n");
  CHECK(
      host.run(s, "cat /proc/1/comm; ls /proc | grep -c '^[0-9]*$' | xargs test 12 -gt && echo few")
      == "bwrap\nfew\n");
  CHECK(host.run(s, "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '") == "lo\n");
  CHECK(host.run(s, "grep -E 'NoNewPrivs|CapEff|Seccomp:' /proc/self/status | tr '\\t' ' '")
        == "CapEff: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n");
  CHECK(host.run(s, "unshare -U true 2>/dev/null || echo refused") == "refused\n");
}

TEST_CASE("inside, the host's secrets, sockets and state cannot be reached", "[owasp-a01]") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  CHECK(host.run(s, "cat /etc/shadow 2>/dev/null || echo none; ls /root 2>/dev/null || echo none")
        == "none\nnone\n");
  CHECK(host.run(s, "ls -d " + state.path() + " 2>/dev/null || echo none") == "none\n");
  CHECK(host.run(s,
                 "for f in /x /usr/x /etc/x /opt/x /opt/skep/x /run/x; do touch $f 2>/dev/null && "
                 "echo wrote $f; done; touch /tmp/x /home/user/x /var/tmp/y && echo ok")
        == "ok\n");
  // The gateway's socket is the one way out, also where nothing is allowed yet.
  CHECK(host.run(s, "find / -xdev -name '*.sock' 2>/dev/null; find /run")
        == "/run\n/run/skep\n/run/skep/gateway.sock\n");
  CHECK(host.run(s, "echo x > /proc/sys/kernel/core_pattern 2>/dev/null || echo refused")
        == "refused\n");
  // The access token is neither in a command line nor in an environment. (In halves, as this very
  // command line is looked at too.)
  CHECK(host.run(s, "printf %s%s " + s.token.substr(0, 20) + " " + s.token.substr(20)
                        + " > /tmp/p; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | "
                          "grep -acf /tmp/p")
        == "0\n");
}

TEST_CASE("no process of a sandbox or its holder is root, and holders cannot be read") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto stream = host.start(s, "exec sleep 1000");
  stream.pid();
  auto c = raw_connection::to_unix(state.path() + "/holders/" + s.id + "/ctl.sock");
  c.send("{\"op\":\"watch\"}\n");
  auto holder = json::parse(c.take_through("\n")).at("info").at("pid").get<int>();
  int expected = static_cast<int>(::geteuid());
  if (expected == 0) expected = static_cast<int>(::getpwnam("skep")->pw_uid);
  CHECK(uid_and_parent(holder).first == expected);
  auto inside = descendants(holder);
  CHECK(inside.size() >= 4); // bubblewrap twice, envd, sleep
  for (auto pid : inside)
    CHECK(uid_and_parent(pid).first == expected);
  CHECK(uid_and_parent(host.pid()).first == expected);
  // Not dumpable: its files in /proc are root's, whoever it runs as. Within a user namespace root
  // has another number.
  struct stat info {
  }, root{};
  REQUIRE(::stat(("/proc/" + std::to_string(holder) + "/mem").c_str(), &info) == 0);
  REQUIRE(::stat("/", &root) == 0);
  CHECK(info.st_uid == root.st_uid);
  CHECK(info.st_uid != static_cast<uid_t>(expected));
  // Nothing of the order on the command line.
  std::ifstream in{"/proc/" + std::to_string(holder) + "/cmdline"};
  std::string line{std::istreambuf_iterator<char>(in), {}};
  CHECK(line == std::string{"skep-host\0hold\0", 15} + s.id + '\0');
}

TEST_CASE(
    "bound folders are visible at their path, read-only; the state directory cannot be bound") {
  host_state state;
  auto tool = state.dir() / "tool";
  std::filesystem::create_directory(tool);
  ::chmod(tool.c_str(), 0755);
  std::ofstream{tool + "/f"} << "hello\n";
  ::chmod((tool + "/f").c_str(), 0644);
  {
    host_process host{state, {"--bind", tool}};
    REQUIRE(host.serving());
    auto s = host.create();
    REQUIRE(s.ok());
    CHECK(host.run(s, "cat " + tool + "/f; touch " + tool + "/g 2>/dev/null || echo read-only")
          == "hello\nread-only\n");
  }
  for (const auto& path : {state.path(), state.dir().path(), std::string{"/"}, std::string{"/proc"},
                           std::string{"/no/such/folder"}, std::string{"relative"}}) {
    host_process host{state, {"--bind", path}};
    INFO(path);
    CHECK_FALSE(host.serving());
  }
}

TEST_CASE("a folder below the sandbox's home is shown there, but no place that runs use") {
  namespace fs = std::filesystem;
  const fs::path home = "/home/user";
  const auto name = "skep-test-" + std::to_string(::getpid());
  std::vector<fs::path> made; // outermost first
  auto make = [&made](fs::path folder) {
    std::error_code failed;
    std::vector<fs::path> missing;
    for (auto at = folder; !fs::exists(at, failed); at = at.parent_path())
      missing.insert(missing.begin(), at);
    if (!fs::create_directories(folder, failed)) return false;
    made.insert(made.end(), missing.begin(), missing.end());
    return true;
  };
  if (!make(home / name)) SKEP_SKIP("/home/user is not ours to write in");
  const auto tool = (home / name).string();
  std::ofstream{tool + "/f"} << "hello\n";
  host_state state;
  {
    host_process host{state, {"--bind", tool}};
    CHECK(host.serving());
    auto s = host.create();
    CHECK(host.run(s, "cat " + tool + "/f; touch " + tool
                          + "/g 2>/dev/null || echo read-only; touch /home/user/mine && echo ok")
          == "hello\nread-only\nok\n");
  }
  for (const auto& taken : {home, home / ".skep" / name, home / "repo" / name}) {
    if (taken != home) CHECK(make(taken));
    host_process refused{state, {"--bind", taken.string()}};
    INFO(taken);
    CHECK_FALSE(refused.serving());
  }
  fs::remove(tool + "/f");
  for (auto at = made.rbegin(); at != made.rend(); ++at)
    fs::remove(*at);
}
