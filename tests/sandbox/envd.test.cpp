// The whole of envd beyond what actors use: selectors, watchers, uploads, signed addresses.
#include "tests/sandbox/client_fixture.hpp"

#include "sandbox/envd.hpp"
#include "sandbox/wire_envd.hpp"

#include <zlib.h>

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

struct envd_fixture : fixture {
  explicit envd_fixture(script_server::handler h) : fixture(std::move(h)), all(api) {}
  envd all;
};

std::string gunzip(const std::string& text) {
  z_stream z{};
  REQUIRE(inflateInit2(&z, 15 + 16) == Z_OK);
  std::string out(4U << 20U, '\0');
  auto in = text;
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  inflateEnd(&z);
  return out;
}

} // namespace

TEST_CASE("signatures and addresses are those that were observed") {
  CHECK(file_signature("/tmp/x", "read", "root", "tok_envd")
        == "v1_81a74+TQgwIlzaunheExzGcoYrwCu6FDIvZGmHG0mUk");
  CHECK(file_signature("/tmp/x", "read", "root", "tok_envd", 1767323045)
        != file_signature("/tmp/x", "read", "root", "tok_envd", 1767323046));

  auto engine = std::make_shared<http_engine>();
  client shared{engine, {"e2b", "", "", "e2b.app", key}};
  envd all{shared};
  signed_url_options as_root;
  as_root.user = "root";
  // Never the shared host: who follows the address sends no routing headers.
  CHECK(all.download_url({"iabc", "tok_envd", ""}, "/tmp/x", as_root)
        == "https://49983-iabc.e2b.app/files?username=root&path=%2Ftmp%2Fx&signature="
           "v1_81a74%2BTQgwIlzaunheExzGcoYrwCu6FDIvZGmHG0mUk");
  CHECK(all.download_url({"iabc", "", "x.example"}, "/a b")
        == "https://49983-iabc.x.example/files?path=%2Fa%20b"); // an open sandbox signs nothing
  signed_url_options brief;
  brief.expires = std::chrono::system_clock::time_point{1767323045678ms};
  auto up = all.upload_url({"iabc", "t", ""}, "", brief);
  CHECK(up.find("path=") == std::string::npos);
  CHECK(up.ends_with("&signature_expiration=1767323045"));
  CHECK(up.find(wire::url_encode(file_signature("", "write", "", "t", 1767323045)))
        != std::string::npos);
}

TEST_CASE("a running process is followed by pid or tag, with its own limit") {
  envd_fixture f{[](peer& p, const request& r) {
    if (r.body.find("none") != std::string::npos)
      return stream(p, last(R"({"error":{"code":"not_found","message":"process not found"}})"));
    stream(p, start_event(7) + data_event("hi") + end_event(3) + last());
  }};
  auto follow = [&](process_selector which, std::chrono::milliseconds limit) {
    auto text = std::make_shared<std::string>();
    auto ended = await<command_result>([&](auto then) {
      stream_handlers h;
      h.on_stdout = [text](std::string_view bytes) {
        *text += bytes;
        return true;
      };
      h.on_end = then;
      f.all.connect_process(box, which, limit, h);
    });
    return std::pair{ended, *text};
  };
  auto [a, text] = follow({7, {}}, 1500ms);
  REQUIRE(a);
  CHECK(a->exit_code == 3);
  CHECK(text == "hi");
  CHECK(follow({0, "none\""}, {}).first.err().code == errc::not_found);
  CHECK(follow({}, {}).first.err().code == errc::bad_argument);
  auto seen = f.server.requests();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].target == "/process.Process/Connect");
  CHECK(seen[0].body.substr(5) == R"({"process":{"pid":7}})");
  CHECK(seen[0].header("connect-timeout-ms") == "1500");
  CHECK(json::parse(seen[1].body.substr(5))["process"]["tag"] == "none\"");
  CHECK(seen[1].header("connect-timeout-ms").empty()); // absent means none
}

TEST_CASE("input, signals and sizes go to a process by its tag; streamed input in one request") {
  envd_fixture f{[](peer& p, const request& r) {
    if (r.path() == "/process.Process/StreamInput")
      stream(p, make_envelope("{}") + last());
    else
      p.answer(200, "{}");
  }};
  const process_selector tagged{0, "t"};
  CHECK(await<void>([&](auto then) { f.all.send_input(box, tagged, "x", true, then); }));
  CHECK(await<void>([&](auto then) { f.all.close_stdin(box, tagged, then); }));
  CHECK(await<void>([&](auto then) { f.all.send_signal(box, tagged, signal::kill, then); }));
  CHECK(await<void>([&](auto then) { f.all.resize_pty(box, tagged, {90, 30}, then); }));
  CHECK(await<void>([&](auto then) {
    f.all.stream_input(box, {7, {}}, {"one", "two"}, false, then);
  }));
  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"process":{"tag":"t"},"input":{"pty":"eA=="}})");
  CHECK(seen[1].target == "/process.Process/CloseStdin");
  CHECK(seen[2].body == R"({"process":{"tag":"t"},"signal":"SIGNAL_SIGKILL"})");
  CHECK(seen[3].body == R"({"process":{"tag":"t"},"pty":{"size":{"cols":90,"rows":30}}})");
  CHECK(seen[4].header("content-type") == "application/connect+json");
  CHECK(seen[4].body
        == make_envelope(R"({"start":{"process":{"pid":7}}})")
               + make_envelope(R"({"data":{"input":{"stdin":"b25l"}}})")
               + make_envelope(R"({"data":{"input":{"stdin":"dHdv"}}})"));
}

