// .skepignore means what .gitignore means, and the defaults give way to it.
#include "transfer/ignore.hpp"
#include "tests/support/memory_as_temp.hpp"
#include "tests/support/skip.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scan_corpus.hpp"
#include "transfer/beneath.hpp"
#include "transfer/exclude.hpp"
#include "transfer/worktree.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

using namespace skep;
using namespace skep::test;
using transfer::list_worktree;
namespace fs = std::filesystem;

namespace {

using names = std::vector<std::string>;

names listed(const repo& r, std::vector<transfer::skipped_path>* skipped = nullptr) {
  auto list = list_worktree(r.path, skipped);
  REQUIRE(list.ok());
  return *list;
}

/// Ignore files by their directory ("" or "a/"), and the paths they are asked about.
struct ignore_case {
  std::map<std::string, names> rules;
  names paths;
  bool tracked = false;
  std::string replaced; ///< A directory that took the place of a tracked file; empty: none.
};

std::string name_of(draw& d) {
  static const std::array list{"a",   "b",   "build", "lib", "x.c",       "y.log", "Z",
                               "foo", "a b", "#c",    "!d",  "w\xc3\xa9", "*e",    "doc.txt"};
  return list[d.below(list.size())];
}

std::string pattern_of(draw& d) {
  static const std::array special{"*",     "*.c",  "*.log",  "**",       "?",          "[a-c]",
                                  "[!a]*", "\\#c", "\\!d",   "f*o",      "\\*e",       "build",
                                  "**/a",  "a/**", "a/**/b", "doc.txt ", "doc.txt\\ ", "# a remark",
                                  "",      "/",    "x.?"};
  std::string out = d.below(3) ? name_of(d) : special[d.below(special.size())];
  if (d.below(4) == 0) out += "/" + name_of(d);
  if (d.below(6) == 0) out = "/" + out;
  if (d.below(5) == 0) out = "**/" + out;
  if (d.below(4) == 0) out += "/";
  if (d.below(4) == 0) out = "!" + out;
  return out;
}

ignore_case draw_case(draw& d, std::size_t paths) {
  ignore_case out;
  out.tracked = d.below(2) == 0;
  std::set<std::string> files, dirs;
  while (files.size() < paths) {
    std::string path;
    for (auto depth = d.below(4); depth > 0; --depth)
      path += name_of(d) + "/";
    path += name_of(d) + (d.below(3) ? d.lower(1) : "");
    // No file where another one needs a directory, and the other way round.
    bool clash = dirs.count(path) > 0;
    for (auto at = path.find('/'); at != path.npos; at = path.find('/', at + 1))
      clash = clash || files.count(path.substr(0, at)) > 0;
    if (clash || !transfer::excluded_reason(path).empty()) continue;
    for (auto at = path.find('/'); at != path.npos; at = path.find('/', at + 1))
      dirs.insert(path.substr(0, at));
    files.insert(path);
  }
  out.paths.assign(files.begin(), files.end());
  if (!out.tracked && !dirs.empty() && d.below(4) == 0)
    out.replaced = *std::next(dirs.begin(), static_cast<std::ptrdiff_t>(d.below(dirs.size())));
  if (d.below(8) == 0) return out; // no rules at all: the defaults alone
  for (auto lines = 1 + d.below(8); lines > 0; --lines)
    out.rules[""].push_back(pattern_of(d));
  for (const auto& dir : dirs)
    if (d.below(6) == 0)
      for (auto lines = 1 + d.below(3); lines > 0; --lines)
        out.rules[dir + "/"].push_back(pattern_of(d));
  return out;
}

/// The paths and the rules of a case, as files of a repository; the rules in files of this name.
void write_case(const repo& r, const ignore_case& c, const std::string& rules_name) {
  for (const auto& p : c.paths)
    r.put(p, "x");
  for (const auto& [dir, lines] : c.rules) {
    std::string text;
    for (const auto& l : lines)
      text += l + "\n";
    r.put(dir + rules_name, text);
  }
}

/// The defaults as git's own weakest rules.
void write_defaults(const repo& r) {
  std::string text;
  for (auto line : transfer::default_excludes())
    text.append(line) += "\n";
  r.put(".git/info/exclude", text);
}

/// Those of the case that our listing has.
names stay(const repo& r, const ignore_case& c) {
  auto all = listed(r);
  names out;
  for (const auto& p : c.paths)
    if (std::binary_search(all.begin(), all.end(), p)) out.push_back(p);
  return out;
}

/// The paths that stay, by our listing.
names by_us(const ignore_case& c) {
  repo r;
  if (!c.replaced.empty()) {
    r.put(c.replaced, "a file once\n");
    git(r.path, {"add", "-A"});
    fs::remove(r / c.replaced);
  }
  write_case(r, c, ".skepignore");
  if (c.tracked) git(r.path, {"add", "-A"});
  return stay(r, c);
}

/// The names of `paths` that git's check-ignore does not name, in a repository at `root`.
names kept_by_git(const std::string& root, const names& paths) {
  transfer::program p;
  p.argv = {"git", "check-ignore", "--no-index", "-z", "--stdin"};
  p.working_dir = root;
  p.environment = transfer::git_environment();
  p.environment->push_back("GIT_CONFIG_GLOBAL=/dev/null");
  for (const auto& path : paths)
    p.stdin_data += path + '\0';
  auto ran = transfer::run_program(p);
  REQUIRE(ran.ok());
  REQUIRE(ran->exit_code <= 1);
  auto ignored = transfer::split_nul(ran->out);
  std::set<std::string> gone(ignored.begin(), ignored.end());
  names out;
  for (const auto& path : paths)
    if (!gone.count(path)) out.push_back(path);
  return out;
}

/// The same by git, to which the same files are .gitignore, and the defaults its info/exclude.
names by_git(const ignore_case& c) {
  repo r;
  write_case(r, c, ".gitignore");
  if (!c.tracked) write_defaults(r);
  return kept_by_git(r.path, c.paths);
}

bool agrees(const ignore_case& c) {
  return by_us(c) == by_git(c);
}

/// Takes away what is not needed for the disagreement.
ignore_case shrunk(ignore_case c) {
  for (bool smaller = true; smaller;) {
    smaller = false;
    auto attempt = [&](const ignore_case& less) {
      if (agrees(less)) return false;
      c = less;
      return smaller = true;
    };
    for (std::size_t i = c.paths.size(); i-- > 0 && c.paths.size() > 1;) {
      auto less = c;
      less.paths.erase(less.paths.begin() + static_cast<std::ptrdiff_t>(i));
      attempt(less);
    }
    for (const auto& [dir, lines] : std::map{c.rules})
      for (std::size_t i = lines.size(); i-- > 0;) {
        auto less = c;
        auto& there = less.rules[dir];
        if (i >= there.size()) continue;
        there.erase(there.begin() + static_cast<std::ptrdiff_t>(i));
        attempt(less);
      }
  }
  return c;
}

std::string text_of(const ignore_case& c) {
  std::string out = c.tracked ? "tracked\n" : "untracked\n";
  if (!c.replaced.empty()) out += "a tracked file once: " + c.replaced + "\n";
  for (const auto& [dir, lines] : c.rules)
    for (const auto& l : lines)
      out += "rule in '" + dir + "': " + l + "\n";
  for (const auto& p : c.paths)
    out += "path: " + p + "\n";
  return out;
}

} // namespace

