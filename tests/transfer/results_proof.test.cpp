// The patch that people read and the files that taking over writes are one change, whatever a
// sandbox says: hostile results are put together by hand here.
#include "tests/transfer/repo.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/kept.hpp"
#include "transfer/pack.hpp"
#include "transfer/sha256.hpp"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

bool disk_is_full = false;

} // namespace

// In place of the C library's: a disk without room is asked for by a test.
extern "C" int posix_fallocate(int file, off_t at, off_t size) {
  if (disk_is_full) return ENOSPC;
  return ::fallocate(file, 0, at, size) == 0 ? 0 : errno;
}

namespace {

/// A tree that was uploaded, what an agent made of it, and a claim of that.
struct forged : temp {
  repo tree;
  std::string base;
  diff_summary claim;

  forged() {
    tree.put("m.c", "int main(){return  1;}\n");
    tree.put("other.c", "int other;\n");
    tree.put("run", "#!/bin/sh\n");
    base = tree.commit();
    REQUIRE(pack_worktree(tree.path, *this / "upload.tar").ok());
    claim.commits = 1;
    claim.modified = {"m.c"};
  }
  /// The agent's commits as mails, and as one diff.
  std::string series() {
    claim.head = tree.commit("harmless");
    return git(tree.path, {"format-patch", "--stdout", "--binary", "--full-index", "--no-signature",
                           base + "..HEAD"})
           + "\n";
  }
  std::string one_diff() {
    claim.head = tree.commit("harmless");
    claim.squashed = true;
    return git(tree.path, {"diff", "--binary", "--full-index", base, "HEAD"}) + "\n";
  }
  /// Collects this patch with the files that lie in the tree now.
  result<pane_changes> collect(const std::string& patch) {
    put(*this / "p.patch", patch);
    auto writer = archive_writer::create(*this / "p.tar");
    REQUIRE(writer.ok());
    unique_fd root{::open(tree.path.c_str(), O_PATH)};
    std::string buffer(4096, '\0');
    auto names = claim.modified;
    names.insert(names.end(), claim.added.begin(), claim.added.end());
    for (const auto& [from, to] : claim.copied)
      names.push_back(to);
    for (const auto& name : names) {
      auto opened = open_entry(root.get(), name);
      REQUIRE(opened.ok());
      REQUIRE(append_file(*writer, *opened, buffer).ok());
    }
    auto done = writer->finish();
    REQUIRE(done.ok());
    claim.patch_bytes = patch.size();
    claim.patch_sha256 = sha256_of(patch);
    claim.tar_bytes = done->bytes;
    claim.tar_sha256 = done->sha256;
    std::filesystem::create_directories(*this / "scratch");
    auto got = collect_pane(*this / "p.patch", *this / "p.tar", *this / "out", "p0", claim, {},
                            *this / "scratch", *this / "upload.tar");
    CHECK(std::filesystem::is_empty(*this / "scratch"));
    return got;
  }
  /// What the patch among the results makes of the upload.
  std::string applied(const std::string& file) {
    auto copy = *this / "applied";
    remove_tree(copy);
    REQUIRE(unpack_archive(*this / "upload.tar", copy).ok());
    git(copy, {"init", "-q"});
    git(copy, {"apply", *this / "out/p0.patch"});
    return get(copy + "/" + file);
  }
};

constexpr const char* harmless_source = "int main(){return  0;}\n";
constexpr const char* evil = "int main(){return EVIL;}\n";

} // namespace

TEST_CASE("a patch that gives the files is kept as it came, with its messages") {
  forged f;
  f.tree.put("m.c", harmless_source);
  auto patch = f.series();
  auto got = f.collect(patch);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::proven);
  CHECK(get(f / "out/p0.patch") == patch);
  CHECK(read_pane(f / "out", "p0")->patch == patch_origin::proven);
}

