// Packs that are kept: used when nothing changed, and never otherwise.
#include "transfer/pack_keep.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/scan_corpus.hpp"
#include "transfer/scan.hpp"
#include "transfer/sha256.hpp"
#include "transfer/unpack.hpp"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <set>
#include <sys/resource.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

namespace fs = std::filesystem;

/// Of npm's form, put together here.
std::string npm_token() {
  draw d{4};
  return std::string{"np"} + "m_" + d.alnum(36);
}

/// Old enough that its stamp alone proves that it did not change.
void age(const std::string& path) {
  timespec times[2] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

struct kept_tree : repo {
  temp t;
  std::string keep_dir = t / "packs";
  archive_form form;
  std::uint64_t most = usual_keep_bytes;
  bool whole = true;  ///< Everything in the tree travels.
  scan_report report; ///< Of the last packing.

  kept_tree() {
    put("a.txt", "one\n");
    put("b/c.txt", std::string(200'000, 'c'));
    fs::create_symlink("a.txt", *this / "link");
    commit();
  }
  packed pack(bool keep = true) {
    scan_watcher watcher{path, {}};
    pack_options options;
    options.form = form;
    options.keep_dir = keep_dir;
    options.watcher = &watcher;
    auto done = pack_worktree(path, t / "a.tar", options);
    REQUIRE((done ? "" : render(done.err())) == "");
    report = watcher.report();
    temp to;
    auto there = unpack_archive(t / "a.tar", to / "d");
    REQUIRE(there.ok());
    CHECK(there->sha256() == done->manifest.sha256());
    if (whole) CHECK(there->sha256() == manifest_of(path)->sha256());
    CHECK(*sha256_of_file(t / "a.tar") == done->archive_sha256);
    if (keep) REQUIRE(keep_pack(options, *done, t / "a.tar", most).ok());
    return std::move(*done);
  }
  std::vector<fs::path> kept(const std::string& extension) const {
    std::vector<fs::path> out;
    if (!fs::exists(keep_dir)) return out;
    for (const auto& e : fs::recursive_directory_iterator(keep_dir))
      if (e.path().extension() == extension) out.push_back(e.path());
    std::sort(out.begin(), out.end());
    return out;
  }
  fs::path index() const { return fs::directory_iterator(keep_dir)->path() / "index"; }
};

} // namespace

TEST_CASE("a tree that did not change is packed once, and the second archive is the first") {
  kept_tree r;
  auto first = r.pack();
  CHECK_FALSE(first.reused);
  auto seen = r.report;
  auto second = r.pack();
  CHECK(second.reused);
  CHECK(second.archive_sha256 == first.archive_sha256);
  CHECK(second.manifest.files == first.manifest.files);
  CHECK(second.manifest.total_bytes == first.manifest.total_bytes);
  CHECK(second.clean);
  CHECK(second.head_pack_sha256 == first.head_pack_sha256);
  CHECK(*sha256_of_file(second.head_pack_path) == second.head_pack_sha256);
  CHECK(r.report.files == seen.files);
  CHECK(r.report.size_bytes == seen.size_bytes);
  CHECK(r.pack().reused); // and a third time, from what the second kept
}

TEST_CASE("whatever changes in a tree, it is packed anew") {
  kept_tree r;
  r.pack();
  auto what = GENERATE(0, 1, 2, 3, 4, 5, 6, 7);
  INFO(what);
  if (what == 0) r.put("a.txt", "two\n"); // of the same size
  if (what == 1) r.put("a.txt", "one\n", 0755);
  if (what == 2) r.put("new", "x");
  if (what == 3) fs::remove(r / "a.txt");
  if (what == 4) fs::rename(r / "a.txt", r / "d.txt");
  if (what == 5) {
    fs::remove(r / "link");
    fs::create_symlink("b.txt", r / "link");
  }
  if (what == 6) { // the time of the last change is put back
    r.put("b/c.txt", std::string(200'000, 'd'));
    age(r / "b/c.txt");
  }
  if (what == 7) { // another file with everything but the inode and its times
    fs::copy_file(r / "a.txt", r / "x");
    fs::rename(r / "x", r / "a.txt");
  }
  CHECK_FALSE(r.pack().reused);
}

TEST_CASE("a file that was written just before it was packed is read again, by its content") {
  kept_tree r;
  r.pack();
  // The stamps in the index are made those of a change that nobody could see by them.
  r.put("a.txt", "two\n");
  auto stamp = [&] {
    unique_fd f{::open((r / "a.txt").c_str(), O_RDONLY)};
    return *stamp_of(f.get());
  }();
  auto text = get(r.index());
  auto body = text.substr(0, text.size() - 69);
  auto at = body.find("\nf ", body.find("\nfiles "));
  auto end = body.find('\n', at + 1);
  std::string line = "\nf 420 4 " + sha256_of("one\n");
  for (auto n : {static_cast<std::int64_t>(stamp.device), static_cast<std::int64_t>(stamp.inode),
                 static_cast<std::int64_t>(stamp.mode), static_cast<std::int64_t>(stamp.size),
                 stamp.mtime_ns, stamp.ctime_ns})
    line += " " + std::to_string(n);
  body.replace(at, end - at, line + " 5 a.txt");
  put(r.index(), body + "end " + sha256_of(body) + "\n");
  auto reused = [&] {
    packed out;
    pack_options options;
    scan_watcher watcher{r.path, {}};
    options.watcher = &watcher;
    options.keep_dir = r.keep_dir;
    return kept_pack::find(options, r.path).reuse(*list_with_stamps(r.path), r.t / "b.tar", out);
  };
  CHECK_FALSE(reused());
  // Had all been packed long after, the stamps would have been proof enough.
  auto began = body.find("\nbegan ") + 7;
  body.replace(began, body.find('\n', began) - began, "9000000000000000000");
  put(r.index(), body + "end " + sha256_of(body) + "\n");
  CHECK(reused());
}

TEST_CASE("other rules, other exceptions, another format or level: nothing kept is used") {
  kept_tree r;
  auto first = r.pack();
  r.form.level = 4;
  CHECK_FALSE(r.pack(false).reused);
  r.form = {compression::gzip, 1};
  CHECK_FALSE(r.pack(false).reused);
  r.form = {};
  CHECK(r.pack(false).reused);
  // The list of exceptions decides also where it does not travel itself.
  put(r / ".git/info/exclude", ".skep-scan-allow\n");
  r.whole = false;
  r.put(".skep-scan-allow", "a.txt * # looked at\n");
  CHECK_FALSE(r.pack(false).reused);
  fs::remove(r / ".skep-scan-allow");
  CHECK(r.pack(false).reused);

  pack_options bare;
  bare.keep_dir = r.keep_dir; // nobody watches: not the judgement that was kept
  CHECK_FALSE(pack_worktree(r.path, r.t / "b.tar", bare)->reused);
  auto rules = scan_rules();
  rules.pop_back();
  scan_options fewer;
  fewer.engine = [&] { return scan_engine::compile(rules); };
  scan_watcher watcher{r.path, fewer};
  bare.watcher = &watcher;
  CHECK_FALSE(pack_worktree(r.path, r.t / "b.tar", bare)->reused);
}

TEST_CASE("findings are kept with the pack, and come again") {
  kept_tree r;
  r.put("src/a.py", "t = '" + npm_token() + "'\n");
  r.pack();
  auto first = r.report;
  REQUIRE(first.high == 1);
  CHECK(get(r.index()).find(npm_token()) == std::string::npos);
  REQUIRE(r.pack().reused);
  CHECK(r.report.findings == first.findings);
  CHECK(r.report.high == 1);
  CHECK(r.report.alarming());
}

TEST_CASE("a scan that is not whole is neither kept nor replaced by one that was") {
  kept_tree r;
  scan_options hasty;
  hasty.limit = std::chrono::milliseconds{0};
  auto with = [&](scan_options how) {
    scan_watcher watcher{r.path, how};
    pack_options options;
    options.keep_dir = r.keep_dir;
    options.watcher = &watcher;
    auto done = pack_worktree(r.path, r.t / "a.tar", options);
    REQUIRE(done.ok());
    REQUIRE(keep_pack(options, *done, r.t / "a.tar").ok());
    return done->reused;
  };
  CHECK_FALSE(with(hasty));
  CHECK(r.kept(".archive").empty());
  CHECK_FALSE(with({}));
  CHECK(with({}));
}

TEST_CASE("what is damaged among kept packs is passed over, and made anew") {
  kept_tree r;
  r.pack();
  auto what = GENERATE(0, 1, 2, 3, 4, 5);
  INFO(what);
  auto archive = r.kept(".archive").at(0);
  if (what == 0) put(r.index(), "");
  if (what == 1) put(r.index(), "skep-pack 1\nkey x\nfiles 99999999999999\n");
  if (what == 2) { // one digit
    auto text = get(r.index());
    auto at = text.find("\nbegan ") + 7;
    text[at] = text[at] == '1' ? '2' : '1';
    put(r.index(), text);
  }
  if (what == 3) put(r.index(), get(r.index()).substr(0, 300));
  if (what == 4) { // not through the name that the last packing has
    auto text = get(archive);
    text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
    fs::remove(archive);
    put(archive, text);
  }
  if (what == 5) fs::remove(archive);
  CHECK_FALSE(r.pack().reused);
  CHECK(r.pack().reused);
}

TEST_CASE(
    "a head that moved, and a tree that is no longer clean, come with their own pack or none") {
  kept_tree r;
  auto first = r.pack();
  REQUIRE(first.clean);
  git(r.path, {"commit", "-q", "--allow-empty", "-m", "nothing"});
  auto second = r.pack();
  CHECK(second.reused); // the files are the same
  CHECK(second.head != first.head);
  CHECK(second.head_pack_sha256 != first.head_pack_sha256);
  CHECK(r.kept(".head").size() == 1);             // that of before went
  git(r.path, {"rm", "-q", "--cached", "a.txt"}); // untracked now, and travels all the same
  auto third = r.pack();
  CHECK(third.reused);
  CHECK_FALSE(third.clean);
  CHECK(third.head_pack_path.empty());
}

TEST_CASE("kept packs take no more than they may, and the one used longest ago goes first") {
  kept_tree a, b;
  b.keep_dir = a.keep_dir;
  std::minstd_rand chance{3};
  for (auto* r : {&a, &b}) {
    std::string noise(300'000, '\0');
    for (char& c : noise)
      c = static_cast<char>(chance() >> 8U);
    r->put("noise", noise);
    r->most = 500'000;
  }
  a.pack();
  CHECK(a.pack().reused);
  b.pack(); // no room for both
  CHECK(a.kept(".archive").size() == 1);
  CHECK_FALSE(a.pack(false).reused);
  CHECK(b.pack(false).reused);
  b.most = 1000; // smaller than itself: what was kept stays, nothing is added
  b.put("more", "x");
  b.pack();
  CHECK_FALSE(b.pack(false).reused);
}

TEST_CASE("two packs of one tree share the disk, and removing one leaves the other") {
  kept_tree r;
  auto first = r.pack();
  fs::remove(r.t / "a.tar");
  REQUIRE(r.pack().reused);
  fs::remove(r.t / "a.tar");
  CHECK(*sha256_of_file(r.kept(".archive").at(0)) == first.archive_sha256);
  struct stat st {};
  REQUIRE(::stat(r.kept(".archive").at(0).c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  REQUIRE(::stat(r.keep_dir.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0700);
}

TEST_CASE("what a kill left of packs is removed, and those that were kept to their end stay") {
  kept_tree r;
  r.pack();
  auto whole = r.index().parent_path().string();
  auto names_below = [&] {
    std::set<std::string> out;
    for (const auto& e : fs::recursive_directory_iterator(r.keep_dir))
      out.insert(fs::relative(e.path(), r.keep_dir).string());
    return out;
  };
  const auto before = names_below();
  put(whole + "/x.archive.next", "half an archive");
  put(whole + "/index.tmp-abcdefgh", "half an index");
  put(whole + "/x.archive", "whole, but its index never came");
  put(r.keep_dir + "/early/x.archive", "the first of its tree, without an index");
  put(r.keep_dir + "/damaged/index", "skep-pack 1\nkey x\n");
  put(r.keep_dir + "/lost/index", get(whole + "/index")); // its archive is not there
  put(r.keep_dir + "/no pack", "no folder");
  sweep_packs(r.keep_dir);
  CHECK(fs::exists(r.keep_dir + "/no pack"));
  fs::remove(r.keep_dir + "/no pack");
  CHECK(names_below() == before);
  CHECK(r.pack().reused);
  sweep_packs(r.t / "nowhere");
}

TEST_CASE("a pack that cannot be kept leaves nothing half done, and what was kept before stays") {
  kept_tree r;
  bool earlier = GENERATE(false, true);
  auto what = GENERATE(0, 1, 2);
  INFO(earlier << " " << what);
  if (earlier) {
    r.pack();
    r.put("a.txt", "another\n");
  }
  auto before = r.kept("");
  auto archives = r.kept(".archive");
  scan_watcher watcher{r.path, {}};
  pack_options options;
  options.keep_dir = r.keep_dir;
  options.watcher = &watcher;
  auto done = pack_worktree(r.path, r.t / "a.tar", options);
  REQUIRE(done.ok());
  auto folder = r.keep_dir + "/" + sha256_of(done->root).substr(0, 32);
  std::string was = earlier ? get(r.index()) : std::string{};
  error why;
  if (what == 0) { // no room for the index, as for any file of more than some bytes
    auto former = std::signal(SIGXFSZ, SIG_IGN);
    rlimit usual{}, little{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &usual) == 0);
    little = {64, usual.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
    auto kept = keep_pack(options, *done, r.t / "a.tar");
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &usual) == 0);
    std::signal(SIGXFSZ, former);
    REQUIRE_FALSE(kept.ok());
    why = kept.err();
  } else if (what == 1) { // the archive is gone
    fs::rename(r.t / "a.tar", r.t / "elsewhere");
    auto kept = keep_pack(options, *done, r.t / "a.tar");
    REQUIRE_FALSE(kept.ok());
    why = kept.err();
    fs::rename(r.t / "elsewhere", r.t / "a.tar");
  } else { // so is the pack of HEAD, after the archive was kept
    done->head_pack_path = r.t / "nowhere";
    done->head_pack_sha256 = std::string(64, '0');
    auto kept = keep_pack(options, *done, r.t / "a.tar");
    REQUIRE_FALSE(kept.ok());
    why = kept.err();
  }
  CHECK(why.code == errc::io);
  CHECK(*sha256_of_file(r.t / "a.tar") == done->archive_sha256); // the upload has all it needs
  CHECK(r.kept("") == before);
  CHECK(r.kept(".archive") == archives);
  CHECK(exists(folder) == earlier);
  if (earlier) CHECK(get(r.index()) == was);
  CHECK_FALSE(r.pack().reused); // and the next time everything is kept
  CHECK(r.pack().reused);
}