TEST_CASE(
    ".skepignore leaves out tracked and untracked files, with negation and in any directory") {
  repo r;
  for (const char* n :
       {"data/big.bin", "data/keep.bin", "docs/a.md", "docs/b.md", "src/x.c", "src/gen/y.c"})
    r.put(n, "x");
  r.commit();
  r.put("data/new.bin", "x");
  r.put(".skepignore", "*.bin\n!keep.bin\n/docs/b.md\n");
  r.put("src/.skepignore", "gen/\n");
  std::vector<transfer::skipped_path> skipped;
  CHECK(listed(r, &skipped)
        == names{".skepignore", "data/keep.bin", "docs/a.md", "src/.skepignore", "src/x.c"});
  names gone;
  for (const auto& s : skipped) {
    CHECK(s.reason == "left out by .skepignore");
    gone.push_back(s.path);
  }
  CHECK(gone == names{"data/big.bin", "data/new.bin", "docs/b.md", "src/gen/y.c"});
}

TEST_CASE("a folder in the place of a tracked file is left out as any other") {
  repo r;
  for (const char* n : {"e", "deep/f", "kept", "build"})
    r.put(n, "a file\n");
  r.put(".skepignore", "/e/\n/deep/f/\n");
  r.commit();
  for (const char* n : {"e", "deep/f", "kept", "build"})
    std::filesystem::remove(r / n);
  for (const char* n : {"e/local", "deep/f/a/b", "kept/x", "build/out.o"})
    r.put(n, "of this machine\n");
  std::vector<transfer::skipped_path> skipped;
  CHECK(listed(r, &skipped) == names{".skepignore", "kept/x"});
  std::map<std::string, std::string> why;
  for (const auto& s : skipped)
    why[s.path] = s.reason;
  CHECK(why["e/local"] == "left out by .skepignore");
  CHECK(why["deep/f/a/b"] == "left out by .skepignore");
  CHECK(why["build/out.o"] == "left out by .skepignore or by default: build/");
}