TEST_CASE("a disk that is full while a patch is proven says nothing of the patch") {
  forged f;
  f.tree.put("m.c", harmless_source);
  auto patch = f.series();
  // git says it in words alone.
  std::string step = GENERATE(as<std::string>{}, " apply --cached ", " write-tree ");
  const auto real = in_path("git");
  put(f / "bin/git",
      "#!/bin/sh\ncase \" $* \" in *'" + step
          + "'*) echo 'error: unable to write file x: No space left on device' >&2; exit 1;; esac\n"
            "exec '"
          + real + "' \"$@\"\n",
      0755);
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", ((f / "bin") + ":" + before).c_str(), 1);
  disk_is_full = true;
  auto got = f.collect(patch);
  disk_is_full = false;
  ::setenv("PATH", before.c_str(), 1);
  REQUIRE_FALSE(got.ok());
  CHECK(got.err().code == errc::disk_full);
  CHECK_FALSE(exists(f / "out/p0.patch"));
  CHECK_FALSE(exists(f / "out/p0"));
  got = f.collect(patch);
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::proven);
}

TEST_CASE("a file whose name says that the disk is full hides no forged patch") {
  const std::string name = "x: No space left on device";
  forged f;
  f.tree.put(name, harmless_source);
  f.claim.modified = {};
  f.claim.added = {name};
  auto patch = f.series();
  // A copy of what is not there, which git names in its refusal.
  patch.insert(patch.find("diff --git"), "diff --git a/gone " + name
                                             + " b/copy\n"
                                               "similarity index 100%\ncopy from gone "
                                             + name + "\ncopy to copy\n");
  auto got = f.collect(patch);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::made_here);
  CHECK(got->doubt == "it does not apply to what was uploaded");
  CHECK(f.applied(name) == harmless_source);
}

TEST_CASE("a copied file is proven by what it holds, wherever it is said to be from") {
  bool honest = GENERATE(true, false);
  forged f;
  f.tree.put("m.c", harmless_source);
  f.tree.put("copy.c", "int other;\n");
  auto patch = f.series();
  if (!honest) f.tree.put("copy.c", evil);
  f.claim.copied = {{"other.c", "copy.c"}};
  auto got = f.collect(patch);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == (honest ? patch_origin::proven : patch_origin::made_here));
  CHECK(got->doubt == (honest ? "" : "copy.c differs"));
  CHECK(f.applied("copy.c") == (honest ? "int other;\n" : evil));
  CHECK(f.applied("other.c") == "int other;\n");
}

TEST_CASE("a patch that shows other code than the files hold gives way to one that shows theirs",
          "[owasp-a08]") {
  bool mails = GENERATE(true, false);
  forged f;
  f.tree.put("m.c", harmless_source);
  auto patch = mails ? f.series() : f.one_diff();
  f.tree.put("m.c", evil);
  auto got = f.collect(patch);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::made_here);
  CHECK(got->doubt == "m.c differs");
  CHECK(got->summary.squashed);
  auto shown = get(f / "out/p0.patch");
  CHECK(shown.find("+int main(){return EVIL;}") != shown.npos);
  CHECK(shown.find("return  0;") == shown.npos);
  CHECK(f.applied("m.c") == evil);
  auto pane = read_pane(f / "out", "p0");
  REQUIRE(pane.ok());
  CHECK(pane->patch == patch_origin::made_here);
  CHECK(check_kept(*pane).ok());
  CHECK(lines_of_patch(pane->patch_path)->at("m.c").added == 1);
}

TEST_CASE("what a patch alone changes, and an executable bit that it hides, are seen") {
  forged f;
  f.tree.put("m.c", harmless_source);
  SECTION("a path that nobody brings") {
    f.tree.put("other.c", "int other = 1;\n");
    auto patch = f.series();
    auto got = f.collect(patch);
    REQUIRE(got.ok());
    CHECK(got->doubt == "other.c differs");
    CHECK(got->touched == std::vector<std::string>{"m.c"});
    CHECK(get(f / "out/p0.patch").find("other.c") == std::string::npos);
  }
  SECTION("the bit") {
    f.tree.put("run", "#!/bin/sh\nexit\n");
    f.claim.modified.emplace_back("run");
    auto patch = f.series();
    f.tree.put("run", "#!/bin/sh\nexit\n", 0755);
    auto got = f.collect(patch);
    REQUIRE(got.ok());
    CHECK(got->doubt == "run differs");
    CHECK(get(f / "out/p0.patch").find("new mode 100755") != std::string::npos);
  }
  SECTION("a base that was never uploaded") {
    auto patch = f.series();
    patch.replace(patch.find("-int main(){return  1;}"), 5, "-long");
    auto got = f.collect(patch);
    REQUIRE(got.ok());
    CHECK(got->patch == patch_origin::made_here);
    CHECK(got->doubt == "it does not apply to what was uploaded");
    CHECK(f.applied("m.c") == harmless_source);
  }
}