TEST_CASE("streamed input that fails or is cut is an error though its status is 200") {
  std::atomic<int> n{0};
  envd_fixture f{[&](peer& p, const request&) {
    if (++n == 1) return stream(p, last(R"({"error":{"code":"not_found","message":"x"}})"));
    stream(p, make_envelope("{}")); // no end of stream
  }};
  auto send = [&] {
    return await<void>([&](auto then) { f.all.stream_input(box, {7, {}}, {"x"}, false, then); });
  };
  CHECK(send().err().code == errc::not_found);
  CHECK(send().err().code == errc::protocol);
}

TEST_CASE("a watch stream tells its start, then every change, and can be paused") {
  envd_fixture f{[](peer& p, const request& r) {
    if (r.body.find("/none") != std::string::npos)
      return stream(p, last(R"({"error":{"code":"not_found","message":"path"}})"));
    p.begin_chunks(200, {"Content-Type: application/connect+json"});
    p.chunk(make_envelope(R"({"start":{}})") + make_envelope(R"({"keepalive":{}})"));
    p.chunk(make_envelope(R"({"filesystem":{"name":"a","type":"EVENT_TYPE_CREATE",
                              "entry":{"name":"a","path":"/w/a","size":"3"}}})")
            + make_envelope(R"({"filesystem":{"name":"b","type":3}})"));
    p.wait_closed();
  }};
  watched<std::vector<file_change>> seen;
  std::atomic<int> starts{0};
  std::promise<result<void>> ended;
  watch_handlers h;
  h.on_start = [&] { ++starts; };
  h.on_change = [&](const file_change& x) {
    seen.change([&](auto& all) { all.push_back(x); });
    return false; // one at a time
  };
  h.on_end = [&](auto r) { ended.set_value(std::move(r)); };
  watch_options o;
  o.recursive = o.with_entry = true;
  o.limit = 9s;
  auto id = f.all.watch_dir(box, "/w", o, h);
  REQUIRE(seen.until([](auto& all) { return all.size() == 1; }));
  CHECK(starts == 1);
  f.api.resume(id);
  REQUIRE(seen.until([](auto& all) { return all.size() == 2; }));
  CHECK(seen.get()[0].what == change::create);
  CHECK(seen.get()[0].info->size_bytes == 3);
  CHECK(seen.get()[1].what == change::remove);
  f.api.cancel(id);
  CHECK(value_of(ended.get_future()).err().code == errc::cancelled);
  auto sent = f.server.requests().at(0);
  CHECK(sent.target == "/filesystem.Filesystem/WatchDir");
  CHECK(nlohmann::json::parse(sent.body.substr(5))
        == nlohmann::json::parse(R"({"path":"/w","recursive":true,"includeEntry":true})"));
  CHECK(sent.header("connect-timeout-ms") == "9000");

  auto missing = await<void>([&](auto then) {
    watch_handlers none;
    none.on_change = [](const file_change&) { return true; };
    none.on_end = then;
    f.all.watch_dir(box, "/none", {}, none);
  });
  CHECK(missing.err().code == errc::file_not_found);
}

TEST_CASE("a watcher collects, is asked, and is removed; its events are asked for once") {
  std::atomic<int> polls{0};
  envd_fixture f{[&](peer& p, const request& r) {
    if (r.path().ends_with("/CreateWatcher"))
      p.answer(200, R"({"watcherId":"w123"})");
    else if (r.path().ends_with("/RemoveWatcher"))
      p.answer(200, "{}");
    else if (++polls == 1)
      p.answer(200, R"({"events":[{"name":"x","type":"EVENT_TYPE_RENAME"}]})");
    else
      p.answer(503, "later");
  }};
  auto id = await<std::string>([&](auto then) { f.all.create_watcher(box, "/w", {}, then); });
  REQUIRE(id);
  CHECK(*id == "w123");
  auto poll = [&] {
    return await<std::vector<file_change>>(
        [&](auto then) { f.all.watcher_events(box, *id, then); });
  };
  CHECK(poll()->at(0).what == change::rename);
  CHECK(poll().err().code == errc::network);
  CHECK(polls == 2); // what the lost answer held cannot be asked for again
  CHECK(await<void>([&](auto then) { f.all.remove_watcher(box, *id, then); }));
}

