#include "transfer/pack.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/parts.hpp"
#include "transfer/sha256.hpp"
#include "transfer/unpack.hpp"
#include "transfer/worktree.hpp"

#include <mutex>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {
void fill(const repo& r) {
  r.put("plain", "text\n");
  r.put("empty", "");
  r.put("run.sh", "#!/bin/sh\n", 0755);
  r.put("a b/\"q\"\n\xFF", "odd");
  r.put("big", std::string(3'000'000, 'b') + "end");
  r.put(std::string(120, 'n') + "/" + std::string(150, '\xC3'), "a name too long for ustar");
  r.put(std::string(90, 'p') + "/" + std::string(90, 'f'), "a name in two halves");
  std::filesystem::create_symlink("plain", r / "link");
  std::filesystem::create_symlink("../outside/" + std::string(150, 't'), r / "far");
}
} // namespace

TEST_CASE("what is packed arrives exactly, and its manifest is the same on both sides") {
  repo r;
  temp t;
  fill(r);
  r.commit();
  r.put("untracked", "too");
  auto packed = pack_worktree(r.path, t / "a.tar.zst");
  REQUIRE(packed.ok());
  CHECK(packed->manifest.files.size() == 10);
  CHECK_FALSE(packed->clean);
  CHECK(packed->head_pack_path.empty());
  CHECK(packed->archive_bytes == std::filesystem::file_size(t / "a.tar.zst"));
  CHECK(packed->archive_sha256 == *sha256_of_file(t / "a.tar.zst"));
  unpack_limits limits;
  limits.outward_links = true;
  auto unpacked = unpack_archive(t / "a.tar.zst", t / "there", limits);
  REQUIRE(unpacked.ok());
  CHECK(unpacked->files == packed->manifest.files);
  CHECK(unpacked->total_bytes == packed->manifest.total_bytes);
  CHECK(unpacked->sha256() == packed->manifest.sha256());
  auto on_disk = manifest_of(t / "there");
  REQUIRE(on_disk.ok());
  CHECK(on_disk->sha256() == packed->manifest.sha256());
  CHECK(get(t / "there/big") == get(r / "big"));
  run({"git", "diff", "--no-index", "--exit-code", r / "a b", t / "there/a b"});
}

TEST_CASE("other programs read the archive") {
  repo r;
  temp t;
  fill(r);
  r.commit();
  REQUIRE(pack_worktree(r.path, t / "a.tar.zst").ok());
  std::filesystem::create_directory(t / "there");
  run({"tar", "--warning=no-unknown-keyword", "-C", t / "there", "--zstd", "-xf", t / "a.tar.zst"});
  auto ours = manifest_of(r.path), theirs = manifest_of(t / "there");
  REQUIRE(theirs.ok());
  CHECK(ours->sha256() == theirs->sha256());
}

TEST_CASE("one byte, one mode or one name off gives another manifest") {
  temp t;
  put(t / "d/a", "text");
  auto before = manifest_of(t / "d")->sha256();
  put(t / "d/a", "texT");
  CHECK(manifest_of(t / "d")->sha256() != before);
  put(t / "d/a", "text", 0755);
  CHECK(manifest_of(t / "d")->sha256() != before);
  put(t / "d/a", "text", 0644);
  CHECK(manifest_of(t / "d")->sha256() == before);
  put(t / "d/b", "");
  CHECK(manifest_of(t / "d")->sha256() != before);
  std::filesystem::remove(t / "d/b");
  std::filesystem::remove(t / "d/a");
  std::filesystem::create_symlink("text", t / "d/a");
  CHECK(manifest_of(t / "d")->sha256() != before);
}

TEST_CASE("a clean work tree comes with a pack of HEAD alone") {
  repo r;
  temp t;
  r.put("a", "first");
  auto first = r.commit();
  r.put("a", "second");
  auto head = r.commit();
  auto packed = pack_worktree(r.path, t / "a.tar.zst");
  REQUIRE(packed.ok());
  CHECK(packed->clean);
  CHECK(packed->head == head);
  REQUIRE_FALSE(packed->head_pack_path.empty());
  CHECK(packed->head_pack_sha256 == *sha256_of_file(packed->head_pack_path));
  temp other;
  git(other.path, {"init", "-q"});
  std::filesystem::copy(packed->head_pack_path, other / "p.pack");
  git(other.path, {"index-pack", "p.pack"});
  auto list = git(other.path, {"verify-pack", "-v", "p.idx"});
  CHECK(list.find(head) != list.npos);
  CHECK(list.find(first) == list.npos);
}

