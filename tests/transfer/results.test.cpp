#include "transfer/results.hpp"
#include "tests/transfer/disk_calls.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/kept.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <optional>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {
/// What put_on_disk() was asked for, and what was there at that moment.
struct sync_call {
  std::string dir;
  std::vector<std::string> there;
};
std::vector<sync_call> sync_calls;
/// What sendfile() has room for; then the disk is full. None: for all there is.
std::optional<std::size_t> sendfile_room;
} // namespace

// In place of the C library's: nothing else can see whether somebody asked for it.
extern "C" int syncfs(int fd) noexcept {
  if (auto* calls = disk_calls::current; calls && calls->sync) return calls->sync();
  sync_call x;
  x.dir = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd));
  for (const auto& file : std::filesystem::recursive_directory_iterator{x.dir})
    x.there.push_back(file.path().lexically_relative(x.dir));
  std::sort(x.there.begin(), x.there.end());
  sync_calls.push_back(std::move(x));
  return 0;
}

// As the C library's on a disk that fills up in the middle of a file.
extern "C" ssize_t sendfile(int out, int in, off_t* at, size_t count) noexcept {
  if (sendfile_room == std::size_t{0}) {
    errno = ENOSPC;
    return -1;
  }
  if (sendfile_room) count = std::min(count, *sendfile_room);
  auto done = ::syscall(SYS_sendfile, out, in, at, count);
  if (sendfile_room && done > 0) *sendfile_room -= static_cast<std::size_t>(done);
  return done;
}

namespace {

/// A patch of HEAD against its parent.
std::string patch_of(const repo& r) {
  return git(r.path, {"diff", "--binary", "--full-index", "-M", "HEAD~1", "HEAD"}) + "\n";
}

struct pane : temp {
  diff_summary claim;
  /// The files of `summary` as a tar, beside the patch.
  pane(const repo& r, const std::string& patch, diff_summary summary) : claim(std::move(summary)) {
    put(*this / "p.patch", patch);
    auto writer = archive_writer::create(*this / "p.tar");
    auto names = claim.modified;
    names.insert(names.end(), claim.added.begin(), claim.added.end());
    for (const auto* list : {&claim.renamed, &claim.copied})
      for (const auto& [from, to] : *list)
        names.push_back(to);
    unique_fd root{::open(r.path.c_str(), O_PATH)};
    std::string buffer(4096, '\0');
    for (const auto& n : names) {
      auto opened = open_entry(root.get(), n);
      REQUIRE(opened.ok());
      REQUIRE(append_file(*writer, *opened, buffer).ok());
    }
    auto done = writer->finish();
    REQUIRE(done.ok());
    claim.patch_bytes = patch.size();
    claim.patch_sha256 = sha256_of(patch);
    claim.tar_bytes = done->bytes;
    claim.tar_sha256 = done->sha256;
  }
};

repo& changed_repo(repo& r) {
  std::string long_text;
  for (int i = 0; i < 50; ++i)
    long_text += "line " + std::to_string(i) + "\n";
  r.put("m", "one\n");
  r.put("d", "two\n");
  r.put("old name", long_text);
  r.commit();
  r.put("m", "ONE\n");
  std::filesystem::remove(r / "d");
  std::filesystem::rename(r / "old name", r / "new\nname");
  r.put("a/b", std::string("bin\0ary", 7));
  r.commit();
  return r;
}

const diff_summary good_claim{.modified = {"m"},
                              .added = {"a/b"},
                              .deleted = {"d"},
                              .renamed = {{"old name", "new\nname"}},
                              .patch_sha256 = {},
                              .tar_sha256 = {},
                              .head = {},
                              .nested = {}};

} // namespace

