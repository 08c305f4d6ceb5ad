// Folders of single commands: what a kill leaves of them, and who removes it.
#include "transfer/swept_dir.hpp"

#include "tests/transfer/repo.hpp"
#include "transfer/worktree.hpp"

#include <iterator>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;
namespace fs = std::filesystem;

namespace {

std::size_t entries(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
}

/// The one entry of a folder, as a process leaves it that makes a swept_dir there, writes into it
/// and comes to its end without destructors.
std::string left_by_a_killed_process(const std::string& parent) {
  auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto made = swept_dir::make(parent, download_prefix);
    ::_exit(made && make_dirs(made->path() + "/results").ok()
                    && write_file_durably(made->path() + "/results/p0.patch", "a patch\n", 0644)
                ? 0
                : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  REQUIRE(entries(parent) == 1);
  fs::directory_iterator first{parent};
  return first->path().string();
}

void set_mode(const std::string& path, mode_t mode) {
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

} // namespace

TEST_CASE("the folder of a command that was killed goes with the next one of its kind and place") {
  temp parent;
  auto left = left_by_a_killed_process(parent.path);
  REQUIRE(get(left + "/results/p0.patch") == "a patch\n");
  auto other = swept_dir::make(parent.path, look_prefix);
  REQUIRE(other.ok());
  CHECK(exists(left)); // another kind
  {
    auto next = swept_dir::make(parent.path, download_prefix);
    REQUIRE(next.ok());
    CHECK_FALSE(exists(left));
    CHECK(exists(next->path()));
    CHECK(entries(parent.path) == 2);
  }
  CHECK(entries(parent.path) == 1);
  CHECK(exists(other->path()));
}

TEST_CASE("the folder of a command that lives is left alone, also when it was handed on") {
  temp parent;
  auto made = swept_dir::make(parent.path, look_prefix);
  REQUIRE(made.ok());
  {
    swept_dir living = std::move(*made);
    struct stat facts {};
    REQUIRE(::stat(living.path().c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0700);
    put(living.path() + "/raw/p0.patch", "a patch\n");
    remove_abandoned(parent.path, look_prefix);
    CHECK(get(living.path() + "/raw/p0.patch") == "a patch\n");
  }
  CHECK(entries(parent.path) == 0);
  remove_abandoned(parent / "nowhere", look_prefix); // no folder, nothing to do
}

TEST_CASE("what only has the name of a command's folder, or is a link to one, is never removed") {
  temp parent, elsewhere;
  const std::string prefix{download_prefix};
  for (const char* name : {"SHORT", "ABCDEFG", "AB.DEF", "OTHER0", "OPEN00"})
    put(parent / (prefix + name) + "/mine", "mine\n");
  for (const char* name : {"SHORT", "ABCDEFG", "AB.DEF"}) // no name of ours, with our mode
    set_mode(parent / (prefix + name), S_ISVTX | 0700);
  set_mode(parent / (prefix + "OTHER0"), 0700);           // without the mark
  set_mode(parent / (prefix + "OPEN00"), S_ISVTX | 0755); // never ours: others may look in
  put(parent / (prefix + "FILE00"), "a file\n");
  set_mode(parent / (prefix + "FILE00"), S_ISVTX | 0700);
  put(elsewhere / "mine", "behind a link\n");
  set_mode(elsewhere.path, S_ISVTX | 0700);
  fs::create_directory_symlink(elsewhere.path, parent / (prefix + "LINK00"));
  // The same as the others, but for what they lack.
  put(parent / (prefix + "OURS00") + "/p0.patch", "a patch\n");
  set_mode(parent / (prefix + "OURS00"), S_ISVTX | 0700);
  fs::create_directory_symlink(elsewhere.path, parent / (prefix + "OURS00/link"));

  remove_abandoned(parent.path, download_prefix);
  CHECK_FALSE(exists(parent / (prefix + "OURS00")));
  for (const char* name : {"SHORT", "ABCDEFG", "AB.DEF", "OTHER0", "OPEN00"}) {
    INFO(name);
    CHECK(get(parent / (prefix + name) + "/mine") == "mine\n");
  }
  CHECK(get(parent / (prefix + "FILE00")) == "a file\n");
  CHECK(fs::is_symlink(parent / (prefix + "LINK00")));
  CHECK(get(elsewhere / "mine") == "behind a link\n");
}

TEST_CASE("a clean work tree in which a download was killed counts as clean, and uploads nothing "
          "of it") {
  repo r;
  r.put("a", "x");
  r.put("sub/b", "x");
  auto head = r.commit();
  auto half = swept_dir::make(r / "sub", download_prefix);
  REQUIRE(half.ok());
  put(half->path() + "/results/p0/files/a", "of an agent\n");
  const std::vector<std::string> all{"a", "sub/b"};
  auto clean = files_of_clean_head(r.path, head);
  REQUIRE(clean.ok());
  REQUIRE(clean->has_value());
  CHECK(**clean == all);
  auto list = list_worktree(r.path);
  REQUIRE(list.ok());
  CHECK(*list == all);
}
