// What the scan promises besides the rules: places, windows, binary files, the allow-list, and that
// it fails closed.
#include "transfer/scan.hpp"
#include "messages/json.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scan_corpus.hpp"
#include "tests/transfer/scanning.hpp"
#include "transfer/pack.hpp"
#include "transfer/scan_checks.hpp"

#include <set>
#include <sstream>

using namespace skep;
using namespace skep::test;
using transfer::scan_files;

namespace {

std::string github_token(unsigned seed = 1) {
  draw d{seed};
  return std::string{"github"} + "_pat_" + d.alnum(22) + "_" + d.alnum(59);
}

std::set<std::string> rule_names(const std::vector<scan_finding>& findings) {
  std::set<std::string> out;
  for (const auto& f : findings)
    out.insert(f.rule);
  return out;
}

} // namespace

TEST_CASE("each of the fourteen words is a finding of low severity, and its absence is none") {
  const std::pair<const char*, const char*> words[] = {{"word_api_key", "the API key"},
                                                       {"word_password", "a Password"},
                                                       {"word_secret", "SECRET"},
                                                       {"word_token", "tokens"},
                                                       {"word_private_key", "private-key"},
                                                       {"word_access_key", "access_key"},
                                                       {"word_client_secret", "clientSecret"},
                                                       {"word_auth_token", "AUTH_TOKEN"},
                                                       {"word_bearer_token", "bearer token"},
                                                       {"word_credentials", "credentials"},
                                                       {"word_aws_secret", "aws_secret"},
                                                       {"word_stripe_key", "StripeKey"},
                                                       {"word_oauth", "OAuth 2"},
                                                       {"word_ssh_key", "ssh-key"}};
  for (const auto& [rule, text] : words) {
    INFO(rule);
    auto found = scan_text(std::string{"one\ntwo "} + text + "\n");
    auto at =
        std::find_if(found.begin(), found.end(), [&](const auto& f) { return f.rule == rule; });
    REQUIRE(at != found.end());
    CHECK(at->severity == finding_severity::low);
    CHECK(at->line == 2);
    CHECK(rule_names(scan_text("a text about apples, pears and keys of pianos\n")).count(rule)
          == 0);
  }
}

TEST_CASE("a repository with nothing but the word token in its documents has no finding of high "
          "severity") {
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += "A token is a secret, and the token of a token is a password.\n";
  auto found = scan_text(text);
  CHECK(rules_of(found, finding_severity::high).empty());
  CHECK(rules_of(found, finding_severity::medium).empty());
  CHECK(found.size() <= 14); // one a kind and file, not one a line
}

TEST_CASE("a finding says path and line, and nothing of the value") {
  repo r;
  auto value = github_token();
  r.put("a/settings.py", "import os\n\n\nx = '" + value + "'\n");
  r.commit();
  auto report = scan_files(r.path, {"a/settings.py"});
  REQUIRE(report.high == 1);
  const auto& f = report.findings.at(0);
  CHECK(f.path == "a/settings.py");
  CHECK(f.line == 4);
  CHECK(f.rule == "github_fine_token");
  CHECK(f.kind == "git");
  auto text = to_line(to_json(report));
  CHECK(text.find(value) == text.npos);
  CHECK(text.find(value.substr(12, 10)) == text.npos);
}

