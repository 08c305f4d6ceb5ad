// How good the rules are: what they find of the corpus, and what they leave alone.
#include "tests/transfer/scan_corpus.hpp"
#include "tests/support/skip.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scanning.hpp"
#include "transfer/exclude.hpp"
#include "transfer/scan.hpp"
#include "transfer/worktree.hpp"

#include <cstdio>
#include <set>

using namespace skep;
using namespace skep::test;
namespace fs = std::filesystem;

namespace {

constexpr unsigned seeds = 60;

/// A file with the value on its third line.
std::string file_with(const std::string& value, unsigned how) {
  switch (how % 5) {
  case 0:
    return "# settings\n\nKEY=" + value + "\n";
  case 1:
    return "{\n  \"a\": 1,\n  \"k\": \"" + value + "\",\n  \"z\": 2\n}\n";
  case 2:
    return "import x\n\nuse('" + value + "')  # here\n";
  case 3:
    return "one\ntwo\n" + value;
  default:
    return "diff\n@@ -1 +1 @@\n+" + value + "\n";
  }
}

/// Regular files below a directory, in order, but those that never travel whatever they hold.
std::vector<std::string> files_below(const fs::path& dir) {
  std::vector<std::string> out;
  for (const auto& e :
       fs::recursive_directory_iterator(dir, fs::directory_options::skip_permission_denied))
    if (auto path = fs::relative(e.path(), dir).string();
        e.is_regular_file() && !e.is_symlink() && transfer::excluded_reason(path).empty())
      out.push_back(path);
  std::sort(out.begin(), out.end());
  return out;
}

/// Nothing of high severity below `dir`; what there is, is printed.
void nothing_high_below(const fs::path& dir) {
  transfer::scan_options patient;
  patient.limit = std::chrono::minutes{4};
  auto report = transfer::scan_files(dir.string(), files_below(dir), patient);
  INFO(dir.string() << ": " << report.problem);
  CHECK(report.problem.empty());
  for (const auto& f : report.findings)
    if (f.severity == finding_severity::high)
      UNSCOPED_INFO(f.path << ":" << f.line << " " << f.rule);
  CHECK(report.high == 0);
  std::printf("%s: %llu files, %llu MiB, %llu medium, %llu low, %lld ms\n", dir.c_str(),
              static_cast<unsigned long long>(report.files),
              static_cast<unsigned long long>(report.size_bytes >> 20),
              static_cast<unsigned long long>(report.medium),
              static_cast<unsigned long long>(report.low), static_cast<long long>(report.took_ms));
}

} // namespace

TEST_CASE(
    "every documented form of a credential is found where it stands, by one of 40 rules and more") {
  CHECK(issued_forms().size() >= 40);
  std::set<std::string> rules;
  for (const auto& form : issued_forms()) {
    unsigned high = 0;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      draw d{seed * 7919 + 1};
      auto text = file_with(form.make(d), seed);
      auto found = scan_text(text);
      bool here = std::any_of(found.begin(), found.end(), [&](const auto& f) {
        return f.severity == finding_severity::high && f.line >= 3;
      });
      INFO(form.name << ", seed " << seed << ", shape " << seed % 5);
      CHECK(here);
      if (here) ++high;
      for (const auto& f : found)
        if (f.severity == finding_severity::high && f.kind != "assignment") rules.insert(f.rule);
    }
    INFO(form.name);
    CHECK(high == seeds); // recall 1.0
  }
  CHECK(rules.size() >= 40);
  std::printf("forms: %zu, each drawn %u times; rules that found them: %zu\n",
              issued_forms().size(), seeds, rules.size());
}

TEST_CASE("what looks like a credential and is none is no finding of high severity") {
  for (const auto& miss : near_misses())
    for (unsigned seed = 0; seed < seeds; ++seed) {
      draw d{seed * 104729 + 3};
      auto text = "first\n" + miss.make(d) + "\nlast\n";
      for (const auto& f : scan_text(text)) {
        INFO(miss.name << ", seed " << seed << ": " << f.rule);
        CHECK(f.severity != finding_severity::high);
      }
    }
}

TEST_CASE("random values under telling names are told from other values") {
  constexpr unsigned lines = 4000;
  unsigned hits = 0, wrong = 0;
  auto flagged = [](const std::string& line) {
    for (const auto& f : scan_text(line + "\n"))
      if (f.severity == finding_severity::high) return true;
    return false;
  };
  for (unsigned seed = 0; seed < lines; ++seed) {
    draw d{seed * 31 + 5};
    if (flagged(assignment(d))) ++hits;
    if (auto line = harmless_assignment(d); flagged(line)) {
      ++wrong;
      UNSCOPED_INFO("taken for a credential: " << line);
    }
  }
  double precision = hits + wrong ? double(hits) / (hits + wrong) : 0;
  double recall = double(hits) / lines;
  std::printf("assignments: %u with and %u without a random value; precision %.3f, recall %.3f\n",
              lines, lines, precision, recall);
  CHECK(precision >= 0.9);
  CHECK(recall >= 0.8);
}

TEST_CASE("our own repository, with all its tests of secrets, has no finding of high severity") {
  const char* source = std::getenv("SKEP_SOURCE");
  if (!source || !exists(std::string{source} + "/.git"))
    SKEP_SKIP("no repository around the source");
  auto paths = transfer::list_worktree(source);
  REQUIRE(paths.ok());
  auto report = transfer::scan_files(source, *paths);
  CHECK(report.problem.empty());
  for (const auto& f : report.findings)
    if (f.severity == finding_severity::high)
      UNSCOPED_INFO(f.path << ":" << f.line << " " << f.rule);
  CHECK(report.high == 0);
}

TEST_CASE("the sources of installed npm packages have no finding of high severity") {
  auto source = std::getenv("SKEP_SOURCE") ? std::string{std::getenv("SKEP_SOURCE")} : ".";
  unsigned seen = 0;
  for (const char* set : {"js", "cli"}) {
    auto dir = fs::path{source} / "build/conformance" / set / "node_modules";
    if (!fs::exists(dir)) continue;
    ++seen;
    nothing_high_below(dir);
  }
  if (!seen) SKEP_SKIP("tools/setup --for test installs the packages");
}

TEST_CASE("Debian's documents have no finding of high severity") {
  if (!fs::exists("/usr/share/doc")) SKEP_SKIP("no /usr/share/doc here");
  nothing_high_below("/usr/share/doc");
}
