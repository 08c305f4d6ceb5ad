// Watched directories: the stream, the calls that poll, and what a recursive watch follows.
#include "tests/envd/envd_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fstream>
#include <set>
#include <sys/stat.h>

using namespace skep;
using namespace skep::test;

namespace {
std::string watched(const envd_process& e, const json& more = json::object()) {
  json request = {{"path", e.dir / "home"}};
  request.update(more);
  auto a = e.unary("filesystem.Filesystem/CreateWatcher", request);
  INFO(a.body);
  REQUIRE(a.status == 200);
  return json::parse(a.body).at("watcherId").get<std::string>();
}

json taken(const envd_process& e, const std::string& id) {
  auto a = e.unary("filesystem.Filesystem/GetWatcherEvents", {{"watcherId", id}});
  INFO(a.body);
  REQUIRE(a.status == 200);
  return json::parse(a.body).value("events", json::array());
}

std::string words(const json& events) {
  std::string out;
  for (const auto& event : events)
    out += event.at("type").get<std::string>().substr(11) + ' '
           + event.at("name").get<std::string>() + '\n';
  return out;
}

// Events until one of this type and name has come.
json taken_until(const envd_process& e, const std::string& id, const std::string& last) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
  auto all = json::array();
  while (std::chrono::steady_clock::now() < end) {
    for (auto& event : taken(e, id))
      all.push_back(event);
    if (words(all).find(last + '\n') != std::string::npos) return all;
  }
  give_up("no event " + last + " in: " + words(all));
}

void put(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}
} // namespace

TEST_CASE("a watcher tells creation, writing, renaming, mode and removal, each with its name") {
  envd_process e;
  auto id = watched(e);
  CHECK(id.size() == 21);
  CHECK(id[0] == 'w');
  CHECK(taken(e, id).empty());
  put(e.dir / "home/a.txt", "one");
  ::rename((e.dir / "home/a.txt").c_str(), (e.dir / "home/b.txt").c_str());
  ::chmod((e.dir / "home/b.txt").c_str(), 0600);
  ::unlink((e.dir / "home/b.txt").c_str());
  CHECK(words(taken_until(e, id, "REMOVE b.txt"))
        == "CREATE a.txt\nWRITE a.txt\nRENAME a.txt\nCREATE b.txt\nCHMOD b.txt\nREMOVE b.txt\n");
  CHECK(taken(e, id).empty()); // taken once
}

TEST_CASE("a watcher that is not recursive is silent about what lies deeper") {
  envd_process e;
  std::filesystem::create_directory(e.dir / "home/sub");
  auto id = watched(e);
  put(e.dir / "home/sub/deep", "x");
  put(e.dir / "home/top", "x");
  CHECK(words(taken_until(e, id, "WRITE top")) == "CREATE top\nWRITE top\n");
}

TEST_CASE("a recursive watcher follows directories that appear, move and go") {
  envd_process e;
  auto id = watched(e, {{"recursive", true}});
  // Made at once, so that the inner ones are there before their parent can be watched.
  std::filesystem::create_directories(e.dir / "home/x/y/z");
  put(e.dir / "home/x/y/z/f", "1");
  auto first = words(taken_until(e, id, "CREATE x/y/z/f"));
  std::multiset<std::string> created;
  for (std::size_t at = 0; (at = first.find("CREATE ", at)) != std::string::npos; ++at)
    created.insert(first.substr(at, first.find('\n', at) - at));
  CHECK(created
        == std::multiset<std::string>{"CREATE x", "CREATE x/y", "CREATE x/y/z", "CREATE x/y/z/f"});
  std::filesystem::rename(e.dir / "home/x/y", e.dir / "home/moved");
  taken_until(e, id, "CREATE moved");
  put(e.dir / "home/moved/z/g", "2");
  auto after = words(taken_until(e, id, "WRITE moved/z/g"));
  CHECK(after.find("CREATE moved/z/g\n") != std::string::npos);
  CHECK(after.find("x/y") == std::string::npos);
}

TEST_CASE("two watchers of one directory each get everything, and one ends without the other") {
  envd_process e;
  auto one = watched(e);
  auto two = watched(e, {{"includeEntry", true}});
  put(e.dir / "home/a", "12345");
  CHECK(words(taken_until(e, one, "WRITE a")) == "CREATE a\nWRITE a\n");
  auto events = taken_until(e, two, "WRITE a");
  CHECK(events.back().at("entry").at("size") == "5");
  CHECK(events.back().at("entry").at("path") == e.dir / "home/a");
  CHECK(e.unary("filesystem.Filesystem/RemoveWatcher", {{"watcherId", one}}).body == "{}");
  auto gone = e.unary("filesystem.Filesystem/GetWatcherEvents", {{"watcherId", one}});
  CHECK(gone.status == 404);
  CHECK(json::parse(gone.body).at("code") == "not_found");
  put(e.dir / "home/b", "1");
  CHECK(words(taken_until(e, two, "WRITE b")) == "CREATE b\nWRITE b\n");
}

TEST_CASE("WatchDir streams a start, then events at the top level of each message") {
  envd_process e;
  auto c = e.connect();
  auto body = make_envelope(json{{"path", e.dir / "home"}}.dump());
  c.send(e.head("POST /filesystem.Filesystem/WatchDir", "Keepalive-Ping-Interval: 1\r\n")
         + "Content-Type: application/connect+json\r\nContent-Length: "
         + std::to_string(body.size()) + "\r\n\r\n" + body);
  auto head = c.read_header();
  event_stream s(std::move(c), head);
  CHECK(s.next()->payload == R"({"start":{}})");
  put(e.dir / "home/a", "");
  CHECK(s.next()->payload == R"({"filesystem":{"name":"a","type":"EVENT_TYPE_CREATE"}})");
  CHECK(s.next()->payload == R"({"keepalive":{}})");
}

TEST_CASE("what cannot be watched is refused, and a deadline ends the stream") {
  envd_process e;
  put(e.dir / "home/file", "");
  struct row {
    std::string path, code;
  };
  for (const auto& r :
       {row{"/no/such", "not_found"}, row{e.dir / "home/file", "invalid_argument"}}) {
    auto a = e.unary("filesystem.Filesystem/CreateWatcher", {{"path", r.path}});
    CHECK(json::parse(a.body).at("code") == r.code);
  }
  auto c = e.connect();
  auto body = make_envelope(json{{"path", e.dir / "home"}}.dump());
  c.send(e.head("POST /filesystem.Filesystem/WatchDir", "Connect-Timeout-Ms: 50\r\n")
         + "Content-Type: application/connect+json\r\nContent-Length: "
         + std::to_string(body.size()) + "\r\n\r\n" + body);
  auto a = c.read_answer();
  CHECK(a.body.find("deadline_exceeded") != std::string::npos);
}
