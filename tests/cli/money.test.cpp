// Sums of money and waits as the command line reads and writes them.
#include "tools/skep/money.hpp"

#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli;

TEST_CASE("sums of money are read as people write them, and nothing else is one") {
  double usd = -1;
  for (auto [text, value] : {std::pair{"20usd", 20.0},
                             {"20 USD", 20.0},
                             {"$20", 20.0},
                             {"0.5", 0.5},
                             {"1.25usd", 1.25},
                             {"0", 0.0},
                             {"1000000", 1e6}}) {
    INFO(text);
    CHECK(parse_money(text, usd));
    CHECK(usd == value);
  }
  for (auto* text : {"", "usd", "$", "-1", "+1", "1e3", "nan", "inf", "1000001", "20eur", "1,5",
                     " 1", "1 2", "0x10"}) {
    INFO(text);
    CHECK_FALSE(parse_money(text, usd));
  }
}

TEST_CASE("small sums show their digits") {
  CHECK(money_text(0) == "$0.00");
  CHECK(money_text(0.0042) == "$0.0042");
  CHECK(money_text(0.1) == "$0.10");
  CHECK(money_text(12.345) == "$12.35");
}

TEST_CASE("what waits says its place, the rule, the count, an estimate and the setting") {
  CHECK(waits_sentence({2, "max_active", 10, 10, 41'000, "providers.cloud.max_active"})
        == "waits in place 2: max_active 10 of 10, about 41 s (providers.cloud.max_active)");
  CHECK(waits_sentence({1, "max_active", 10, 10, 0, "x"})
        == "waits in place 1: max_active 10 of 10 (x)");
  CHECK(waiting_text({}).empty());
  std::vector<waiting_line> many(25);
  auto text = waiting_text(many);
  CHECK(text.find("and 5 more wait") != std::string::npos);
}
