// What passes is not taken for an end: a sandbox that was not heard of yet, a host without a
// descriptor left, a lack that was mended.
#include "host/control_api.hpp"
#include "host/holder_link.hpp"
#include "host/registry.hpp"
#include "tests/host/host_fixture.hpp"

#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <sys/resource.h>

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

/// No sandboxes but one that has not answered yet; a create succeeds.
class young_host : public driver {
public:
  task<void> adopt() override { co_return; }
  task<result<sandbox_info>> create(sandbox_order order) override {
    sandbox_info x;
    x.sandbox_id = order.sandbox_id;
    co_return x;
  }
  task<result<void>> kill(std::string) override { co_return make_error(errc::not_found); }
  task<result<sandbox_info>> set_timeout(std::string, std::int64_t, bool) override {
    co_return make_error(errc::not_found);
  }
  task<result<json>> usage(std::string, std::uint64_t) override {
    co_return make_error(errc::not_found);
  }
  task<result<local_socket>> connect_envd(std::string) override {
    co_return make_error(errc::gone);
  }
  task<result<sandbox_info>> set_network(std::string, network_access) override {
    co_return make_error(errc::not_found);
  }
  const sandbox_info* find(const std::string&) const override { return nullptr; }
  std::vector<const sandbox_info*> list() const override { return {}; }
  std::size_t occupied() const override { return 0; }
  bool unknown(const std::string& id) const override { return id == "ilate"; }
};

task<void> put(control_api& api, api_request request, api_reply& answer) {
  answer = co_await api.handle(std::move(request));
}

int status_of(asio::io_context& io, control_api& api, const std::string& method,
              const std::string& path, const std::string& body = {}) {
  api_reply answer;
  host::spawn(io, put(api, {method, path, {}, body}, answer));
  io.restart();
  io.run();
  return static_cast<int>(answer.status);
}

task<void> reach(asio::io_context& io, const state_dir& state, std::string id, errc& found) {
  auto socket = co_await connect_holder(io, state, id, "ctl.sock", std::chrono::milliseconds{100});
  found = socket ? errc::none : socket.err().code;
}

errc reached(asio::io_context& io, const state_dir& state, const std::string& id) {
  auto found = errc::internal;
  host::spawn(io, reach(io, state, id, found));
  io.restart();
  io.run();
  return found;
}

/// A program in place of a holder: it says that its sandbox is ready and lives on, but nobody can
/// connect to it.
std::string deaf_holder(const temp_dir& dir) {
  auto program = dir / "holder";
  std::ofstream{program} << "#!/bin/sh\n"
                         << "place='" << (dir / "st/holders") << "'/$2\n"
                         << "mkdir -m 700 \"$place\" && exec 9<\"$place\" && flock 9 || exit 1\n"
                         << "cat >/dev/null\n"
                         << "echo $$ >'" << (dir / "pid") << "'\n"
                         << "echo '{\"ok\":true}'\n"
                         << "exec sleep 600\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  return program;
}

task<void> make(registry& sandboxes, std::string id, std::optional<errc>& code) {
  sandbox_order order;
  order.sandbox_id = std::move(id);
  auto made = co_await sandboxes.create(std::move(order));
  code = made ? errc::none : made.err().code;
}

/// As long as it lives no descriptor is to be had.
class no_descriptors {
public:
  no_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    int next = ::dup(0);
    ::close(next);
    rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;

private:
  rlimit before_{};
};

} // namespace

TEST_CASE("the account of a sandbox that was not heard of yet is 503, and of no sandbox 404") {
  asio::io_context io{1};
  young_host sandboxes;
  control_api api{sandboxes, {}};
  struct row {
    const char *method, *what, *body;
    int of_nobody; // 501: this driver has no such thing
  };
  const std::vector<row> rows{{"GET", "usage", "", 404},
                              {"PUT", "allowance", R"({"microUsd":1})", 501},
                              {"DELETE", "keys", "", 501}};
  for (const auto& x : rows) {
    INFO(x.what);
    const std::string end = std::string{"/"} + x.what;
    CHECK(status_of(io, api, x.method, "/skep/v1/sandboxes/ilate" + end, x.body) == 503);
    CHECK(status_of(io, api, x.method, "/skep/v1/sandboxes/inobody" + end, x.body) == x.of_nobody);
  }
  CHECK(status_of(io, api, "GET", "/sandboxes/ilate") == 503);
}

