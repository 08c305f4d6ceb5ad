// The rules as they were compiled with the program.
#include "transfer/scan_engine.hpp"
#include "tests/support/catch.hpp"
#include "tests/transfer/scan_corpus.hpp"

#include <set>
#include <tuple>

using namespace skep;
using namespace skep::test;
using transfer::scan_engine;

namespace {

using match_place = std::tuple<std::size_t, std::size_t, std::size_t>;

std::set<match_place> match_places(const result<transfer::scan_engine_ptr>& engine,
                                   std::string_view text) {
  REQUIRE(engine.ok());
  auto scratch = transfer::scan_scratch::make(*engine);
  REQUIRE(scratch.ok());
  std::set<match_place> out;
  REQUIRE(scratch
              ->scan(text,
                     [&](std::size_t rule, std::size_t from, std::size_t to) {
                       out.insert({rule, from, to});
                     })
              .ok());
  return out;
}

} // namespace

TEST_CASE("rules that were compiled with the program find what the rules find") {
  draw d{1};
  auto text = "token = \"" + std::string{"github"} + "_pat_" + d.alnum(22) + "_" + d.alnum(59)
              + "\"\npassword: \"" + d.alnum(24) + "\"\n-----BEGIN RSA " + "PRIVATE KEY-----\n";
  auto by_rules = match_places(scan_engine::compile(), text);
  CHECK(by_rules.size() >= 3);
  CHECK(match_places(scan_engine::load(transfer::scan_rules(), transfer::compiled_rules()), text)
        == by_rules);
}

TEST_CASE("compiled rules that are damaged, cut or missing are not taken") {
  std::string good{transfer::compiled_rules()};
  REQUIRE(good.size() > 1000);
  auto damaged = good;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  for (const auto& bytes : {damaged, good.substr(0, good.size() - 1), good.substr(0, 7),
                            std::string{}, "x" + good.substr(1)}) {
    auto engine = scan_engine::load(transfer::scan_rules(), bytes);
    REQUIRE_FALSE(engine.ok());
    CHECK(engine.err().code == errc::scan_failed);
  }
}
