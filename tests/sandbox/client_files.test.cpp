// Files and health.
#include "tests/sandbox/client_fixture.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

// -----------------------------------------------------------------------------------------

TEST_CASE("a local file is uploaded byte by byte to an encoded path") {
  scratch dir;
  std::string content;
  for (int i = 0; i < 700'000; ++i)
    content.push_back(static_cast<char>(i * 7));
  std::ofstream{dir.path / "up", std::ios::binary} << content;
  std::atomic<bool> same{false};
  fixture f{[&](peer& p, const request& r) {
    same = r.body == content;
    p.answer(200, R"([{"path":"/home/user/a b","name":"a b","type":"file"}])", {});
  }};
  call_options as;
  as.user = "root";
  std::vector<std::uint64_t> told; // on the engine's thread, before the answer
  as.on_sent = [&told](std::uint64_t sent) { told.push_back(sent); };
  CHECK(await<void>(
      [&](auto t) { f.api.upload_file(box, dir.path / "up", "/home/user/a b", as, t); }));
  CHECK(same);
  REQUIRE(told.size() > 1);
  CHECK(std::is_sorted(told.begin(), told.end()));
  CHECK(told.front() > 0);
  CHECK(told.back() == content.size());
  auto seen = f.server.requests().at(0);
  CHECK(seen.target == "/files?path=%2Fhome%2Fuser%2Fa%20b&username=root");
  CHECK(seen.header("content-type") == "application/octet-stream");
  CHECK(seen.header("expect").empty());
  // A part of it, and one that is not there.
  auto part = content.substr(1000, 500);
  same = false;
  content.swap(part);
  CHECK(await<void>([&](auto t) {
    f.api.upload_file(box, {dir.path / "up", 1000, 500}, "/p", {}, t);
  }));
  content.swap(part);
  CHECK(same);
  CHECK(await<void>([&](auto t) {
          f.api.upload_file(box, {dir.path / "up", content.size() - 5, 6}, "/p", {}, t);
        })
            .err()
            .code
        == errc::io);
  auto none = await<void>([&](auto t) { f.api.upload_file(box, dir.path / "no", "/x", {}, t); });
  CHECK(none.err().code == errc::file_not_found);
  CHECK(await<void>([&](auto t) { f.api.write_file(box, "", "x", {}, t); }).err().code
        == errc::bad_argument);
  CHECK(await<void>([&](auto t) { f.api.write_file(box, std::string("/a\0b", 4), "x", {}, t); })
            .err()
            .code
        == errc::bad_argument);
}

TEST_CASE("an upload answered with nonsense is a protocol error") {
  fixture f{[](peer& p, const request&) { p.answer(200, "[]"); }};
  CHECK(await<void>([&](auto t) { f.api.write_file(box, "/x", "y", {}, t); }).err().code
        == errc::protocol);
}

TEST_CASE("ranges of a file are read, also at, past and without its end") {
  const std::string file = "0123456789";
  std::atomic<bool> ranges{true};
  fixture f{[&](peer& p, const request& r) {
    if (r.target.find("none") != std::string::npos)
      return void(p.answer(404, R"({"code":404,"message":"path '/none' does not exist"})"));
    std::size_t from = 0, to = 0;
    std::sscanf(r.header("range").c_str(), "bytes=%zu-%zu", &from, &to);
    if (!ranges) return void(p.answer(200, file, {}));
    if (from >= file.size()) return void(p.answer(416, "", {"Content-Range: bytes */10"}));
    to = std::min(to, file.size() - 1);
    p.answer(206, file.substr(from, to - from + 1),
             {"Content-Range: bytes " + std::to_string(from) + "-" + std::to_string(to) + "/10"});
  }};
  auto read = [&](std::uint64_t offset, std::uint64_t length) {
    auto r = await<file_piece>([&](auto t) { f.api.read_file(box, "/f", offset, length, {}, t); });
    REQUIRE(r);
    CHECK(r->size_bytes == 10);
    return r->data;
  };
  for (bool with : {true, false}) {
    ranges = with;
    CHECK(read(0, 4) == "0123");
    CHECK(read(8, 100) == "89");
    CHECK(read(3, 0) == "3456789");
    CHECK(read(10, 5).empty());
    CHECK(read(99, 5).empty());
  }
  CHECK(await<file_piece>([&](auto t) { f.api.read_file(box, "/none", 0, 1, {}, t); }).err().code
        == errc::file_not_found);
}

TEST_CASE("a download appears whole under its name or not at all") {
  scratch dir;
  std::string content(300'000, 'd');
  fixture f{[&](peer& p, const request& r) {
    if (r.target.find("cut") != std::string::npos) {
      p.send("HTTP/1.1 200 x\r\nContent-Length: 500000\r\n\r\n" + content);
      return p.close();
    }
    if (r.target.find("none") != std::string::npos)
      return void(p.answer(404, R"({"code":404,"message":"no"})"));
    p.answer(200, r.target.find("empty") != std::string::npos ? "" : content, {});
  }};
  auto load = [&](const char* from, std::uint64_t cap) {
    return await<std::uint64_t>(
        [&](auto t) { f.api.download_file(box, from, dir.path / "down", cap, {}, t); });
  };
  CHECK(load("/cut", 1U << 20U).err().code == errc::network);
  CHECK(dir.entries() == 0);
  CHECK(load("/big", 1000).err().code == errc::too_large);
  CHECK(dir.entries() == 0);
  CHECK(load("/none", 1000).err().code == errc::file_not_found);
  CHECK(dir.entries() == 0);
  CHECK(*load("/whole", 1U << 20U) == content.size());
  CHECK(content_of(dir.path / "down") == content);
  CHECK(*load("/empty", 1U << 20U) == 0);
  CHECK(content_of(dir.path / "down").empty());
  CHECK(dir.entries() == 1);
  auto nowhere = await<std::uint64_t>(
      [&](auto t) { f.api.download_file(box, "/whole", dir.path / "no" / "x", 1U << 20U, {}, t); });
  CHECK(nowhere.err().code == errc::io);
}

TEST_CASE("directory calls use the protocol's words and errors") {
  fixture f{[](peer& p, const request& r) {
    auto method = r.target.substr(r.target.rfind('/') + 1);
    auto j = json::parse(r.body);
    if (j.value("path", "") == "/none")
      return void(p.answer(404, R"({"code":"not_found","message":"file not found"})"));
    if (method == "ListDir")
      p.answer(200, R"({"entries":[{"name":"a","path":"/d/a","type":"FILE_TYPE_DIRECTORY"}]})");
    else if (method == "Remove")
      p.answer(200, "{}");
    else if (method == "MakeDir" && j["path"] == "/there")
      p.answer(409, R"({"code":"already_exists","message":"directory already exists"})");
    else
      p.answer(200, R"({"entry":{"name":"x","path":"/x","type":"FILE_TYPE_FILE","size":"5"}})");
  }};
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/x", {}, t); })->size_bytes == 5);
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/none", {}, t); }).err().code
        == errc::file_not_found);
  CHECK(await<std::vector<entry>>([&](auto t) { f.api.list_dir(box, "/d", 1, {}, t); })->at(0).type
        == entry_type::directory);
  CHECK(await<void>([&](auto t) { f.api.make_dir(box, "/new", {}, t); }));
  CHECK(await<void>([&](auto t) { f.api.make_dir(box, "/there", {}, t); }).err().code
        == errc::exists);
  CHECK(await<void>([&](auto t) { f.api.move(box, "/a", "/b", {}, t); }));
  CHECK(await<void>([&](auto t) { f.api.remove(box, "/a", {}, t); }));
  auto seen = f.server.requests();
  CHECK(seen[2].body == R"({"depth":1,"path":"/d"})");
  CHECK(seen[5].body == R"({"destination":"/b","source":"/a"})");
}

TEST_CASE("health: alive, gone, or a bad gateway in between") {
  std::atomic<int> n{0};
  fixture f{[&](peer& p, const request&) {
    if (++n == 1) return void(p.answer(204));
    if (n == 2) return gone(p);
    p.answer(502, "bad gateway");
  }};
  auto health = [&] { return await<void>([&](auto t) { f.api.health(box, t); }); };
  CHECK(health());
  CHECK(health().err().code == errc::gone);
  CHECK(health().err().code == errc::network);
}
