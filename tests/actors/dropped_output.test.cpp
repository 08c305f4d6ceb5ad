// Output that was lost inside a sandbox, where an agent wrote more than is kept: the rest goes on,
// and everybody is told.
#include "actors/output_log.hpp"
#include "actors/pane_output.hpp"

#include "tests/actors/sandbox_world.hpp"

#include <fstream>
#include <sys/stat.h>

using namespace skep;
using namespace skep::test;

namespace {

constexpr std::uint64_t a_mib = 1024 * 1024;

std::string kept_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(log_begin(file)));
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

TEST_CASE("a log goes on behind what was lost, at its own offset and after a restart") {
  scratch tmp;
  auto file = tmp.path / "pn_a.1.log";
  auto forms = masked_forms({"hunter2-secret"});
  {
    auto log = output_log::open(file, forms);
    REQUIRE(log.ok());
    REQUIRE(log->append(0, "old words, and hunter2-se").ok());
    CHECK(log->skip_to(24).err().code == errc::bad_frame);            // known already
    CHECK(log->skip_to(5 * a_mib + 1).err().code == errc::bad_frame); // nobody frees so little
    CHECK(log->skip_to(1ull << 62).err().code == errc::bad_frame);    // no disk has it
    CHECK(log->expected() == 25);
    REQUIRE(log->skip_to(5 * a_mib).ok());
    CHECK(log->expected() == 5 * a_mib);
    CHECK(log->begin() == 5 * a_mib);
  }
  CHECK(log_begin(file) == 5 * a_mib); // though nothing has come behind it yet
  auto log = output_log::open(file, forms);
  REQUIRE(log.ok());
  CHECK(log->expected() == 5 * a_mib);
  CHECK(log->begin() == 5 * a_mib);
  const std::string fresh = std::string(1000, '.') + "new words\n";
  REQUIRE(log->append(5 * a_mib, fresh).ok());
  CHECK(kept_of(file).size() == fresh.size());
  CHECK(kept_of(file).ends_with("...new words\n"));
  CHECK_FALSE(std::filesystem::exists(file.string() + ".new"));
  struct stat st {};
  REQUIRE(::stat(file.c_str(), &st) == 0);
  CHECK(st.st_blocks * 512 <= 64 * 1024);
  auto copy = tmp.path / "copy.log";
  REQUIRE(copy_log(file, copy).ok());
  std::ifstream in(copy);
  std::string line;
  std::getline(in, line);
  CHECK(line
        == "[skep: the first 5242880 bytes of this log were dropped; its newest part follows]");
}

TEST_CASE("what may be the rest of a secret is masked behind a gap") {
  scratch tmp;
  auto file = tmp.path / "pn_a.1.log";
  auto log = output_log::open(file, masked_forms({"hunter2-secret"}));
  REQUIRE(log.ok());
  REQUIRE(log->append(0, "the password is hunt").ok());
  REQUIRE(log->skip_to(a_mib).ok());
  auto text = "er2-secret\nand " + std::string(200, '.') + " hunter2-secret again\n";
  auto shown = log->append(a_mib, text);
  REQUIRE(shown.ok());
  CHECK(shown->size() == text.size());
  CHECK(shown->starts_with("**********\n***"));
  CHECK(shown->ends_with(".. ************** again\n"));
  CHECK(kept_of(file) == *shown);
}

TEST_CASE("a secret across the end of the masked part behind a gap is masked whole") {
  const std::string secret = "hunter2-secret";
  masker m{masked_forms({secret})};
  const auto blind = form_set{masked_forms({secret})}.longest();
  for (std::size_t before : {blind - 1, blind - 5, blind - secret.size() + 1}) {
    INFO(before);
    m.lose();
    auto shown = m.feed(std::string(before, '.') + secret + " end");
    shown += m.flush();
    CHECK(shown == std::string(before + secret.size(), '*') + " end");
  }
}

TEST_CASE("the part behind a gap stays masked when its log is opened again") {
  scratch tmp;
  auto file = tmp.path / "pn_a.1.log";
  auto open = [&] {
    auto log = output_log::open(file, masked_forms({"hunter2-secret"}));
    REQUIRE(log.ok());
    return std::move(*log);
  };
  REQUIRE(open().skip_to(a_mib).ok());
  auto first = open();
  REQUIRE(first.append(a_mib, "er2-").ok());
  auto second = open();
  REQUIRE(second.append(a_mib + 4, "secret, and " + std::string(200, '.') + "\n").ok());
  CHECK(kept_of(file).starts_with("**************"));
  CHECK(kept_of(file).ends_with("...\n"));
  CHECK(open().append(second.expected(), "later\n").ok());
  CHECK(kept_of(file).ends_with("...\nlater\n"));
}

