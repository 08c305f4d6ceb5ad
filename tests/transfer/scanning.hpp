// Scanning a text in tests.
#pragma once

#include "tests/support/catch.hpp"
#include "transfer/scan_content.hpp"

namespace skep::test {

/// What the rules find in `text`, given in pieces of `piece` bytes.
inline std::vector<scan_finding> scan_text(std::string_view text, std::size_t piece = 1 << 20) {
  static auto scanner = [] {
    auto engine = transfer::scan_engine::shared();
    REQUIRE(engine.ok());
    auto made = transfer::content_scanner::make(*engine);
    REQUIRE(made.ok());
    return std::move(*made);
  }();
  scanner.begin("file");
  while (!text.empty()) {
    REQUIRE(scanner.data(text.substr(0, piece)).ok());
    text.remove_prefix(std::min(piece, text.size()));
  }
  REQUIRE(scanner.end().ok());
  return scanner.take();
}

/// The rules of `findings` that have this severity.
inline std::vector<std::string> rules_of(const std::vector<scan_finding>& findings,
                                         finding_severity s) {
  std::vector<std::string> out;
  for (const auto& f : findings)
    if (f.severity == s) out.push_back(f.rule);
  return out;
}

} // namespace skep::test
