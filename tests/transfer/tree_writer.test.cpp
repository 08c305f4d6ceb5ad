// What writers into a work tree leave there when they are killed or cannot undo what they did, and
// who removes it.
#include "transfer/tree_writer.hpp"
#include "tests/transfer/disk_calls.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/results_fixture.hpp"
#include "transfer/apply.hpp"
#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <iterator>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;
namespace fs = std::filesystem;

// As the C library's, and what a test does before it.
extern "C" int renameat2(int from_dir, const char* from, int to_dir, const char* to,
                         unsigned flags) noexcept {
  if (auto* calls = disk_calls::current; calls && calls->before_rename)
    calls->before_rename(++calls->renames);
  return static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

namespace {

constexpr const char* stage_mark = "copies-only";

file_entry entry_of(const std::string& content) {
  file_entry e;
  e.type = file_entry::kind::file;
  e.mode = 0644;
  e.size = content.size();
  e.sha256 = sha256_of(content);
  return e;
}

std::vector<std::string> stages(const std::string& root) {
  std::vector<std::string> out;
  for (const auto& x : fs::directory_iterator{root})
    if (x.path().filename().string().starts_with(".skep-apply-"))
      out.push_back(x.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

/// The stage that a process leaves which comes to its end without destructors, in `work` or after
/// it; true, or an end with 0 before, means that it came as far as it should.
std::string left_by(const std::string& root, const std::function<bool()>& work) {
  auto before = stages(root);
  auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  std::vector<std::string> left;
  auto after = stages(root);
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(left));
  REQUIRE(left.size() == 1);
  return left[0];
}

/// The stage of a writer that staged a file and was killed then.
std::string left_by_a_killed_writer(const std::string& root, const std::string& source) {
  auto entry = entry_of(get(source));
  return left_by(root, [&] {
    auto* writer =
        new result<tree_writer>{tree_writer::open(root)}; // never destroyed, as by a kill
    return writer->ok() && (*writer)->stage_write("new", entry, source, seen{}).ok();
  });
}

/// A work tree in which results take the place of "a", "b" and "c", bring "new" and remove "gone",
/// staged as 0 to 4.
struct taken_over {
  temp root, results;
  taken_over() {
    for (const char* name : {"a", "b", "c", "gone"})
      put(root / name, std::string{name} + " before\n");
    for (const char* name : {"a", "b", "c", "new"})
      put(results / name, std::string{name} + " of the agent\n");
  }
  seen at(const std::string& path) const {
    auto dir = open_root(root.path);
    REQUIRE(dir.ok());
    auto out = look_at(dir->get(), path);
    REQUIRE(out.ok());
    return *out;
  }
  void stage(tree_writer& writer) const {
    for (const char* name : {"a", "b", "c", "new"}) {
      auto source = results / name;
      REQUIRE(writer.stage_write(name, entry_of(get(source)), source, at(name)).ok());
    }
    writer.stage_delete("gone", at("gone"));
  }
  /// As an editor does that writes a new file and gives it the name.
  void save(const std::string& name, const std::string& text) const {
    put(results / "saved", text);
    fs::rename(results / "saved", root / name);
  }
};

int failing_sync() {
  errno = EIO;
  return -1;
}

} // namespace

TEST_CASE("what a killed apply had staged in the work tree is removed by the next one") {
  temp root, results;
  put(results / "new", "what the agent made\n");
  auto left = left_by_a_killed_writer(root.path, results / "new");
  REQUIRE(get(root / left + "/0") == "what the agent made\n");
  {
    auto next = tree_writer::open(root.path);
    REQUIRE(next.ok());
    auto now = stages(root.path);
    REQUIRE(now.size() == 1);
    CHECK(now[0] != left);
    REQUIRE(
        next->stage_write("new", entry_of("what the agent made\n"), results / "new", seen{}).ok());
    REQUIRE(next->commit().ok());
  }
  CHECK(stages(root.path).empty());
  CHECK(get(root / "new") == "what the agent made\n");
}

TEST_CASE("a stage whose writer lives is left alone, and its writer ends what it began") {
  temp root, results;
  put(results / "new", "one\n");
  put(results / "other", "two\n");
  auto living = tree_writer::open(root.path);
  REQUIRE(living.ok());
  REQUIRE(living->stage_write("new", entry_of("one\n"), results / "new", seen{}).ok());
  auto other = tree_writer::open(root.path);
  REQUIRE(other.ok());
  CHECK(stages(root.path).size() == 2);
  REQUIRE(other->stage_write("other", entry_of("two\n"), results / "other", seen{}).ok());
  REQUIRE(other->commit().ok());
  // Nor is it taken for one that was left halfway while it is halfway.
  bool third = false;
  {
    disk_calls calls;
    calls.before_rename = [&](int) { third = tree_writer::open(root.path).ok(); };
    REQUIRE(living->commit().ok());
  }
  CHECK(third);
  CHECK(get(root / "new") == "one\n");
  CHECK(get(root / "other") == "two\n");
}

TEST_CASE("a stage that may hold the only copy of what lay in the tree is never removed") {
  temp root, results;
  put(results / "new", "what the agent made\n");
  auto left = left_by_a_killed_writer(root.path, results / "new");
  // As commit() of an older release left it: without its mark and a list, and with what was there
  // before.
  REQUIRE(fs::remove(root / left + "/" + stage_mark));
  put(root / left + "/0", "the user's own\n");
  auto unfinished = tree_writer::open(root.path);
  REQUIRE_FALSE(unfinished.ok());
  CHECK(unfinished.err().code == errc::apply_unfinished);
  CHECK(unfinished.err().message == root / left + " holds what lay here before: 0");
  CHECK(stages(root.path) == std::vector{left});
  CHECK(get(root / left + "/0") == "the user's own\n");
  fs::remove_all(root / left);

  // Names are exchanged in a stage without the mark alone.
  put(root / "in the way", "mine\n");
  auto writer = tree_writer::open(root.path);
  REQUIRE(writer.ok());
  auto now = stages(root.path);
  REQUIRE(now.size() == 1);
  auto own = now[0];
  REQUIRE(exists(root / own + "/" + stage_mark));
  auto entry = entry_of("what the agent made\n");
  REQUIRE(writer->stage_write("in the way", entry, results / "new", seen{}).ok());
  auto refused = writer->commit();
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::exists);
  CHECK_FALSE(exists(root / own + "/" + stage_mark));
  CHECK(get(root / "in the way") == "mine\n");
}

TEST_CASE("what only looks like a stage of a killed apply is never removed") {
  temp root, elsewhere;
  const std::vector<std::string> names{".skep-apply-short", ".skep-apply-ABCDEFG",
                                       ".skep-apply-AB.DEF", "skep-apply-ABCDEF",
                                       ".skep-apply-ABCDEF.d"};
  for (const auto& name : names)
    put(root / name + "/" + stage_mark, "");
  put(root / ".skep-apply-FILE00", "a file\n");
  put(root / ".skep-apply-OTHER0/mine", "no mark\n");
  put(elsewhere / stage_mark, "");
  put(elsewhere / "mine", "behind a link\n");
  fs::create_directory_symlink(elsewhere.path, root / ".skep-apply-LINK00");
  REQUIRE(tree_writer::open(root.path).ok());
  for (const auto& name : names) {
    INFO(name);
    CHECK(exists(root / name + "/" + stage_mark));
  }
  CHECK(get(root / ".skep-apply-FILE00") == "a file\n");
  CHECK(get(root / ".skep-apply-OTHER0/mine") == "no mark\n");
  CHECK(fs::is_symlink(root / ".skep-apply-LINK00"));
  CHECK(get(elsewhere / "mine") == "behind a link\n");
}

TEST_CASE("a disk that fails at the end of an apply leaves everything as it was") {
  taken_over t;
  error e;
  {
    auto writer = tree_writer::open(t.root.path);
    REQUIRE(writer.ok());
    t.stage(*writer);
    disk_calls calls;
    calls.sync = failing_sync;
    auto done = writer->commit();
    REQUIRE_FALSE(done.ok());
    e = done.err();
  }
  CHECK(e.code == errc::io);
  for (const char* name : {"a", "b", "c", "gone"})
    CHECK(get(t.root / name) == std::string{name} + " before\n");
  CHECK_FALSE(exists(t.root / "new"));
  CHECK(stages(t.root.path).empty());
}

TEST_CASE("what somebody saves during an apply outlives its undoing, and what lay there before is "
          "kept and named") {
  taken_over t;
  error e;
  std::string folder;
  {
    auto writer = tree_writer::open(t.root.path);
    REQUIRE(writer.ok());
    t.stage(*writer);
    folder = stages(t.root.path).at(0);
    disk_calls calls;
    calls.sync = [&] {
      t.save("a", "a saved by an editor\n");
      put(t.root / "b", "b written anew in its place\n");
      put(t.root / "new", "new, and gone on with\n");
      put(t.root / "gone", "gone, made anew\n");
      return failing_sync();
    };
    auto done = writer->commit();
    REQUIRE_FALSE(done.ok());
    e = done.err();
  }
  CHECK(e.code == errc::apply_unfinished);
  auto held = t.root / folder
              + " holds what lay here before: a (there as 0), b (there as 1), gone (there as 4)";
  CHECK(e.message == "changed meanwhile and left as it is: gone, a, b, new; " + held);
  CHECK(e.cause.find(t.root.path) != e.cause.npos);
  CHECK(get(t.root / "a") == "a saved by an editor\n");
  CHECK(get(t.root / "b") == "b written anew in its place\n");
  CHECK(get(t.root / "c") == "c before\n");
  CHECK(get(t.root / "new") == "new, and gone on with\n");
  CHECK(get(t.root / "gone") == "gone, made anew\n");
  REQUIRE(stages(t.root.path) == std::vector{folder});
  CHECK(get(t.root / folder + "/0") == "a before\n");
  CHECK(get(t.root / folder + "/1") == "b before\n");
  CHECK_FALSE(exists(t.root / folder + "/2")); // put back
  CHECK_FALSE(exists(t.root / folder + "/3"));
  CHECK(get(t.root / folder + "/4") == "gone before\n");

  auto next = tree_writer::open(t.root.path);
  REQUIRE_FALSE(next.ok());
  CHECK(next.err().code == errc::apply_unfinished);
  CHECK(next.err().message == held);
}

TEST_CASE("what a program that had a file open writes to it after the exchange is kept and named") {
  taken_over t;
  unique_fd a{::open((t.root / "a").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
  unique_fd gone{::open((t.root / "gone").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
  REQUIRE((a && gone));
  error e;
  std::string folder;
  {
    auto writer = tree_writer::open(t.root.path);
    REQUIRE(writer.ok());
    t.stage(*writer);
    folder = stages(t.root.path).at(0);
    disk_calls calls;
    calls.sync = [&] { // all names are exchanged by then
      return write_all(a.get(), "one line more\n").ok() && write_all(gone.get(), "and here\n").ok()
                 ? 0
                 : -1;
    };
    auto done = writer->commit();
    REQUIRE_FALSE(done.ok());
    e = done.err();
  }
  CHECK(e.code == errc::apply_unfinished);
  auto held = t.root / folder + " holds what lay here before: a (there as 0), gone (there as 4)";
  CHECK(e.message == held);
  CHECK(
      e.cause
      == "all was written, and a program that had these files open wrote to what lay there before");
  for (const char* name : {"a", "b", "c", "new"})
    CHECK(get(t.root / name) == std::string{name} + " of the agent\n");
  CHECK_FALSE(exists(t.root / "gone"));
  REQUIRE(stages(t.root.path) == std::vector{folder});
  CHECK(get(t.root / folder + "/0") == "a before\none line more\n");
  CHECK(get(t.root / folder + "/4") == "gone before\nand here\n");
  CHECK_FALSE(exists(t.root / folder + "/1")); // nobody wrote to it
  CHECK_FALSE(exists(t.root / folder + "/2"));

  auto next = tree_writer::open(t.root.path);
  REQUIRE_FALSE(next.ok());
  CHECK(next.err().code == errc::apply_unfinished);
  CHECK(next.err().message == held);
}

TEST_CASE("a save between the last look of an undoing and its exchange is back in its place") {
  temp root, results;
  put(root / "a", "a before\n");
  put(results / "a", "a of the agent\n");
  auto dir = open_root(root.path);
  REQUIRE(dir.ok());
  auto before = look_at(dir->get(), "a");
  REQUIRE(before.ok());
  error e;
  {
    auto writer = tree_writer::open(root.path);
    REQUIRE(writer.ok());
    REQUIRE(writer->stage_write("a", entry_of("a of the agent\n"), results / "a", *before).ok());
    disk_calls calls;
    calls.sync = failing_sync;
    calls.before_rename = [&](int n) {
      if (n != 2) return; // the first one of the undoing
      put(results / "saved", "a saved by an editor\n");
      fs::rename(results / "saved", root / "a");
    };
    auto done = writer->commit();
    REQUIRE_FALSE(done.ok());
    e = done.err();
    CHECK(calls.renames == 3);
  }
  CHECK(e.code == errc::apply_unfinished);
  CHECK(get(root / "a") == "a saved by an editor\n");
  auto left = stages(root.path);
  REQUIRE(left.size() == 1);
  CHECK(get(root / left[0] + "/0") == "a before\n");
}

TEST_CASE("a new file that somebody went on with is left by an undoing, and needs no folder") {
  temp root, results;
  put(results / "new", "of the agent\n");
  error e;
  {
    auto writer = tree_writer::open(root.path);
    REQUIRE(writer.ok());
    REQUIRE(writer->stage_write("new", entry_of("of the agent\n"), results / "new", seen{}).ok());
    REQUIRE(writer->stage_write("d/too", entry_of("of the agent\n"), results / "new", seen{}).ok());
    disk_calls calls;
    calls.sync = [&] {
      put(root / "new", "of the agent\nand mine\n");
      return failing_sync();
    };
    auto done = writer->commit();
    REQUIRE_FALSE(done.ok());
    e = done.err();
  }
  CHECK(e.code == errc::apply_unfinished);
  CHECK(e.message == "changed meanwhile and left as it is: new");
  CHECK(get(root / "new") == "of the agent\nand mine\n");
  CHECK_FALSE(exists(root / "d"));
  CHECK(stages(root.path).empty());
}

TEST_CASE("the folder of an apply that was killed before its first exchange holds nothing of the "
          "user's, and is removed") {
  taken_over t;
  auto left = left_by(t.root.path, [&] {
    auto writer = tree_writer::open(t.root.path);
    if (!writer) return false;
    t.stage(*writer);
    disk_calls calls;
    calls.before_rename = [](int) { ::_exit(0); };
    static_cast<void>(writer->commit());
    return false;
  });
  CHECK_FALSE(exists(t.root / left + "/" + stage_mark));
  CHECK(get(t.root / left + "/0") == "a of the agent\n");
  REQUIRE(tree_writer::open(t.root.path).ok());
  CHECK(stages(t.root.path).empty());
  CHECK(get(t.root / "a") == "a before\n");
}

TEST_CASE("after an apply that was killed halfway the next one is refused until the user's edits "
          "are out of its folder") {
  std::string lines;
  for (int i = 1; i <= 10; ++i)
    lines += std::to_string(i) + "\n";
  swarm_results w;
  w.user.put("A", lines);
  w.user.commit();
  w.begin();
  w.pane("p0", [&](const repo& r) {
    fs::remove(r / "A");
    r.put("B", "agent\n" + lines);
  });
  auto panes = w.panes();
  REQUIRE(panes.at(0).summary.renamed.size() == 1);
  w.user.put("A", lines + "mine\n");
  take_options how{w.user.path, take_mode::patch, false};
  auto left = left_by(w.user.path, [&] {
    disk_calls calls;
    calls.before_rename = [](int n) {
      if (n == 2) ::_exit(0); // A is in the stage, B is not there yet
    };
    static_cast<void>(take_over(w.dir(), w.base(), panes, how));
    return false;
  });
  REQUIRE_FALSE(exists(w.user / "A"));
  REQUIRE(get(w.user / left + "/0") == lines + "mine\n");

  for (auto mode : {take_mode::patch, take_mode::files})
    for (bool check_only : {true, false}) {
      auto refused = take_over(w.dir(), w.base(), panes, {w.user.path, mode, check_only});
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.err().code == errc::apply_unfinished);
      CHECK(refused.err().message == w.user / left + " holds what lay here before: A (there as 0)");
    }
  CHECK_FALSE(exists(w.user / "B"));
  CHECK(get(w.user / left + "/0") == lines + "mine\n");

  // As the hint says.
  fs::rename(w.user / left + "/0", w.user / "A");
  auto merged = take_over(w.dir(), w.base(), panes, how);
  REQUIRE(merged.ok());
  CHECK_FALSE(merged->conflicts());
  CHECK(get(w.user / "B") == "agent\n" + lines + "mine\n");
  CHECK_FALSE(exists(w.user / "A"));
  CHECK(stages(w.user.path).empty());
}