TEST_CASE("an account is read across a gap that comes while it is read") {
  scratch tmp;
  auto file = tmp.path / "pn_a.1.log";
  auto log = output_log::open(file, {});
  REQUIRE(log.ok());
  REQUIRE(log->skip_to(2 * a_mib).ok());
  const std::string result =
      R"({"type":"result","subtype":"success","is_error":false,"num_turns":2,"total_cost_usd":0.5,"result":"done"})"
      "\n";
  REQUIRE(log->append(2 * a_mib, "half a line\n" + result).ok());
  pane_output out{agent_kind::claude, {"pn_0"}};
  out.replay(file);
  auto usage = out.usage();
  REQUIRE(usage);
  CHECK(usage->turns == 2);
}

TEST_CASE_METHOD(sandbox_world,
                 "a flood that is truncated all the time is told of now and then, and of its "
                 "last place at its end") {
  svc->limits.log_cap_bytes = a_mib;
  begin();
  for (std::uint64_t at = 1; at <= 50; ++at)
    api->streams.back()->emit(
        frame(follow_kind::dropped, follow_dropped{{"pn_0"}, 1, at * 2 * a_mib}));
  advance(1s);
  CHECK(all<log_truncated>().size() == 1);
  advance(10s);
  output("pn_0", 100 * a_mib, "x");
  api->streams.back()->emit(frame(follow_kind::dropped, follow_dropped{{"pn_0"}, 1, 110 * a_mib}));
  api->streams.back()->emit(frame(follow_kind::dropped, follow_dropped{{"pn_0"}, 1, 120 * a_mib}));
  exit("pn_0", 0, 120 * a_mib);
  CHECK(ending() == "completed");
  auto told = all<log_truncated>();
  REQUIRE(told.size() == 3);
  CHECK(told[1].begin_offset == 100 * a_mib);
  CHECK(told[2].begin_offset == 120 * a_mib);
}

TEST_CASE_METHOD(sandbox_world, "output goes on behind what an agent's flood has pushed out") {
  begin();
  output("pn_0", 0, "the beginning\n");
  auto drop = [&](const std::string& pane, std::uint32_t attempt, std::uint64_t to) {
    api->streams.back()->emit(frame(follow_kind::dropped, follow_dropped{{pane}, attempt, to}));
  };
  drop("pn_0", 1, 70 * a_mib);
  // The first bytes behind a gap are stars, since a secret may end there.
  const std::string rest = std::string(4096, '.') + "the end\n";
  output("pn_0", 70 * a_mib, rest);
  advance(1s); // nobody waits for the marker
  auto told = all<log_truncated>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].pane == pane_id{"pn_0"});
  CHECK(told[0].begin_offset == 70 * a_mib);
  auto file = ctx->log_path({"pn_0"}, 1);
  const auto kept = kept_of(file);
  CHECK(kept.size() == rest.size());
  CHECK(kept.ends_with("...the end\n"));

  SECTION("and the pane ends with all that was kept") {
    exit("pn_0", 0, 70 * a_mib + rest.size());
    CHECK(ending() == "completed");
    CHECK(all<output_incomplete>().empty());
    CHECK(std::filesystem::file_size(file) == 70 * a_mib + rest.size());
  }
  SECTION(
      "a claim of another sandbox's pane, or of an attempt that was never made, changes nothing") {
    drop("pn_other", 1, 90 * a_mib);
    CHECK(api->streams.size() == 1);
    drop("pn_0", 7, 90 * a_mib);
    CHECK(kept_of(file) == kept);
    CHECK_FALSE(std::filesystem::exists(ctx->log_path({"pn_0"}, 7)));
  }
  SECTION("a claim that goes back breaks the stream, and the next one begins where the log ends") {
    drop("pn_0", 1, 10 * a_mib);
    advance(2s);
    REQUIRE(api->streams.size() == 2);
    CHECK(api->streams.back()->what.argv.back()
          == "pn_0:1:" + std::to_string(70 * a_mib + rest.size()));
    CHECK(kept_of(file) == kept);
  }
}

TEST_CASE("an adapter joins no line across a gap") {
  pane_output out{agent_kind::claude, {"pn_0"}};
  const std::string text =
      R"({"type":"assistant","message":{"content":[{"type":"text","text":"whole"}]}})";
  CHECK(out.take(0, text.substr(0, 20)).empty());
  auto blocks = out.take(a_mib, "the rest of a line\n" + text + "\n");
  REQUIRE(blocks.size() >= 1);
  CHECK(blocks.back().text == "whole");
}
