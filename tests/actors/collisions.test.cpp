// When people hear that panes changed the same paths: as soon as what both did is here.
#include "tests/actors/tree_fixture.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/manifest.hpp"
#include "transfer/summary.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct collision_world : tree_world {
  std::string silent; ///< The results of this pane are not fetched before this is empty.

  collision_world() {
    guest["diff"] = [this](const sandbox::command& c) { return readme_changed(c); };
    api->turn_down = [this](operation op, const std::string& what) -> error {
      if (op == operation::download_file && what.ends_with("/" + silent + ".patch"))
        return make_error(errc::network);
      return {};
    };
    start();
  }
  std::vector<strings> panes_told() const {
    std::vector<strings> out;
    auto met = all<collision>();
    for (const auto& x : met) {
      CHECK(x.path == "README");
      CHECK(x.level == overlap::conflict);
      out.push_back(x.panes);
    }
    return out;
  }
  /// The events from the first collision on.
  strings since_told() const {
    auto names = events();
    return {std::find(names.begin(), names.end(), "collision"), names.end()};
  }

private:
  /// Each pane writes its own name into README and commits that.
  result<command_result> readme_changed(const sandbox::command& c) {
    auto after = [&](const char* option) {
      return *(std::find(c.argv.begin(), c.argv.end(), option) + 1);
    };
    const auto name = after("--name");
    repo r;
    r.put("README", "a work tree\n");
    auto from = r.commit("base");
    r.put("README", name + "\n");
    auto to = r.commit("what " + name + " did");
    auto patch = git(r.path, {"format-patch", "--stdout", "--binary", "--full-index", "-M",
                              "--no-signature", from + ".." + to})
                 + "\n";
    temp place;
    auto writer = transfer::archive_writer::create(place / "a.tar");
    transfer::unique_fd top{::open(r.path.c_str(), O_PATH)};
    auto opened = transfer::open_entry(top.get(), "README");
    std::string buffer(4096, '\0');
    if (!writer || !opened) return make_error(errc::internal, "no archive in this test");
    if (auto put_in = transfer::append_file(*writer, *opened, buffer); !put_in) return put_in.err();
    auto done = writer->finish();
    if (!done) return done.err();
    transfer::diff_summary claim;
    claim.commits = 1;
    claim.modified = {"README"};
    claim.patch_bytes = patch.size();
    claim.patch_sha256 = transfer::sha256_of(patch);
    claim.tar_bytes = done->bytes;
    claim.tar_sha256 = done->sha256;
    claim.head = to;
    for (auto& [id, box] : api->boxes) {
      box.files[after("--out") + "/" + name + ".patch"] = patch;
      box.files[after("--out") + "/" + name + ".tar"] = get(place / "a.tar");
    }
    return said(to_line(transfer::to_json(claim)) + "\n");
  }
};

} // namespace

TEST_CASE_METHOD(collision_world,
                 "panes of one sandbox that changed the same path are told while the results of "
                 "the next pane are still on their way") {
  spec->panes = 3;
  auto id = run();
  silent = "p2";
  agents_end(only_sandbox(id));
  CHECK(states(id) == strings{"collecting"});
  CHECK(panes_told() == std::vector<strings>{{"p0", "p1"}});
  silent = "none";
  advance(4s); // until it is tried again
  CHECK(ending(id) == "closed completed");
  // The third one is news; what was told is not told again.
  CHECK(panes_told() == std::vector<strings>{{"p0", "p1"}, {"p0", "p1", "p2"}});
  finish();
}

TEST_CASE_METHOD(collision_world,
                 "panes of sandboxes that are closed are told while another sandbox is at work") {
  spec->sandboxes = 3;
  auto id = run();
  auto boxes = sandboxes(id);
  agents_end(boxes[0]);
  CHECK(panes_told().empty());
  agents_end(boxes[1]);
  CHECK(states(id) == strings{"closed completed", "closed completed", "running"});
  CHECK(panes_told() == std::vector<strings>{{"p0", "p1"}});
  auto later = since_told();
  CHECK(std::count(later.begin(), later.end(), "swarm.closed") == 0);
  agents_end(boxes[2]);
  CHECK(ending(id) == "closed completed");
  CHECK(panes_told() == std::vector<strings>{{"p0", "p1"}, {"p0", "p1", "p2"}});
  finish();
}

TEST_CASE_METHOD(collision_world,
                 "what is stored before a kill is told, and the swarm ends once and whole") {
  spec->panes = 3;
  auto id = run();
  silent = "p2";
  agents_end(only_sandbox(id));
  REQUIRE(states(id) == strings{"collecting"});
  REQUIRE(call(stop_request{id, true}));
  advance(1s);
  CHECK(ending(id) == "closed killed");
  CHECK(panes_told() == std::vector<strings>{{"p0", "p1"}});
  CHECK(count("swarm.closed") == 1);
  finish();
}