TEST_CASE("files of any kind and size are read, in pieces of any size") {
  auto value = github_token(2);
  std::string line(99, 'a');
  line += '\n';
  for (std::size_t lines_before :
       {std::size_t{0}, std::size_t{10'400}, std::size_t{10'485}, std::size_t{31'000}}) {
    std::string text;
    for (std::size_t i = 0; i < lines_before; ++i)
      text += line;
    text += value + "\n";
    for (std::size_t i = 0; i < 3000; ++i)
      text += line;
    for (std::size_t piece : {std::size_t{4096}, std::size_t{65'537}, std::size_t{64} << 20}) {
      INFO(lines_before << " lines before, pieces of " << piece);
      auto found = scan_text(text, piece);
      REQUIRE(found.size() == 1);
      CHECK(found[0].line == lines_before + 1);
    }
  }
}

TEST_CASE("a value across the edge of a window is found once, at every offset") {
  auto value = github_token(3);
  std::string text(1024 * 1024 + 64 * 1024, '.');
  // Around the end of the first window, and around where a match is left to the second.
  for (std::size_t edge : {std::size_t{1024} * 1024, std::size_t{1024} * 1024 - 8 * 1024})
    for (std::size_t at = edge - 100; at <= edge + 4; ++at) {
      auto with = text;
      with.replace(at, value.size(), value);
      with[at + value.size()] = ' ';
      with[at - 1] = ' ';
      auto found = scan_text(with, 256 * 1024);
      INFO(at);
      CHECK(found.size() == 1);
    }
}

TEST_CASE("binary files are read for values of a known form, not for words") {
  auto value = github_token(4);
  constexpr char program[] = "\x7f"
                             "ELF\0\0\0 password token secret ";
  std::string binary{program, sizeof program - 1};
  auto found = scan_text(binary + value + std::string(1, '\0'));
  REQUIRE(found.size() == 1);
  CHECK(found[0].rule == "github_fine_token");
}

TEST_CASE("text in UTF-16 is read as text") {
  std::string wide{"\xff\xfe"};
  for (char c : "line\npassword = '" + github_token(5) + "'\n") {
    wide += c;
    wide += '\0';
  }
  auto found = rule_names(scan_text(wide));
  CHECK(found.count("github_fine_token") == 1);
  CHECK(found.count("word_password") == 1);
}

TEST_CASE("one value is one finding, and two values in a line are two") {
  draw d{11};
  auto known = github_token(11);
  auto found = scan_text("api_token = '" + known + "'\n");
  CHECK(rules_of(found, finding_severity::high) == std::vector<std::string>{"github_fine_token"});
  // So that an allow-list's line for the one never hides the other.
  auto both = scan_text("{\"token\":\"" + known + "\",\"db_password\":\"" + d.alnum(24) + "\"}\n");
  CHECK(rules_of(both, finding_severity::high)
        == std::vector<std::string>{"github_fine_token", "assigned_secret"});
}

TEST_CASE("examples in a file never hide a value further down") {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "k = AK" + std::string{"IA"} + "IOSFODNN7EXAMPLE\n";
  draw d{6};
  text += "k = AK" + std::string{"IA"} + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16) + "\n";
  auto found = scan_text(text);
  REQUIRE(rules_of(found, finding_severity::high) == std::vector<std::string>{"aws_access_key_id"});
  for (const auto& f : found)
    if (f.severity == finding_severity::high) CHECK(f.line == 41);
}

TEST_CASE(
    "a file for an environment, a file without an ending, and a symlink's target are scanned") {
  repo r;
  auto value = github_token(7);
  r.put("Dockerfile", "FROM x\nENV T=" + value + "\n");
  r.put("Makefile", "all:\n\ttrue\n");
  r.put("config/env.staging", "T=" + value + "\n");
  std::filesystem::create_symlink("https://x:" + value + "@y", r / "link");
  r.commit();
  auto paths = transfer::list_worktree(r.path);
  REQUIRE(paths.ok());
  auto report = scan_files(r.path, *paths);
  CHECK(report.files == 4);
  std::vector<std::string> found;
  for (const auto& f : report.findings)
    if (f.severity == finding_severity::high) found.push_back(f.path);
  CHECK(found == std::vector<std::string>{"Dockerfile", "config/env.staging", "link"});
  // It never travels; what is given to the scanner is read all the same.
  r.put(".env.staging", "T=" + value + "\n");
  CHECK(scan_files(r.path, {".env.staging"}).high == 1);
}

TEST_CASE("the allow-list takes out what it names, with a reason, and nothing else") {
  repo r;
  r.put("tests/keys/a.txt", github_token(8) + "\n");
  r.put("src/a.txt", github_token(8) + "\n");
  r.put(".skep-scan-allow",
        "# looked at\n\ntests/keys/*   github_fine_token   # made for the tests\n");
  r.commit();
  auto report = scan_files(r.path, {"src/a.txt", "tests/keys/a.txt"});
  CHECK(report.high == 1);
  CHECK(report.allowed == 1);
  CHECK(report.findings.at(0).path == "src/a.txt");
}

TEST_CASE(
    "a line of the allow-list without a reason, or of a rule that is not there, fails the scan") {
  for (const char* line : {"src/* github_token", "src/* github_token #", "src/* no_such_rule # x",
                           "github_token # no path"}) {
    INFO(line);
    CHECK(transfer::allow_list::parse(line).err().code == errc::bad_allow_file);
    repo r;
    r.put("a", "x");
    r.put(".skep-scan-allow", line);
    auto report = scan_files(r.path, {"a"});
    CHECK(report.alarming());
    CHECK(report.problem.find(".skep-scan-allow:1") != report.problem.npos);
  }
  auto spaces = transfer::allow_list::parse("a file with spaces.txt  *  # an example\n");
  REQUIRE(spaces.ok());
  CHECK(
      spaces->allows({"a file with spaces.txt", 1, "github_token", "git", finding_severity::high}));
}

TEST_CASE("an allow-list knows whether one of its lines turns the scan off") {
  auto off = [](const std::string& line) {
    auto list = transfer::allow_list::parse(line + "  # looked at\n");
    REQUIRE(list.ok());
    return list->allows_everything();
  };
  for (const char* line : {"* *", "** *", "*/* *", "?* *"}) {
    INFO(line);
    CHECK(off(line));
  }
  for (const char* line : {"docs/* *", "* github_token", "? *", "*.pem *"}) {
    INFO(line);
    CHECK_FALSE(off(line));
  }
  CHECK_FALSE(transfer::allow_list{}.allows_everything());
}

TEST_CASE("a file that cannot be read, a broken engine, and a time limit count as findings") {
  repo r;
  r.put("a", "x");
  r.put("b", "y");
  auto missing = scan_files(r.path, {"a", "gone", "b"});
  CHECK(missing.alarming());
  CHECK(missing.problem == "gone cannot be read: the file does not exist");

  transfer::scan_options broken;
  broken.engine = [] {
    auto rules = transfer::scan_rules();
    rules[3].pattern = "a(b";
    return transfer::scan_engine::compile(rules);
  };
  auto report = scan_files(r.path, {"a"}, broken);
  CHECK(report.alarming());
  CHECK(report.problem.find(std::string{transfer::scan_rules()[3].name}) != report.problem.npos);

  transfer::scan_options hasty;
  hasty.limit = std::chrono::milliseconds{0};
  CHECK(scan_files(r.path, {"a"}, hasty).problem.find("time limit") != std::string::npos);

  std::atomic<bool> cancel{true};
  transfer::scan_options cancelled;
  cancelled.cancel = &cancel;
  CHECK(scan_files(r.path, {"a"}, cancelled).alarming());
}

TEST_CASE("what is packed is what was scanned, in one reading") {
  repo r;
  temp t;
  r.put("a", "x = 1\n");
  r.put("b/c", "t = '" + github_token(9) + "'\n");
  r.commit();
  transfer::scan_watcher watcher{r.path, {}};
  transfer::pack_options options;
  options.watcher = &watcher;
  auto packed = transfer::pack_worktree(r.path, t / "a.tar", options);
  REQUIRE(packed.ok());
  auto report = watcher.report();
  CHECK(report.files == packed->manifest.files.size());
  CHECK(report.size_bytes == packed->manifest.total_bytes);
  REQUIRE(report.high == 1);
  CHECK(report.findings.at(0).path == "b/c");
}

TEST_CASE("what comes back is scanned: files, and what the patch alone shows") {
  temp t;
  repo r;
  r.put(".skep-scan-allow", "docs/* * # examples\n");
  auto value = github_token(10);
  put(t / "p0/files/src/new.txt", "k = " + value + "\n");
  put(t / "p0/files/docs/x.txt", "k = " + value + "\n");
  draw d{3};
  auto removed_again = std::string{"np"} + "m_" + d.alnum(36);
  put(t / "p0.patch",
      "diff\n+k = " + value + "\n+t = " + removed_again + "\n-t = " + removed_again + "\n");
  auto report = transfer::scan_results(t.path, "p0", r.path);
  CHECK(report.problem.empty());
  CHECK(report.high == 2);
  CHECK(report.allowed > 0);
  REQUIRE(report.findings.size() >= 2);
  CHECK(std::any_of(report.findings.begin(), report.findings.end(), [](const auto& f) {
    return f.path == "p0/files/src/new.txt" && f.severity == finding_severity::high;
  }));
  CHECK(rule_names(report.findings).count("npm_token") == 1);
  CHECK(transfer::scan_results(t.path, "nobody", r.path).findings.empty());
}

namespace {

/// A series as git writes it, with these messages; each commit adds a line to `file`.
void write_series(const repo& r, const std::string& to, const std::vector<std::string>& messages) {
  auto base = r.commit("the base");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    r.put("file", std::string(i + 1, 'x') + "\n");
    r.commit(messages[i]);
  }
  put(to, git(r.path, {"format-patch", "--stdout", "--no-encode-email-headers", base}) + "\n");
}

} // namespace

TEST_CASE("the messages of commits that come back are scanned, and a finding says commit and line, "
          "never the value") {
  temp t;
  repo r, user;
  draw d{21};
  auto github = github_token(20);
  auto npm = std::string{"np"} + "m_" + d.alnum(36);
  const std::string words =
      "a subject of so many words that git folds it in the header of its mail";
  write_series(r, t / "p0.patch",
               {"plain", words + " before " + github + "\n\nbody", "third\n\nline\nkey " + npm,
                "fourth\n\n---\ndiff --git a/x b/x\n+++ b/x\n@@ -0,0 +1 @@\n+" + github});
  // What a file holds, too, is told of the message as well: nobody reads it there.
  put(t / "p0/files/file", "k = " + npm + "\n");
  user.put(".skep-scan-allow", "file * # generated\n");
  auto report = transfer::scan_results(t.path, "p0", user.path);
  CHECK(report.problem.empty());
  std::vector<std::string> lines;
  std::istringstream in{get(t / "p0.patch")};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  auto found_in = [&](const std::string& path, const std::string& rule) -> const scan_finding* {
    for (const auto& f : report.findings)
      if (f.path == path && f.rule == rule && f.severity == finding_severity::high) return &f;
    return nullptr;
  };
  const auto* folded = found_in("p0.patch commit 2", "github_fine_token");
  REQUIRE(folded);
  CHECK(lines.at(folded->line - 1).starts_with("Subject: [PATCH 2/4] a subject"));
  const auto* body = found_in("p0.patch commit 3", "npm_token");
  REQUIRE(body);
  CHECK(lines.at(body->line - 1) == "key " + npm);
  // A message that looks like a patch is read as one, as by git: not as a message, but read.
  CHECK(found_in("p0.patch", "github_fine_token"));
  CHECK(report.high == 3);
  auto told = to_line(to_json(transfer::for_event(report)));
  for (const auto& value : {github, npm})
    CHECK(told.find(value.substr(8, 20)) == told.npos);
}

TEST_CASE("names of authors count as message, and a message in UTF-16 is text") {
  temp t;
  repo user;
  const std::string head = "From " + std::string(40, 'a') + " Mon Sep 17 00:00:00 2001\n";
  auto wide = [](const std::string& text) {
    std::string out;
    for (char c : text)
      (out += c) += '\0';
    return out;
  };
  put(t / "p0.patch", head + "From: " + github_token(30) + " <a@example.org>\nSubject: x\n\n---\n"
                          + head + "Subject: y\n\n" + wide("the key " + github_token(31) + "\n"));
  auto report = transfer::scan_results(t.path, "p0", user.path);
  CHECK(report.high == 2);
  REQUIRE(report.findings.size() >= 2);
  CHECK(report.findings[0].path == "p0.patch commit 1");
  CHECK(report.findings[0].line == 2);
  CHECK(report.findings[1].path == "p0.patch commit 2");
  CHECK(report.findings[1].line == 9);
}

TEST_CASE("an event names at most a hundred findings and counts them all") {
  scan_report r;
  for (unsigned i = 0; i < 250; ++i)
    r.findings.push_back({std::string(400, 'a'), i, "x", "git", finding_severity::high});
  r.high = 250;
  auto e = transfer::for_event(r);
  CHECK(e.findings.size() == max_event_findings);
  CHECK(e.high == 250);
  CHECK(e.findings[0].path.size() < 310);
}

TEST_CASE("the checks of values can be called by themselves") {
  using namespace transfer;
  CHECK(entropy_of("") == 0);
  CHECK(entropy_of("aaaa") == 0);
  CHECK(entropy_of("abcd") == Approx(2));
  CHECK(looks_made_up("AKIAIOSFODNN7EXAMPLE"));
  CHECK(looks_random("kJ8sQ2mZx91LpWvT4rYb"));
  CHECK_FALSE(looks_random("getAccessTokenFromHeader2"));
  CHECK_FALSE(looks_random("2024-11-26-release-notes"));
  CHECK_FALSE(looks_random("my-application-tls-secret-1"));
}
