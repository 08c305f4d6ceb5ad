#include "tests/sim/sim_fixture.hpp"
#include "tests/support/skip.hpp"

#include <set>
#include <sys/resource.h>

using namespace skep;
using namespace skep::test;

#ifdef SKEP_SANITIZED
constexpr std::size_t many = 1'000;
#else
constexpr std::size_t many = 10'000;
#endif

TEST_CASE(
    "ten thousand simulated sandboxes (a thousand under sanitizers) are created and listed, and "
    "each sends a line") {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  // One descriptor a stream here, and one in the simulator, which inherits the limit.
  if (files.rlim_max < many + 200) SKEP_SKIP("this machine does not allow so many open files");
  simulator sim;
  auto control = sim->connect();
  std::vector<sandbox> boxes;
  auto create =
      host_process::text("POST", "/v2/sandboxes", R"({"templateID":"base","timeout":3600})", {});
  constexpr std::size_t at_once = 100;
  while (boxes.size() < many) {
    for (std::size_t i = 0; i < at_once; ++i)
      control.send(create);
    for (std::size_t i = 0; i < at_once; ++i) {
      auto j = json::parse(control.read_answer().body);
      boxes.push_back(
          {j.at("sandboxID").get<std::string>(), j.at("envdAccessToken").get<std::string>()});
    }
  }
  std::vector<event_stream> streams;
  streams.reserve(many);
  for (const auto& s : boxes) {
    json request = {{"process", {{"cmd", "/bin/bash"}, {"args", {"-c", "echo here; sleep 3600"}}}}};
    auto headers = simulator::to(s);
    headers["Content-Type"] = "application/connect+json";
    auto c = sim->connect();
    c.send(host_process::text("POST", "/process.Process/Start", make_envelope(request.dump()),
                              headers));
    streams.emplace_back(std::move(c), answer{});
  }
  std::size_t lines = 0;
  for (auto& stream : streams) {
    auto head = stream.connection().read_header();
    if (head.status != 200)
      FAIL("stream " << &stream - streams.data() << " was answered " << head.status << ": "
                     << stream.connection().next_piece().value_or(""));
    stream.pid();
    std::string text;
    base64_decode(stream.event().at("data").at("stdout").get<std::string>(), text);
    lines += text == "here\n" ? 1 : 0;
  }
  CHECK(lines == many);
  std::set<std::string> listed;
  std::string token;
  do {
    control.send(host_process::text(
        "GET", "/v2/sandboxes?limit=100" + (token.empty() ? "" : "&nextToken=" + token), {}, {}));
    auto page = control.read_answer();
    for (const auto& x : json::parse(page.body))
      listed.insert(x.at("sandboxID").get<std::string>());
    token = page.headers["x-next-token"];
  } while (!token.empty());
  CHECK(listed.size() == many);
}
