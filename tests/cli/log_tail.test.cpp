// Where the last lines of a log begin, over a log in memory.
#include "tools/skep/log_tail.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>

using namespace skep;

namespace {

constexpr std::size_t mib = 1024 * 1024;

/// A log as the daemon reads it; nothing before `begin` is kept.
struct log_in_memory {
  std::string text;
  std::uint64_t begin = 0;
  std::size_t reads = 0;
  std::uint32_t generation = 1;

  result<log_read_reply> read(const log_read_request& r) {
    ++reads;
    auto size = static_cast<std::int64_t>(text.size());
    auto at = std::clamp<std::int64_t>(r.offset < 0 ? size + r.offset : r.offset,
                                       static_cast<std::int64_t>(begin), size);
    log_read_reply out;
    out.generation = generation;
    out.offset = static_cast<std::uint64_t>(at);
    out.data.data = text.substr(static_cast<std::size_t>(at), r.max_bytes);
    out.end_offset = text.size();
    out.begin_offset = begin;
    return out;
  }

  std::uint64_t tail(std::uint32_t lines, std::uint64_t bound_bytes = cli::tail_bound_bytes) {
    reads = 0;
    auto out = cli::tail_begin([this](const log_read_request& r) { return read(r); },
                               pane_id{"pn_x"}, lines, bound_bytes);
    REQUIRE(out.ok());
    CHECK(out->generation == generation);
    return out->offset;
  }
};

/// 300 lines of 8,000 bytes each.
log_in_memory log_of_long_lines() {
  log_in_memory out;
  for (int n = 0; n < 300; ++n)
    out.text += std::string(7999, 'x') + "\n";
  return out;
}

} // namespace

TEST_CASE("the last lines of a short log are counted from its end") {
  log_in_memory log{"a\nb\nc\n"};
  CHECK(log.tail(0) == 6);
  CHECK(log.tail(1) == 4);
  CHECK(log.tail(2) == 2);
  CHECK(log.tail(3) == 0);
  CHECK(log.tail(100) == 0);
  log.text = "a\nb\nnot ended";
  CHECK(log.tail(1) == 4);
  CHECK(log.tail(2) == 2);
  log.text = "a\n\n\n";
  CHECK(log.tail(1) == 3);
  CHECK(log.tail(2) == 2);
  log.text.clear();
  CHECK(log.tail(0) == 0);
  CHECK(log.tail(100) == 0);
}

TEST_CASE("the last lines are found however long they are, and begin at the beginning of a line") {
  auto log = log_of_long_lines();
  CHECK(log.tail(100) == 200 * 8000);
  CHECK(log.tail(299) == 8000);
  CHECK(log.tail(300) == 0);
  CHECK(log.tail(1000) == 0);
  CHECK(log.tail(1) == 299 * 8000);
  CHECK(log.reads == 1); // no more is read than is needed
  log.text = "first\n" + std::string(2 * mib, 'x') + "\nlast\n";
  CHECK(log.tail(1) == 6 + 2 * mib + 1);
  CHECK(log.tail(2) == 6);
  CHECK(log.tail(3) == 0);
}

TEST_CASE("a line that begins or ends where a piece of the search does is counted once") {
  constexpr std::size_t piece = 256 * 1024;
  for (std::size_t length = piece - 8; length < piece + 8; ++length) {
    INFO(length);
    log_in_memory log{"a\nb\n" + std::string(length, 'x') + "\n"};
    CHECK(log.tail(1) == 4);
    CHECK(log.tail(2) == 2);
    CHECK(log.tail(3) == 0);
  }
}

TEST_CASE("the search for lines ends at its bound, at a whole line where there is one") {
  auto log = log_of_long_lines();
  auto begin = log.tail(1000, mib);
  CHECK(begin >= log.text.size() - mib);
  CHECK(begin < log.text.size() - mib + 8000);
  CHECK(begin % 8000 == 0);
  CHECK(log.reads == 4);
  log.text = "first\n" + std::string(2 * mib, 'x') + "\n";
  CHECK(log.tail(1, mib) == log.text.size() - mib);
}

TEST_CASE("of a log whose front was freed the lines begin with what is kept") {
  auto log = log_of_long_lines();
  log.begin = 1'000'100;
  CHECK(log.tail(1000) == log.begin);
  CHECK(log.tail(100) == 200 * 8000);
}

TEST_CASE("what cannot be read is the error of the search for lines") {
  auto out = cli::tail_begin(
      [](const log_read_request& r) -> result<log_read_reply> {
        return make_error(errc::no_such_pane, r.pane.value);
      },
      pane_id{"pn_x"}, 100);
  REQUIRE_FALSE(out.ok());
  CHECK(out.err().code == errc::no_such_pane);
}

TEST_CASE("the place where the last lines begin is one of the attempt that was looked through") {
  auto first = log_of_long_lines();
  log_in_memory second{"not of\nthis attempt\n"};
  second.generation = 2;
  std::vector<std::uint32_t> asked;
  auto out = cli::tail_begin(
      [&](const log_read_request& r) {
        asked.push_back(r.generation);
        // The agent is started again behind the first answer.
        auto& newest = asked.size() == 1 ? first : second;
        return (r.generation == 1 ? first : newest).read(r);
      },
      pane_id{"pn_x"}, 100);
  REQUIRE(out.ok());
  CHECK(*out == cli::log_place{1, 200 * 8000});
  CHECK(asked == std::vector<std::uint32_t>{0, 1, 1, 1});
}
