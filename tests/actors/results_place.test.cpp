// Results of a run whose output folder does not stay what it was; and findings that a daemon did
// not live to tell of.
#include "actors/results_dir.hpp"
#include "actors/swarm_results.hpp"
#include "actors/work_files.hpp"
#include "transfer/kept.hpp"

#include "tests/actors/tree_fixture.hpp"
#include "tests/storage/support.hpp"

#include <cerrno>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
namespace fs = std::filesystem;

namespace {
/// Files with this in their path have no room for what sendfile() brings. Empty: all have.
std::string full_place;
} // namespace

// As the C library's on a disk that is full.
extern "C" ssize_t sendfile(int out, int in, off_t* at, size_t count) noexcept {
  if (!full_place.empty()) {
    std::error_code ec;
    auto path = fs::read_symlink("/proc/self/fd/" + std::to_string(out), ec).string();
    if (path.find(full_place) != std::string::npos) {
      errno = ENOSPC;
      return -1;
    }
  }
  return ::syscall(SYS_sendfile, out, in, at, count);
}

namespace {

struct place_world : tree_world {
  fs::path out{spec->out_dir};

  place_world() {
    spec->sandboxes = 2;
    start();
  }
  fs::path spare(const swarm_id& id) const { return svc->state_dir / "results" / id.value; }
  std::size_t notices(const std::string& code) const {
    auto all_of = all<notice>();
    return static_cast<std::size_t>(std::count_if(all_of.begin(), all_of.end(),
                                                  [&](const notice& n) { return n.code == code; }));
  }
  std::string text_of(const std::string& code) const {
    for (const auto& n : all<notice>())
      if (n.code == code) return n.text;
    return {};
  }
  static bool has_results(const fs::path& dir, const std::string& name) {
    return transfer::read_pane(dir.string(), name).ok();
  }
};

/// Of GitHub's form, put together here.
std::string token() {
  return std::string{"github"} + "_pat_" + "11AXKQZPM0t7w2r9d4y5v6" + "_"
         + "Zk3Qw8Lr5Tn2Vb7Xc9Ms4Hd6Jf1Gp0Ye3Ru8Io5Pa2Sz7Dx4Cv9Bn6Mq1Wl";
}

} // namespace

TEST_CASE_METHOD(place_world, "an output folder that vanishes during a run is made again, with the "
                              "record of the base, and that is told") {
  tree.put("dirty", "not committed\n");
  auto id = run();
  auto boxes = sandboxes(id);
  REQUIRE(fs::exists(out / id.value / "base.json"));
  auto before = transfer::read_file((out / id.value / "base.json").string()).value();
  agents_end(boxes[0]);
  REQUIRE(has_results(out / id.value, "p0"));
  fs::remove_all(out);
  agents_end(boxes[1]);
  CHECK(ending(id) == "closed completed");
  CHECK(has_results(out / id.value, "p1"));
  CHECK_FALSE(has_results(out / id.value, "p0"));
  CHECK(transfer::read_file((out / id.value / "base.json").string()).value() == before);
  CHECK(transfer::read_file((out / id.value / "base" / "dirty").string()).value()
        == "not committed\n");
  CHECK(fs::exists(out / id.value / "summary.json"));
  CHECK(fs::exists(out / ".gitignore"));
  CHECK(notices("results_folder_made_again") == 1);
  CHECK(notices("results_elsewhere") == 0);
  CHECK_FALSE(fs::exists(spare(id)));
  finish();
}

TEST_CASE_METHOD(place_world,
                 "where a file has taken the output folder's place, results are kept in "
                 "the state directory, and it is said where") {
  auto id = run();
  auto boxes = sandboxes(id);
  fs::remove_all(out);
  std::ofstream{out} << "mine";
  agents_end(boxes[0]);
  REQUIRE(has_results(spare(id), "p0"));
  CHECK(notices("results_elsewhere") == 1);
  CHECK(text_of("results_elsewhere").find(spare(id).string()) != std::string::npos);
  CHECK(text_of("results_elsewhere").find(out.string()) != std::string::npos);
  // What is there stays together, whatever becomes of the folder.
  fs::remove(out);
  agents_end(boxes[1]);
  CHECK(ending(id) == "closed completed");
  CHECK(states(id) == strings(2, "closed completed"));
  CHECK(has_results(spare(id), "p1"));
  CHECK(transfer::read_base(spare(id).string()).ok());
  CHECK(fs::exists(spare(id) / "summary.json"));
  CHECK_FALSE(fs::exists(out));
  CHECK(notices("results_elsewhere") == 2); // once more at the end
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  finish();
}

