// In which order files of the audit log are synced and renamed: this program's own fsync and rename
// write it down, and let a sync fail.
#include "storage/audit_verify.hpp"
#include "tests/storage/audit_support.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <mutex>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

struct recorder {
  std::mutex mutex;
  fs::path folder; ///< What happens elsewhere is left out; empty: all.
  std::vector<std::string> steps;
  bool syncs_fail = false; ///< Of the log's newest file.
  bool occupies = false;   ///< A folder takes the name that a file has just lost.
};
recorder the_recorder;

/// The name of a file of the log, "." for its folder, or empty.
std::string name_of(const fs::path& path) {
  if (the_recorder.folder.empty()) return {};
  if (path == the_recorder.folder) return ".";
  auto name = path.filename().string();
  return path.parent_path() == the_recorder.folder && name.starts_with("audit") ? name : "";
}

/// Answers whether it is to fail.
bool note_sync(int fd) {
  std::error_code ignored;
  auto path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored);
  std::lock_guard hold{the_recorder.mutex};
  auto name = name_of(path);
  if (name.empty()) return false;
  bool fails = the_recorder.syncs_fail && name == "audit.jsonl";
  the_recorder.steps.push_back((fails ? "failed sync " : "sync ") + name);
  return fails;
}

/// Answers whether a folder is to be made in its place.
bool note_rename(const char* from, const char* to) {
  std::lock_guard hold{the_recorder.mutex};
  auto name = name_of(from);
  if (name.empty()) return false;
  the_recorder.steps.push_back("rename " + name + " " + fs::path{to}.filename().string());
  return the_recorder.occupies;
}

/// While it lives, steps in `folder` are written down.
class recording {
public:
  explicit recording(const fs::path& folder, bool syncs_fail = false, bool occupies = false) {
    std::lock_guard hold{the_recorder.mutex};
    the_recorder.folder = fs::canonical(folder);
    the_recorder.steps.clear();
    the_recorder.syncs_fail = syncs_fail;
    the_recorder.occupies = occupies;
  }
  ~recording() {
    std::lock_guard hold{the_recorder.mutex};
    the_recorder.folder.clear();
  }
  recording(const recording&) = delete;
  recording& operator=(const recording&) = delete;
  std::vector<std::string> steps() const {
    std::lock_guard hold{the_recorder.mutex};
    return the_recorder.steps;
  }
};

journal begin_log(const temp_dir& dir) {
  auto o = audited_options(dir, 1500);
  o.checkpoint_thread = false;
  auto j = open_journal(dir / "skep.db", o);
  begin_story(j);
  return j;
}

} // namespace

// In the place of those of the C library, for all that is linked into this program.
extern "C" int fsync(int fd) {
  if (note_sync(fd)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  bool occupied = note_rename(from, to);
  auto code = static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
  if (occupied && code == 0) code = ::mkdir(from, 0700);
  return code;
}

TEST_CASE("a file of the audit log is synced before it gets its number, and the folder after it") {
  temp_dir dir;
  auto j = begin_log(dir);
  std::vector<std::string> steps;
  {
    recording r{dir.path()};
    spend(j, 30);
    steps = r.steps();
  }
  auto files = audit_files(dir.path());
  REQUIRE(files.size() >= 3);
  REQUIRE(steps.size() >= 6);
  REQUIRE(steps.size() % 3 == 0);
  for (std::size_t i = 0; i < steps.size(); i += 3) {
    INFO(steps[i] << ", " << steps[i + 1] << ", " << steps[i + 2]);
    CHECK(steps[i] == "sync audit.jsonl");
    CHECK(steps[i + 1].starts_with("rename audit.jsonl audit-0000"));
    CHECK(steps[i + 2] == "sync .");
  }
}

TEST_CASE("a file of the audit log that cannot be synced keeps its name and takes further lines") {
  temp_dir dir;
  auto j = begin_log(dir);
  std::vector<std::string> steps;
  auto before = audit_files(dir.path()).size();
  {
    recording r{dir.path(), true};
    spend(j, 30);
    steps = r.steps();
  }
  CHECK(audit_files(dir.path()).size() == before);
  CHECK(fs::file_size(dir / "audit.jsonl") > 3000);
  REQUIRE_FALSE(steps.empty());
  for (const auto& step : steps)
    CHECK(step == "failed sync audit.jsonl");
  spend(j, 1); // it can be synced again
  CHECK(audit_files(dir.path()).size() == before + 1);
}

TEST_CASE("lines of the audit log go on in the numbered file until the next one can be made") {
  temp_dir dir;
  auto j = begin_log(dir);
  std::size_t renames = 0;
  {
    recording r{dir.path(), false, true};
    spend(j, 30);
    for (const auto& step : r.steps())
      renames += step.starts_with("rename") ? 1 : 0;
  }
  CHECK(renames == 1);
  REQUIRE(fs::is_directory(dir / "audit.jsonl"));
  fs::remove(dir / "audit.jsonl");
  spend(j, 1);
  CHECK(fs::file_size(dir / "audit.jsonl") < 1000); // that line alone
  auto v = verify_audit(dir / "skep.db", std::chrono::milliseconds{0});
  REQUIRE(v.ok());
  CHECK(v->lines == 35);
  CHECK(v->findings.empty());
}
