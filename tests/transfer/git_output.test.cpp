// What git prints, read: names of any bytes, and nothing taken for granted.
#include "transfer/git_output.hpp"
#include "tests/support/catch.hpp"
#include "transfer/kept.hpp"
#include "transfer/patch_text.hpp"

using namespace skep;
using namespace skep::transfer;
using namespace std::literals;

namespace {

struct told_patch : patch_sink {
  std::vector<std::string> messages;
  std::vector<std::uint64_t> lines;
  std::string others;
  void begin_message(std::uint64_t, std::uint64_t line) override {
    messages.emplace_back();
    lines.push_back(line);
  }
  void message(std::string_view piece) override { messages.back() += piece; }
  void end_message() override {}
  void rest(std::string_view piece) override { others += piece; }
};

told_patch told_of(std::string_view text, std::size_t piece = 1 << 20) {
  told_patch out;
  patch_reader reader{out};
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
    reader.feed(text.substr(0, piece));
  reader.finish();
  return out;
}

const std::string mail = "From " + std::string(40, 'b') + " Mon Sep 17 00:00:00 2001\n";

std::string manifest_line(const std::string& mode, const std::string& size,
                          const std::string& hash = std::string(64, 'a')) {
  return "skep-manifest 1\n" + mode + " " + size + " " + hash + " 1 p\n";
}

bool is_manifest(const std::string& text) {
  manifest m;
  return parse_manifest(text, m);
}

} // namespace

TEST_CASE("lists of git are read as they were meant, whatever the names are") {
  CHECK(read_tagged("H a\0? b c\0S s\0h \nx\0"sv)
        == std::vector<tagged_path>{{'H', "a"}, {'?', "b c"}, {'S', "s"}, {'h', "\nx"}});
  CHECK(tagged_path{'h', "x"}.not_watched());
  CHECK_FALSE(tagged_path{'?', "x"}.tracked());
  CHECK(read_status(" M a\0?? b -> c\0"sv) == std::vector<std::string>{"a", "b -> c"});
  name_changes got;
  REQUIRE(read_name_status("A\0a\0R100\0b\0c\0T\0d\0D\0A\0"sv, got));
  CHECK(got == name_changes{{"d"}, {"a"}, {"A"}, {{"b", "c"}}});
  name_changes copies;
  REQUIRE(read_name_status("C75\0a\0C\0C100\0 b\0c\0"sv, copies));
  CHECK(copies.copied == std::vector<std::pair<std::string, std::string>>{{"a", "C"}, {" b", "c"}});
  std::vector<numstat_line> lines;
  REQUIRE(read_numstat("3\t0\ta\tb\0-\t-\tc\0"sv, lines));
  CHECK(lines == std::vector<numstat_line>{{3, 0, "a\tb"}, {-1, -1, "c"}});
}

TEST_CASE("lists of git that are cut short or are none are refused") {
  for (auto text : {"R100\0a\0"sv, "C75\0a\0"sv, "C75\0a\0\0"sv, "A"sv, "A\0a\0M"sv, "Z\0a\0"sv,
                    "\0a\0"sv, "A\0\0"sv}) {
    INFO(text);
    name_changes got;
    CHECK_FALSE(read_name_status(text, got));
  }
  for (auto text :
       {"1\t2"sv, "1\t2\t"sv, "-\t1\ta"sv, "-1\t-1\ta"sv, "x"sv, "99999999999999999999\t1\ta"sv}) {
    INFO(text);
    std::vector<numstat_line> got;
    CHECK_FALSE(read_numstat(text, got));
  }
}

TEST_CASE("ranges of hunks never overflow, and one that makes no sense meets every other") {
  CHECK(read_hunks("@@ -3,2 +3 @@\n+@@ -1 +1 @@\n@@ -7 +8,0 @@ f\n")
        == std::vector<hunk_range>{{3, 2}, {7, 1}});
  const std::vector<hunk_range> far{{2'000'000'000, 1}}, near{{1, 0}};
  for (const auto* text : {"@@ -99999999999999999999,1 +1 @@", "@@ --5,-3 +1 @@", "@@ -", "@@ -1",
                           "@@ -0,9223372036854775807 +1 @@"}) {
    INFO(text);
    auto strange = read_hunks(text);
    REQUIRE(strange.size() == 1);
    CHECK(hunks_meet(strange, far));
    CHECK(hunks_meet(near, strange));
  }
  CHECK_FALSE(hunks_meet(far, near));
}

TEST_CASE("a patch is told apart into messages and the rest, wherever it is cut") {
  const auto text = mail + "From: Ada <a@b>\nSubject: [PATCH] one\n two\n\nbody\n---\n x | 1 +\n\n"
                    + "diff --git a/x b/x\n@@ -0,0 +1 @@\n+x\n" + mail + "Subject: again\n\nlast";
  for (std::size_t piece : {1ul, 2ul, 7ul, 100'000ul}) {
    INFO(piece);
    auto got = told_of(text, piece);
    REQUIRE(got.messages.size() == 2);
    CHECK(got.messages[0] == mail + "From: Ada <a@b>\nSubject: [PATCH] one two\n\n\nbody\n");
    CHECK(got.lines == std::vector<std::uint64_t>{1, 13});
    CHECK(got.messages[1] == mail + "Subject: again\n\nlast");
    CHECK(got.others
          == "\n\n\n\n\n\n---\n x | 1 +\n\ndiff --git a/x b/x\n@@ -0,0 +1 @@\n+x\n\n\n\n");
  }
  // A diff alone has no message, and a long line is no beginning of one.
  CHECK(told_of("diff --git a/x b/x\n+x\n").messages.empty());
  auto longer = mail.substr(0, mail.size() - 1) + std::string(2000, 'x') + "\n";
  CHECK(told_of(longer).others == longer);
}

TEST_CASE("a manifest has one form alone") {
  CHECK(is_manifest(manifest_line("f 644", "0")));
  CHECK(is_manifest(manifest_line("f 755", "12")));
  CHECK(is_manifest(manifest_line("l 644", "3")));
  CHECK_FALSE(is_manifest(manifest_line("l 755", "3")));
  CHECK_FALSE(is_manifest(manifest_line("f 644", "007")));
  CHECK_FALSE(is_manifest(manifest_line("f 0644", "7")));
  CHECK_FALSE(is_manifest(manifest_line("f 644", "7", std::string(64, 'A'))));
  CHECK_FALSE(is_manifest(manifest_line("f 644", "7") + "f"));
  // Sizes that do not add up to a number of 64 bits.
  auto two = manifest_line("f 644", "18446744073709551615");
  CHECK(is_manifest(two));
  CHECK_FALSE(is_manifest(two + "f 644 1 " + std::string(64, 'a') + " 1 q\n"));
}
