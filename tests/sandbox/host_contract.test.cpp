// The real client against the real skep-host: the same calls as in client_*.test.cpp, but the
// answers come from holders, bubblewrap and skep-envd.
#include "tests/sandbox/own_host.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;
using namespace std::chrono_literals;

namespace {

command argv(std::vector<std::string> words) {
  command c;
  c.argv = std::move(words);
  c.limit = 20s;
  return c;
}

/// One sandbox, killed at the end.
struct one_box {
  explicit one_box(client& api) : api_(api) {
    create_params p;
    p.lease = 120s;
    p.metadata = {{"skep.install", "contract"}, {"odd key", "a&b=c d"}};
    p.env["FROM_CREATE"] = "yes";
    auto r = await<created>([&](auto t) { api_.create(p, t); });
    if (!r) FAIL(render(r.err()));
    at = r->address;
  }
  ~one_box() {
    auto done = std::make_shared<std::promise<void>>();
    api_.kill(at.remote_id, [done](auto) { done->set_value(); });
    done->get_future().wait_for(await_limit);
  }
  client& api_;
  remote at;
};

} // namespace

TEST_CASE("the client's whole life with skep-host: create, run, stream, files, kill") {
  if (::access(program("skep-host").c_str(), X_OK) != 0) SKEP_SKIP("skep-host is not built");
  own_host h;
  if (h.url().empty() && h.log().find("no_isolation") != std::string::npos)
    SKEP_SKIP("sandboxes cannot be isolated on this machine");
  INFO(h.log());
  REQUIRE_FALSE(h.url().empty());
  auto engine = std::make_shared<http_engine>();
  client api{engine, {"host", h.url(), h.url(), "", ""}};
  one_box box{api};
  const auto& at = box.at;

  // -- control API: found by label, leased, described
  auto list = [&](std::map<std::string, std::string> labels) {
    auto r = await<std::vector<listed>>([&](auto t) { api.list({labels, true, true}, t); });
    REQUIRE(r);
    return r->size();
  };
  CHECK(list({{"skep.install", "contract"}, {"odd key", "a&b=c d"}}) == 1);
  CHECK(list({{"skep.install", "other"}}) == 0);
  auto d = await<sandbox::detail>([&](auto t) { api.get(at.remote_id, t); });
  REQUIRE(d);
  CHECK(d->state == remote_state::running);
  CHECK(d->address.access_token == at.access_token);
  CHECK(d->metadata.at("odd key") == "a&b=c d");
  CHECK(await<void>([&](auto t) { api.set_timeout(at.remote_id, 300s, t); }));
  auto later = await<sandbox::detail>([&](auto t) { api.get(at.remote_id, t); });
  CHECK(later->end_at > d->end_at);
  CHECK(await<sandbox::detail>([&](auto t) { api.get("inosuchsandbox", t); }).err().code
        == errc::not_found);

  // -- health and tokens
  CHECK(await<void>([&](auto t) { api.health(at, t); }));
  CHECK(await<void>([&](auto t) {
          api.health({"inosuchsandbox", "x", ""}, t);
        })
            .err()
            .code
        == errc::gone);
  remote stale = at;
  stale.access_token = "of an earlier life";
  auto seen_by_stale = await<entry>([&](auto t) { api.stat(stale, "/tmp", {}, t); });
  CHECK(seen_by_stale); // refreshed once

  // -- processes
  auto run = [&](command c) {
    return await<command_result>([&](auto t) { api.run(at, std::move(c), t); });
  };
  auto echo =
      run(argv({"/bin/sh", "-c", "echo out; echo err >&2; printf %s \"$FROM_CREATE\"; exit 3"}));
  REQUIRE(echo);
  CHECK(echo->stdout_data == "out\nyes");
  CHECK(echo->stderr_data == "err\n");
  CHECK(echo->exit_code == 3);
  CHECK(echo->exited);
  auto literal = run(argv({"/bin/echo", "$(id) ; a  b"}));
  REQUIRE(literal);
  CHECK(literal->stdout_data == "$(id) ; a  b\n");
  auto cat = argv({"/bin/cat"});
  for (int i = 0; i < 40'000; ++i)
    cat.stdin_data += std::to_string(i) + "\n";
  auto back = run(cat);
  REQUIRE(back);
  CHECK(back->stdout_data == cat.stdin_data);
  auto missing = run(argv({"/no/such/program"}));
  REQUIRE(missing);
  CHECK(missing->exit_code == 127);
  auto bad_cwd = argv({"/bin/true"});
  bad_cwd.cwd = "/proc/self/fd/no-such-dir"; // on no machine
  CHECK(run(bad_cwd).err().code == errc::refused);
  auto slow = argv({"/bin/sleep", "61.25"});
  slow.limit = 300ms;
  CHECK(run(slow).err().code == errc::timed_out);
  // It is not merely no longer waited for: no process inside bears its arguments any more.
  auto left = run(argv({"/bin/sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"}));
  REQUIRE(left);
  CHECK(left->stdout_data.find("cat") != std::string::npos);
  CHECK(left->stdout_data.find("sleep 61.25") == std::string::npos);

  // -- a stream with input, seen in the process list, ended by a signal
  watched<std::string> text;
  watched<std::uint32_t> pid{0};
  auto end = std::make_shared<std::promise<result<command_result>>>();
  stream_handlers handlers;
  handlers.on_start = [&](std::uint32_t p) { pid.change([&](auto& x) { x = p; }); };
  handlers.on_stdout = [&](std::string_view b) {
    text.change([&](auto& x) { x += b; });
    return true;
  };
  handlers.on_end = [end](auto r) { end->set_value(std::move(r)); };
  auto reader = argv({"/bin/cat"});
  reader.limit = 0ms;
  reader.stdin_open = true;
  reader.tag = "reader";
  api.open_stream(at, reader, handlers);
  REQUIRE(pid.until([](auto p) { return p > 0; }));
  CHECK(await<void>([&](auto t) { api.send_input(at, pid.get(), "hello\n", false, t); }));
  CHECK(text.until([](auto& x) { return x == "hello\n"; }));
  auto processes = await<std::vector<process_info>>([&](auto t) { api.list_processes(at, t); });
  REQUIRE(processes);
  CHECK(std::any_of(processes->begin(), processes->end(),
                    [&](auto& p) { return p.tag == "reader" && p.pid == pid.get(); }));
  CHECK(await<void>([&](auto t) { api.send_signal(at, pid.get(), signal::terminate, t); }));
  auto how = value_of(end->get_future());
  REQUIRE(how);
  CHECK_FALSE(how->exited);
  CHECK(await<void>([&](auto t) { api.send_signal(at, 99999999, signal::kill, t); }).err().code
        == errc::not_found);

  // -- back-pressure: a paused stream stops the writer inside, and resuming loses nothing
  {
    auto over = std::make_shared<std::promise<result<command_result>>>();
    std::atomic<std::size_t> size{0};
    std::atomic<bool> paused{false};
    watched<bool> stopped{false};
    stream_handlers slow_reader;
    slow_reader.on_stdout = [&](std::string_view b) {
      size += b.size();
      if (paused.exchange(true)) return true;
      stopped.change([](bool& x) { x = true; });
      return false;
    };
    slow_reader.on_end = [over](auto r) { over->set_value(std::move(r)); };
    auto flood = argv({"/usr/bin/head", "-c", "5000000", "/dev/zero"});
    auto id = api.open_stream(at, flood, slow_reader);
    REQUIRE(stopped.until([](bool x) { return x; }));
    CHECK(await<void>([&](auto t) { api.health(at, t); })); // others are not held up
    CHECK(size <= 64U << 10U);
    api.resume(id);
    auto r = value_of(over->get_future());
    REQUIRE(r);
    CHECK(size == 5'000'000);
  }

  // -- background
  auto background = argv({"/bin/sleep", "300"});
  background.limit = 0ms;
  auto bg = await<std::uint32_t>([&](auto t) { api.start_background(at, background, t); });
  REQUIRE(bg);
  CHECK(await<void>([&](auto t) { api.send_signal(at, *bg, signal::kill, t); }));

  // -- files
  const auto local = h.dir() / "up";
  std::string content;
  for (int i = 0; i < 3'000'000; ++i)
    content.push_back(static_cast<char>(i * 31 >> 3));
  std::ofstream{local, std::ios::binary} << content;
  CHECK(await<void>([&](auto t) { api.make_dir(at, "/tmp/d", {}, t); }));
  CHECK(await<void>([&](auto t) { api.make_dir(at, "/tmp/d", {}, t); }).err().code == errc::exists);
  CHECK(await<void>([&](auto t) { api.upload_file(at, local, "/tmp/d/a b+c", {}, t); }));
  auto st = await<entry>([&](auto t) { api.stat(at, "/tmp/d/a b+c", {}, t); });
  REQUIRE(st);
  CHECK(st->size_bytes == content.size());
  CHECK(st->type == entry_type::file);
  auto piece =
      await<file_piece>([&](auto t) { api.read_file(at, "/tmp/d/a b+c", 1000, 100, {}, t); });
  REQUIRE(piece);
  CHECK(piece->data == content.substr(1000, 100));
  CHECK(piece->size_bytes == content.size());
  auto beyond = await<file_piece>(
      [&](auto t) { api.read_file(at, "/tmp/d/a b+c", content.size(), 100, {}, t); });
  REQUIRE(beyond);
  CHECK(beyond->data.empty());
  CHECK(beyond->size_bytes == content.size());
  const auto down = h.dir() / "down";
  auto got = await<std::uint64_t>(
      [&](auto t) { api.download_file(at, "/tmp/d/a b+c", down, 10U << 20U, {}, t); });
  REQUIRE(got);
  std::ifstream in{down, std::ios::binary};
  CHECK(std::string{std::istreambuf_iterator<char>{in}, {}} == content);
  CHECK(await<void>([&](auto t) { api.write_file(at, "/tmp/d/e", "", {}, t); }));
  auto empty = await<file_piece>([&](auto t) { api.read_file(at, "/tmp/d/e", 0, 10, {}, t); });
  REQUIRE(empty);
  CHECK(empty->size_bytes == 0);
  CHECK(await<void>([&](auto t) { api.move(at, "/tmp/d/e", "/tmp/d/f", {}, t); }));
  auto entries = await<std::vector<entry>>([&](auto t) { api.list_dir(at, "/tmp/d", 1, {}, t); });
  REQUIRE(entries);
  CHECK(entries->size() == 2);
  CHECK(await<void>([&](auto t) { api.remove(at, "/tmp/d", {}, t); }));
  CHECK(await<void>([&](auto t) { api.remove(at, "/tmp/d", {}, t); }));
  CHECK(await<entry>([&](auto t) { api.stat(at, "/tmp/d", {}, t); }).err().code
        == errc::file_not_found);
  CHECK(await<file_piece>([&](auto t) { api.read_file(at, "/none", 0, 1, {}, t); }).err().code
        == errc::file_not_found);

  // -- the end
  CHECK(*await<bool>([&](auto t) { api.kill(at.remote_id, t); }));
  CHECK_FALSE(*await<bool>([&](auto t) { api.kill(at.remote_id, t); }));
  CHECK(await<void>([&](auto t) { api.health(at, t); }).err().code == errc::gone);
  CHECK(await<command_result>([&](auto t) { api.run(at, argv({"/bin/true"}), t); }).err().code
        == errc::gone);
}