TEST_CASE("without a descriptor left nothing is said of a holder, and nothing of it is swept") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  REQUIRE(make_dir(state->holders.get(), "ione", 0700));
  REQUIRE(make_dir(state->sandboxes.get(), "ione", 0700));
  asio::io_context io{1};
  asio::steady_timer uses_the_reactor{io};          // which has descriptors of its own
  CHECK(reached(io, *state, "ione") == errc::gone); // no socket
  CHECK(reached(io, *state, "inobody") == errc::gone);
  auto there = errc::internal, absent = errc::internal;
  auto swept = sweep_outcome::swept;
  {
    no_descriptors now;
    there = reached(io, *state, "ione");
    absent = reached(io, *state, "inobody");
    swept = sweep_holder(*state, "ione");
  }
  CHECK(there == errc::capacity);
  CHECK(absent == errc::capacity);
  CHECK(swept == sweep_outcome::alive);
  CHECK(std::filesystem::exists(dir / "st/sandboxes/ione"));
  CHECK(sweep_holder(*state, "ione") == sweep_outcome::swept);
  CHECK_FALSE(std::filesystem::exists(dir / "st/sandboxes/ione"));
}

TEST_CASE(
    "a sandbox that cannot be reached after its start occupies a place until it is seen gone") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  asio::io_context io{1};
  holder_policy quick;
  quick.kill = std::chrono::milliseconds{100};
  quick.retry = std::chrono::milliseconds{5};
  registry sandboxes{io, *state, deaf_holder(dir), {}, quick};
  auto run_until = [&](auto&& seen) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!seen() && std::chrono::steady_clock::now() < end)
      io.run_one_for(std::chrono::milliseconds{100});
    return seen();
  };
  std::optional<errc> code;
  host::spawn(io, make(sandboxes, "ideaf", code));
  REQUIRE(run_until([&] { return code.has_value(); }));
  CHECK(*code == errc::capacity);
  CHECK(sandboxes.unknown("ideaf"));
  CHECK(sandboxes.occupied() == 1);
  CHECK(sandboxes.list().empty());

  // Longer than one attempt to end it may take.
  auto more = std::chrono::steady_clock::now() + 3 * quick.kill;
  run_until([&] { return std::chrono::steady_clock::now() > more; });
  CHECK(sandboxes.occupied() == 1);

  pid_t pid = 0;
  std::ifstream{dir / "pid"} >> pid;
  REQUIRE(pid > 1);
  REQUIRE(::kill(pid, SIGKILL) == 0);
  CHECK(run_until([&] { return sandboxes.occupied() == 0; }));
  CHECK_FALSE(sandboxes.unknown("ideaf"));
  CHECK_FALSE(std::filesystem::exists(dir / "st/holders/ideaf"));
}

TEST_CASE("a create looks again at what isolation lacked, once for all who ask, and never after") {
  asio::io_context io{1};
  young_host sandboxes;
  std::atomic<int> looks = 0;
  std::atomic<bool> mended = false;
  std::promise<void> both_ask;
  auto go = both_ask.get_future().share();
  isolation_state isolated{io, make_error(errc::no_isolation, "bubblewrap is not installed"),
                           [&]() -> result<void> {
                             go.wait();
                             ++looks;
                             if (mended) return {};
                             return make_error(errc::no_isolation, "still not there");
                           }};
  api_settings settings;
  settings.isolation = &isolated;
  control_api api{sandboxes, std::move(settings)};
  const std::string body = R"({"templateID":"base"})";
  api_reply one, two;
  host::spawn(io, put(api, {"POST", "/sandboxes", {}, body}, one));
  host::spawn(io, put(api, {"POST", "/v2/sandboxes", {}, body}, two));
  io.poll();
  both_ask.set_value();
  io.run();
  CHECK(looks == 1);
  for (const auto* x : {&one, &two}) {
    CHECK(x->status == 503);
    auto told = json::parse(x->body);
    CHECK(told.value("error_code", "") == "no_isolation");
    CHECK(told.value("message", "") == "still not there");
  }
  CHECK(status_of(io, api, "GET", "/skep/v1/info") == 200);
  CHECK(looks == 1); // only a create looks

  mended = true;
  CHECK(isolated.problem().code == errc::no_isolation);
  CHECK(status_of(io, api, "POST", "/sandboxes", body) == 201);
  CHECK(looks == 2);
  CHECK_FALSE(isolated.problem());
  CHECK(status_of(io, api, "POST", "/sandboxes", body) == 201);
  CHECK(looks == 2);
}
