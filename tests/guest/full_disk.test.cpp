// What an agent did, and how it ended, outlives a disk that it filled.
#include "guest/room.hpp"
#include "tests/guest/uploaded.hpp"

#include <cerrno>
#include <csignal>
#include <sys/resource.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {

/// What a script of sh prints. For it, `$disk` is a file system of its own, of so many MiB, that
/// begins with what the folder `disk` holds; `$kept` is that folder as it is for everybody else,
/// and `$guest` the program. Further words are its arguments.
std::string on_small_disk(const std::string& disk, unsigned mib, const std::string& script,
                          const std::vector<std::string>& words) {
  temp kept;
  const auto whole =
      "guest=$1; disk=$2; kept=$3; shift 3; cp -a \"$kept/.\" \"$disk\" && " + script;
  std::vector<std::string> argv{"bwrap", "--dev-bind", "/", "/"};
  argv.insert(argv.end(), {"--bind", disk, kept.path});
  argv.insert(argv.end(), {"--size", std::to_string(mib << 20), "--tmpfs", disk});
  argv.insert(argv.end(), {"sh", "-c", whole, "sh", guest_path(), disk, kept.path});
  argv.insert(argv.end(), words.begin(), words.end());
  return run(argv);
}

const std::string fill = "{ head -c 99999999 /dev/zero > \"$disk/fill\" 2>/dev/null || true; }";

/// Files of this process get no byte while it lives.
struct no_room {
  no_room() : handler(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &usual) == 0);
    rlimit none{0, usual.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  }
  no_room(const no_room&) = delete;
  ~no_room() {
    ::setrlimit(RLIMIT_FSIZE, &usual);
    std::signal(SIGXFSZ, handler);
  }
  rlimit usual{};
  void (*handler)(int);
};

std::vector<std::string> folders(const std::vector<guest::place>& places) {
  std::vector<std::string> out;
  for (const auto& p : places)
    out.push_back(p.folder);
  return out;
}

using names = std::vector<std::string>;

} // namespace

TEST_CASE("results go where they belong while there is room, then to another disk that has some") {
  using guest::by_room;
  using guest::place;
  const std::vector<place> others{{"/a", 100, 2}, {"/same", 5, 1}, {"/b", 30, 3}, {"/full", 0, 4}};
  CHECK(folders(by_room({"/home", 20, 1}, others, 20)) == names{"/home", "/a", "/b"});
  CHECK(folders(by_room({"/home", 19, 1}, others, 20)) == names{"/a", "/b", "/home"});
  CHECK(folders(by_room({"/home", 50, 1}, others, 99)) == names{"/a", "/home", "/b"});
  CHECK(folders(by_room({"/home", 0, 1}, {{"/full", 0, 4}}, 20)) == names{"/home"});
  temp t;
  auto here = guest::look_for_room(t.path), below = guest::look_for_room(t / "not/yet/there");
  CHECK(here.room > 0);
  CHECK(below.folder == t / "not/yet/there");
  CHECK(below.disk == here.disk);
  CHECK(guest::look_for_room("/proc/self").room == 0);
}

TEST_CASE("an error tells of a full disk in our words and in those of git") {
  using transfer::tells_of_full_disk;
  CHECK(tells_of_full_disk(transfer::io_error("a file", EDQUOT)));
  CHECK(tells_of_full_disk(make_error(errc::io, "git add ended with exit code 128",
                                      "error: unable to write file: No space left on device")));
  CHECK_FALSE(tells_of_full_disk(transfer::io_error("a file", EACCES)));
}

TEST_CASE("a folder on another disk is found under its name, and goes once its link is gone") {
  temp t;
  auto spares = t / ("spare/skep-out-" + std::to_string(::geteuid()));
  std::filesystem::create_directories(t / "spare");
  auto count = [&] { return std::distance(std::filesystem::directory_iterator{spares}, {}); };
  {
    guest::borrowed_folder out;
    REQUIRE(out.make(t / "out/of/p0", t / "spare").ok());
    put(t / "out/of/p0/file", "text");
    CHECK(std::filesystem::is_symlink(t / "out"));
    CHECK(count() == 1);
    out.keep();
  }
  CHECK(get(t / "out/of/p0/file") == "text");
  {
    guest::borrowed_folder failed;
    std::filesystem::create_directories(t / "empty");
    REQUIRE(failed.make(t / "empty", t / "spare").ok());
    CHECK(count() == 2);
  }
  CHECK_FALSE(exists(t / "empty"));
  CHECK(count() == 1);
  std::filesystem::remove(t / "out");
  guest::borrowed_folder next;
  CHECK_FALSE(next.make(t.path, t / "spare").ok()); // it holds something
  CHECK(count() == 0);
  CHECK(exists(t / "spare"));
}

