// What a patch holds beside the files that came with it is told by its value, not by its rule.
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scan_corpus.hpp"
#include "transfer/scan.hpp"

using namespace skep;
using namespace skep::test;

namespace {

std::string drawn_token(unsigned seed) {
  draw d{seed};
  return std::string{"github"} + "_pat_" + d.alnum(22) + "_" + d.alnum(59);
}

/// In OpenSSH's form: the first line of the body is the same for all keys of a kind.
std::string drawn_key(unsigned seed, const std::string& before_each_line) {
  draw same{1}, d{seed};
  auto label = std::string{" OPENSSH PRIVATE"} + " KEY" + std::string(5, '-') + "\n";
  auto line = [&](const std::string& text) { return before_each_line + text; };
  return line(std::string(5, '-') + "BEGIN" + label) + line(same.base64(70) + "\n")
         + line(d.base64(70) + "\n") + line(d.base64(70) + "\n")
         + line(std::string(5, '-') + "END" + label);
}

/// "PATH:LINE RULE" of what is of high severity.
std::vector<std::string> places_of(const scan_report& report) {
  std::vector<std::string> out;
  for (const auto& f : report.findings)
    if (f.severity == finding_severity::high)
      out.push_back(f.path + ":" + std::to_string(f.line) + " " + f.rule);
  return out;
}

using places = std::vector<std::string>;

} // namespace

TEST_CASE("of two keys of one rule, the one that only the history of a patch holds is told beside "
          "the one in a file") {
  temp t;
  repo user;
  auto stayed = drawn_token(40), went = drawn_token(41), other = drawn_token(42);
  put(t / "p0/files/a.txt", "k = " + stayed + "\n");
  put(t / "p0.patch", "diff\n+k = " + stayed + "\n+t = " + went + "\n-t = " + went
                          + "\n+u = " + other + "\n-u = " + other + "\n");
  auto report = transfer::scan_results(t.path, "p0", user.path);
  CHECK(report.problem.empty());
  CHECK(report.high == 3);
  CHECK(places_of(report)
        == places{"p0.patch:3 github_fine_token", "p0.patch:5 github_fine_token",
                  "p0/files/a.txt:1 github_fine_token"});
}

TEST_CASE("values of a file use up no place of the patch's own, however many they are") {
  temp t;
  repo user;
  std::string file, patch = "diff\n";
  for (unsigned i = 0; i < 12; ++i) {
    file += "k = " + drawn_token(50 + i) + "\n";
    patch += "+k = " + drawn_token(50 + i) + "\n";
  }
  patch += "+t = " + drawn_token(70) + "\n-t = " + drawn_token(70) + "\n";
  put(t / "p0/files/a.txt", file);
  put(t / "p0.patch", patch);
  auto report = transfer::scan_results(t.path, "p0", user.path);
  auto found = places_of(report);
  REQUIRE(found.size() == 11); // ten of the file, which are all that a rule has in one
  CHECK(report.high == 11);
  CHECK(found[0] == "p0.patch:14 github_fine_token");
  CHECK(found[1] == "p0/files/a.txt:1 github_fine_token");
}

TEST_CASE("private keys are told apart by what stands below their heads, with a patch's marks or "
          "without") {
  temp t;
  repo user;
  put(t / "p0/files/key.txt", drawn_key(80, ""));
  put(t / "p0.patch", "diff\n" + drawn_key(80, "+"));
  CHECK(places_of(transfer::scan_results(t.path, "p0", user.path))
        == places{"p0/files/key.txt:1 private_key"});
  put(t / "p0.patch",
      "diff\n" + drawn_key(80, "+") + "diff\n" + drawn_key(81, "+") + drawn_key(81, "-"));
  CHECK(places_of(transfer::scan_results(t.path, "p0", user.path))
        == places{"p0.patch:8 private_key", "p0/files/key.txt:1 private_key"});
}

TEST_CASE("a value of a file that the allow-list names is told of the patch") {
  temp t;
  repo user;
  user.put(".skep-scan-allow", "docs/* * # examples\n");
  put(t / "p0/files/docs/a.txt", "k = " + drawn_token(90) + "\n");
  put(t / "p0/files/b.txt", "k = " + drawn_token(91) + "\n");
  put(t / "p0.patch", "diff\n+k = " + drawn_token(90) + "\n+k = " + drawn_token(91) + "\n");
  auto report = transfer::scan_results(t.path, "p0", user.path);
  CHECK(report.allowed == 1);
  CHECK(places_of(report)
        == places{"p0.patch:2 github_fine_token", "p0/files/b.txt:1 github_fine_token"});
}