TEST_CASE("a pane's results are unpacked when patch, files and claim agree") {
  repo r;
  temp out;
  changed_repo(r);
  pane p{r, patch_of(r), good_claim};
  auto got = collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim);
  REQUIRE(got.ok());
  CHECK(got->touched == std::vector<std::string>{"a/b", "d", "m", "new\nname", "old name"});
  CHECK(get(out / "p0.patch") == get(p / "p.patch"));
  CHECK(get(out / "p0/files/m") == "ONE\n");
  CHECK(get(out / "p0/files/a/b") == std::string("bin\0ary", 7));
  CHECK(collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim).err().code
        == errc::exists);
  CHECK(collect_pane(p / "p.patch", p / "p.tar", out.path, "../x", p.claim).err().code
        == errc::bad_argument);
}

TEST_CASE("a copied file must be in patch and archive, as an added one must") {
  repo r;
  temp out;
  changed_repo(r);
  auto claim = good_claim;
  claim.added.clear();
  claim.copied = {{"m", "a/b"}};
  pane p{r, patch_of(r), claim};
  auto collect = [&](const std::string& name, diff_summary of) {
    auto got = collect_pane(p / "p.patch", p / "p.tar", out.path, name, of);
    return got ? errc::none : got.err().code;
  };
  CHECK(collect("p0", p.claim) == errc::none);
  CHECK(get(out / "p0/files/a/b") == std::string("bin\0ary", 7));
  auto kept = read_pane(out.path, "p0");
  REQUIRE(kept.ok());
  CHECK(kept->summary.copied == claim.copied);
  CHECK(kept->removed() == std::vector<std::string>{"d", "old name"}); // "m" stays
  auto other = p.claim;
  other.copied.emplace_back("m", "not there");
  CHECK(collect("p1", other) == errc::verification);
  other.copied.clear();
  CHECK(collect("p2", other) == errc::verification);
  other.copied = {{"m", "../a/b"}};
  CHECK(collect("p3", other) == errc::verification);
  // One that copies and does nothing else has changed something.
  diff_summary alone;
  alone.copied = {{"m", "a/b"}};
  CHECK_FALSE(alone.empty());
}

TEST_CASE("results are on the disk before anybody hears of them, so that their sandbox may go") {
  repo r;
  temp out;
  changed_repo(r);
  pane p{r, patch_of(r), good_claim};
  sync_calls.clear();
  REQUIRE(collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim).ok());
  REQUIRE(sync_calls.size() == 1);
  CHECK(sync_calls[0].dir == std::filesystem::canonical(out.path));
  CHECK(sync_calls[0].there
        == std::vector<std::string>{"p0", "p0.patch", "p0/changes.json", "p0/files", "p0/files/a",
                                    "p0/files/a/b", "p0/files/m", "p0/files/new\nname"});
}

TEST_CASE("a disk that fills up while a pane's results are stored leaves nothing of them, and what "
          "was there before stays") {
  repo r;
  temp out;
  changed_repo(r);
  pane p{r, patch_of(r), good_claim};
  put(out / "p0/mine", "not of this attempt");
  sendfile_room = 10; // bytes of the patch
  auto full = collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim);
  sendfile_room.reset();
  REQUIRE_FALSE(full.ok());
  CHECK(full.err().code == errc::disk_full);
  CHECK_FALSE(exists(out / "p0.patch"));
  CHECK_FALSE(exists(out / "p0/files"));
  CHECK_FALSE(exists(out / "p0/changes.json"));
  CHECK(get(out / "p0/mine") == "not of this attempt");
  // There is room again: nothing stands in the way of the whole of it.
  REQUIRE(collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim).ok());
  CHECK(get(out / "p0.patch") == get(p / "p.patch"));
  CHECK(read_pane(out.path, "p0").ok());
  auto again = collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim);
  CHECK(again.err().code == errc::exists);
  CHECK(get(out / "p0/files/m") == "ONE\n"); // of the one before
}

TEST_CASE("a swarm's patch that the disk has no room for leaves no half of it") {
  temp t;
  put(t / "p", "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n"
               "@@ -0,0 +1 @@\n+x\n");
  const std::vector<pane_patch> one{{"p0", t / "p"}};
  sendfile_room = 10;
  auto merged = merge_swarm_patch(one, t / "swarm.patch");
  sendfile_room.reset();
  REQUIRE_FALSE(merged.ok());
  CHECK(merged.err().code == errc::disk_full);
  CHECK_FALSE(exists(t / "swarm.patch"));
}

