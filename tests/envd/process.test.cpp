#include "tests/envd/envd_fixture.hpp"
#include "tests/support/catch.hpp"

#include <cerrno>
#include <csignal>
#include <fstream>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {
json send_stdin(int pid, std::string_view bytes) {
  return {{"process", selector(pid)}, {"input", {{"stdin", base64_encode(bytes)}}}};
}
json cat_request() {
  return {{"process", {{"cmd", "cat"}}}, {"stdin", true}};
}
std::string code_of(const answer& a) {
  return json::parse(a.body).at("code").get<std::string>();
}
} // namespace

TEST_CASE("a command's events are envelopes in E2B's exact bytes") {
  envd_process e;
  auto s = e.shell("echo hi");
  CHECK(s.head().status == 200);
  CHECK(s.head().headers.at("content-type") == "application/connect+json");
  auto start = R"({"event":{"start":{"pid":)" + std::to_string(s.started) + "}}}";
  CHECK(s.raw()
        == make_envelope(start) + make_envelope(R"({"event":{"data":{"stdout":"aGkK"}}})")
               + make_envelope(R"({"event":{"end":{"exited":true,"status":"exit status 0"}}})")
               + std::string("\x02\0\0\0\x02{}", 7));
}

TEST_CASE("how a command ended is told in Go's words") {
  envd_process e;
  struct row {
    const char* script;
    json end;
  };
  const row rows[] = {
      {"exit 3",
       {{"exitCode", 3},
        {"exited", true},
        {"status", "exit status 3"},
        {"error", "exit status 3"}}},
      {"kill -KILL $$",
       {{"exitCode", -1}, {"status", "signal: killed"}, {"error", "signal: killed"}}},
      {"kill -TERM $$",
       {{"exitCode", -1}, {"status", "signal: terminated"}, {"error", "signal: terminated"}}},
      {"true", {{"exited", true}, {"status", "exit status 0"}}},
  };
  for (const auto& r : rows) {
    auto s = e.shell(r.script);
    CHECK(s.end == r.end);
    CHECK(s.end_of_stream == "{}");
  }
}

TEST_CASE("a missing program is exit 127 with a word on stderr, no RPC error") {
  envd_process e;
  auto s = e.start({{"process", {{"cmd", "no-such-program"}}}});
  s.finish();
  CHECK(s.end.at("exitCode") == 127);
  CHECK(s.err.find("no-such-program") != std::string::npos);
  CHECK(s.end_of_stream == "{}");
}

TEST_CASE("errors of Start come in the end-of-stream envelope under HTTP 200") {
  envd_process e;
  struct row {
    json request;
    std::string headers;
    std::string error;
  };
  const row rows[] = {
      {{{"process", {{"cmd", "true"}, {"cwd", "/no/such/dir"}}}},
       "",
       R"({"error":{"code":"invalid_argument","message":"cwd '/no/such/dir' does not exist"}})"},
      {{{"process", {{"cmd", "true"}}}},
       "Authorization: Basic eno6\r\n",
       R"({"error":{"code":"unauthenticated","message":"invalid username: 'zz'"}})"},
      {json::object(), "",
       R"({"error":{"code":"invalid_argument","message":"the request names no process"}})"},
  };
  for (const auto& r : rows) {
    auto s = e.start(r.request, r.headers);
    CHECK(s.head().status == 200);
    auto only = s.next();
    REQUIRE(only);
    CHECK(only->flags == 2);
    CHECK(only->payload == r.error);
    CHECK(!s.next());
  }
  auto named = e.start({{"process", {{"cmd", "true"}}}}, "Authorization: Basic dXNlcjo=\r\n");
  named.finish();
  CHECK(named.end.at("exited") == true);
}

