// The daemon's own scan, while it packs: what it refuses, whatever a client did.
#include "tests/actors/tree_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// Of GitHub's form, put together here.
std::string credential() {
  return std::string{"github"} + "_pat_" + "11AXKQZPM0t7w2r9d4y5v6" + "_"
         + "Zk3Qw8Lr5Tn2Vb7Xc9Ms4Hd6Jf1Gp0Ye3Ru8Io5Pa2Sz7Dx4Cv9Bn6Mq1Wl";
}

struct scanned_world : tree_world {
  scanned_world() { start(); }
};

} // namespace

TEST_CASE_METHOD(scanned_world,
                 "a credential in the work tree ends the swarm before any sandbox is made, "
                 "whatever the client looked at") {
  tree.put("src/a.py", "x = 1\nt = '" + credential() + "'\n");
  auto how = GENERATE(scan_policy::block, scan_policy::prompt); // nobody can be asked here
  spec->scan = how;
  auto id = run();
  CHECK(ending(id) == "closed failed");
  CHECK(api->count(operation::create) == 0);
  auto seen = all<swarm_scanned>();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].blocked);
  REQUIRE(seen[0].report.high == 1);
  CHECK(seen[0].report.findings[0].path == "src/a.py");
  CHECK(seen[0].report.findings[0].line == 2);
  auto end = all<swarm_closed>().at(0);
  CHECK(end.why.code == errc::credentials_found);
  CHECK(end.why.step == "scan");
  CHECK(render(end.why).find(credential()) == std::string::npos);
  CHECK_FALSE(std::filesystem::exists(svc->state_dir / "work" / id.value));
  finish();
}

TEST_CASE_METHOD(
    scanned_world,
    "with the policy warn a run with a credential goes on, and it is on record first") {
  tree.put("a.py", "t = '" + credential() + "'\n");
  spec->scan = scan_policy::warn;
  auto id = run();
  CHECK(states(id) == strings(spec->sandboxes, "running"));
  auto names = events();
  auto at = [&](const char* name) { return std::find(names.begin(), names.end(), name); };
  CHECK(at("swarm.scanned") != names.end());
  CHECK(at("swarm.scanned") < at("sandbox.create_intended"));
  CHECK_FALSE(all<swarm_scanned>().at(0).blocked);
  for (const auto& s : sandboxes(id))
    agents_end(s);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(scanned_world, "an allow-list with a mistake blocks as a finding does") {
  tree.put(".skep-scan-allow", "a.py github_token\n");
  auto id = run();
  CHECK(ending(id) == "closed failed");
  CHECK(all<swarm_closed>().at(0).why.code == errc::scan_failed);
  CHECK(api->count(operation::create) == 0);
  finish();
}
