// How good the rules are: what they find of the corpus, and what they leave alone.
#include "tests/transfer/scan_corpus.hpp"
#include "tests/support/skip.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scan_corpus_rules.hpp"
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

/// Nothing of high severity below `dir`; what there is, is printed. How many files were read.
std::size_t nothing_high_below(const fs::path& dir) {
  transfer::scan_options patient;
  patient.limit = std::chrono::minutes{4};
  auto paths = files_below(dir);
  auto report = transfer::scan_files(dir.string(), paths, patient);
  INFO(dir.string() << ": " << report.problem);
  CHECK(report.problem.empty());
  CHECK(report.files == paths.size());
  for (const auto& f : report.findings)
    if (f.severity == finding_severity::high)
      UNSCOPED_INFO(f.path << ":" << f.line << " " << f.rule);
  CHECK(report.high == 0);
  std::printf("%s: %llu files, %llu MiB, %llu medium, %llu low, %lld ms\n", dir.c_str(),
              static_cast<unsigned long long>(report.files),
              static_cast<unsigned long long>(report.size_bytes >> 20),
              static_cast<unsigned long long>(report.medium),
              static_cast<unsigned long long>(report.low), static_cast<long long>(report.took_ms));
  return paths.size();
}

/// Packages that npm put below `dir`, those of a scope and those inside of others included.
std::size_t packages_below(const fs::path& dir) {
  std::size_t count = 0;
  for (const auto& e : fs::recursive_directory_iterator(dir)) {
    if (e.path().filename() != "package.json") continue;
    auto above = e.path().parent_path().parent_path();
    if (above.filename().string().starts_with('@')) above = above.parent_path();
    if (above.filename() == "node_modules") ++count;
  }
  return count;
}

} // namespace

TEST_CASE(
    "every documented form of a credential is found where it stands, by one of 40 rules and more") {
  CHECK(issued_forms().size() >= 40);
  std::set<std::string> rules;
  const auto& own_rule = rule_of_form();
  for (const auto& form : issued_forms()) {
    unsigned right = 0;
    INFO(form.name);
    REQUIRE(own_rule.contains(form.name));
    const auto& rule = own_rule.at(form.name);
    for (unsigned seed = 0; seed < seeds; ++seed) {
      draw d{seed * 7919 + 1};
      auto text = file_with(form.make(d), seed);
      auto found = scan_text(text);
      bool here = std::any_of(found.begin(), found.end(), [&](const auto& f) {
        return f.rule == rule && f.severity == form.severity && f.line == 3;
      });
      INFO("by " << rule << ", seed " << seed << ", shape " << seed % 5);
      CHECK(here);
      if (here) ++right;
      // What is of little reach blocks nothing.
      if (form.severity != finding_severity::high)
        CHECK(rules_of(found, finding_severity::high).empty());
    }
    CHECK(right == seeds); // recall 1.0
    if (right == seeds) rules.insert(rule);
  }
  for (const auto& r : transfer::scan_rules())
    if (r.check != transfer::scan_check::word && r.check != transfer::scan_check::assigned) {
      INFO(r.name << " has no form in the corpus");
      CHECK(rules.contains(std::string{r.name}));
    }
  CHECK(rules.size() >= 40);
  CHECK(own_rule.size() == issued_forms().size());
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
  std::vector<fs::path> sets;
  for (const char* set : {"js", "cli"})
    if (auto dir = fs::path{source} / "build/conformance" / set / "node_modules"; fs::exists(dir))
      sets.push_back(dir);
  if (sets.empty()) SKEP_SKIP("tools/setup --for test installs the packages");
  CHECK(sets.size() == 2);
  for (const auto& dir : sets) {
    auto packages = packages_below(dir);
    auto files = nothing_high_below(dir);
    INFO(dir.string() << ": " << packages << " packages, " << files << " files");
    CHECK(packages >= 3);
    CHECK(files > packages);
    std::printf("%s: %zu packages\n", dir.c_str(), packages);
  }
}

TEST_CASE("Debian's documents have no finding of high severity") {
  if (!fs::exists("/usr/share/doc")) SKEP_SKIP("no /usr/share/doc here");
  CHECK(nothing_high_below("/usr/share/doc") > 0);
}
