// What a recursive watch makes of events that come late: the hub without a server around it.
#include "host/envd/watch.hpp"
#include "tests/envd/raw_http.hpp"
#include "tests/support/catch.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>

using namespace skep;
using skep::test::temp_dir;

namespace {
// The hub without a server: what the kernel tells waits until turn(), so that it can be behind.
struct quiet_hub {
  temp_dir dir;
  boost::asio::io_context io;
  envd::account user{envd::config{}};
  envd::watch_hub hub{io, user};

  std::string turn(envd::watcher& w) {
    io.restart();
    io.poll();
    std::string out;
    for (; !w.queue.empty(); w.queue.pop_front())
      out += w.queue.front().at("type").get<std::string>().substr(std::strlen("EVENT_TYPE_")) + ' '
             + w.queue.front().at("name").get<std::string>() + '\n';
    return out;
  }
};
} // namespace

TEST_CASE("what a new directory held is told once, also when the kernel tells it again") {
  quiet_hub q;
  auto all = q.hub.watch(q.dir.path(), true, false, false);
  std::filesystem::create_directory(q.dir / "x");
  // x is watched for somebody before `all` hears of it: the kernel tells what is made in it, and
  // reading x finds the same.
  auto inner = q.hub.watch(q.dir / "x", false, false, false);
  std::filesystem::create_directories(q.dir / "x/y/z");
  std::ofstream(q.dir / "x/y/z/f").flush();
  CHECK(q.turn(*all) == "CREATE x\nCREATE x/y\nCREATE x/y/z\nCREATE x/y/z/f\n");
  std::ofstream(q.dir / "x/y/z/g").flush();
  CHECK(q.turn(*all) == "CREATE x/y/z/g\n");
}

TEST_CASE("a directory that comes again under its name is told with all that is in it") {
  quiet_hub q;
  auto all = q.hub.watch(q.dir.path(), true, false, false);
  std::filesystem::create_directories(q.dir / "x/y");
  CHECK(q.turn(*all) == "CREATE x\nCREATE x/y\n");
  std::filesystem::rename(q.dir / "x", q.dir.path() + "-away");
  std::filesystem::create_directory(q.dir / "x");
  CHECK(q.turn(*all) == "RENAME x\nCREATE x\n");
  std::filesystem::create_directory(q.dir / "x/y");
  CHECK(q.turn(*all) == "CREATE x/y\n");
  std::filesystem::remove_all(q.dir.path() + "-away");
}