TEST_CASE("a folder in the place of a tracked file is named among what git ignores") {
  repo r;
  for (const char* n : {"cfg", "deep/er", "part"})
    r.put(n, "a file\n");
  r.put(".gitignore", "*.log\nbig/\n/cfg/\ner/\n");
  r.commit();
  for (const char* n : {"cfg", "deep/er", "part"})
    std::filesystem::remove(r / n);
  for (const char* n : {"cfg/d", "cfg/sub/c", "deep/er/f", "part/b", "part/c.log", "big/x"})
    r.put(n, "of this machine\n");
  auto ignored = transfer::ignored_by_git(r.path);
  REQUIRE(ignored.ok());
  CHECK(*ignored == names{"big/", "cfg/", "deep/er/", "part/c.log"});
}

TEST_CASE("directories that programs make are left out by default, unless tracked or asked for") {
  repo r;
  r.put("dist/tracked.js", "x");
  r.put("src/build/x.c", "x");
  r.commit();
  for (const char* n : {"node_modules/a/i.js", "pkg/node_modules/b.js", "dist/new.js", "build/o.o",
                        "src/build/y.c", "coverage/c", "buildx/z"})
    r.put(n, "x");
  std::vector<transfer::skipped_path> skipped;
  CHECK(listed(r, &skipped) == names{"buildx/z", "dist/tracked.js", "src/build/x.c"});
  REQUIRE(skipped.size() == 6);
  CHECK(skipped[0].path == "build/o.o");
  CHECK(skipped[0].reason == "left out by default: build/");
  r.put(".skepignore", "!node_modules/\n!/build/\n");
  CHECK(listed(r)
        == names{".skepignore", "build/o.o", "buildx/z", "dist/tracked.js", "node_modules/a/i.js",
                 "pkg/node_modules/b.js", "src/build/x.c"});
}

TEST_CASE("a default in other letters is one where git ignores case, and else is not") {
  repo r;
  r.put("Build/x.o", "x");
  r.put("src/Coverage/y.c", "x");
  r.put("a", "x");
  CHECK(listed(r) == names{"Build/x.o", "a", "src/Coverage/y.c"});
  for (const char* how : {"false", "true"}) {
    git(r.path, {"config", "core.ignoreCase", how});
    auto all = names{"Build/x.o", "a", "src/Coverage/y.c"};
    CHECK(listed(r) == (how == std::string_view{"true"} ? names{"a"} : all));
  }
}

TEST_CASE("nothing in .skepignore takes back what git ignores or what is always excluded") {
  repo r;
  r.put(".gitignore", "*.log\n");
  std::string negations = "!*.log\n!*\n";
  std::size_t never = 0;
  for (auto pattern : transfer::always_excluded()) {
    if (pattern == ".git") continue; // the repository itself
    // A path for each pattern: its globs replaced by a letter.
    std::string path;
    for (std::size_t i = 0; i < pattern.size(); ++i)
      if (pattern[i] != '*')
        path += pattern[i];
      else if (i == 0 || pattern[i - 1] != '*')
        path += 'x';
    r.put(path, "x");
    r.put("deep/down/" + path, "x");
    negations.append("!") += std::string{pattern} + "\n!**/" + path + "\n";
    never += 2;
  }
  r.put(".skepignore", negations);
  r.put("a.log", "x");
  r.put("a.txt", "x");
  r.commit(); // all of them tracked
  std::vector<transfer::skipped_path> skipped;
  CHECK(listed(r, &skipped) == names{".gitignore", ".skepignore", "a.txt"});
  CHECK(skipped.size() == never);
}

TEST_CASE("a tree with files left out is not HEAD, so that its objects do not travel either") {
  repo r;
  r.put("a", "x");
  r.put("secret.txt", "x");
  r.put(".skepignore", "secret.txt\n");
  r.commit();
  auto clean = transfer::worktree_is_head(r.path, listed(r));
  REQUIRE(clean.ok());
  CHECK_FALSE(*clean);
}