TEST_CASE("files are written as octets, gzip'd, with metadata, or several in one multipart body") {
  envd_fixture f{[](peer& p, const request&) {
    p.answer(200, R"([{"path":"/a","name":"a","type":"file","metadata":{"k":"v"}},{"path":"/b"}])",
             {"Content-Type: text/plain; charset=utf-8"});
  }};
  write_options o;
  o.user = "root";
  o.metadata["Kind"] = "v";
  o.gzip = true;
  const std::string big(1'000'000, 'z');
  auto r = await<std::vector<written_file>>([&](auto then) {
    f.all.write_file(box, {"/a b+c", big}, o, then);
  });
  REQUIRE(r);
  CHECK(r->at(0).metadata.at("k") == "v");
  CHECK(await<std::vector<written_file>>([&](auto then) {
    f.all.write_files(box, {{"/x/ü.txt", "one"}, {"/y", std::string("\0\r\n", 3)}}, {}, then);
  }));
  auto seen = f.server.requests();
  CHECK(seen[0].target == "/files?path=%2Fa%20b%2Bc&username=root");
  CHECK(seen[0].header("content-encoding") == "gzip");
  CHECK(seen[0].header("content-type") == "application/octet-stream");
  CHECK(seen[0].header("x-metadata-kind") == "v");
  CHECK(seen[0].body.size() < 10'000);
  CHECK(gunzip(seen[0].body) == big);
  CHECK(seen[1].target == "/files");
  const auto type = seen[1].header("content-type");
  REQUIRE(type.starts_with("multipart/form-data; boundary="));
  const auto mark = "--" + type.substr(30);
  CHECK(seen[1].body
        == mark
               + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/x/ü.txt\"\r\n"
                 "Content-Type: application/octet-stream\r\n\r\none\r\n"
               + mark
               + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/y\"\r\n"
                 "Content-Type: application/octet-stream\r\n\r\n"
               + std::string("\0\r\n", 3) + "\r\n" + mark + "--\r\n");

  auto code = [&](file_content x, write_options with) {
    return await<std::vector<written_file>>(
               [&](auto then) { f.all.write_files(box, {x}, with, then); })
        .err()
        .code;
  };
  CHECK(code({"/a\"b", ""}, {}) == errc::bad_argument);
  CHECK(code({"/a\r\nb", ""}, {}) == errc::bad_argument);
  write_options bad;
  bad.metadata["a: b"] = "x";
  CHECK(code({"/a", ""}, bad) == errc::bad_argument);
  CHECK(f.server.requests().size() == 2);
  CHECK(gunzip(wire::gzip("")).empty());
}

TEST_CASE("compose and the default environment") {
  envd_fixture f{[](peer& p, const request& r) {
    if (r.path() == "/envs")
      p.answer(200, R"({"A":"b"})");
    else if (r.body.find("none") != std::string::npos)
      p.answer(404, R"({"code":404,"message":"path"})");
    else
      p.answer(200, R"({"path":"/d","name":"d","type":"file"})");
  }};
  auto e = await<entry>([&](auto then) { f.all.compose(box, {"/p1", "/p2"}, "/d", "", then); });
  REQUIRE(e);
  CHECK(e->path == "/d");
  CHECK(f.server.requests()[0].body == R"({"destination":"/d","source_paths":["/p1","/p2"]})");
  CHECK(await<entry>([&](auto then) { f.all.compose(box, {"/none"}, "/d", "", then); }).err().code
        == errc::file_not_found);
  auto env =
      await<std::map<std::string, std::string>>([&](auto then) { f.all.environment(box, then); });
  REQUIRE(env);
  CHECK(env->at("A") == "b");
}

TEST_CASE("an entry holds all that envd knows of a file") {
  envd_fixture f{[](peer& p, const request&) {
    p.answer(200, R"({"entry":{"name":"a","path":"/a","type":"FILE_TYPE_FILE","mode":420,
      "permissions":"-rw-r--r--","owner":"user","group":"1001","size":"12",
      "modifiedTime":"2026-01-02T03:04:05.123456789Z","metadata":{"k":"v"}}})");
  }};
  auto e = await<entry>([&](auto then) { f.api.stat(box, "/a", {}, then); });
  REQUIRE(e);
  CHECK(e->permissions == "-rw-r--r--");
  CHECK(e->owner == "user");
  CHECK(e->group == "1001");
  CHECK(wire::unix_ms(*e->modified_at) == 1767323045123);
  CHECK(e->metadata.at("k") == "v");
}
