#include "transfer/worktree.hpp"
#include "tests/support/skip.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/beneath.hpp"
#include "transfer/exclude.hpp"
#include "transfer/inventory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <random>
#include <sys/sysmacros.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using transfer::excluded_reason;
using transfer::inspect_repo;
using transfer::list_worktree;

TEST_CASE("git's own ignore semantics decide what is transferred") {
  repo r;
  r.put(".gitignore", "*.log\n!keep.log\n/build\nout/\n");
  r.put("a.log", "ignored");
  r.put("keep.log", "negated");
  r.put("build/x.c", "anchored");
  r.put("src/build/x.c", "not at the top");
  r.put("src/out/y", "a directory at any depth");
  r.put("src/.gitignore", "local\n");
  r.put("src/local", "nested ignore file");
  r.put("tracked.log", "ignored but tracked");
  git(r.path, {"add", "-f", "tracked.log"});
  r.commit();
  r.put("untracked", "new");
  std::filesystem::remove(r / "keep.log");
  auto list = list_worktree(r.path);
  REQUIRE(list.ok());
  CHECK(*list
        == std::vector<std::string>{".gitignore", "src/.gitignore", "src/build/x.c", "tracked.log",
                                    "untracked"});
}

TEST_CASE("names with spaces, quotes, newlines and other bytes are listed as they are") {
  repo r;
  std::vector<std::string> names{"-dash", "a b",          "line\nbreak", "quote\"'",
                                 "tab\t", "\xC3\xA4.txt", "\xFF\xFE"};
  for (const auto& n : names)
    r.put(n, "x");
  r.commit();
  auto list = list_worktree(r.path);
  REQUIRE(list.ok());
  CHECK(*list == names);
}

TEST_CASE("what is always excluded stays out, even when tracked or negated") {
  repo r;
  r.put(".gitignore", "!.env\n");
  for (const char* n :
       {".env", ".env.staging", "sub/.npmrc", ".ssh/config", "deep/.docker/config.json", "x.jks",
        "id_rsa.bak", "skep-out/sw_1/p0.patch", ".git-credentials", "key.pem",
        "sub/.skep-download-Ab3xYz/results/p0.patch"})
    r.put(n, "secret");
  r.put("environment", "fine");
  r.commit();
  std::vector<transfer::skipped_path> skipped;
  auto list = list_worktree(r.path, &skipped);
  REQUIRE(list.ok());
  CHECK(*list == std::vector<std::string>{".gitignore", "environment"});
  CHECK(skipped.size() == 11);
}

TEST_CASE("the reason names the pattern") {
  CHECK(excluded_reason("a/.env.local") == ".env.*");
  CHECK(excluded_reason("home/.kube/config") == ".kube/config");
  CHECK(excluded_reason(".ssh/known_hosts") == ".ssh/**");
  CHECK(excluded_reason(".skep-download-x") == ".skep-download-*");
  CHECK(excluded_reason("skep-download-x") == "");
  CHECK(excluded_reason("docs/kube/config") == "");
  CHECK(excluded_reason("src/main.c") == "");
}

namespace {

/// "PATH: REASON" of each.
std::vector<std::string> with_reasons(const std::vector<transfer::skipped_path>& skipped) {
  std::vector<std::string> out;
  for (const auto& s : skipped)
    out.push_back(s.path + ": " + s.reason);
  return out;
}

} // namespace