TEST_CASE("the environment is base, sandbox, request, in that order") {
  envd_process e(json{{"envVars", {{"A", "sandbox"}, {"B", "sandbox"}}},
                      {"sandboxID", "iabc"},
                      {"templateID", "base"}});
  auto s =
      e.start({{"process", {{"cmd", "env"}, {"envs", {{"B", "request"}, {"USER", "other"}}}}}});
  s.finish();
  for (const char* line :
       {"A=sandbox\n", "B=request\n", "USER=other\n", "LOGNAME=user\n", "E2B_SANDBOX=true\n",
        "E2B_SANDBOX_ID=iabc\n", "E2B_TEMPLATE_ID=base\n", "PATH=/usr/local/bin:/usr/bin:/bin\n"})
    CHECK(s.out.find(line) != std::string::npos);
  CHECK(s.out.find("HOME=" + e.dir.path() + "/home\n") != std::string::npos);
  CHECK(s.out.find("tok_envd") == std::string::npos);
}

TEST_CASE("relative work directories lie under the home directory") {
  envd_process e;
  std::filesystem::create_directory(e.dir / "home/sub");
  for (auto [cwd, expected] : {std::pair<const char*, std::string>{"sub", e.dir / "home/sub\n"},
                               {"~/sub", e.dir / "home/sub\n"},
                               {"", e.dir / "home\n"},
                               {"/usr/../tmp", "/tmp\n"}}) {
    auto s = e.start({{"process", {{"cmd", "pwd"}, {"cwd", cwd}}}});
    s.finish();
    CHECK(s.out == expected);
  }
}

TEST_CASE("stdin takes input until it is closed") {
  envd_process e;
  auto s = e.start(cat_request());
  int pid = s.pid();
  CHECK(e.unary("process.Process/SendInput", send_stdin(pid, "hello\n")).body == "{}");
  CHECK(s.event() == json{{"data", {{"stdout", "aGVsbG8K"}}}});
  auto pty = json{{"process", selector(pid)}, {"input", {{"pty", "aGk="}}}};
  CHECK(code_of(e.unary("process.Process/SendInput", pty)) == "internal");
  CHECK(e.unary("process.Process/CloseStdin", {{"process", selector(pid)}}).body == "{}");
  s.finish();
  CHECK(s.end.at("exited") == true);

  auto closed = e.start({{"process", {{"cmd", "cat"}}}, {"stdin", false}});
  closed.finish(); // stdin is /dev/null
  CHECK(closed.end.at("exited") == true);
}

TEST_CASE("a process is found by pid and by tag, and unknown ones are not") {
  envd_process e;
  auto request = cat_request();
  request["tag"] = "t1";
  request["process"]["envs"] = {{"K", "V"}};
  auto s = e.start(request);
  int pid = s.pid();
  CHECK(
      json::parse(e.unary("process.Process/List", json::object()).body)
      == json{
          {"processes",
           {{{"config", {{"cmd", "cat"}, {"envs", {{"K", "V"}}}}}, {"pid", pid}, {"tag", "t1"}}}}});
  auto by_tag = json{{"process", {{"tag", "t1"}}}, {"signal", "SIGNAL_SIGTERM"}};
  CHECK(e.unary("process.Process/SendSignal", by_tag).body == "{}");
  s.finish();
  CHECK(s.end.at("status") == "signal: terminated");
  CHECK(e.unary("process.Process/List", json::object()).body == "{}");
  auto gone = e.unary("process.Process/SendSignal", by_tag);
  CHECK(gone.status == 404);
  CHECK(gone.body == R"({"code":"not_found","message":"process with tag t1 not found"})");
  auto none = e.unary("process.Process/CloseStdin", {{"process", selector(99999999)}});
  CHECK(none.body == R"({"code":"not_found","message":"process with pid 99999999 not found"})");
}

