// Pausing and resuming real sandboxes, what a lease does to a paused one, figures, logs, ports of
// programs inside, rates and limits.
#include "host/lease.hpp"
#include "host/rate_limit.hpp"
#include "tests/host/host_fixture.hpp"

#include <csignal>
#include <fstream>

using namespace skep;
using namespace skep::test;

namespace {

std::string state_of(const host_process& host, const sandbox& s) {
  return body_of(host.call("GET", "/sandboxes/" + s.id)).value("state", "");
}

json holder_says(const host_state& state, const sandbox& s, const std::string& request) {
  auto c = raw_connection::to_unix(state.path() + "/holders/" + s.id + "/ctl.sock");
  c.send(request + "\n");
  return json::parse(c.take_through("\n"));
}

int parent_of(int pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("PPid:")) return std::stoi(line.substr(5));
  return 0;
}

/// The pid of the sandbox's envd as this test sees it; 0 when there is none.
int envd_of(const host_state& state, const sandbox& s) {
  auto holder = holder_says(state, s, R"({"op":"watch"})").at("info").at("pid").get<int>();
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::ifstream in{entry.path() / "comm"};
    std::string comm;
    if (!std::getline(in, comm) || comm != "skep-envd") continue;
    for (int at = std::stoi(name); at > 1; at = parent_of(at))
      if (at == holder) return std::stoi(name);
  }
  return 0;
}

answer port(const host_process& host, const sandbox& s, int number, const string_map& more = {}) {
  string_map headers = {{"E2b-Sandbox-Id", s.id}, {"E2b-Sandbox-Port", std::to_string(number)}};
  headers.insert(more.begin(), more.end());
  return host.call("GET", "/hello", {}, headers);
}

} // namespace

TEST_CASE("a paused sandbox keeps its processes and runs none of them, also under another host") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto counting =
      host.start(s, "n=0; while :; do n=$((n+1)); echo $n >c.tmp; mv c.tmp count; done & wait");
  counting.pid();
  auto counted = [&](const host_process& by) { return std::atol(by.run(s, "cat count").c_str()); };
  REQUIRE(until([&] { return counted(host) > 10; }));
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/pause", "{}").status == 204);
  CHECK(state_of(host, s) == "paused");
  auto home = state.path() + "/sandboxes/" + s.id + "/home/count";
  auto read = [&] {
    std::ifstream in(home);
    long n = 0;
    in >> n;
    return n;
  };
  auto stopped_at = read();
  // Its clients were let go, and nobody is let in.
  CHECK(counting.connection().rest() == "");
  CHECK(host.envd(s, "GET", "/health").status == 502);
  auto again = host.call("POST", "/sandboxes/" + s.id + "/pause", "{}");
  CHECK(again.status == 409);
  CHECK(body_of(again).value("message", "").find("is already paused") != std::string::npos);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":5})").status == 409);
  CHECK(body_of(host.call("GET", "/v2/sandboxes?state=running")).empty());
  CHECK(body_of(host.call("GET", "/v2/sandboxes?state=paused")).size() == 1);
  CHECK(body_of(host.call("GET", "/sandboxes")).empty()); // the old list knows running ones only

  host.stop(SIGKILL);
  host_process next{state};
  CHECK(state_of(next, s) == "paused");
  CHECK(read() == stopped_at);
  CHECK(next.call("POST", "/v2/sandboxes/" + s.id + "/connect", "{}").status == 201);
  CHECK(next.call("POST", "/v2/sandboxes/" + s.id + "/connect", "{}").status == 200);
  CHECK(next.call("POST", "/sandboxes/" + s.id + "/resume", "{}").status == 409);
  CHECK(until([&] { return counted(next) > stopped_at; }));
  CHECK(next.call("DELETE", "/sandboxes/" + s.id).status == 204);
}

TEST_CASE("a lease that pauses does so while no host runs, and does not end the paused sandbox") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"autoPause", true}});
  REQUIRE(s.ok());
  CHECK(body_of(host.call("GET", "/sandboxes/" + s.id))["lifecycle"]["onTimeout"] == "pause");
  host.run(s, "echo kept > file");
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":1})").status == 204);
  host.stop(SIGKILL);
  CHECK(until([&] {
    return holder_says(state, s, R"({"op":"watch"})")["info"].value("phase", "") == "paused";
  }));
  host_process next{state};
  CHECK(state_of(next, s) == "paused");
  CHECK(next.envd(s, "GET", "/health").status == 502);
  CHECK(next.call("POST", "/sandboxes/" + s.id + "/connect", R"({"timeout":60})").status == 201);
  CHECK(next.run(s, "cat file") == "kept\n");
}

