// What a host finds at its start: holders that live are asked, and what dead ones left goes behind.
#include "host/control_api.hpp"
#include "host/registry.hpp"
#include "tests/host/host_fixture.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <fstream>
#include <functional>
#include <future>
#include <optional>

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

/// A holder that is the test itself: it has its claim, listens, and answers as holders do.
class living_holder {
public:
  living_holder(asio::io_context& io, const state_dir& state, const std::string& id)
      : io_(io), acceptor_(io) {
    info_.sandbox_id = id;
    info_.template_id = "base";
    info_.ready = true;
    auto claim = claim_holder(state, id);
    REQUIRE(claim);
    claim_ = std::move(*claim);
    auto listening = listen_unix(claim_.get(), "ctl.sock", 8);
    REQUIRE(listening);
    acceptor_.assign({}, listening->release());
    host::spawn(io_, serve());
  }

private:
  task<void> serve() {
    for (error_code ec;;) {
      local_socket socket{io_};
      co_await acceptor_.async_accept(socket, into(ec));
      if (ec) co_return;
      host::spawn(io_, answer(std::move(socket)));
    }
  }
  task<void> answer(local_socket socket) {
    std::string text;
    error_code ec;
    auto size = co_await asio::async_read_until(socket, asio::dynamic_buffer(text), '\n', into(ec));
    if (ec) co_return;
    auto question = json::parse(text.substr(0, size), nullptr, false);
    auto watches = question.value("op", std::string{}) == "watch";
    json reply;
    reply["ok"] = true;
    if (watches) reply["info"] = to_json(info_);
    if (!watches) reply["logs"] = json::array({"alive"});
    auto line = dump(reply) + "\n";
    co_await asio::async_write(socket, asio::buffer(line), into(ec));
    if (watches) watchers_.push_back(std::move(socket)); // its end would be ours
  }

  asio::io_context& io_;
  local_acceptor acceptor_;
  unique_fd claim_;
  sandbox_info info_;
  std::vector<local_socket> watchers_;
};

/// Holds up whoever comes to it until it is opened, at the latest by its end.
class gate {
public:
  ~gate() { open(); }
  std::shared_future<void> opened() const { return opened_; }
  void open() {
    if (!std::exchange(is_open_, true)) open_.set_value();
  }

private:
  std::promise<void> open_;
  std::shared_future<void> opened_ = open_.get_future().share();
  bool is_open_ = false;
};

task<void> adopt_all(registry& sandboxes, bool& adopted) {
  co_await sandboxes.adopt();
  adopted = true;
}

task<void> read_logs(registry& sandboxes, std::string id, std::optional<json>& logs) {
  auto answer = co_await sandboxes.logs(std::move(id));
  logs = answer ? *answer : json{};
}

task<void> get(control_api& api, std::string path, unsigned& status) {
  api_request request{"GET", std::move(path), {}, {}};
  auto answer = co_await api.handle(std::move(request));
  status = static_cast<unsigned>(answer.status);
}

bool run_until(asio::io_context& io, const std::function<bool()>& seen) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
  while (!seen() && std::chrono::steady_clock::now() < end)
    io.run_one_for(std::chrono::milliseconds{100});
  return seen();
}

} // namespace

TEST_CASE("a host serves those that live while it still removes what dead ones left, one after the "
          "other") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  const std::vector<std::string> dead{"idead", "iover"};
  auto home_of = [&](const std::string& id) { return dir / ("st/sandboxes/" + id); };
  for (const auto& id : dead) {
    REQUIRE(make_dir(state->holders.get(), id, 0700));
    std::filesystem::create_directories(home_of(id) + "/home/work");
  }
  asio::io_context io{1};
  living_holder holder{io, *state, "ilive"};
  std::atomic<int> begun = 0;
  registry sandboxes{io, *state, "no-program"};
  gate long_removal; // opens before the registry ends, which waits for its removals
  sandboxes.before_removal = [&begun, opened = long_removal.opened()](const std::string&) {
    ++begun;
    opened.wait();
  };
  bool adopted = false;
  host::spawn(io, adopt_all(sandboxes, adopted));
  REQUIRE(run_until(io, [&] { return adopted && begun > 0; }));

  REQUIRE(sandboxes.find("ilive") != nullptr);
  CHECK(sandboxes.occupied() == 1);
  CHECK(sandboxes.list().size() == 1);
  std::optional<json> logs;
  host::spawn(io, read_logs(sandboxes, "ilive", logs));
  REQUIRE(run_until(io, [&] { return logs.has_value(); }));
  CHECK(*logs == json::array({"alive"}));
  control_api api{sandboxes, {}};
  unsigned of_living = 0, of_dead = 0;
  host::spawn(io, get(api, "/sandboxes/ilive", of_living));
  host::spawn(io, get(api, "/sandboxes/idead", of_dead));
  REQUIRE(run_until(io, [&] { return of_living != 0 && of_dead != 0; }));
  CHECK(of_living == 200);
  CHECK(of_dead == 404);

  // All that waits is claimed, and nobody takes its place.
  CHECK(begun == 1);
  for (const auto& id : dead) {
    INFO(id);
    CHECK(std::filesystem::exists(home_of(id) + "/home/work"));
    CHECK(sandboxes.find(id) == nullptr);
    CHECK_FALSE(sandboxes.unknown(id));
    CHECK(sweep_holder(*state, id) == sweep_outcome::alive);
    CHECK(claim_holder(*state, id).err().code == errc::exists);
  }
  long_removal.open();
  CHECK(run_until(io, [&] { return list_holders(*state).size() == 1; }));
  CHECK(begun == 2);
  CHECK(list_holders(*state) == std::vector<std::string>{"ilive"});
  for (const auto& id : dead)
    CHECK_FALSE(std::filesystem::exists(home_of(id)));
  CHECK(sandboxes.find("ilive") != nullptr);
}

TEST_CASE("a removal that the end of a host cuts short is gone on with by the next one") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  const auto file = std::filesystem::path{dir / "st"} / "sandboxes/idead/home/file";
  std::filesystem::create_directories(file.parent_path());
  std::ofstream{file} << "x";
  REQUIRE(make_dir(state->holders.get(), "idead", 0700));
  {
    auto claim = claim_remains(*state, "idead");
    REQUIRE(claim);
    REQUIRE(claim->get() >= 0);
    const std::atomic<bool> stop = true;
    CHECK(sweep_claimed(*state, "idead", *claim, &stop) == sweep_outcome::leftover);
    CHECK(std::filesystem::exists(file));
    CHECK(list_holders(*state) == std::vector<std::string>{"idead"});
  }
  asio::io_context io{1};
  registry next{io, *state, "no-program"};
  bool adopted = false;
  host::spawn(io, adopt_all(next, adopted));
  CHECK(run_until(io, [&] { return adopted && list_holders(*state).empty(); }));
  CHECK_FALSE(std::filesystem::exists(file.parent_path().parent_path()));
}

TEST_CASE("a second host on a directory ends, and the file that leads to the first one stays") {
  host_state state;
  const auto file = std::filesystem::path{state.path()} / "ready.json";
  host_process first{state, {"--ready-file", file.string()}};
  REQUIRE(first.serving());
  auto said = read_file(file, 4096);
  REQUIRE(said);
  CHECK(json::parse(*said) == first.announced());

  host_process second{state, {"--ready-file", file.string()}};
  CHECK_FALSE(second.serving());
  auto status = second.await_exit();
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == info(errc::exists).exit_code);
  auto still = read_file(file, 4096);
  REQUIRE(still);
  CHECK(*still == *said);
}