TEST_CASE("files that git was told not to look at keep HEAD's objects from travelling") {
  repo r;
  r.put("a", "committed");
  r.put("b", "x");
  r.commit();
  git(r.path, {"update-index", "--assume-unchanged", "a"});
  r.put("a", "changed here");
  auto clean = transfer::worktree_is_head(r.path, listed(r));
  REQUIRE(clean.ok());
  CHECK_FALSE(*clean);
}

TEST_CASE("a sparse checkout is listed as it is, and says what it does not hold") {
  repo r;
  r.put("in/a", "x");
  r.put("out/b", "x");
  r.put("top", "x");
  r.commit();
  git(r.path, {"sparse-checkout", "set", "in"});
  std::vector<transfer::skipped_path> skipped;
  CHECK(listed(r, &skipped) == names{"in/a", "top"});
  REQUIRE(skipped.size() == 1);
  CHECK(skipped[0].path == "out/b");
  CHECK(skipped[0].reason == "not in this sparse checkout");
}

TEST_CASE("a linked worktree and a shallow clone are listed like any other") {
  repo r;
  temp t;
  r.put("a", "1");
  r.commit();
  r.put("a", "2");
  r.commit();
  git(r.path, {"worktree", "add", "-q", t / "linked", "-b", "other"});
  run({"git", "clone", "-q", "--depth", "1", "file://" + r.path, t / "shallow"});
  for (const char* which : {"linked", "shallow"}) {
    INFO(which);
    auto facts = transfer::inspect_repo(t / which);
    REQUIRE(facts.ok());
    auto list = list_worktree(facts->root);
    REQUIRE(list.ok());
    CHECK(*list == names{"a"});
    CHECK(*transfer::worktree_is_head(facts->root, *list));
  }
}

TEST_CASE("the line that ignores a path is named, of git's files and of ours") {
  repo r;
  r.put(".gitignore", "# logs\n*.log\n");
  r.put("sub/.skepignore", "\nbig*\n!bigger\n");
  for (const char* n : {"a.log", "sub/big", "sub/bigger", "node_modules/x", "plain"})
    r.put(n, "x");
  CHECK(*transfer::line_of_git(r.path, "a.log") == ".gitignore:2: *.log");
  CHECK(*transfer::line_of_git(r.path, "plain") == "");
  CHECK(*transfer::line_of_skep(r.path, "sub/big", false) == "sub/.skepignore:2: big*");
  CHECK(*transfer::line_of_skep(r.path, "sub/bigger", false) == "");
  CHECK(*transfer::line_of_skep(r.path, "node_modules/x", false) == "default: node_modules/");
  CHECK(*transfer::line_of_skep(r.path, "node_modules/x", true) == "");
}

TEST_CASE("our listing agrees with git check-ignore about generated rules and paths") {
  memory_as_temp quick;
  // SKEP_IGNORE_PAIRS=100000 for the long form.
  const char* wanted = std::getenv("SKEP_IGNORE_PAIRS");
  auto pairs = wanted ? std::strtoul(wanted, nullptr, 10) : 3000ul;
  std::size_t asked = 0, out = 0;
  for (unsigned seed = 1; asked < pairs; ++seed) {
    draw d{seed};
    auto c = draw_case(d, 120);
    auto ours = by_us(c);
    auto gits = by_git(c);
    asked += c.paths.size();
    out += c.paths.size() - ours.size();
    if (ours == gits) continue;
    auto small = shrunk(c);
    FAIL("seed " << seed << "\n" << text_of(small));
  }
  std::printf("ignore rules: %zu pairs asked, %zu left out\n", asked, out);
  CHECK(out > asked / 20);
  CHECK(out < asked * 19 / 20);
}

namespace {

/// A name that a line of an ignore file is likely to match.
std::string match_of(std::string_view line, draw& d) {
  if (line.starts_with('!')) line.remove_prefix(1);
  if (line.starts_with('/')) line.remove_prefix(1);
  if (line.ends_with('/')) line.remove_suffix(1);
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '[') {
      auto end = line.find(']', i + 2);
      if (end == line.npos) return {};
      out += line[i + 1] == '!' || line[i + 1] == '^' ? 'q' : line[i + 1];
      i = end;
    } else if (line[i] == '*') {
      if (i == 0 || line[i - 1] != '*') out += d.lower(1 + d.below(3));
    } else if (line[i] == '?') {
      out += d.lower(1);
    } else if (line[i] != '\\') {
      out += line[i];
    }
  }
  return out;
}