TEST_CASE("a commit while the work tree is packed brings nothing of it along") {
  struct committing : content_watcher {
    explicit committing(const repo& to) : r(to) {}
    std::unique_ptr<content_stream> begin(const std::string&) override {
      std::call_once(once, [this] {
        r.put("a", "other words");
        r.commit();
      });
      return nullptr;
    }
    const repo& r;
    std::once_flag once;
  };
  repo r;
  temp t;
  r.put("a", "first");
  // More than is under way at once: "a" is looked at, and so the commit made, before all was read
  // and git is asked.
  r.put("b", std::string(8 * 1024 * 1024, 'b'));
  auto first = r.commit();
  committing watcher{r};
  pack_options options;
  options.workers = 1;
  options.watcher = &watcher;
  auto packed = pack_worktree(r.path, t / "a.tar.zst", options);
  REQUIRE(packed.ok());
  CHECK(packed->head == first);
  CHECK_FALSE(packed->clean);
  CHECK(packed->head_pack_path.empty());
}

TEST_CASE("a work tree is that of a commit only while HEAD is that commit") {
  repo r;
  r.put("a", "same");
  auto first = r.commit();
  git(r.path, {"commit", "-q", "--allow-empty", "-m", "another one with the same files"});
  auto any = files_of_clean_head(r.path), meant = files_of_clean_head(r.path, first);
  REQUIRE(any.ok());
  REQUIRE(meant.ok());
  CHECK(any->has_value());
  CHECK_FALSE(meant->has_value());
}

TEST_CASE("a tracked file that is always excluded makes the work tree not clean") {
  repo r;
  temp t;
  r.put("a", "x");
  r.put(".env", "x");
  r.commit();
  auto packed = pack_worktree(r.path, t / "a.tar.zst");
  REQUIRE(packed.ok());
  CHECK_FALSE(packed->clean);
  REQUIRE(packed->skipped.size() == 1);
  CHECK(packed->skipped[0].path == ".env");
}

TEST_CASE("packing can be cancelled and leaves nothing behind") {
  repo r;
  temp t;
  fill(r);
  r.commit();
  std::atomic<bool> cancel{true};
  pack_options options;
  options.cancel = &cancel;
  CHECK(pack_worktree(r.path, t / "a", options).err().code == errc::cancelled);
  options.cancel = nullptr;
  options.limit = std::chrono::milliseconds{0};
  CHECK(pack_worktree(r.path, t / "a", options).err().code == errc::timed_out);
  CHECK_FALSE(exists(t / "a"));
  CHECK(git(r.path, {"status", "--porcelain"}).empty());
}

TEST_CASE("parts have the sizes, hashes and names that the other side checks") {
  auto made = temp_dir::make();
  REQUIRE(made.ok());
  const auto& dir = *made;
  auto file = dir.path() + "/tree.tar";
  REQUIRE(write_file_durably(file, "an archive", 0600).ok());
  auto parts = parts_of(file, 4).value();
  REQUIRE(parts.size() == 3);
  CHECK(parts[0] == file_part{0, 4, sha256_of("an a")});
  CHECK(parts[1] == file_part{4, 4, sha256_of("rchi")});
  CHECK(parts[2] == file_part{8, 2, sha256_of("ve")});
  // A size that divides it makes no empty part; an empty file is one.
  CHECK(parts_of(file, 5).value().size() == 2);
  CHECK(parts_of(file, 10).value() == std::vector{file_part{0, 10, sha256_of("an archive")}});
  REQUIRE(write_file_durably(file, "", 0600).ok());
  CHECK(parts_of(file, 4).value() == std::vector{file_part{0, 0, sha256_of("")}});
  CHECK(parts_of(dir.path() + "/none", 4).err().code == errc::io);
  CHECK(part_name("worktree.tar", 0) == "worktree.tar.00001");
  CHECK(part_name("worktree.tar", 99'999) == "worktree.tar.100000");
  // A directory's listing holds regular files and follows nothing.
  REQUIRE(write_file_durably(dir.path() + "/in", "x", 0600).ok());
  std::filesystem::create_symlink("/etc/passwd", dir.path() + "/link");
  auto listing = list_parts(dir.path()).value();
  CHECK(listing["parts"].size() == 2);
  CHECK(list_parts(dir.path() + "/none").value()["parts"].empty());
}