TEST_CASE("a pane brings no repository of its own, whose configuration git would obey") {
  temp t;
  put(t / "p", "diff --git a/sub/.git/config b/sub/.git/config\nnew file mode 100644\n"
               "--- /dev/null\n+++ b/sub/.git/config\n@@ -0,0 +1 @@\n+[core] fsmonitor = evil\n");
  CHECK(paths_of_patch(t / "p").err().code == errc::unsafe_archive);
}

TEST_CASE("more files than were announced are not even unpacked") {
  repo r;
  temp out;
  changed_repo(r);
  for (int i = 0; i < 50; ++i)
    r.put("more/" + std::to_string(i), "x");
  auto greedy = good_claim;
  for (int i = 0; i < 50; ++i)
    greedy.added.push_back("more/" + std::to_string(i));
  pane p{r, patch_of(r), greedy};
  p.claim.added = good_claim.added;
  CHECK(collect_pane(p / "p.patch", p / "p.tar", out.path, "p0", p.claim).err().code
        == errc::unsafe_archive);
  CHECK_FALSE(exists(out / "p0"));
  // As collect_pane() has it bounded: one more than were announced, so that it can be named.
  unpack_limits announced;
  announced.max_files =
      good_claim.modified.size() + good_claim.added.size() + good_claim.renamed.size() + 1;
  CHECK(unpack_archive(p / "p.tar", out / "all", announced).err().code == errc::unsafe_archive);
  std::size_t unpacked = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator{out / "all"})
    unpacked += file.is_regular_file();
  CHECK(unpacked <= announced.max_files);
}

TEST_CASE("claims that differ from what arrived are found") {
  repo r;
  temp out;
  changed_repo(r);
  auto code = [&](auto change) {
    pane p{r, patch_of(r), good_claim};
    change(p);
    auto got = collect_pane(p / "p.patch", p / "p.tar", out.path, "p" + random_token(8), p.claim);
    return got ? errc::none : got.err().code;
  };
  CHECK(code([](pane&) {}) == errc::none);
  CHECK(code([](pane& p) { p.claim.patch_bytes++; }) == errc::checksum);
  CHECK(code([](pane& p) { p.claim.tar_sha256[0] ^= 1; }) == errc::checksum);
  CHECK(code([](pane& p) { p.claim.deleted.push_back("README"); }) == errc::verification);
  CHECK(code([](pane& p) { p.claim.modified.clear(); }) == errc::verification);
}

TEST_CASE("a patch that leaves the tree or is none is refused") {
  temp t;
  put(t / "p", "diff --git a/../../x b/../../x\nnew file mode 100644\n--- /dev/null\n"
               "+++ b/../../x\n@@ -0,0 +1 @@\n+evil\n");
  CHECK(paths_of_patch(t / "p").err().code == errc::unsafe_archive);
  put(t / "p", "diff --git a/.git/config b/.git/config\n--- a/.git/config\n+++ b/.git/config\n"
               "@@ -1 +1 @@\n-a\n+b\n");
  CHECK_FALSE(paths_of_patch(t / "p").ok());
  put(t / "p", "hello\n");
  CHECK(paths_of_patch(t / "p").err().code == errc::protocol);
  put(t / "p", "");
  CHECK(paths_of_patch(t / "p")->empty());
  CHECK(paths_of_patch(t / "missing").err().code == errc::file_not_found);
}

TEST_CASE("a patch is read in the folder that is named for what is temporary") {
  temp t;
  put(t / "p", "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n"
               "@@ -0,0 +1 @@\n+x\n");
  std::filesystem::create_directories(t / "scratch");
  CHECK(paths_of_patch(t / "p", t / "scratch").value() == std::vector<std::string>{"x"});
  CHECK(std::filesystem::is_empty(t / "scratch"));
  CHECK(paths_of_patch(t / "p", t / "none").err().code == errc::io);
  const std::vector<pane_patch> one{{"p0", t / "p"}};
  CHECK(merge_swarm_patch(one, t / "swarm.patch", t / "scratch").ok());
  CHECK(merge_swarm_patch(one, t / "swarm.patch", t / "none").err().code == errc::io);
}