TEST_CASE_METHOD(place_world, "results that the disk of their folder has no room for go to the "
                              "state directory, with those that lie there already") {
  auto id = run();
  auto boxes = sandboxes(id);
  agents_end(boxes[0]);
  REQUIRE(has_results(out / id.value, "p0"));
  full_place = (out / id.value).string();
  agents_end(boxes[1]);
  full_place.clear();
  CHECK(ending(id) == "closed completed");
  CHECK(states(id) == strings(2, "closed completed"));
  CHECK(has_results(spare(id), "p0"));
  CHECK(has_results(spare(id), "p1"));
  CHECK(transfer::read_base(spare(id).string()).ok());
  CHECK(fs::exists(spare(id) / "summary.json"));
  CHECK(has_results(out / id.value, "p0")); // the user's
  CHECK_FALSE(fs::exists(out / id.value / "p1.patch"));
  CHECK_FALSE(fs::exists(out / id.value / "p1"));
  CHECK(notices("results_elsewhere") == 2); // once more at the end
  CHECK(text_of("results_elsewhere").find("there is no room for them in " + out.string())
        != std::string::npos);
  CHECK(notices("results_wait_for_room") == 0);
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(place_world, "results that no disk has room for wait in their sandbox, and are "
                              "stored once there is room") {
  spec->sandboxes = 1;
  auto id = run();
  full_place = "/p0.patch";
  agents_end(only_sandbox(id));
  advance(svc->limits.disk_wait * 3);
  CHECK(states(id) == strings{"collecting"});
  CHECK(notices("results_wait_for_room") == 1);
  CHECK(text_of("results_wait_for_room").find("p0") != std::string::npos);
  CHECK(text_of("results_wait_for_room").find("every 30 s") != std::string::npos);
  CHECK_FALSE(fs::exists(spare(id)));
  CHECK_FALSE(fs::exists(out / id.value / "p0.patch"));
  CHECK_FALSE(fs::exists(out / id.value / "p0"));
  full_place.clear();
  advance(svc->limits.disk_wait + 1s);
  CHECK(ending(id) == "closed completed");
  CHECK(has_results(out / id.value, "p0"));
  CHECK(count("transfer.failed") == 0);
  CHECK(guest_calls("diff") == 1);
  CHECK(notices("results_elsewhere") == 0);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(place_world, "results that no disk has room for in time stay in their sandbox, "
                              "which the summary names, until it is killed") {
  spec->sandboxes = 1;
  svc->limits.download_deadline = 100s;
  auto id = run();
  full_place = "/p0.patch";
  agents_end(only_sandbox(id));
  advance(85s);
  CHECK(states(id) == strings{"collecting"});
  advance(10s);
  full_place.clear();
  CHECK(ending(id) == "closed failed");
  auto box = only_sandbox(id);
  CHECK(box.error_code == "disk_full");
  CHECK(box.error_step == "unpack");
  CHECK(box.kept);
  CHECK_FALSE(box.kill_intended);
  CHECK(api->boxes.size() == 1);
  CHECK_FALSE(has_results(out / id.value, "p0"));
  CHECK_FALSE(fs::exists(out / id.value / "p0.patch"));
  CHECK(notices("results_left_inside") == 1);
  auto summary = transfer::read_file((out / id.value / "summary.json").string()).value();
  CHECK(summary.find("`skep diff " + id.value + "/p0 --patch`") != std::string::npos);
  REQUIRE(call(stop_request{id, true}));
  advance(20s);
  CHECK(api->boxes.empty());
  finish();
}

namespace {

struct left_inside_world : place_world {
  left_inside_world() {
    spec->sandboxes = 1;
    svc->limits.download_deadline = 100s;
  }
  /// A run that is over and whose only sandbox has work that nobody could fetch.
  swarm_id with_work_inside() {
    auto id = run();
    full_place = "/p0.patch";
    agents_end(only_sandbox(id));
    advance(95s);
    full_place.clear();
    REQUIRE(ending(id) == "closed failed");
    REQUIRE(only_sandbox(id).kept);
    return id;
  }
  strings work_of(const swarm_id& id) const {
    strings names;
    std::error_code ec;
    for (fs::directory_iterator i{svc->state_dir / "work" / id.value, ec}, end; !ec && i != end;
         i.increment(ec))
      names.push_back(i->path().filename().string());
    return names;
  }
};

} // namespace

TEST_CASE_METHOD(left_inside_world, "what was uploaded stays, and nothing else, while a sandbox is "
                                    "kept with work that nobody fetched, and goes with it") {
  auto id = with_work_inside();
  CHECK(work_of(id) == strings{"worktree.tar"});
  stop();
  std::ofstream{svc->state_dir / "work" / id.value / "bundle.json"} << "of a kill in between";
  start(); // whose sweep keeps it as well
  CHECK(work_of(id) == strings{"worktree.tar"});
  REQUIRE(call(stop_request{id, true}));
  advance(20s);
  REQUIRE(only_sandbox(id).kill_confirmed);
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  finish();
}

TEST_CASE_METHOD(left_inside_world, "what was uploaded for a sandbox that is gone meanwhile, or is "
                                    "to be, is swept away at the next start") {
  const bool confirmed = GENERATE(false, true);
  auto id = with_work_inside();
  auto box = only_sandbox(id);
  stop();
  {
    using storage::testing::put;
    auto j = std::move(open_database().value());
    auto at = svc->wall_now().time_since_epoch().count();
    REQUIRE(put(j, id, box.sandbox, at, kill_intended{"asked for"}) == errc::none);
    if (confirmed)
      REQUIRE(put(j, id, box.sandbox, at, kill_confirmed{box.remote_id}) == errc::none);
  }
  if (confirmed) api->lose(box.remote_id);
  start();
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  advance(20s);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(left_inside_world, "what was uploaded goes with the run where a sandbox is kept "
                                    "and all its results are here") {
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  REQUIRE(ending(id) == "closed completed");
  REQUIRE(only_sandbox(id).kept);
  CHECK(has_results(out / id.value, "p0"));
  CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  REQUIRE(call(stop_request{id, true}));
  advance(20s);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(left_inside_world, "what was uploaded goes where a kept sandbox is past its lease "
                                    "at a provider that nobody can ask any more") {
  auto id = with_work_inside();
  stop();
  svc->knows_provider = [](const std::string&) { return false; };
  SECTION("not before its lease is over: the entry may come back") {
    start();
    CHECK(work_of(id) == strings{"worktree.tar"});
  }
  SECTION("then it is swept away") {
    wall_jump = 48h;
    start();
    CHECK_FALSE(fs::exists(svc->state_dir / "work" / id.value));
  }
  finish();
}

TEST_CASE_METHOD(tree_world,
                 "a pack under way ends when the daemon does, and the next one packs anew") {
  auto id = swarm_id::make();
  auto first = svc->pool;
  svc->pool = std::make_shared<work_pool>(1);
  svc->pool->stop(); // what main does once the tree is down
  auto packed = prepare_bundle(*svc, *spec, id);
  svc->pool = first;
  REQUIRE_FALSE(packed.ok());
  CHECK(packed.err().code == errc::cancelled);
  CHECK(prepare_bundle(*svc, *spec, id).ok());
  remove_work_files(*svc, id);
  start();
  finish();
}

TEST_CASE_METHOD(tree_world,
                 "what the scan of a work tree found is told by the next daemon when the "
                 "first one died before it was on record, and only then") {
  tree.put("a.py", "t = '" + token() + "'\n");
  spec->scan = scan_policy::warn;
  auto known = GENERATE(false, true);
  auto id = swarm_id::make();
  {
    using storage::testing::put;
    auto j = std::move(open_database().value());
    auto at = svc->wall_now().time_since_epoch().count();
    swarm_created created;
    created.repo = spec->repo;
    created.provider = spec->provider;
    created.agent = spec->agent;
    created.sandboxes = created.panes = 1;
    created.out_dir = spec->out_dir;
    created.spec = {pack(*spec)};
    REQUIRE(put(j, id, {}, at, created) == errc::none);
    REQUIRE(put(j, id, {}, at, swarm_phase_changed{swarm_phase::running, {}}) == errc::none);
    auto prepared = prepare_bundle(*svc, *spec, id); // and here the daemon dies
    REQUIRE(prepared.ok());
    REQUIRE(prepared->bundle.scanned.report.high == 1);
    if (known) REQUIRE(put(j, id, {}, at, prepared->bundle.scanned) == errc::none);
  }
  start();
  CHECK(states(id) == strings{"running"});
  auto told = all<swarm_scanned>();
  REQUIRE(told.size() == (known ? 0 : 1));
  if (!known) {
    CHECK(told[0].report.high == 1);
    CHECK(told[0].report.findings[0].path == "a.py");
    auto names = events();
    auto at = [&](const char* name) { return std::find(names.begin(), names.end(), name); };
    CHECK(at("swarm.scanned") < at("sandbox.create_intended"));
  }
  finish();
}

TEST_CASE_METHOD(tree_world,
                 "findings in results are told by the next daemon when the first one died "
                 "after it wrote them and the sandbox is gone, too") {
  start();
  auto id = run();
  auto box = only_sandbox(id);
  api->hold(operation::download_file);
  agents_end(box);
  REQUIRE(only_sandbox(id).state == phase::collecting);
  stop();
  // The results were written, and that is all that the first daemon came to.
  auto dir = fs::path{spec->out_dir} / id.value;
  auto name = tables->panes(box.sandbox)->at(0).name;
  fs::create_directories(dir / name / "files");
  std::ofstream{dir / name / "files" / "a.py"} << "t = '" << token() << "'\n";
  std::ofstream{dir / (name + ".patch")} << "";
  transfer::pane_changes kept;
  kept.name = name;
  kept.summary.patch_sha256 = kept.summary.tar_sha256 = transfer::sha256_of("");
  REQUIRE(transfer::keep_changes(dir.string(), kept).ok());
  api->release(operation::download_file);
  api->lose(box.remote_id);
  start();
  advance(1s);
  CHECK(states(id) == strings{"closed lost"});
  auto told = all<results_scanned>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].tree == name);
  CHECK(told[0].report.high == 1);
  CHECK(told[0].transfer == all<transfer_intended>().back().transfer);
  auto names = events();
  auto at = [&](const char* what) { return std::find(names.begin(), names.end(), what); };
  CHECK(at("transfer.results_scanned") < at("sandbox.closed"));
  finish();
}

TEST_CASE_METHOD(place_world,
                 "a kill collects nothing more and loses nothing that is here: results of "
                 "sandboxes that had ended, every log, and the summary") {
  auto id = run();
  auto boxes = sandboxes(id);
  agents_end(boxes[0]);
  auto pane = tables->panes(boxes[1].sandbox)->at(0);
  std::string frame;
  pack_follow(frame, follow_kind::data, follow_data{pane.pane, 1, 0, {"half of it\n"}});
  for (auto i = api->streams.rbegin(); i != api->streams.rend(); ++i)
    if ((*i)->open && (*i)->where.remote_id == boxes[1].remote_id) {
      (*i)->emit(frame);
      break;
    }
  settle();
  auto diffs = guest_calls("diff");
  auto began = v.now();
  REQUIRE(call(stop_request{id, true}));
  settle();
  CHECK(v.now() == began); // nobody is waited for
  CHECK(ending(id) == "closed killed");
  CHECK(states(id) == strings{"closed completed", "closed killed"});
  CHECK(guest_calls("diff") == diffs);
  CHECK(api->boxes.empty());
  auto dir = out / id.value;
  CHECK(has_results(dir, "p0"));
  CHECK_FALSE(has_results(dir, "p1"));
  CHECK(transfer::read_file((dir / (pane.name + ".log")).string()).value() == "half of it\n");
  CHECK(fs::exists(dir / "summary.json"));
  CHECK(transfer::read_base(dir.string()).ok());
  finish();
}
