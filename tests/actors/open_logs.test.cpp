// Logs of more panes than the process may have open files.
#include "actors/output_log.hpp"
#include "tests/actors/domain_fixture.hpp"

#include <deque>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {

namespace fs = std::filesystem;

std::string text_in(const fs::path& p) {
  std::ifstream in{p, std::ios::binary};
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

/// How many files below `folder` this process has open.
std::size_t open_below(const fs::path& folder) {
  std::size_t out = 0;
  for (const auto& fd : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone; // the listing's own
    out += fs::read_symlink(fd.path(), gone).string().starts_with(folder.string());
  }
  return out;
}

/// 80 open files instead of what there may be, while one lives.
struct few_files {
  rlimit before{};
  few_files() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit few{80, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  ~few_files() { ::setrlimit(RLIMIT_NOFILE, &before); }
};

} // namespace

TEST_CASE("logs of many panes share a quarter of the open files, and each takes what it is given") {
  scratch tmp;
  const auto folder = fs::canonical(tmp.path) / "logs";
  auto file = [&](std::size_t n) { return folder / ("pn_" + std::to_string(n) + ".1.log"); };
  few_files limited;
  std::deque<output_log> logs;
  for (std::size_t n = 0; n < 200; ++n) {
    auto log = output_log::open(file(n), {});
    REQUIRE(log.ok());
    logs.push_back(std::move(*log));
  }
  CHECK(open_below(folder) == 20);
  for (const char* word : {"one ", "two "})
    for (std::size_t n = 0; n < logs.size(); ++n)
      REQUIRE(logs[n].append(logs[n].expected(), word + std::to_string(n) + "\n").ok());
  CHECK(open_below(folder) == 20);
  for (std::size_t n = 0; n < logs.size(); ++n)
    CHECK(text_in(file(n)) == "one " + std::to_string(n) + "\ntwo " + std::to_string(n) + "\n");

  for (int n = 0; n < 100; ++n)
    logs.pop_front(); // who ends makes room
  CHECK(open_below(folder) == 0);
  for (auto& log : logs)
    REQUIRE(log.append(log.expected(), "three\n").ok());
  CHECK(open_below(folder) == 20);
}

TEST_CASE("a log that was replaced or cut while it was not open is not written to") {
  scratch tmp;
  const auto folder = fs::canonical(tmp.path) / "logs";
  few_files limited;
  std::vector<output_log> logs;
  for (std::size_t n = 0; n < 30; ++n) {
    auto log = output_log::open(folder / (std::to_string(n) + ".log"), {});
    REQUIRE(log.ok());
    REQUIRE(log->append(0, "begin\n").ok());
    logs.push_back(std::move(*log));
  }
  const auto last = folder / "29.log";
  auto refused = [&] {
    auto written = logs.back().append(6, "end\n");
    return written ? errc::none : written.err().code;
  };
  SECTION("cut") {
    fs::resize_file(last, 2);
    CHECK(refused() == errc::io);
    CHECK(text_in(last) == "be");
  }
  SECTION("gone") {
    fs::remove(last);
    CHECK(refused() == errc::io);
    CHECK_FALSE(fs::exists(last));
  }
  SECTION("a link") {
    fs::rename(last, folder / "other.txt");
    fs::create_symlink("other.txt", last);
    CHECK(refused() == errc::io);
    CHECK(text_in(folder / "other.txt") == "begin\n");
  }
}