TEST_CASE("submodules, nested repositories and pipes are left out with a reason") {
  repo inner, r;
  inner.put("f", "x");
  inner.commit();
  r.put("a", "x");
  git(r.path, {"-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.path, "sub"});
  r.commit();
  run({"git", "clone", "-q", inner.path, r / "nested"});
  REQUIRE(::mkfifo((r / "pipe").c_str(), 0600) == 0);
  std::vector<transfer::skipped_path> skipped;
  auto list = list_worktree(r.path, &skipped);
  REQUIRE(list.ok());
  CHECK(*list == std::vector<std::string>{".gitmodules", "a"});
  // Of a pipe that it does not track git says nothing, and neither do we.
  CHECK(with_reasons(skipped)
        == std::vector<std::string>{"nested/: a repository of its own", "sub: a submodule"});
}

TEST_CASE("a tracked file that became a pipe, a socket or a device is left out by name and kind, "
          "and none is read") {
  repo r;
  for (const char* name : {"a", "b.pipe", "c.socket", "d.device"})
    r.put(name, "x");
  r.commit();
  for (const char* name : {"b.pipe", "c.socket", "d.device"})
    REQUIRE(std::filesystem::remove(r / name));
  std::vector<std::string> want{"b.pipe: a pipe", "c.socket: a socket"};
  REQUIRE(::mkfifo((r / "b.pipe").c_str(), 0600) == 0);
  REQUIRE(::mknod((r / "c.socket").c_str(), S_IFSOCK | 0600, 0) == 0);
  // Only root may make one, and not everywhere.
  if (::mknod((r / "d.device").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0)
    want.push_back("d.device: a device");
  std::vector<transfer::skipped_path> skipped;
  auto list = list_worktree(r.path, &skipped);
  REQUIRE(list.ok());
  CHECK(*list == std::vector<std::string>{"a"});
  CHECK(with_reasons(skipped) == want);
  auto told = transfer::take_inventory(r.path);
  REQUIRE(told.ok());
  REQUIRE(told->remarks.size() == 1);
  CHECK(told->remarks[0]
        == (want.size() == 3
                ? "3 pipes, sockets or devices are not uploaded: b.pipe, c.socket, d.device"
                : "2 pipes, sockets or devices are not uploaded: b.pipe, c.socket"));
  // One that took the place of a listed file meanwhile fails the packing, with its name.
  auto root = transfer::open_root(r.path);
  REQUIRE(root.ok());
  for (const char* name : {"b.pipe", "c.socket"}) {
    auto opened = transfer::open_entry(root->get(), name);
    REQUIRE(!opened.ok());
    CHECK(opened.err().code == errc::bad_argument);
    CHECK(opened.err().message == std::string{name} + " is neither a regular file nor a symlink");
  }
}

TEST_CASE("a tracked directory that became a symlink is not read through") {
  repo r;
  temp outside;
  put(outside / "a", "private");
  r.put("d/a", "x");
  r.commit();
  transfer::remove_tree(r / "d");
  std::filesystem::create_symlink(outside.path, r / "d");
  auto list = list_worktree(r.path);
  REQUIRE(list.ok());
  CHECK(*list == std::vector<std::string>{"d"});
}

TEST_CASE("what is wrong with a repository is said before anything is made") {
  temp t;
  CHECK(inspect_repo(t.path).err().code == errc::not_a_repository);
  CHECK(inspect_repo(t / "missing").err().code == errc::not_a_repository);
  repo unborn;
  unborn.put("a", "x");
  CHECK(inspect_repo(unborn.path).err().code == errc::no_commit);
  repo empty;
  empty.commit();
  CHECK(inspect_repo(empty.path).err().code == errc::empty_repository);
  temp bare;
  git(bare.path, {"init", "-q", "--bare"});
  CHECK(inspect_repo(bare.path).err().code == errc::not_a_repository);
}

TEST_CASE("a repository is inspected from any directory inside") {
  repo r;
  r.put("d/a", "x");
  auto head = r.commit();
  auto facts = inspect_repo(r / "d");
  REQUIRE(facts.ok());
  CHECK(std::filesystem::equivalent(facts->root, r.path));
  CHECK(facts->head == head);
  CHECK(facts->branch == "main");
  CHECK(facts->files == 1);
}

TEST_CASE(
    "files are found beneath a tree in any order and at any depth, and never through a link") {
  temp t;
  std::string deep;
  for (int i = 0; i < 60; ++i)
    deep += "d" + std::to_string(i) + "/";
  std::vector<std::string> names{"a",    "b/c",      "b-d/e",      "b/d/e",
                                 "bb/c", deep + "x", deep + "y/z", deep.substr(0, 100) + "w"};
  for (const auto& n : names)
    put(t / n, n);
  put(t / "outside/f", "private");
  std::filesystem::create_symlink("../outside", t / "b/link");
  auto root = transfer::open_root(t.path);
  REQUIRE(root.ok());
  transfer::tree_reader tree{root->get()};
  std::minstd_rand chance{3};
  for (int i = 0; i < 500; ++i) {
    const auto& n = names[(chance() >> 8U) % names.size()];
    INFO(n);
    struct stat st {};
    REQUIRE(tree.look_at(n, st));
    CHECK(static_cast<std::size_t>(st.st_size) == n.size());
    transfer::unique_fd fd{tree.open(n, O_RDONLY)};
    REQUIRE(fd);
    std::string text(n.size(), '\0');
    CHECK(::read(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(n.size()));
    CHECK(text == n);
    for (const char* missing : {"b/link/f", "b/none/x", "a/x"}) {
      CHECK_FALSE(tree.look_at(missing, st));
      CHECK((errno == ENOENT || errno == ENOTDIR || errno == ELOOP));
      CHECK(tree.open(missing, O_RDONLY) == -1);
    }
    REQUIRE(tree.look_at("b/link", st));
    CHECK(S_ISLNK(st.st_mode));
    CHECK(tree.open("b/link", O_RDONLY) == -1);
  }
}

namespace {

/// A variable of this process, as it was again at the end.
class set_variable {
public:
  set_variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (value)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  set_variable(const set_variable&) = delete;
  ~set_variable() {
    if (before_)
      ::setenv(name_, before_->c_str(), 1);
    else
      ::unsetenv(name_);
  }

private:
  const char* name_;
  std::optional<std::string> before_;
};

} // namespace

TEST_CASE("a repository of another owner is told as such, with git's command that trusts it") {
  if (::geteuid() != 0) SKEP_SKIP("only root gives files away");
  temp home;
  repo r;
  r.put("sub/a", "x");
  r.commit();
  for (const auto& e : std::filesystem::recursive_directory_iterator{r.path})
    REQUIRE(::lchown(e.path().c_str(), 12345, 12345) == 0);
  REQUIRE(::lchown(r.path.c_str(), 12345, 12345) == 0);
  set_variable nobody{"SUDO_UID", nullptr}, own{"HOME", home.path.c_str()},
      none{"XDG_CONFIG_HOME", nullptr};
  const auto root = std::filesystem::canonical(r.path).string();
  for (const auto& path : {r.path, r / "sub"}) {
    auto refused = inspect_repo(path);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.err().code == errc::foreign_repository);
    CHECK(refused.err().message
          == root + " (`git config --global --add safe.directory '" + root + "'` trusts it)");
  }
  temp plain;
  CHECK(inspect_repo(plain.path).err().code == errc::not_a_repository);
  // As that command does.
  put(home / ".gitconfig", "[safe]\n\tdirectory = " + root + "\n");
  auto trusted = inspect_repo(r / "sub");
  REQUIRE(trusted.ok());
  CHECK(trusted->root == root);
}
