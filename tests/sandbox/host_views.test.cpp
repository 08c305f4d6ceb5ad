// What lies beside api, against the real skep-host: leases, pause, metrics, watchers, uploads,
// signed addresses, processes by tag.
#include "sandbox/control.hpp"
#include "sandbox/envd.hpp"
#include "tests/sandbox/host_fixture.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

TEST_CASE("control and envd against skep-host: pages, pause, usage, watches, uploads, signed "
          "addresses") {
  if (::access(program("skep-host").c_str(), X_OK) != 0) SKEP_SKIP("skep-host is not built");
  host h;
  if (h.url().empty() && h.log().find("no_isolation") != std::string::npos)
    SKEP_SKIP("sandboxes cannot be isolated on this machine");
  INFO(h.log());
  REQUIRE_FALSE(h.url().empty());
  auto engine = std::make_shared<http_engine>();
  endpoint where{"host", h.url(), h.url(), "", ""};
  where.paths = generation::v2;
  client api{engine, where};
  control more{api};
  envd inside{api};
  one_box box{api};
  auto at = box.at;
  CHECK_FALSE(at.access_token.empty()); // v2 sandboxes always have one

  // -- control API
  page_query q;
  q.filter.metadata["odd key"] = "a&b=c d";
  q.limit = 1;
  auto page = await<listed_page>([&](auto t) { more.list_page(q, t); });
  REQUIRE(page);
  REQUIRE(page->items.size() == 1);
  CHECK(page->items[0].remote_id == at.remote_id);
  CHECK(page->items[0].cpu_count > 0);
  CHECK(await<void>([&](auto t) { more.refresh(at.remote_id, 200s, t); }));
  auto own = await<usage_sample>([&](auto t) { api.usage(at, t); });
  REQUIRE(own);
  CHECK(own->memory_total_bytes > own->memory_used_bytes);
  CHECK(own->disk_total_bytes > 0);
  CHECK(await<std::vector<usage_sample>>([&](auto t) { more.metrics(at.remote_id, {}, {}, t); }));
  CHECK(*await<bool>([&](auto t) { api.pause(at.remote_id, true, t); }));
  CHECK_FALSE(*await<bool>([&](auto t) { api.pause(at.remote_id, true, t); }));
  CHECK(await<sandbox::detail>([&](auto t) { api.get(at.remote_id, t); })->state
        == remote_state::paused);
  auto resumed = await<created>([&](auto t) { api.connect(at.remote_id, 200s, t); });
  REQUIRE(resumed);
  CHECK(resumed->resumed);
  at = resumed->address;
  CHECK_FALSE(await<created>([&](auto t) { api.connect(at.remote_id, 200s, t); })->resumed);

  // -- a process by its tag
  watched<std::string> text;
  std::promise<result<command_result>> over;
  stream_handlers handlers;
  handlers.on_stdout = [&](std::string_view b) {
    text.change([&](auto& x) { x += b; });
    return true;
  };
  handlers.on_end = [&](auto r) { over.set_value(std::move(r)); };
  auto cat = argv({"/bin/cat"});
  cat.limit = 0ms;
  cat.stdin_open = true;
  cat.tag = "cat";
  auto pid = await<std::uint32_t>([&](auto t) { api.start_background(at, cat, t); });
  REQUIRE(pid);
  watched<bool> attached{false};
  handlers.on_start = [&](std::uint32_t p) { attached.change([&](bool& x) { x = p == *pid; }); };
  inside.connect_process(at, {0, "cat"}, {}, handlers);
  REQUIRE(attached.until([](bool x) { return x; }));
  CHECK(await<void>([&](auto t) {
    inside.stream_input(at, {0, "cat"}, {"one ", "two\n"}, false, t);
  }));
  CHECK(text.until([](auto& x) { return x == "one two\n"; }));
  CHECK(await<void>([&](auto t) { inside.close_stdin(at, {*pid, {}}, t); }));
  auto how = value_of(over.get_future());
  REQUIRE(how);
  CHECK(how->exit_code == 0);

  // -- watches and uploads
  CHECK(await<void>([&](auto t) { api.make_dir(at, "/tmp/w", {}, t); }));
  watched<std::map<std::string, entry>> created_files;
  watched<bool> watching{false};
  std::promise<result<void>> watch_over;
  watch_handlers watch;
  watch.on_start = [&] { watching.change([](bool& x) { x = true; }); };
  watch.on_change = [&](const file_change& x) {
    if (x.what == change::create && x.info)
      created_files.change([&](auto& all) { all[x.name] = *x.info; });
    return true;
  };
  watch.on_end = [&](auto r) { watch_over.set_value(std::move(r)); };
  watch_options options;
  options.with_entry = true;
  auto id = inside.watch_dir(at, "/tmp/w", options, watch);
  REQUIRE(watching.until([](bool x) { return x; }));
  auto watcher = await<std::string>([&](auto t) { inside.create_watcher(at, "/tmp/w", {}, t); });
  REQUIRE(watcher);
  auto wrote = await<std::vector<written_file>>([&](auto t) {
    inside.write_files(at, {{"/tmp/w/a", "one"}, {"/tmp/w/b", std::string("\0\r\n", 3)}}, {}, t);
  });
  REQUIRE(wrote);
  REQUIRE(wrote->size() == 2);
  CHECK(created_files.until([](auto& all) { return all.contains("a") && all.contains("b"); }));
  auto changes =
      await<std::vector<file_change>>([&](auto t) { inside.watcher_events(at, *watcher, t); });
  REQUIRE(changes);
  CHECK(changes->size() >= 2);
  CHECK(await<void>([&](auto t) { inside.remove_watcher(at, *watcher, t); }));
  CHECK_FALSE(await<void>([&](auto t) { inside.remove_watcher(at, *watcher, t); }));
  api.cancel(id);
  CHECK(value_of(watch_over.get_future()).err().code == errc::cancelled);

  write_options packed;
  packed.gzip = true;
  const std::string big(300'000, 'z');
  CHECK(await<std::vector<written_file>>([&](auto t) {
    inside.write_file(at, {"/tmp/w/c", big}, packed, t);
  }));
  auto c = await<file_piece>([&](auto t) { api.read_file(at, "/tmp/w/c", 0, 0, {}, t); });
  REQUIRE(c);
  CHECK(c->data == big);
  auto whole = await<entry>([&](auto t) {
    inside.compose(at, {"/tmp/w/a", "/tmp/w/b"}, "/tmp/w/ab", "", t);
  });
  REQUIRE(whole);
  auto ab = await<file_piece>([&](auto t) { api.read_file(at, "/tmp/w/ab", 0, 0, {}, t); });
  REQUIRE(ab);
  CHECK(ab->data == std::string("one\0\r\n", 6));
  CHECK(await<entry>([&](auto t) { api.stat(at, "/tmp/w/a", {}, t); }).err().code
        == errc::file_not_found);
  auto environment =
      await<std::map<std::string, std::string>>([&](auto t) { inside.environment(at, t); });
  REQUIRE(environment);
  CHECK(environment->at("FROM_CREATE") == "yes");

  // -- whoever has a signed address needs no token, but the right path
  auto get = [&](const std::string& url) {
    http_request r{"GET", url, http_limits::within(10s)};
    r.headers = {"E2b-Sandbox-Id: " + at.remote_id, "E2b-Sandbox-Port: 49983"};
    return fetch(*engine, r);
  };
  const auto url = inside.download_url(at, "/tmp/w/ab");
  CHECK(get(url).body == ab->data);
  auto other = url;
  other.replace(other.find("ab"), 2, "c");
  CHECK(get(other).status == 401);
  signed_url_options past;
  past.expires = std::chrono::system_clock::now() - 60s;
  CHECK(get(inside.download_url(at, "/tmp/w/ab", past)).status == 401);
}