/// The rules of a project as they lie in its source, and paths: some of its own, and such that its
/// rules were written for, and near misses of these.
ignore_case project_case(const std::string& source, draw& d) {
  constexpr std::size_t most_own = 4000, most_made = 6000;
  ignore_case out;
  names own;
  std::istringstream list{get(source + ".paths")};
  for (std::string path; std::getline(list, path);)
    if (!path.substr(path.rfind('/') + 1).starts_with(".git")) own.push_back(path);
  fs::recursive_directory_iterator i{source}, end;
  for (; i != end; ++i) {
    if (i->path().filename() != ".gitignore") continue;
    auto dir = i->path().parent_path().string().substr(source.size());
    auto& lines = out.rules[dir.empty() ? dir : dir.substr(1) + "/"];
    std::istringstream in{get(i->path().string())};
    for (std::string line; std::getline(in, line);)
      lines.push_back(line);
  }
  std::sort(own.begin(), own.end());
  std::set<std::string> files, dirs;
  auto add = [&](const std::string& path) {
    if (!transfer::safe_relative(path) || transfer::names_git_dir(path)
        || !transfer::excluded_reason(path).empty())
      return;
    bool clash =
        dirs.count(path) > 0 || path.find("/.git") != path.npos || path.starts_with(".git");
    for (auto at = path.find('/'); at != path.npos; at = path.find('/', at + 1))
      clash = clash || files.count(path.substr(0, at)) > 0;
    if (clash) return;
    for (auto at = path.find('/'); at != path.npos; at = path.find('/', at + 1))
      dirs.insert(path.substr(0, at));
    files.insert(path);
  };
  for (std::size_t n = 0; n < own.size(); n += 1 + own.size() / most_own)
    add(own[n]);
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [dir, rules] : out.rules)
    for (const auto& line : rules)
      if (!line.empty() && line[0] != '#') lines.emplace_back(dir, line);
  for (std::size_t made = 0; made < most_made && !lines.empty(); ++made) {
    const auto& [dir, line] = lines[made < lines.size() ? made : d.below(lines.size())];
    auto name = match_of(line, d);
    switch (d.below(6)) {
    case 0:
      name += "/" + name_of(d);
      break;
    case 1:
      name = name_of(d) + "/" + name;
      break;
    case 2:
      name += d.lower(1);
      break;
    case 3:
      name = lines[d.below(lines.size())].first + name;
      break;
    default:
      break;
    }
    add(dir + name);
  }
  out.paths.assign(files.begin(), files.end());
  return out;
}

/// What stays when the rules are the project's own .gitignore, by us and by git.
std::pair<names, names> with_gitignore(const ignore_case& c) {
  repo r, plain;
  write_case(r, c, ".gitignore");
  write_defaults(plain);
  return {stay(r, c), kept_by_git(plain.path, kept_by_git(r.path, c.paths))};
}

} // namespace

TEST_CASE("our listing agrees with git check-ignore about the ignore files of large projects") {
  memory_as_temp quick;
  // Their sources are fetched by name and never committed: tools/setup --for test.
  auto source = std::getenv("SKEP_SOURCE") ? std::string{std::getenv("SKEP_SOURCE")} : ".";
  source += "/build/sources/";
  if (!exists(source + "installed")) SKEP_SKIP("tools/setup --for test fetches the sources");
  std::istringstream list{get(source + "installed")};
  std::size_t projects = 0;
  for (std::string name; std::getline(list, name); ++projects) {
    INFO(name);
    draw d{static_cast<unsigned>(projects) + 77};
    auto c = project_case(source + name, d);
    std::size_t lines = 0, left_out = 0;
    for (const auto& [dir, rules] : c.rules)
      lines += rules.size();
    for (bool tracked : {false, true}) {
      c.tracked = tracked;
      auto ours = by_us(c), gits = by_git(c);
      left_out += c.paths.size() - gits.size();
      names differ;
      std::set_symmetric_difference(ours.begin(), ours.end(), gits.begin(), gits.end(),
                                    std::back_inserter(differ));
      INFO((tracked ? "tracked" : "untracked") << ", first: " << (differ.empty() ? "" : differ[0]));
      CHECK(differ.empty());
    }
    auto [ours, gits] = with_gitignore(c);
    CHECK(ours == gits);
    left_out += c.paths.size() - gits.size();
    std::printf("ignore files of %s: %zu, %zu lines; %zu pairs asked, %zu left out\n", name.c_str(),
                c.rules.size(), lines, 3 * c.paths.size(), left_out);
    CHECK(c.rules.size() >= 3);
    CHECK(c.paths.size() >= 3000);
    CHECK(left_out >= 1000);
  }
  CHECK(projects == 3);
}
