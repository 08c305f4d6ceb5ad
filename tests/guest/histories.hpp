// Random repositories, what a user did not commit in them, and what an agent does in its tree, for
// the property that results come back exactly. One number gives one case; `steps` cuts the agent's
// deeds short, which is how a failing case is made smaller.
#pragma once

#include "tests/transfer/repo.hpp"
#include "transfer/worktree.hpp"

#include <functional>
#include <map>
#include <random>
#include <stdexcept>

namespace skep::test {

/// What the generated starts and histories had in them.
struct case_counts {
  std::map<std::string, std::size_t> of;
  void saw(const std::string& what) { ++of[what]; }
};

/// The reason of a case that failed.
struct case_failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
inline void demand(bool holds, const std::string& what) {
  if (!holds) throw case_failed{what};
}

class dice {
public:
  explicit dice(std::uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class T>
  const T& one_of(const std::vector<T>& list) {
    return list[below(list.size())];
  }

private:
  std::mt19937_64 random_;
};

/// Paths and contents of every kind that has ever gone wrong somewhere.
class inventor {
public:
  explicit inventor(dice& d) : d_(d) {}
  std::string component() {
    static const std::vector<std::string> odd{
        "plain", "b c",       "q\"uote", "new\nline",  "\xC3\xA4pfel", "\xFF\xFE", "-dash",
        "--",    "tab\there", "it's",    "$(touch x)", "star*",        "[set]",    "back\\slash",
        "#hash", "trail ",    " lead",   "~tilde",     "semi;colon",   "a&b",      "\x01\x7F",
        "!not",  "dot.",      "%25",     ":colon",     "{brace}",      "a => b",   "\xE2\x82\xAC"};
    if (d_.chance(55)) return std::string(1, static_cast<char>('a' + d_.below(6)));
    std::string ending = d_.chance(30) ? ".c" : "";
    return d_.one_of(odd) + ending;
  }
  std::string path() {
    std::string out = component();
    for (auto depth = d_.below(3); depth > 0; --depth)
      out += "/" + component();
    return out;
  }
  std::string content() {
    switch (d_.below(8)) {
    case 0:
      return {};
    case 1: { // binary
      std::string out(1 + d_.below(4000), '\0');
      for (auto& c : out)
        c = static_cast<char>(d_.below(256));
      return out;
    }
    case 2:
      return "one\r\ntwo\r\n" + std::to_string(d_.below(1000)) + "\r\n";
    case 3:
      return "no newline " + std::to_string(d_.below(1000));
    case 4:
      return " M first line like a status\nFrom 0000000000000000000000000000000000000000 Mon Sep "
             "17 "
             "00:00:00 2001\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n"
             + std::to_string(d_.below(1000)) + "\n";
    default: {
      std::string out;
      for (auto lines = 3 + d_.below(25); lines > 0; --lines)
        out += "line " + std::to_string(d_.below(50)) + "\n";
      return out;
    }
    }
  }
  static std::string lfs_pointer(std::size_t n) {
    return "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a')
           + "\nsize " + std::to_string(n) + "\n";
  }

private:
  dice& d_;
};

/// Files and symlinks below a folder (not below .git), by relative path.
inline std::vector<std::string> paths_below(const std::string& top) {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  for (fs::recursive_directory_iterator i{top}, end; i != end; ++i) {
    auto name = i->path().filename().string();
    if (name == ".git") {
      i.disable_recursion_pending();
      continue;
    }
    if (i->is_symlink() || i->is_regular_file())
      out.push_back(i->path().string().substr(top.size() + 1));
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// True when a file or symlink stands where `path` needs a folder, or a folder where it would be.
inline bool is_blocked(const std::string& top, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::symlink_status(top + "/" + path, ignored).type() == fs::file_type::directory) return true;
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
    auto s = fs::symlink_status(top + "/" + path.substr(0, slash), ignored);
    if (fs::exists(s) && s.type() != fs::file_type::directory) return true;
  }
  return false;
}

inline void put_raw(const std::string& path, std::string_view text, unsigned mode) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::create_directories(fs::path{path}.parent_path(), ignored);
  fs::remove(path, ignored);
  std::ofstream{path, std::ios::binary} << text;
  ::chmod(path.c_str(), mode);
}

/// Removes a file and the folders that it leaves empty.
inline void drop(const std::string& top, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  fs::remove(top + "/" + path, failed);
  auto folder = fs::path{path}.parent_path();
  for (; !folder.empty(); folder = folder.parent_path())
    if (!fs::is_empty(top / folder, failed) || !fs::remove(top / folder, failed)) return;
}

/// One deed in a tree; what it was.
inline std::string one_edit(const std::string& top, dice& d) {
  namespace fs = std::filesystem;
  inventor made{d};
  auto paths = paths_below(top);
  // A broken one ends every call of git in the user's repository, with or without us.
  std::erase(paths, ".gitmodules");
  auto any = [&] { return d.one_of(paths); };
  auto fresh = [&] {
    auto p = made.path();
    for (int i = 0; i < 20 && (is_blocked(top, p) || fs::is_symlink(top + "/" + p)); ++i)
      p = made.path();
    return is_blocked(top, p) ? "fresh-" + std::to_string(d.below(1u << 30)) : p;
  };
  // Every throw of the dice is a statement of its own, here and elsewhere: in which order a
  // compiler evaluates the arguments of a call is its own affair, and a number has to stand for the
  // same case with each.
  auto put = [&](const std::function<std::string()>& where) {
    auto mode = d.chance(25) ? 0755u : 0644u;
    auto content = made.content();
    put_raw(where(), content, mode);
  };
  auto kind = paths.empty() ? 0 : d.below(13);
  switch (kind) {
  case 0:
  case 1:
    put([&] { return top + "/" + fresh(); });
    return "added";
  case 2:
  case 3: { // in the middle of a text
    auto p = top + "/" + any();
    if (fs::is_symlink(p)) return "nothing";
    auto text = get(p);
    auto line = "edited " + std::to_string(d.below(100)) + "\n";
    text.insert(d.below(text.size() + 1), line);
    std::ofstream{p, std::ios::binary | std::ios::trunc} << text;
    return "modified";
  }
  case 4: {
    auto p = any();
    put([&] { return top + "/" + p; });
    return "replaced";
  }
  case 5:
  case 6:
    drop(top, any());
    return "deleted";
  case 7: { // renamed, at times with an edit
    auto from = any(), to = fresh();
    if (fs::exists(fs::symlink_status(top + "/" + to))) return "nothing";
    fs::create_directories(fs::path{top + "/" + to}.parent_path());
    fs::rename(top + "/" + from, top + "/" + to);
    drop(top, from);
    if (d.chance(30) && !fs::is_symlink(top + "/" + to))
      std::ofstream{top + "/" + to, std::ios::binary | std::ios::app} << "after the move\n";
    return "renamed";
  }
  case 8: {
    auto p = top + "/" + any();
    if (fs::is_symlink(p)) return "nothing";
    struct stat st {};
    ::lstat(p.c_str(), &st);
    ::chmod(p.c_str(), st.st_mode & 0100 ? 0644 : 0755);
    return "mode";
  }
  case 9: { // a link to something inside, there or not
    auto p = d.chance(40) ? any() : fresh();
    std::error_code ignored;
    fs::create_directories(fs::path{top + "/" + p}.parent_path(), ignored);
    fs::remove(top + "/" + p, ignored);
    fs::create_symlink(d.chance(50) ? made.component() : "./x y/" + made.component(), top + "/" + p,
                       ignored);
    return "symlink";
  }
  case 10: { // a file becomes a folder
    auto p = any();
    fs::remove(top + "/" + p);
    put([&] { return top + "/" + p + "/" + made.component(); });
    return "file to folder";
  }
  case 11: { // a folder becomes a file
    auto p = any();
    auto slash = p.find('/');
    if (slash == p.npos) return "nothing";
    fs::remove_all(top + "/" + p.substr(0, slash));
    put([&] { return top + "/" + p.substr(0, slash); });
    return "folder to file";
  }
  default: { // copied
    auto from = top + "/" + any();
    auto to = top + "/" + fresh();
    if (fs::is_symlink(from) || fs::exists(fs::symlink_status(to))) return "nothing";
    put_raw(to, get(from), d.chance(25) ? 0755u : 0644u);
    return "copied";
  }
  }
}

/// The user's repository with whatever lies uncommitted in it.
inline void make_start(const repo& r, dice& d, case_counts& counts) {
  namespace fs = std::filesystem;
  inventor made{d};
  auto put = [&](const std::string& p) {
    if (is_blocked(r.path, p) || fs::is_symlink(r / p)) return;
    auto mode = d.chance(20) ? 0755u : 0644u;
    put_raw(r / p, made.content(), mode);
  };
  for (auto n = 1 + d.below(10); n > 0; --n)
    put(made.path());
  if (d.chance(20)) {
    std::error_code ignored;
    fs::create_symlink("plain", r / "a link", ignored);
    counts.saw("start: symlink");
  }
  if (d.chance(10)) {
    r.put(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    r.put("data.bin", inventor::lfs_pointer(d.below(1u << 20)));
    counts.saw("start: LFS pointer");
  }
  if (d.chance(15)) {
    r.put(".gitignore", "*.ignored\n");
    r.put("local.ignored", "never uploaded\n");
    counts.saw("start: ignored file");
  }
  if (d.chance(10)) {
    r.put(".env", "KEY=never\n");
    counts.saw("start: excluded file");
  }
  if (d.chance(10)) {
    fs::create_directories(r / "inner");
    git(r / "inner", {"init", "-q", "-b", "main"});
    r.put("inner/file", "of another repository\n");
    git(r / "inner", {"add", "-A"});
    git(r / "inner", {"commit", "-q", "-m", "inner"});
    r.put(".gitmodules", "[submodule \"inner\"]\n\tpath = inner\n\turl = ./inner\n");
    counts.saw("start: submodule");
  }
  if (paths_below(r.path).empty()) r.put("plain", "x\n");
  r.commit("the first");
  if (!d.chance(30)) {
    for (auto n = d.below(3); n > 0; --n) {
      one_edit(r.path, d);
      r.commit("more");
    }
  } else {
    counts.saw("start: root commit");
  }
  bool staged = d.chance(35), unstaged = d.chance(35), untracked = d.chance(35);
  if (staged) {
    one_edit(r.path, d);
    put("staged " + made.component());
    git(r.path, {"add", "-A"});
  }
  if (unstaged) {
    one_edit(r.path, d);
    one_edit(r.path, d);
  }
  if (untracked) put("untracked " + made.component());
  // Something must be there to upload: ignored and excluded files, and other repositories, are not.
  if (auto left = transfer::list_worktree(r.path); left.ok() && left->empty()) {
    std::error_code ignored;
    fs::remove_all(r / "plain", ignored);
    r.put("plain", "y\n");
  }
}

/// What the agent does in its tree: at most `steps` deeds, with commits of all kinds between.
inline void make_history(const std::string& tree, dice& d, std::size_t steps, case_counts& counts) {
  std::size_t commits = 0;
  auto commit = [&] {
    static const std::vector<std::string> messages{
        "plain words",
        "[PATCH] in brackets [x] y",
        "subject\n\nbody\n---\nnot a patch",
        "diff --git a/q b/q\n--- a/q\n+++ b/q\n@@ -0,0 +1 @@\n+x",
        "\xC3\xBCmlaut $(touch x) `y`",
        "From: Eve <eve@example.org>\n\nx",
        "Subject: twice\n\nFrom 1 Mon Sep 17 00:00:00 2001"};
    git(tree, {"add", "-A"});
    git(tree, {"commit", "-q", "--allow-empty", "--no-verify", "-m", d.one_of(messages)});
    ++commits;
  };
  for (std::size_t i = 0; i < steps; ++i) {
    counts.saw("deed: " + one_edit(tree, d));
    if (d.chance(30)) commit();
  }
  if (commits > 1 && d.chance(10)) {
    git(tree, {"reset", "-q", "--soft", "HEAD~1"});
    commit();
    counts.saw("history: rewritten");
  } else if (commits > 0 && d.chance(8)) {
    commit(); // git does not leave a tree with changes
    git(tree, {"checkout", "-q", "-b", "side", "HEAD~1"});
    put_raw(tree + "/only on the side", "x\n", 0644);
    commit();
    auto main = git(tree, {"rev-parse", "--abbrev-ref", "@{-1}"});
    git(tree, {"checkout", "-q", "-f", main});
    git(tree, {"merge", "-q", "-s", "ours", "--no-edit", "side"});
    counts.saw("history: merge");
  }
  counts.saw(commits == 0   ? "history: no commit"
             : commits == 1 ? "history: one commit"
                            : "history: several commits");
}

/// Links out of the tree, at new paths and in the places of files; half of the time in a commit.
inline void link_out(const std::string& tree, dice& d, case_counts& counts) {
  namespace fs = std::filesystem;
  static const std::vector<std::string> outside{"/usr/bin/", "../../../../", "x/../../"};
  inventor made{d};
  for (auto n = 1 + d.below(3); n > 0; --n) {
    auto paths = paths_below(tree);
    std::erase(paths, ".gitmodules");
    auto p = d.chance(40) && !paths.empty() ? d.one_of(paths) : made.path();
    if (is_blocked(tree, p)) continue;
    std::error_code ignored;
    fs::create_directories(fs::path{tree + "/" + p}.parent_path(), ignored);
    fs::remove(tree + "/" + p, ignored);
    auto name = made.component();
    fs::create_symlink(d.one_of(outside) + name, tree + "/" + p, ignored);
    counts.saw("deed: a link out of the tree");
  }
  if (!d.chance(50)) return;
  git(tree, {"add", "-A"});
  git(tree, {"commit", "-q", "--allow-empty", "--no-verify", "-m", "links"});
}

} // namespace skep::test