TEST_CASE("a host learns of a pause that its holder made") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"autoResume", {{"enabled", true}}}});
  REQUIRE(s.ok());
  CHECK(holder_says(state, s, R"({"op":"pause"})")["ok"] == true);
  CHECK(until([&] { return state_of(host, s) == "paused"; }));
  // And a request for it resumes it, as was asked for at its creation.
  CHECK(host.run(s, "echo awake") == "awake\n");
  CHECK(state_of(host, s) == "running");
}

TEST_CASE("a sandbox that does not wake up in time is paused as before, and wakes up later") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  host.run(s, "echo kept > file");
  auto running = host.start(s, "exec sleep 1000");
  auto pid = running.pid();
  auto envd = envd_of(state, s);
  REQUIRE(envd > 0);
  ::kill(envd, SIGSTOP); // as if its memory took for ever to come back
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/pause").status == 204);
  auto late = host.call("POST", "/sandboxes/" + s.id + "/resume", R"({"timeout":60})");
  CHECK(late.status == 503);
  CHECK(body_of(late).value("message", "").find("is paused as before") != std::string::npos);
  CHECK(state_of(host, s) == "paused");
  ::kill(envd, SIGCONT);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/resume", R"({"timeout":60})").status == 201);
  CHECK(state_of(host, s) == "running");
  CHECK(host.run(s, "cat file; kill -0 " + std::to_string(pid) + " && echo alive")
        == "kept\nalive\n");
}

TEST_CASE("a lease that ends while a pause is under way ends nothing") {
  auto auto_pause = GENERATE(false, true);
  host_state state;
  host_process host{state};
  auto s = host.create({{"autoPause", auto_pause}});
  REQUIRE(s.ok());
  auto envd = envd_of(state, s);
  REQUIRE(envd > 0);
  ::kill(envd, SIGSTOP); // the first step of the pause takes all of its 2 s
  auto c = raw_connection::to_unix(state.path() + "/holders/" + s.id + "/ctl.sock");
  c.send("{\"op\":\"set_timeout\",\"ms\":500}\n{\"op\":\"pause\"}\n");
  CHECK(json::parse(c.take_through("\n"))["ok"] == true);
  auto paused = json::parse(c.take_through("\n"));
  CHECK(paused["ok"] == true);
  CHECK(paused["info"].value("phase", "") == "paused");
  ::kill(envd, SIGCONT);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/resume", R"({"timeout":60})").status == 201);
  CHECK(host.run(s, "echo alive") == "alive\n");
}

TEST_CASE("a lease that stood still for nothing ends when it would have") {
  auto time = host::lease::start(60'000);
  REQUIRE(time);
  auto end = time->end_at_ms();
  REQUIRE(time->suspend());
  CHECK(time->end_at_ms() < end);
  REQUIRE(time->go_on());
  CHECK(std::abs(time->end_at_ms() - end) < 1'000); // two clocks, read one after the other
  CHECK_FALSE(time->ended());

  REQUIRE(time->set(1));
  REQUIRE(time->suspend());
  CHECK_FALSE(time->ended());
  REQUIRE(time->go_on());
  pollfd p{time->descriptor(), POLLIN, 0};
  CHECK(::poll(&p, 1, patience_ms) == 1);
  CHECK(time->ended());
}

TEST_CASE("a process that was stopped before a pause is stopped after it") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto pid = host.run(s, "setsid sh -c 'kill -STOP $$; exec sleep 1000' >/dev/null 2>&1 & echo $!");
  auto letter = [&] { return host.run(s, "ps -o stat= -p " + pid).substr(0, 1); };
  REQUIRE(until([&] { return letter() == "T"; }));
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/pause").status == 204);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/connect", R"({"timeout":60})").status == 201);
  CHECK(letter() == "T");
}

