// An agent that writes more than anybody keeps: its log in the sandbox stays small, and whoever
// reads it is told what is gone.
#include "tests/guest/guest.hpp"
#include "transfer/freed_front.hpp"

#include <sys/stat.h>

using namespace skep;
using namespace skep::test;

namespace {

constexpr std::uint64_t mib = 1024 * 1024;
constexpr std::uint64_t line_bytes = 16;
constexpr const char* cap = "2097152";

/// `count` lines of 16 bytes, each with its number.
std::string lines(std::uint64_t count) {
  return "seq -f '%015.0f' 0 " + std::to_string(count - 1);
}

/// The log's bytes from `offset` are lines of that flood.
bool follows(std::string_view text, std::uint64_t offset) {
  for (std::size_t at = 0; at < text.size();) {
    auto here = offset + at;
    auto number = std::to_string(here / line_bytes);
    auto line = std::string(line_bytes - 1 - number.size(), '0') + number + "\n";
    auto want = std::string_view{line}.substr(here % line_bytes);
    auto have = text.substr(at, want.size());
    if (have != want.substr(0, have.size())) return false;
    at += have.size();
  }
  return true;
}

std::uint64_t on_disk(const std::string& file) {
  struct stat st {};
  REQUIRE(::stat(file.c_str(), &st) == 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

/// What a follower said of one flood.
struct told {
  std::vector<std::uint64_t> begins; ///< Of what it left out.
  std::uint64_t next = 0;            ///< Offset behind the last byte.
  std::uint64_t bytes = 0;
  bool good = true; ///< No byte is another than was written, and none comes twice.
  std::optional<follow_exit> end;
};

told read_flood(follower& f) {
  told out;
  CHECK(f.read([&](follow_reader::frame& frame) {
    follow_data data;
    follow_dropped gap;
    if (frame.kind == follow_kind::data && unpack_value(frame.body.get(), data)) {
      out.good = out.good && data.offset == out.next && follows(data.data.data, data.offset);
      out.next += data.data.data.size();
      out.bytes += data.data.data.size();
    }
    if (frame.kind == follow_kind::dropped && unpack_value(frame.body.get(), gap)) {
      out.good = out.good && gap.begin_offset > out.next && gap.begin_offset % mib == 0;
      out.begins.push_back(gap.begin_offset);
      out.next = gap.begin_offset;
    }
    if (frame.kind != follow_kind::exit) return false;
    REQUIRE(unpack_value(frame.body.get(), out.end.emplace()));
    return true;
  }));
  return out;
}

} // namespace

TEST_CASE("a flood keeps its newest bytes and no more of the disk than its cap and some") {
  pane_dir p;
  constexpr std::uint64_t count = 12 * mib / line_bytes;
  REQUIRE(p.start({"sh", "-c", lines(count)}, {"--log-cap-bytes", cap}).j["state"] == "started");
  REQUIRE(p.await_exit());
  auto log = p.dir() + "/log";
  CHECK(on_disk(log) >= 2 * mib);
  CHECK(on_disk(log) <= 4 * mib);
  CHECK(std::filesystem::file_size(log) == 12 * mib);
  CHECK(p.exit()["final_offset"] == 12 * mib);
  transfer::unique_fd fd{::open(log.c_str(), O_RDONLY)};
  auto begin = transfer::kept_from(fd.get());
  CHECK(begin >= 9 * mib);
  CHECK(follows(p.log().substr(begin), begin));

  SECTION("a follower that comes later is told where the log begins") {
    follower f{p.root(), 1};
    auto seen = read_flood(f);
    CHECK(seen.good);
    CHECK(seen.begins == std::vector<std::uint64_t>{begin});
    CHECK(seen.bytes == 12 * mib - begin);
    REQUIRE(seen.end);
    CHECK(seen.end->final_offset == 12 * mib);
  }
  SECTION("one that was further is told nothing") {
    auto known = begin + 100;
    follower f{p.root(), 1, {"--from", p.id.value + ":1:" + std::to_string(known)}};
    auto seen = f.until_exits(1, known);
    CHECK(seen.in_order);
    CHECK(follows(seen.text[{p.id.value, 1}], known));
  }
  SECTION("a viewer begins where the log does, and says so") {
    transfer::program view;
    view.argv = {guest_path(), "view", "--dir", p.dir(), "--tail", "100000000"};
    auto shown = transfer::run_program(view);
    REQUIRE(shown.ok());
    // At a line: what is cut in front of it may be the rest of a secret.
    CHECK(shown->out.size() == 12 * mib - begin - line_bytes);
    CHECK(follows(shown->out, begin + line_bytes));
    CHECK(shown->err.find("a part was left out") != std::string::npos);
  }
}

TEST_CASE("a follower that a flood overtakes shows no byte that was not written") {
  pane_dir p;
  constexpr std::uint64_t count = 24 * mib / line_bytes;
  // The flood waits for the follower, which then waits for its end: a pipe holds little of it.
  REQUIRE(p.start({"sh", "-c", "echo 'the first line.'; read go; " + lines(count)},
                  {"--log-cap-bytes", cap, "--stdin", "open"})
              .j["state"]
          == "started");
  follower f{p.root(), 1};
  follow_data first;
  REQUIRE(f.read([&](follow_reader::frame& frame) {
    return frame.kind == follow_kind::data && unpack_value(frame.body.get(), first);
  }));
  CHECK(first.data.data == "the first line.\n");
  test::guest({"input", "--dir", p.dir(), "--key", "go"}, "go\n");
  REQUIRE(p.await_exit());
  std::uint64_t next = line_bytes, jumps = 0;
  bool good = true;
  CHECK(f.read([&](follow_reader::frame& frame) {
    follow_data data;
    follow_dropped gap;
    if (frame.kind == follow_kind::data && unpack_value(frame.body.get(), data)) {
      good = good && data.offset == next && follows(data.data.data, data.offset - line_bytes);
      next += data.data.data.size();
    }
    if (frame.kind == follow_kind::dropped && unpack_value(frame.body.get(), gap)) {
      ++jumps;
      next = gap.begin_offset;
    }
    return frame.kind == follow_kind::exit;
  }));
  CHECK(good);
  CHECK(jumps == 1);
  CHECK(next == 24 * mib + line_bytes);
}

TEST_CASE("a follower of a flood that goes on begins in the middle of what is kept") {
  pane_dir p;
  constexpr std::uint64_t count = 12 * mib / line_bytes;
  REQUIRE(p.start({"sh", "-c", lines(count) + "; echo over; read end"},
                  {"--log-cap-bytes", "8388608", "--stdin", "open"})
              .j["state"]
          == "started");
  auto log = p.dir() + "/log";
  REQUIRE(await(p.dir(), [&] { return std::filesystem::file_size(log) == 12 * mib + 5; }));
  transfer::unique_fd fd{::open(log.c_str(), O_RDONLY)};
  auto begin = transfer::kept_from(fd.get());
  follower f{p.root(), 1};
  follow_dropped gap;
  REQUIRE(f.read([&](follow_reader::frame& frame) {
    return frame.kind == follow_kind::dropped && unpack_value(frame.body.get(), gap);
  }));
  CHECK(gap.begin_offset >= begin + 3 * mib);
  CHECK(gap.begin_offset <= begin + 5 * mib);
  test::guest({"input", "--dir", p.dir(), "--key", "end"}, "end\n");
  auto seen = f.until_exits(1, gap.begin_offset);
  CHECK(seen.in_order);
  CHECK(seen.text[{p.id.value, 1}].size() == 12 * mib + 5 - gap.begin_offset);
}

TEST_CASE("without a cap all of a log stays") {
  pane_dir p;
  constexpr std::uint64_t count = 4 * mib / line_bytes;
  REQUIRE(p.start({"sh", "-c", lines(count)}).j["state"] == "started");
  REQUIRE(p.await_exit());
  CHECK(follows(p.log(), 0));
  CHECK(p.log().size() == 4 * mib);
}

TEST_CASE("a front is freed only where more is kept than the cap and its slack, and in whole MiB") {
  using transfer::front_to_free;
  CHECK(front_to_free(0, 2 * mib, 2 * mib, mib) == 0);
  CHECK(front_to_free(0, 3 * mib, 2 * mib, mib) == 0);
  CHECK(front_to_free(0, 3 * mib + 1, 2 * mib, mib) == mib);
  CHECK(front_to_free(mib, 4 * mib, 2 * mib, mib) == mib);
  CHECK(front_to_free(mib, 4 * mib + 1, 2 * mib, mib) == 2 * mib);
  CHECK(front_to_free(0, 10 * mib, ~0ull, mib) == 0);
}