TEST_CASE("the swarm's patch holds the panes that overlap with no other") {
  repo r;
  temp t;
  for (const char* n : {"a", "b", "c", "d"})
    r.put(n, std::string{n} + "\n");
  auto base = r.commit();
  auto make = [&](const std::string& name, auto change) {
    git(r.path, {"checkout", "-q", "-f", base});
    change();
    git(r.path, {"add", "-A"});
    put(t / name, git(r.path, {"diff", "--cached", "--binary", "-M", base}) + "\n");
    git(r.path, {"reset", "-q", "--hard", base});
    return pane_patch{name, t / name};
  };
  std::vector<pane_patch> all{make("p0", [&] { r.put("a", "A\n"); }),
                              make("p1", [&] { r.put("b", "B\n"); }),
                              make("p2", [&] { std::filesystem::rename(r / "b", r / "bb"); }),
                              make("p3", [&] { r.put("new/x", "x\n"); }),
                              {"p4", t / "p4"},
                              {"p5", t / "p5"}};
  put(t / "p6", "");
  all.push_back({"p6", t / "p6"});
  // One changes the file c, another believes that c is a directory.
  put(t / "p4", "diff --git a/c/x b/c/x\nnew file mode 100644\n--- /dev/null\n+++ b/c/x\n"
                "@@ -0,0 +1 @@\n+x\n");
  put(t / "p5", "diff --git a/c b/c\n--- a/c\n+++ b/c\n@@ -1 +1 @@\n-c\n+C\n");
  auto merged = merge_swarm_patch(all, t / "swarm.patch");
  REQUIRE(merged.ok());
  CHECK(merged->included == std::vector<std::string>{"p0", "p3"});
  REQUIRE(merged->conflicts.size() == 4);
  CHECK(merged->conflicts.at("p1") == std::vector<std::string>{"b"});
  CHECK(merged->conflicts.at("p2") == std::vector<std::string>{"b"});
  CHECK(merged->conflicts.at("p4") == std::vector<std::string>{"c/x"});
  CHECK(merged->conflicts.at("p5") == std::vector<std::string>{"c"});
  git(r.path, {"apply", "--check", t / "swarm.patch"});
  git(r.path, {"apply", t / "swarm.patch"});
  CHECK(get(r / "a") == "A\n");
  CHECK(get(r / "new/x") == "x\n");
}

TEST_CASE("panes that all change the same many files are merged in no time") {
  temp t;
  std::string patch;
  constexpr int files = 20'000;
  for (int i = 0; i < files; ++i) {
    auto name = "folder/with/a/name/file-" + std::to_string(i);
    patch += "diff --git a/" + name + " b/" + name + "\n--- a/" + name + "\n+++ b/" + name
             + "\n@@ -1 +1 @@\n-a\n+b\n";
  }
  std::vector<pane_patch> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back({"p" + std::to_string(i), t / ("p" + std::to_string(i))});
    put(all.back().patch_path, patch);
  }
  auto begin = std::clock(); // of this process alone, without git
  auto merged = merge_swarm_patch(all, t / "swarm.patch");
  auto seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  REQUIRE(merged.ok());
  CHECK(merged->conflicts.size() == 6);
  CHECK(merged->conflicts.at("p3").size() == files);
  CHECK(seconds < 5);
}