TEST_CASE("the end waits for every holder of the pipes, but not after a signal") {
  envd_process e;
  ::mkfifo((e.dir / "go").c_str(), 0600);
  auto s =
      e.start({{"process",
                {{"cmd", "/bin/sh"},
                 {"args", {"-c", "(read x < '" + (e.dir / "go") + "'; echo late) & exit 0"}}}}});
  s.pid();
  { std::ofstream(e.dir / "go") << "x\n"; }
  s.finish();
  CHECK(s.out == "late\n");
  CHECK(s.end.at("exited") == true);

  // A child in a session of its own keeps stdout open; the killed shell's end comes all the same.
  auto killed = e.start(
      {{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", "setsid sleep 600 & echo $!; wait"}}}}});
  int pid = killed.pid();
  std::string holder;
  base64_decode(killed.event().at("data").at("stdout").get<std::string>(), holder);
  e.unary("process.Process/SendSignal", {{"process", selector(pid)}, {"signal", "SIGNAL_SIGKILL"}});
  killed.finish();
  CHECK(killed.end.at("status") == "signal: killed");
  ::kill(std::stoi(holder), SIGKILL);
}

TEST_CASE("a client that goes away kills nothing, and another can listen on") {
  envd_process e;
  auto s = e.start(cat_request());
  int pid = s.pid();
  s.connection().close();
  auto again = e.stream("Connect", {{"process", selector(pid)}});
  CHECK(again.pid() == pid);
  e.unary("process.Process/SendInput", send_stdin(pid, "still here"));
  e.unary("process.Process/CloseStdin", {{"process", selector(pid)}});
  again.finish();
  CHECK(again.out == "still here");
  CHECK(again.end.at("exited") == true);
}

TEST_CASE("several listeners get everything from where they joined") {
  envd_process e;
  auto first = e.start(cat_request());
  int pid = first.pid();
  auto second = e.stream("Connect", {{"process", selector(pid)}});
  second.pid();
  e.unary("process.Process/SendInput", send_stdin(pid, std::string(100'000, 'x')));
  e.unary("process.Process/CloseStdin", {{"process", selector(pid)}});
  first.finish();
  second.finish();
  CHECK(first.out == std::string(100'000, 'x'));
  CHECK(second.out == first.out);
}

TEST_CASE("a late Connect learns how it ended") {
  envd_process e;
  auto s = e.shell("echo lost; exit 7");
  auto late = e.stream("Connect", {{"process", selector(s.started)}});
  late.finish();
  CHECK(late.started == s.started);
  CHECK(late.out.empty());
  CHECK(late.end.at("exitCode") == 7);
  auto unknown = e.stream("Connect", {{"process", selector(99999999)}});
  unknown.finish();
  CHECK(unknown.end_of_stream.find("not_found") != std::string::npos);
}

TEST_CASE("the deadline of Start kills the process and ends the stream") {
  envd_process e;
  auto s = e.start({{"process", {{"cmd", "sleep"}, {"args", {"600"}}}}, {"stdin", false}},
                   "Connect-Timeout-Ms: 200\r\n");
  int pid = s.pid();
  s.finish();
  CHECK(s.end_of_stream
        == R"({"error":{"code":"deadline_exceeded","message":"context deadline exceeded"}})");
  auto after = e.stream("Connect", {{"process", selector(pid)}});
  after.finish();
  CHECK(after.end.at("status") == "signal: killed");
}

TEST_CASE("a command that is killed takes its children along, at its deadline and by a signal") {
  envd_process e;
  const bool deadline = GENERATE(true, false);
  INFO((deadline ? "deadline" : "signal"));
  auto s =
      e.start({{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", "sleep 600 & echo $!; wait"}}}}},
              deadline ? "Connect-Timeout-Ms: 1500\r\n" : "");
  int pid = s.pid();
  std::string child;
  base64_decode(s.event().at("data").at("stdout").get<std::string>(), child);
  auto handle = static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(child), 0));
  REQUIRE((handle >= 0 || (deadline && errno == ESRCH))); // or over already
  if (!deadline)
    e.unary("process.Process/SendSignal",
            {{"process", selector(pid)}, {"signal", "SIGNAL_SIGKILL"}});
  s.finish();
  if (handle < 0) return;
  pollfd gone{handle, POLLIN, 0};
  CHECK(::poll(&gone, 1, 20'000) == 1);
  ::close(handle);
}

TEST_CASE("what a command that ended in time left behind is ended at its deadline, and the stream "
          "ends with the command's own exit status") {
  envd_process e;
  const bool in_group = GENERATE(true, false);
  INFO((in_group ? "of its group" : "of a session of its own"));
  const std::string sleeper = in_group ? "sleep 600 & echo $!" : "setsid sleep 600 & echo $!";
  auto s = e.start(
      {{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", sleeper + "; exit 0"}}}}, {"stdin", false}},
      "Connect-Timeout-Ms: 2000\r\n");
  s.finish();
  CHECK(s.end == json{{"exited", true}, {"status", "exit status 0"}});
  CHECK(s.end_of_stream == "{}");
  REQUIRE_FALSE(s.out.empty());
  auto child = std::stoi(s.out);
  auto handle = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  if (!in_group) { // it lives on, and holds nobody up
    CHECK(handle >= 0);
    ::kill(child, SIGKILL);
  }
  if (handle < 0) return;
  pollfd gone{handle, POLLIN, 0};
  CHECK(::poll(&gone, 1, 20'000) == 1);
  ::close(handle);
}

TEST_CASE("a background program that writes without end cannot hold a stream beyond its deadline") {
  envd_process e;
  auto s = e.start(
      {{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", "setsid yes & echo $! >&2; exit 3"}}}},
       {"stdin", false}},
      "Connect-Timeout-Ms: 2000\r\n");
  // Nobody reads until its deadline has passed, which a later one of the same length tells.
  e.start({{"process", {{"cmd", "sleep"}, {"args", {"600"}}}}, {"stdin", false}},
          "Connect-Timeout-Ms: 2000\r\n")
      .finish();
  s.finish();
  CHECK(s.end.at("exitCode") == 3);
  CHECK(s.end_of_stream == "{}");
  REQUIRE_FALSE(s.err.empty());
  auto handle = static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(s.err), 0));
  if (handle < 0) return;
  pollfd gone{handle, POLLIN, 0}; // nobody reads its pipe any more
  CHECK(::poll(&gone, 1, 20'000) == 1);
  ::close(handle);
}

TEST_CASE("the deadline of Connect ends that stream only") {
  envd_process e;
  auto s = e.start(cat_request());
  int pid = s.pid();
  auto c = e.stream("Connect", {{"process", selector(pid)}}, "Connect-Timeout-Ms: 100\r\n");
  c.finish();
  CHECK(c.end_of_stream.find("deadline_exceeded") != std::string::npos);
  e.unary("process.Process/CloseStdin", {{"process", selector(pid)}});
  s.finish();
  CHECK(s.end.at("exited") == true);
}

TEST_CASE("a slow reader holds the process back and loses nothing") {
  envd_process e;
  auto s = e.start({{"process", {{"cmd", "head"}, {"args", {"-c", "2000000", "/dev/zero"}}}}});
  int pid = s.pid();
  // Nobody reads: the process cannot get rid of 2 MB and stays, whatever else is asked meanwhile.
  for (int i = 0; i < 50; ++i)
    CHECK(e.unary("process.Process/List", json::object()).body.find(std::to_string(pid))
          != std::string::npos);
  s.finish();
  CHECK(s.out.size() == 2'000'000);
  CHECK(s.largest <= 32 * 1024);
  CHECK(s.end.at("exited") == true);
}

TEST_CASE("a silent stream gets keepalives at the interval that was asked for") {
  envd_process e;
  auto s = e.start(cat_request(), "Keepalive-Ping-Interval: 1\r\n");
  int pid = s.pid();
  auto e1 = s.next();
  REQUIRE(e1);
  CHECK(e1->payload == R"({"event":{"keepalive":{}}})");
  e.unary("process.Process/CloseStdin", {{"process", selector(pid)}});
  s.finish();
}

TEST_CASE("a terminal has a size, can be resized and takes typed input") {
  envd_process e;
  auto s = e.start(
      {{"process",
        {{"cmd", "/bin/sh"}, {"args", {"-c", "stty size; read x; stty size; echo got $x"}}}},
       {"pty", {{"size", {{"cols", 100}, {"rows", 30}}}}}});
  int pid = s.pid();
  std::string text;
  while (text.find("30 100") == std::string::npos) {
    std::string bytes;
    base64_decode(s.event().at("data").at("pty").get<std::string>(), bytes);
    text += bytes;
  }
  CHECK(e.unary("process.Process/Update",
                {{"process", selector(pid)}, {"pty", {{"size", {{"cols", 90}, {"rows", 20}}}}}})
            .body
        == "{}");
  CHECK(e.unary("process.Process/CloseStdin", {{"process", selector(pid)}}).status == 500);
  CHECK(code_of(e.unary("process.Process/SendInput", send_stdin(pid, "x"))) == "internal");
  e.unary("process.Process/SendInput",
          {{"process", selector(pid)}, {"input", {{"pty", base64_encode("word\n")}}}});
  s.finish();
  CHECK(s.pty.find("20 90") != std::string::npos);
  CHECK(s.pty.find("got word") != std::string::npos);
  CHECK(s.end.at("exited") == true);

  auto plain = e.start(cat_request());
  int plain_pid = plain.pid();
  CHECK(
      code_of(e.unary("process.Process/Update", {{"process", selector(plain_pid)},
                                                 {"pty", {{"size", {{"cols", 1}, {"rows", 1}}}}}}))
      == "internal");
  e.unary("process.Process/CloseStdin", {{"process", selector(plain_pid)}});
  plain.finish();
}

TEST_CASE("a program that closes its terminal before it exits is not hung up") {
  envd_process e;
  auto s = e.start(
      {{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", "exec <&- >&- 2>&-; sleep 0.2; exit 7"}}}},
       {"pty", {{"size", {{"cols", 80}, {"rows", 24}}}}}});
  s.finish();
  INFO(s.end.dump());
  CHECK(s.end.value("exitCode", 0) == 7);
}

TEST_CASE("a process inherits no descriptor and no signal disposition of the daemon") {
  envd_process e;
  auto s = e.shell("ls /proc/self/fd | wc -l; grep -E '^Sig(Ign|Blk)' /proc/self/status");
  INFO(s.out);
  CHECK(s.out.starts_with("4\n")); // 0, 1, 2 and the directory that ls reads
  CHECK(s.out.find("SigBlk:\t0000000000000000") != std::string::npos);
  auto at = s.out.find("SigIgn:\t");
  REQUIRE(at != std::string::npos);
  auto ignored = std::stoull(s.out.substr(at + 8, 16), nullptr, 16);
  CHECK((ignored & 0x7fffffff) == 0); // 32 and 33 belong to the C library and cannot be reset
}

TEST_CASE("malformed requests are refused in the protocol's own way") {
  envd_process e;
  CHECK(e.request("GET", "/process.Process/List").status == 405);
  CHECK(e.request("GET", "/process.Process/List").headers.at("allow") == "POST");
  auto wrong = e.request("POST", "/process.Process/List", "Content-Type: text/plain\r\n", "{}");
  CHECK(wrong.status == 415);
  CHECK(wrong.headers.at("accept-post") == "application/json");
  auto broken =
      e.request("POST", "/process.Process/List", "Content-Type: application/json\r\n", "{");
  CHECK(broken.status == 400);
  CHECK(code_of(broken) == "invalid_argument");
  auto cut =
      e.request("POST", "/process.Process/Start", "Content-Type: application/connect+json\r\n",
                std::string("\0\0\0\0\x09{}", 7));
  CHECK(cut.status == 200);
  CHECK(cut.body.find("invalid_argument") != std::string::npos);
  CHECK(e.request("POST", "/process.Process/Nothing", "Content-Type: application/json\r\n", "{}")
            .status
        == 404);
  auto c = e.connect();
  c.send("garbage\r\n\r\n");
  CHECK(c.read_answer().status == 400);
  CHECK(c.at_end());
}
