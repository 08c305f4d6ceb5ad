// What a program inside may do to the terminal of somebody who attaches.
#include "tools/skep/terminal_filter.hpp"

#include "tests/support/catch.hpp"

using skep::cli::terminal_filter;

namespace {

struct sample {
  const char* what;
  std::string in, out;
};

#define KEPT(what, text)                                                                           \
  { what, text, text }
#define GONE(what, text)                                                                           \
  { what, std::string{"<"} + text + ">", "<>" }

std::vector<sample> samples() {
  return {
      // What draws goes through.
      KEPT("text and controls", "one\ttwo\r\n\b\a\v\f"),
      KEPT("characters of two, three and four bytes", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\x9d"),
      KEPT("colours", "\x1b[1;31mred\x1b[38;2;1;2;3m\x1b[4:3m\x1b[0m"),
      KEPT("cursor", "\x1b[2;3H\x1b[A\x1b[10B\x1b[C\x1b[D\x1b[5G\x1b[4d\x1b[s\x1b[u\x1b"
                     "7\x1b"
                     "8"),
      KEPT("erase, insert, delete, scroll",
           "\x1b[2J\x1b[K\x1b[1K\x1b[2L\x1b[M\x1b[3P\x1b[@\x1b[X\x1b[S\x1b[T\x1bM\x1b[2;20r"),
      KEPT("alternate screen", "\x1b[?1049h\x1b[?1049l\x1b[?47h"),
      KEPT("cursor, wrap, mouse, paste", "\x1b[?25l\x1b[?7h\x1b[?1000h\x1b[?1002;1006h\x1b[?2004h"),
      KEPT("line drawing", "\x1b(0qqq\x1b(B\x0eq\x0f"),
      KEPT("keypad and form of the cursor", "\x1b=\x1b>\x1b[2 q\x1b[!p"),
      // Strings.
      GONE("a title", "\x1b]0;owned\a"),
      GONE("a title with ST", "\x1b]2;owned\x1b\\"),
      GONE("the clipboard", "\x1b]52;c;cm0gLXJmIC8=\a"),
      GONE("a link", "\x1b]8;;http://evil.example/\x1b\\"),
      GONE("a colour query", "\x1b]11;?\a"),
      GONE("a notification", "\x1b]777;notify;x;y\a"),
      GONE("DECRQSS", "\x1bP$q\"p\x1b\\"),
      GONE("a key definition", "\x1bP1;1|17/0d\x1b\\"),
      GONE("a picture", "\x1bPq#0;2;0;0;0\n~~\x1b\\"),
      GONE("APC", "\x1b_Gf=24;AAAA\x1b\\"),
      GONE("PM", "\x1b^x\x1b\\"),
      GONE("SOS", "\x1bXx\x1b\\"),
      GONE("a title of screen", "\x1bkowned\x1b\\"),
      // What a terminal answers.
      GONE("DSR", "\x1b[6n"),
      GONE("DSR, status", "\x1b[5n"),
      GONE("DSR, private", "\x1b[?6n"),
      GONE("DA", "\x1b[c"),
      GONE("DA with a number", "\x1b[0c"),
      GONE("DA 2", "\x1b[>c"),
      GONE("DA 3", "\x1b[=c"),
      GONE("DECID", "\x1bZ"),
      GONE("XTVERSION", "\x1b[>q"),
      GONE("DECREQTPARM", "\x1b[x"),
      GONE("DECRQM", "\x1b[?2004$p"),
      GONE("a checksum", "\x1b[1;1;1;1;9;9*y"),
      GONE("the title, typed back", "\x1b[21t"),
      GONE("a size, typed back", "\x1b[18t"),
      GONE("a kitty keyboard query", "\x1b[?u"),
      GONE("ENQ", "\x05"),
      GONE("focus reports", "\x1b[?1004h"),
      GONE("mouse that waits for an answer", "\x1b[1;1;1;1;1T"),
      // What acts on the terminal.
      GONE("moving the window", "\x1b[3;0;0t"),
      GONE("iconify", "\x1b[2t"),
      GONE("printing", "\x1b[5i"),
      GONE("printing, private", "\x1b[?5i"),
      GONE("LEDs", "\x1b[1q"),
      GONE("erasing what was scrolled away", "\x1b[3J"),
      GONE("tab stops, which would stay", "\x1b[3g\x1b[g\x1bH"),
      GONE("132 columns", "\x1b[?3h"),
      GONE("keyboard modes", "\x1b[>4;2m\x1b[>1u"),
      GONE("locking the keyboard", "\x1b[2h"),
      GONE("full reset", "\x1b"
                         "c"),
      GONE("8-bit controls switched on", "\x1b G"),
      GONE("another character set", "\x1b%@\x1b(A"),
      GONE("a million repeats", "\x1b[1000000b"),
      GONE("a sequence that is too long", "\x1b[" + std::string(200, '1') + "m"),
      GONE("NUL, XON, XOFF, DEL", std::string("\0\x11\x13\x7f", 4)),
      // Hidden forms.
      {"8-bit CSI",
       "<\x9b"
       "6n>",
       "<\xef\xbf\xbd"
       "6n>"},
      {"8-bit OSC",
       "<\x9d"
       "0;x\a>",
       "<\xef\xbf\xbd"
       "0;x\a>"},
      {"a control in two bytes",
       "<\xc2\x9b"
       "6n>",
       "<\xef\xbf\xbd"
       "6n>"},
      {"overlong and cut characters", "<\xc0\x9b\xe0\x80\x9b\xe2\x82>",
       "<\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd>"},
      {"a query among good modes", "\x1b[?25;1004;2004h", "\x1b[?25;2004h"},
      {"a control inside a sequence", "\x1b[3\n1mx", "\n\x1b[31mx"},
      {"a sequence cut by another", "\x1b[3\x1b[31mx", "\x1b[31mx"},
      {"a cancelled sequence",
       "\x1b[3\x18"
       "1mx",
       "1mx"},
      {"a string that nobody ends", "\x1b]0;x\nnext line", "next line"},
      {"a string cut by a sequence", "\x1b]0;x\x1b[31my", "\x1b[31my"},
      {"a query at the end of a string", "\x1b]0;x\x1b[6ny", "y"},
      {"a string in a string", "<\x1bP\x1b]0;a\a\x1b\\>", "<>"},
  };
}

} // namespace

TEST_CASE("of what a sandbox writes, only what draws reaches a terminal", "[owasp-a03]") {
  for (const auto& s : samples()) {
    INFO(s.what);
    terminal_filter f;
    CHECK(f.pass(s.in) == s.out);
    CHECK(f.pass("after") == "after"); // nothing is left open
  }
}

TEST_CASE("the filter of a terminal does the same wherever the bytes are split") {
  for (const auto& s : samples()) {
    INFO(s.what);
    terminal_filter one;
    std::string got;
    for (char c : s.in)
      got += one.pass({&c, 1});
    CHECK(got == s.out);
    for (std::size_t at = 0; at <= s.in.size(); ++at) {
      terminal_filter two;
      auto first = two.pass(std::string_view{s.in}.substr(0, at));
      CHECK(first + two.pass(std::string_view{s.in}.substr(at)) == s.out);
    }
  }
}

TEST_CASE("a terminal is put back to what it was before somebody attached") {
  auto after = [](std::string_view text) {
    terminal_filter f;
    f.pass(text);
    return f.reset();
  };
  CHECK(after("plain text") == "\x1b[0m");
  CHECK(after("\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b[?2004h\x1b[?1h")
        == "\x1b[?1l\x1b[?1000l\x1b[?1006l\x1b[?1049l\x1b[?2004l\x1b[?25h\x1b[0m");
  CHECK(after("\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l") == "\x1b[0m");
  CHECK(after("\x1b[4h\x1b=\x1b[2;5r\x1b(0\x1b[4 q")
        == "\x1b[4l\x1b>\x1b"
           "7\x1b[r\x1b"
           "8\x0f\x1b(B\x1b[0 q\x1b[0m");
}