TEST_CASE("a paused sandbox is killed like any other, and does not count as running") {
  host_state state;
  host_process host{state, {"--max-sandboxes", "1"}};
  auto one = host.create();
  REQUIRE(one.ok());
  auto full = host.call("POST", "/v2/sandboxes", R"({"templateID":"base"})");
  CHECK(full.status == 429);
  CHECK_FALSE(full.has("retry-after"));
  CHECK(host.call("POST", "/sandboxes/" + one.id + "/pause").status == 204);
  auto two = host.create();
  REQUIRE(two.ok());
  // Resuming counts.
  CHECK(host.call("POST", "/sandboxes/" + one.id + "/connect", R"({"timeout":9})").status == 429);
  CHECK(host.call("DELETE", "/sandboxes/" + one.id).status == 204);
  CHECK(host.call("DELETE", "/sandboxes/" + two.id).status == 204);
  CHECK(state.empty());
}

TEST_CASE("figures grow with what the sandbox uses, and its log tells what ran") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto target = "/sandboxes/" + s.id + "/metrics";
  auto latest = [&] {
    auto all = body_of(host.call("GET", target));
    return all.empty() ? json::object() : all.back();
  };
  REQUIRE(until([&] { return latest().contains("memUsed"); }));
  auto before = latest().at("memUsed").get<std::int64_t>();
  auto load = host.start(s, "head -c 100M /dev/zero >/dev/shm/x; while :; do :; done");
  load.pid();
  CHECK(until([&] {
    auto m = latest();
    auto grown = m.at("memUsed").get<std::int64_t>() - before;
    return grown > 95'000'000 && grown < 150'000'000 && m.at("cpuUsedPct").get<double>() > 3;
  }));
  auto many = body_of(host.call("GET", "/sandboxes/metrics?sandbox_ids=" + s.id + ",inobody"));
  CHECK(many["sandboxes"].size() == 1);
  CHECK(many["sandboxes"].contains(s.id));
  CHECK(body_of(host.call("GET", target + "?end=1000")).empty());
  CHECK(host.call("GET", target + "?start=x").status == 400);

  CHECK(host.run(s, "exit 3").empty());
  CHECK(until([&] {
    auto logs = body_of(host.call("GET", "/v2/sandboxes/" + s.id + "/logs?search=process%20ended"));
    return !logs["logs"].empty() && logs["logs"].back()["fields"]["status"] == "exit status 3";
  }));
  auto last =
      body_of(host.call("GET", "/v2/sandboxes/" + s.id + "/logs?direction=backward&limit=1"));
  CHECK(last["logs"].size() == 1);
  CHECK(body_of(host.call("GET", "/v2/sandboxes/" + s.id + "/logs?level=error"))["logs"].empty());
  CHECK(host.call("GET", "/v2/sandboxes/" + s.id + "/logs?level=loud").status == 400);
}

TEST_CASE(
    "a port of a program inside is reached by headers and by name, with its token if it has one") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"network", {{"allowPublicTraffic", false}}}});
  REQUIRE(s.ok());
  auto token = body_of(host.call("POST", "/sandboxes/" + s.id + "/connect", R"({"timeout":60})"))
                   .value("trafficAccessToken", "");
  REQUIRE(token.size() > 20);
  auto served =
      host.start(s, "echo inside > hello; exec python3 -m http.server 8123 --bind 127.0.0.1");
  served.pid();
  string_map with{{"e2b-traffic-access-token", token}};
  REQUIRE(until([&] { return port(host, s, 8123, with).status == 200; }));
  CHECK(port(host, s, 8123, with).body == "inside\n");
  auto c = host.connect();
  c.send("GET /hello HTTP/1.1\r\nHost: 8123-" + s.id
         + ".localhost\r\ne2b-traffic-access-token: " + token + "\r\n\r\n");
  CHECK(c.read_answer().body == "inside\n");
  CHECK(port(host, s, 8123).status == 403);
  CHECK(port(host, s, 8123, {{"e2b-traffic-access-token", "x"}}).status == 403);
  auto closed = port(host, s, 8124, with);
  CHECK(closed.status == 502);
  CHECK(
      closed.body
      == R"({"sandboxId":")" + s.id
             + R"(","message":"The sandbox is running but port is not open","port":8124,"code":502})");
  // The gateway inside puts keys on requests: it is nobody's from outside.
  CHECK(port(host, s, 49984, with).status == 502);
}