TEST_CASE("a symlink out of its tree costs a pane that link, and the patch is made without it") {
  bool mails = GENERATE(true, false);
  std::string target = GENERATE("/usr/bin/python3", "../../elsewhere", "lib/../../out");
  forged f;
  f.tree.put("m.c", harmless_source);
  std::filesystem::create_symlink(target, f.tree / "bin");
  std::filesystem::remove(f.tree / "other.c");
  std::filesystem::create_symlink(target, f.tree / "other.c");
  f.claim.added = {"bin"};
  f.claim.modified.emplace_back("other.c");
  auto got = f.collect(mails ? f.series() : f.one_diff());
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::without_links);
  CHECK(got->doubt.empty());
  CHECK(got->summary.added.empty());
  CHECK(got->summary.modified == std::vector<std::string>{"m.c"});
  CHECK(got->touched == std::vector<std::string>{"m.c"});
  CHECK_FALSE(std::filesystem::is_symlink(f / "out/p0/files/bin"));
  CHECK(f.applied("m.c") == harmless_source);
  CHECK(f.applied("other.c") == "int other;\n"); // the user's own stays
  auto pane = read_pane(f / "out", "p0");
  REQUIRE(pane.ok());
  CHECK(check_kept(*pane).ok());
  CHECK(pane->patch == patch_origin::without_links);
  REQUIRE(pane->left_out.size() == 2);
  CHECK(pane->left_out[1].path == "other.c");
  CHECK(pane->left_out[0].path == "bin");
  CHECK(pane->left_out[0].target == target);
}

TEST_CASE("a link that is left out hides no patch that is another one", "[owasp-a08]") {
  forged f;
  f.tree.put("m.c", harmless_source);
  std::filesystem::create_symlink("/etc", f.tree / "etc");
  f.claim.added = {"etc"};
  auto patch = f.series();
  f.tree.put("m.c", evil);
  auto got = f.collect(patch);
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::made_here);
  CHECK(got->doubt == "m.c differs");
  CHECK(f.applied("m.c") == evil);
}

TEST_CASE("a link out of its tree is refused where the upload is not at hand any more") {
  forged f;
  f.tree.put("m.c", harmless_source);
  std::filesystem::create_symlink("/etc", f.tree / "etc");
  f.claim.added = {"etc"};
  auto patch = f.series();
  std::filesystem::remove(f / "upload.tar");
  auto got = f.collect(patch);
  CHECK(got.err().code == errc::unsafe_archive);
  CHECK_FALSE(exists(f / "out/p0.patch"));
  CHECK_FALSE(exists(f / "out/p0/changes.json"));
}

TEST_CASE("one diff is written here, where attributes that came along hide no text from readers") {
  forged f;
  f.tree.put("m.c", evil);
  f.tree.put(".gitattributes", "* -diff filter=none-such text eol=crlf\n");
  f.claim.added = {".gitattributes"};
  auto patch = f.one_diff();
  REQUIRE(patch.find("GIT binary patch") != patch.npos);
  auto got = f.collect(patch);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == patch_origin::proven);
  auto shown = get(f / "out/p0.patch");
  CHECK(shown.find("+int main(){return EVIL;}") != shown.npos);
  CHECK(got->summary.patch_sha256 == sha256_of(shown));
}

TEST_CASE("results that are refused leave no patch that somebody could take for theirs") {
  forged f;
  f.tree.put("m.c", harmless_source);
  auto patch = f.series();
  f.claim.deleted = {"README"};
  CHECK(f.collect(patch).err().code == errc::verification);
  CHECK_FALSE(exists(f / "out/p0.patch"));
  CHECK_FALSE(exists(f / "out/p0/changes.json"));
}
