// Results that lie there already: they go along where a folder cannot be written to any more, and
// no second attempt costs them.
#include "actors/results_dir.hpp"
#include "transfer/kept.hpp"

#include "tests/actors/tree_fixture.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
namespace fs = std::filesystem;

namespace {
/// The folder that nobody may write to, root included. Empty: there is none.
std::string read_only_folder;
} // namespace

// As the C library's on a file system that was remounted read-only.
extern "C" int access(const char* name, int type) noexcept {
  if ((type & W_OK) != 0 && !read_only_folder.empty() && read_only_folder == name) {
    errno = EROFS;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_faccessat, AT_FDCWD, name, type));
}

namespace {

struct in_place_world : tree_world {
  fs::path out{spec->out_dir};
  bool cut = false;    ///< The difference of p1 does not come.
  bool spoils = false; ///< That of p0 is not what was announced.

  in_place_world() {
    api->on_run = [this, usual = api->on_run](const sandbox::remote& where,
                                              const sandbox::command& c) -> result<command_result> {
      const auto name = diff_of(c);
      if (name == "p1" && cut) return make_error(errc::network);
      auto answer = usual(where, c);
      if (name != "p0" || !spoils || !answer) return answer;
      auto claim = json::parse(answer->stdout_data);
      claim["patch_sha256"] = transfer::sha256_of("another one");
      return said(claim.dump() + "\n");
    };
    start();
  }
  ~in_place_world() { read_only_folder.clear(); }

  /// The tree whose difference this asks for; empty: it is another command.
  std::string diff_of(const sandbox::command& c) const {
    if (c.argv[0] != ctx->guest_path() || c.argv.at(1) != "diff") return {};
    return *(std::find(c.argv.begin(), c.argv.end(), "--name") + 1);
  }
  std::size_t diffs_of(const std::string& name) const {
    return static_cast<std::size_t>(
        std::count_if(api->calls.begin(), api->calls.end(), [&](const fake_api::record& c) {
          return c.op == operation::run && c.what.starts_with(ctx->guest_path() + " diff ")
                 && c.what.find(" --name " + name + " ") != std::string::npos;
        }));
  }
  fs::path spare(const swarm_id& id) const { return svc->state_dir / "results" / id.value; }
  static bool whole(const fs::path& dir, const std::string& name) {
    auto pane = transfer::read_pane(dir.string(), name);
    return pane && transfer::check_kept(*pane).ok();
  }
  strings told_of_place() const {
    strings texts;
    const auto told = all<notice>();
    for (const auto& n : told)
      if (n.code == "results_elsewhere") texts.push_back(n.text);
    return texts;
  }
};

} // namespace

TEST_CASE_METHOD(in_place_world,
                 "where the output folder cannot be written to any more, results that "
                 "lie there go along to the state directory") {
  spec->sandboxes = 2;
  auto id = run();
  auto boxes = sandboxes(id);
  agents_end(boxes[0]);
  REQUIRE(whole(out / id.value, "p0"));
  read_only_folder = (out / id.value).string();
  agents_end(boxes[1]);
  CHECK(ending(id) == "closed completed");
  CHECK(transfer::kept_names(spare(id).string()) == strings{"p0", "p1"});
  CHECK(whole(spare(id), "p0"));
  CHECK(whole(spare(id), "p1"));
  CHECK(transfer::read_base(spare(id).string()).ok());
  CHECK(fs::exists(spare(id) / "summary.json"));
  CHECK(whole(out / id.value, "p0")); // the user's
  CHECK_FALSE(fs::exists(out / id.value / "p1"));
  auto told = told_of_place();
  REQUIRE(told.size() == 2); // once more at the end
  CHECK(told[0].find("cannot write to " + (out / id.value).string()) != std::string::npos);
  CHECK(told[0].find("left behind") == std::string::npos);
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  finish();
}

TEST_CASE_METHOD(in_place_world, "results that cannot be read any more in a folder that cannot be "
                                 "written to are named, and hold up no others") {
  spec->sandboxes = 3;
  auto id = run();
  auto boxes = sandboxes(id);
  agents_end(boxes[0]);
  agents_end(boxes[1]);
  REQUIRE(whole(out / id.value, "p1"));
  // No copy is made of such a thing; as good as a bad block, and for root, too.
  REQUIRE(::mkfifo((out / id.value / "p0" / "files" / "bad").c_str(), 0600) == 0);
  read_only_folder = (out / id.value).string();
  agents_end(boxes[2]);
  CHECK(ending(id) == "closed completed");
  CHECK(transfer::kept_names(spare(id).string()) == strings{"p1", "p2"});
  CHECK(whole(spare(id), "p1"));
  CHECK_FALSE(fs::exists(spare(id) / "p0"));
  CHECK_FALSE(fs::exists(spare(id) / "p0.patch"));
  CHECK(transfer::read_base(spare(id).string()).ok());
  auto told = told_of_place();
  REQUIRE(told.size() == 2);
  CHECK(told[0].ends_with("left behind, for they could not be read any more: p0"));
  finish();
}

TEST_CASE_METHOD(in_place_world, "a daemon that takes up collecting fetches nothing again that is "
                                 "stored and on record, unless it was changed meanwhile") {
  spec->panes = 2;
  cut = true;
  auto id = run();
  const auto dir = out / id.value;
  agents_end(only_sandbox(id));
  REQUIRE(states(id) == strings{"collecting"});
  REQUIRE(whole(dir, "p0"));
  REQUIRE(count("transfer.done") == 2); // the upload's, and that of p0
  stop();
  cut = false;
  SECTION("it is whole, and would not come again") {
    std::ofstream{dir / "p0" / "requests.json"} << "{}"; // what a forge was asked for
    spoils = true;
    start();
    advance(10s);
    CHECK(ending(id) == "closed completed");
    CHECK(diffs_of("p0") == 1);
    CHECK(transfer::read_file((dir / "p0" / "requests.json").string()).value() == "{}");
  }
  SECTION("it was changed") {
    std::ofstream{dir / "p0.patch"} << "of somebody";
    REQUIRE_FALSE(whole(dir, "p0"));
    start();
    advance(10s);
    CHECK(ending(id) == "closed completed");
    CHECK(diffs_of("p0") == 2);
  }
  CHECK(whole(dir, "p0"));
  CHECK(whole(dir, "p1"));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(in_place_world, "whole results that are not on record as stored are replaced only "
                                 "once the new ones are whole") {
  auto id = run();
  const auto dir = out / id.value;
  api->hold(operation::download_file);
  agents_end(only_sandbox(id));
  REQUIRE(states(id) == strings{"collecting"});
  stop();
  // Stored, and there the first daemon died.
  fs::create_directories(dir / "p0" / "files");
  std::ofstream{dir / "p0.patch"} << "";
  std::ofstream{dir / "p0" / "mark"} << "the first ones";
  transfer::pane_changes first;
  first.name = "p0";
  first.summary.patch_sha256 = first.summary.tar_sha256 = transfer::sha256_of("");
  REQUIRE(transfer::keep_changes(dir.string(), first).ok());
  REQUIRE(whole(dir, "p0"));
  api->release(operation::download_file);
  spoils = GENERATE(false, true);
  start();
  advance(10s);
  CHECK(diffs_of("p0") == 2);
  CHECK(ending(id) == (spoils ? "closed failed" : "closed completed"));
  CHECK(whole(dir, "p0"));
  CHECK(fs::exists(dir / "p0" / "mark") == spoils);
  CHECK_FALSE(fs::exists(dir / ".p0.new"));
  finish();
}