TEST_CASE("a bucket refuses what is too much, says when to come again, and fills up") {
  host::rate_limiter limiter{{2, 10}};
  host::rate_limiter::clock::time_point now{};
  CHECK(limiter.take("a", now).allowed);
  CHECK(limiter.take("a", now).headers[1].second == "0");
  auto denied = limiter.take("a", now);
  CHECK_FALSE(denied.allowed);
  CHECK(denied.headers.back() == std::pair<std::string, std::string>{"Retry-After", "5"});
  CHECK(limiter.take("b", now).allowed); // another key has a bucket of its own
  CHECK(limiter.take("a", now + std::chrono::seconds{5}).allowed);
  CHECK_FALSE(limiter.take("a", now + std::chrono::seconds{5}).allowed);
  CHECK(host::rate_limiter{{}}.take("a", now).headers.empty());
}

TEST_CASE("a configured rate is told in headers and holds for creations alone") {
  host_state state;
  host_process host{state, {"--create-rate", "1/100"}};
  auto first = host.call("POST", "/v2/sandboxes", R"({"templateID":7})");
  CHECK(first.status == 400);
  CHECK(first.headers.at("ratelimit-limit") == "1");
  CHECK(first.headers.at("ratelimit-remaining") == "0");
  auto second = host.call("POST", "/sandboxes", R"({"templateID":"base"})");
  CHECK(second.status == 429);
  CHECK(body_of(second).value("code", 0) == 429);
  auto wait = std::stoi(second.headers.at("retry-after"));
  CHECK(wait > 90);
  CHECK(wait <= 100);
  auto list = host.call("GET", "/v2/sandboxes");
  CHECK(list.status == 200);
  CHECK_FALSE(list.has("ratelimit-limit"));
}

TEST_CASE("limits of processes and memory hold where the machine lets them, and are told") {
  host_state state;
  host_process host{state, {"--pids", "40", "--memory-mb", "256", "--cpus", "1"}};
  auto limits = body_of(host.call("GET", "/skep/v1/info"))["limits"];
  CHECK(limits["pids"]["value"] == 40);
  CHECK(limits["disk"]["enforced"] == false);
  auto s = host.create();
  REQUIRE(s.ok());
  auto detail = body_of(host.call("GET", "/sandboxes/" + s.id));
  if (limits["pids"]["enforced"] == true) {
    auto out =
        host.run(s, "for i in $(seq 60); do sleep 20 & done 2>&1; ls -d /proc/[0-9]* | wc -l");
    CHECK(out.find("Resource temporarily unavailable") != std::string::npos);
    host.run(s, "pkill -KILL sleep");
  }
  if (limits["memory"]["enforced"] == true) {
    CHECK(detail["memoryMB"] == 256);
    auto out = host.run(s, "head -c 400M /dev/zero | tail -n 1 >/dev/null; echo ${PIPESTATUS[1]}");
    CHECK(out.find("137") != std::string::npos);
    CHECK(host.run(s, "echo alive") == "alive\n");
  }
  if (limits["cpu"]["enforced"] == true) CHECK(detail["cpuCount"] == 1);
  CHECK(host.call("DELETE", "/sandboxes/" + s.id).status == 204);
}

TEST_CASE("a limit of the disk holds for each sandbox's home, and is told") {
  host_state state;
  host_process host{state, {"--disk-mb", "16"}};
  auto disk = body_of(host.call("GET", "/skep/v1/info"))["limits"]["disk"];
  CHECK(disk["value"] == 16);
  CHECK(disk["enforced"] == true);
  auto s = host.create();
  auto other = host.create();
  REQUIRE(s.ok());
  REQUIRE(other.ok());
  CHECK(body_of(host.call("GET", "/sandboxes/" + s.id))["diskSizeMB"] == 16);
  CHECK(host.run(s, "head -c 15M /dev/zero > fits && echo fits; stat -c %U:%a .; "
                    "head -c 2M /dev/zero > more 2>/dev/null || echo full")
        == "fits\nuser:700\nfull\n");
  CHECK(host.run(other, "head -c 15M /dev/zero > fits && echo fits") == "fits\n");
}