TEST_CASE("what an agent did comes back whole from the disk that it filled") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.put("gone", "x\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "two\n");
  git(p0, {"commit", "-q", "-a", "-m", "the agent's own"});
  put(p0 + "/new/file", std::string(1 << 20, 'n'));
  std::filesystem::remove(p0 + "/gone");
  temp spare;
  auto words = u.diff_words("p0");
  words.insert(words.begin(), spare.path);
  // The first result is forgotten with its link, as the daemon removes it; HEAD stays one that is.
  auto text =
      on_small_disk(u.path, 12,
                    fill
                        + " && export TMPDIR=\"$1\" && shift && first=$(\"$guest\" \"$@\") && "
                          "rm -r \"$disk/out\" && \"$guest\" \"$@\" && "
                          "git -C \"$disk/p0\" rev-parse -q --verify 'HEAD^{tree}' > /dev/null && "
                          "mkdir \"$kept/out\" && cp \"$disk\"/out/p0.* \"$kept/out\"",
                    words);
  auto s = u.summary("p0", {0, json::parse(text), text});
  CHECK(s.commits == 2);
  CHECK_FALSE(s.squashed);
  CHECK_FALSE(s.no_history);
  CHECK(s.modified == names{"a"});
  CHECK(s.added == names{"new/file"});
  CHECK(s.deleted == names{"gone"});
  CHECK(get(u.patch("p0")).find("Subject: [PATCH] the agent's own") != std::string::npos);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  std::filesystem::directory_iterator left{spare / ("skep-out-" + std::to_string(::geteuid()))};
  CHECK(std::distance(left, {}) == 1);
  u.check_patch("p0");
}

TEST_CASE("an agent that fills its disk and ends with 0 has ended with 0") {
  temp t;
  auto dir = t / ("panes/" + pane_id::make().value + "/1");
  auto text =
      on_small_disk(t.path, 1,
                    "\"$guest\" pane --dir \"$1\" --cwd \"$disk\" --epoch 1 -- sh -c "
                    "'head -c 9999999 /dev/zero > fill 2> /dev/null; exit 0' > /dev/null && "
                    "\"$guest\" view --dir \"$1\" < /dev/null > /dev/null 2>&1 && "
                    "test ! -e \"$1/exit.reserve\" && cat \"$1/exit.json\"",
                    {dir});
  auto record = json::parse(text);
  CHECK(record["exit_code"] == 0); // 127: its pids found no room, for it was quick to fill the disk
  CHECK(record["signal"] == 0);
  CHECK(record["final_offset"] == 0);
}

TEST_CASE("the pids of an agent take the room that was kept for them, or any other") {
  temp t;
  bool kept = GENERATE(true, false);
  struct stat before {};
  if (kept) {
    REQUIRE(guest::reserve_pid(t.path).ok());
    REQUIRE(::stat((t / "pid.reserve").c_str(), &before) == 0);
    CHECK(before.st_blocks > 0);
  }
  REQUIRE(guest::write_pid(t.path, 12, 34).ok());
  CHECK(get(t / "pid") == "12 34\n");
  CHECK_FALSE(exists(t / "pid.reserve"));
  struct stat after {};
  REQUIRE(::stat((t / "pid").c_str(), &after) == 0);
  CHECK((after.st_ino == before.st_ino) == kept); // the same file, written over
}

TEST_CASE("a record that its holder did not finish is none, and the next one is whole") {
  temp t;
  transfer::unique_fd lock; // as the holder has it
  auto ours = guest::claim(t.path, 1, lock);
  REQUIRE((ours.ok() && *ours));
  REQUIRE(guest::reserve_exit(t.path).ok());
  CHECK(std::filesystem::file_size(t / "exit.reserve") >= 512);
  auto half = get(t / "exit.reserve");
  const std::string begun = "{\"exit_code\":0,\"signal\":0,\"final_off";
  put(t / "exit.reserve", begun + half.substr(begun.size()), 0600); // killed in its write
  CHECK(guest::look(t.path) == guest::pane_state::running);
  CHECK(guest::read_exit(t.path).err().code == errc::file_not_found);
  lock.reset();
  CHECK(guest::look(t.path) == guest::pane_state::lost);
  guest::settle_lost(t.path);
  CHECK(guest::look(t.path) == guest::pane_state::exited);
  auto record = guest::read_exit(t.path);
  REQUIRE(record.ok());
  CHECK(record->exit_code == -1);
  CHECK(record->signal == SIGKILL);
  CHECK_FALSE(exists(t / "exit.reserve"));
}

TEST_CASE("a record is written where the agent put something else in the place of its room") {
  temp t;
  auto kind = GENERATE(0, 1, 2);
  if (kind == 1) std::filesystem::create_symlink(t / "victim", t / "exit.reserve");
  if (kind == 2) REQUIRE(::mkfifo((t / "exit.reserve").c_str(), 0600) == 0);
  put(t / "victim", "untouched");
  REQUIRE(guest::write_exit(t.path, {3, 0, 7, guest::now()}).ok());
  auto record = guest::read_exit(t.path);
  REQUIRE(record.ok());
  CHECK(record->exit_code == 3);
  CHECK(record->final_offset == 7);
  CHECK(get(t / "victim") == "untouched");
}

TEST_CASE("an epoch that finds no room leaves the one before in force") {
  temp t;
  REQUIRE(guest::enter_epoch(t.path, 5, "follower").ok());
  auto entered = [&] {
    no_room at_all;
    return guest::enter_epoch(t.path, 6, "another").ok();
  }();
  CHECK_FALSE(entered);
  CHECK(guest::holds_epoch(t.path, 5, "follower"));
  auto lower = guest::enter_epoch(t.path, 4);
  REQUIRE_FALSE(lower.ok());
  CHECK(lower.err().code == errc::stale_epoch);
  REQUIRE(guest::enter_epoch(t.path, 6).ok());
  CHECK(get(t / "epoch") == "6 -\n"); // shorter than what was there
}
