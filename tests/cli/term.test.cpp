#include "tools/skep/term.hpp"

#include "tests/support/catch.hpp"

#include <random>

using namespace skep::cli;

TEST_CASE("a log on a terminal keeps its colours and loses everything that commands the terminal") {
  safe_filter f;
  CHECK(f.pass("a\x1b[31mred\x1b[0m\n\tb") == "a\x1b[31mred\x1b[0m\n\tb");
  CHECK(f.pass("x\x1b[2Jy\x1b[10;5Hz") == "xyz");      // clear, move
  CHECK(f.pass("x\x1b]0;title\x07y") == "xy");         // title
  CHECK(f.pass("x\x1b]52;c;ZXZpbA==\x1b\\y") == "xy"); // clipboard
  CHECK(f.pass("x\x1bP+q544e\x1b\\y") == "xy");        // device control
  CHECK(f.pass("x\x1b[6ny\x1b[>cz") == "xyz");         // questions that answer into the input
  CHECK(f.pass("a\rb\bc\x07"
               "d\x7f")
        == "abcd");
  CHECK(f.pass("x\x1b]never closed\nnext line") == "xnext line");
  CHECK(f.pass("gr\xc3\xbc\xc3\x9f"
               "e")
        == "gr\xc3\xbc\xc3\x9f"
           "e");
}

TEST_CASE("controls of 8 bits are controls, in UTF-8 and without") {
  safe_filter f;
  CHECK(f.pass("x\xc2\x9b"
               "2Jy")
        == "x2Jy"); // CSI
  CHECK(f.pass("x\xc2\x9d"
               "0;title\xc2\x9cy")
        == "x0;titley"); // OSC, ST
  CHECK(f.pass("x\x9b"   // not UTF-8
               "2Jy")
        == "x2Jy");
  const std::string letters = "\xc2\xa0\xc2\xbf\xc3\x9b\xe2\x9b\x84\xf0\x9f\x90\x9d\xc3\x9f";
  CHECK(f.pass(letters) == letters);
  CHECK(f.pass("x\xc2") == "x");
  CHECK(f.pass("\x9b"
               "5n")
        == "5n");
  auto half = f.pass("x\xc2");
  CHECK(half + f.pass("\xa9") == "x\xc2\xa9");
  CHECK(safe_line("a\xc2\x9b"
                  "31mb\xc2\xa0\xc3\x9b")
        == "a?31mb\xc2\xa0\xc3\x9b");
  CHECK(safe_line("\xc2\x9b\xc2\x9b", 2) == "??");
}

TEST_CASE("the filter gives the same whatever pieces the bytes come in") {
  std::mt19937 random{3}; // NOLINT: a fixed seed, so that a failure repeats
  const std::string text =
      "\xc2\x9b"
      "1\xe2\x9b\x84\xc2\xa9one\x1b[1;31mtwo\x1b[0m\x1b]0;t\x07three\x1b[?25l\x1bPx\x1b\\four\n";
  safe_filter whole;
  auto expected = whole.pass(text);
  for (int round = 0; round < 200; ++round) {
    safe_filter f;
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      auto n = 1 + random() % 5;
      out += f.pass(std::string_view{text}.substr(at, n));
      at += n;
    }
    CHECK(out == expected);
  }
}

TEST_CASE("one line of foreign text stays one line") {
  CHECK(safe_line("a\nb\x1b[31mc\x07") == "a b?[31mc?");
  CHECK(safe_line("abcdef", 3) == "abc...");
  CHECK(safe_line("abc", 3) == "abc");
  CHECK(safe_line("\xc3\xbc\xc3\xbc\xc3\xbc", 2) == "\xc3\xbc\xc3\xbc...");
}

TEST_CASE("a line is cut to columns, and its colours end behind the cut as well") {
  CHECK(cut_line("abc", 3) == "abc");
  CHECK(cut_line("abcdef", 3) == "abc");
  CHECK(cut_line("a\x1b[31mbcd\x1b[0m e", 2) == "a\x1b[31mb\x1b[0m");
  CHECK(cut_line("\xc3\xbc\xc3\xbc\xc3\xbc", 2) == "\xc3\xbc\xc3\xbc");
  CHECK(cut_line("ab\x1b[3", 1) == "a\x1b[3");
  CHECK(shown_width("ab\n\x1b[31m\xc3\xbc"
                    "bc\x1b[0m\nd")
        == 3);
  CHECK(shown_width("") == 0);
}

TEST_CASE("durations are read with units and nothing else") {
  std::int64_t ms = 0;
  CHECK((parse_duration("90s", ms) && ms == 90'000));
  CHECK((parse_duration("30min", ms) && ms == 1'800'000));
  CHECK((parse_duration("1h30m", ms) && ms == 5'400'000));
  CHECK((parse_duration("500ms", ms) && ms == 500));
  CHECK((parse_duration("2 h", ms) && ms == 7'200'000));
  for (const auto* bad : {"", "5", "s", "-5s", "5 days", "1h-", "99999999999999999999s"})
    CHECK_FALSE(parse_duration(bad, ms));
  CHECK(duration_text(59'000) == "59 s");
  CHECK(duration_text(185'000) == "3 min 5 s");
  CHECK(duration_text(7'800'000) == "2 h 10 min");
}

TEST_CASE("tables align whatever the cells hold") {
  CHECK(table({{"A", "B"}, {"long", "x"}, {"\x1b[31mr\x1b[0m", "y"}})
        == "A     B\nlong  x\n\x1b[31mr\x1b[0m     y\n");
  CHECK(size_text(812) == "812 B");
  CHECK(size_text(3'565'158) == "3.4 MiB");
}

TEST_CASE("one is counted in the singular, none and several in the plural") {
  CHECK(count_text(0, "open swarm", "open swarms") == "0 open swarms");
  CHECK(count_text(1, "open swarm", "open swarms") == "1 open swarm");
  CHECK(count_text(2, "open swarm", "open swarms") == "2 open swarms");
}
