// What a prompt may hold, and how it becomes the prompt of one pane.
#include "messages/commands.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;

namespace {

/// A sound spec of 6 panes.
swarm_spec six_panes() {
  swarm_spec s;
  s.repo = "/repo";
  s.out_dir = "/out";
  s.sandboxes = 2;
  s.panes = 3;
  s.agent = agent_kind::claude;
  s.prompts = {"do it"};
  return s;
}

} // namespace

TEST_CASE("a prompt is text: no control character but newline, tab and carriage return") {
  for (int c = 0; c < 256; ++c) {
    INFO(c);
    auto e = check_prompt("a" + std::string(1, static_cast<char>(c)) + "b");
    const bool control = (c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
    if (c >= 0x80)
      CHECK(e.code == errc::bad_argument); // alone it is no UTF-8
    else
      CHECK(e.code == (control ? errc::prompt_has_nul : errc::none));
    if (control) CHECK(e.message == "byte " + std::to_string(c) + " at offset 1");
  }
}

TEST_CASE("a prompt is UTF-8 without the 8-bit controls that terminals obey") {
  for (int c = 0x80; c < 0xc0; ++c) {
    INFO(c);
    auto e = check_prompt("a\xc2" + std::string(1, static_cast<char>(c)));
    CHECK(e.code == (c < 0xa0 ? errc::prompt_has_nul : errc::none));
  }
  CHECK(check_prompt("ab\xc2\x9b"
                     "2J")
            .message
        == "U+009B at offset 2");
  CHECK_FALSE(check_prompt("\xef\xbb\xbf"
                           "f\xc3\xbcr \xe2\x80\xae \xf0\x9f\x90\x9d\r\n"));
  for (const char* wrong : {"\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    auto e = check_prompt("{{index}}" + std::string{wrong});
    CHECK(e.code == errc::bad_argument);
    // The offset is one of the text, in which {index} stands.
    CHECK(e.message
          == "the prompt is not UTF-8: byte " + std::to_string(static_cast<unsigned char>(wrong[0]))
                 + " at offset 7");
  }
}

TEST_CASE("placeholders of a prompt become the pane's number and the number of panes") {
  auto s = six_panes();
  s.prompts = {"pane {index} of {count}: {index}{index} {other} {index"};
  CHECK(prompt_for(s, 0) == "pane 0 of 6: 00 {other} {index");
  CHECK(prompt_for(s, 5) == "pane 5 of 6: 55 {other} {index");
  s.prompts.clear();
  CHECK(prompt_for(s, 0).empty());
  for (int i = 0; i < 6; ++i)
    s.prompts.push_back("own " + std::to_string(i) + "/{count}");
  CHECK(prompt_for(s, 4) == "own 4/6");
}

TEST_CASE("a placeholder in one more pair of braces stands for itself") {
  auto made = [](const std::string& prompt) {
    auto s = six_panes();
    s.prompts = {prompt};
    return prompt_for(s, 3);
  };
  CHECK(made("f'row {{index}}' of {{count}}, {index}") == "f'row {index}' of {count}, 3");
  CHECK(made("{{{index}}}") == "{{index}}");
  CHECK(made("{{index} {index}} {{other}} {{in{count}dex}}")
        == "{3 3} {{other}} {{in6dex}}"); // what is put in is not looked at again
  CHECK(has_placeholders("a{index}"));
  CHECK(has_placeholders("{{count}"));
  CHECK_FALSE(has_placeholders("{{index}} {index {other} count}"));
}

TEST_CASE("a literal prompt arrives as it is, whatever braces it holds") {
  const std::vector<std::string> pieces{"{", "}", "{index}", "{count}", "index", "{{index}}", "x"};
  std::mt19937 random{7};
  auto s = six_panes();
  for (int i = 0; i < 2'000; ++i) {
    std::string text;
    for (auto n = 1 + random() % 12; n > 0; --n)
      text += pieces[random() % pieces.size()];
    INFO(text);
    s.prompts = {literal_prompt(text)};
    CHECK_FALSE(has_placeholders(s.prompts[0]));
    REQUIRE(prompt_for(s, static_cast<std::uint32_t>(i % 6)) == text);
  }
  CHECK(literal_prompt("{other} {index") == "{other} {index");
}

TEST_CASE("the braces that keep a placeholder literal do not count to a prompt's size") {
  std::string text;
  while (text.size() + 7 <= max_prompt_bytes)
    text += "{index}";
  text.resize(max_prompt_bytes, 'x');
  auto s = six_panes();
  s.prompts = {literal_prompt(text)};
  REQUIRE(s.prompts[0].size() > max_prompt_bytes);
  CHECK_FALSE(check_spec(s));
  s.prompts = {literal_prompt(text + "x")};
  auto e = check_spec(s);
  CHECK(e.code == errc::prompt_too_long);
  CHECK(e.message == "100001 bytes");
}
