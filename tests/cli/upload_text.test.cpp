// How far an upload is, as people read it.
#include "tools/skep/upload_text.hpp"

#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli;

namespace {

constexpr std::uint64_t one_mib = 1024 * 1024;

transfer_progress after(std::int64_t elapsed_ms, std::uint64_t done, std::uint64_t sent) {
  transfer_progress x;
  x.parts = 12;
  x.parts_done = 3;
  x.done_bytes = done * one_mib;
  x.size_bytes = 600 * one_mib;
  x.sent_bytes = sent * one_mib;
  x.elapsed_ms = elapsed_ms;
  return x;
}

} // namespace

TEST_CASE("an upload tells its parts, its bytes, its rate and the time that is left") {
  CHECK(upload_text(after(3750, 150, 150))
        == "upload: part 3 of 12, 150.0 MiB of 600.0 MiB, 40.0 MiB/s, 11 s left");
  auto whole = after(10'000, 160, 160);
  whole.parts = 1;
  whole.parts_done = 0;
  CHECK(upload_text(whole) == "upload: 160.0 MiB of 600.0 MiB, 16.0 MiB/s, 27 s left");
  CHECK(upload_text(after(90'000, 60, 60))
        == "upload: part 3 of 12, 60.0 MiB of 600.0 MiB, 682.7 KiB/s, 13 min 30 s left");
}

TEST_CASE("the rate of an upload is of what this attempt sent, not of what was inside before") {
  // 100 MiB were there: 50 MiB in 5 s, 450 MiB to go.
  CHECK(upload_text(after(5000, 150, 50))
        == "upload: part 3 of 12, 150.0 MiB of 600.0 MiB, 10.0 MiB/s, 45 s left");
}

TEST_CASE("an upload that has sent nothing has no rate, and one at its end has nothing left") {
  CHECK(upload_text(after(5000, 150, 0)) == "upload: part 3 of 12, 150.0 MiB of 600.0 MiB");
  CHECK(upload_text(after(0, 150, 50)) == "upload: part 3 of 12, 150.0 MiB of 600.0 MiB");
  auto end = after(6000, 600, 600);
  end.parts_done = 12;
  CHECK(upload_text(end) == "upload: part 12 of 12, 600.0 MiB of 600.0 MiB, 100.0 MiB/s");
  auto more = after(6000, 601, 600); // makes no sense, and no time below zero
  CHECK(upload_text(more).find("left") == std::string::npos);
}