TEST_CASE("a summary survives its JSON form, whatever bytes the names hold") {
  diff_summary x = good_claim;
  x.commits = 3;
  x.added.push_back("\xFF\xFE");
  x.copied = {{"m", "\xFF copy"}, {"d", "another"}};
  x.patch_sha256 = x.tar_sha256 = std::string(64, 'a');
  x.head = std::string(40, 'b');
  x.nested = {"n"};
  x.unreadable = {"\xFE", "u"};
  x.too_large = {"l", "\xFD"};
  x.no_history = true;
  auto back = parse_diff_summary(to_line(to_json(x)));
  REQUIRE(back.ok());
  CHECK(back->commits == 3);
  CHECK(back->added == x.added);
  CHECK(back->renamed == x.renamed);
  CHECK(back->copied == x.copied);
  CHECK(back->unreadable == x.unreadable);
  CHECK(back->too_large == x.too_large);
  CHECK(back->no_history);
  auto older = to_json(x); // of a release that told no copies, and then of these
  for (const char* key : {"copied", "unreadable", "too_large", "no_history"})
    older.erase(key);
  REQUIRE(parse_diff_summary(to_line(older)).ok());
  CHECK(parse_diff_summary(to_line(older))->copied.empty());
  CHECK(parse_diff_summary(to_line(older))->unreadable.empty());
  CHECK(parse_diff_summary(to_line(older))->too_large.empty());
  CHECK_FALSE(parse_diff_summary(to_line(older))->no_history);
  older["copied"] = json::array({json::array({"a"})});
  CHECK(parse_diff_summary(to_line(older)).err().code == errc::protocol);
  CHECK(back->nested == x.nested);
  for (const char* bad : {"", "[]", "{}", "{\"modified\":3}", "{\"renamed\":[[\"a\"]]}"})
    CHECK(parse_diff_summary(bad).err().code == errc::protocol);
  CHECK(parse_diff_summary("{\"error\":\"io\",\"message\":\"x\"}").err().code
        == errc::remote_command_failed);
}

TEST_CASE("a summary in a file is read when it is the one that was announced, and of sane size") {
  temp t;
  diff_summary x = good_claim;
  x.patch_sha256 = x.tar_sha256 = std::string(64, 'a');
  auto keep = [&](const std::string& text) {
    put(t / "p0.json", text);
    return summary_file{text.size(), sha256_of(text)};
  };
  auto file = keep(to_line(to_json(x)));
  auto told = parse_summary_file(to_json(x, file));
  REQUIRE(told.ok());
  REQUIRE(told->has_value());
  CHECK((*told)->bytes == file.bytes);
  CHECK((*told)->sha256 == file.sha256);
  auto back = read_diff_summary(t / "p0.json", **told);
  REQUIRE(back.ok());
  CHECK(back->modified == x.modified);
  // What earlier releases print announces no file.
  auto itself = parse_summary_file(to_json(x));
  REQUIRE(itself.ok());
  CHECK_FALSE(itself->has_value());

  CHECK(read_diff_summary(t / "none", file).err().code == errc::file_not_found);
  put(t / "p0.json", to_line(to_json(x)) + " ");
  CHECK(read_diff_summary(t / "p0.json", file).err().code == errc::checksum);
  auto deep = keep("{\"x\":" + std::string(1000, '[') + std::string(1000, ']') + "}");
  CHECK(read_diff_summary(t / "p0.json", deep).err().code == errc::protocol);
  std::string much = "{\"modified\":[";
  for (int i = 0; i < 5'000'200; ++i)
    much += "1,";
  auto wide = keep(much + "1]}");
  CHECK(read_diff_summary(t / "p0.json", wide).err().code == errc::protocol);

  auto announced = to_json(x, file);
  announced["summary_bytes"] = largest_summary_bytes + 1;
  CHECK(parse_summary_file(announced).err().code == errc::too_large);
  announced["summary_bytes"] = -1;
  CHECK(parse_summary_file(announced).err().code == errc::protocol);
  announced = to_json(x, file);
  announced["summary_sha256"] = "ab";
  CHECK(parse_summary_file(announced).err().code == errc::protocol);
  CHECK(parse_summary_file(json::array()).err().code == errc::protocol);
}

TEST_CASE("well-formed UTF-8 is told from other bytes") {
  for (const char* good : {"", "a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x90\x9D"})
    CHECK(is_utf8(good));
  for (const char* bad : {"\xC3", "\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                          "\xE2\x82", "\xF0\x9F\x90", "a\xFF"})
    CHECK_FALSE(is_utf8(bad));
}
