// Which providers a panic asks: also those at which nothing is known to live, and those that cannot
// be asked by name; the whole tree, and the services as skepd fills them.
#include "tests/actors/tree_fixture.hpp"
#include "tools/skepd/tables.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct places_world : tree_world {
  strings configured{"local", "cloud"};
  strings keyed;            ///< Configured providers with a key.
  bool local_holds = false; ///< The local host's directory names a sandbox.
  strings connected;        ///< Providers whose client was asked for; the local host is started so.
  std::map<std::string, error> out_of_reach;

  places_world() {
    tools::bind_providers(*svc, std::make_shared<tools::state_reader>(database()),
                          {[this](const std::string& name) {
                             return std::find(configured.begin(), configured.end(), name)
                                    != configured.end();
                           },
                           [this] { return keyed; }, [this] { return local_holds; }});
    svc->provider = [this](const std::string& name) -> result<std::shared_ptr<sandbox::api>> {
      connected.push_back(name);
      if (auto i = out_of_reach.find(name); i != out_of_reach.end()) return i->second;
      return std::shared_ptr<sandbox::api>{api};
    };
    api->now = [this] { return svc->wall_now(); };
    start();
  }

  static selection everything() {
    selection s;
    s.all = true;
    return s;
  }
  static selection at(const std::string& provider) {
    selection s;
    s.provider = provider;
    return s;
  }
  static selection of(const swarm_id& id) {
    selection s;
    s.swarm = id;
    return s;
  }
  static selection of(const sandbox_id& id) {
    selection s;
    s.sandbox = id;
    return s;
  }
  /// Where a panic says that it looks.
  strings asked_by_panic(const selection& s) {
    auto r = call(panic_request{s});
    if (!r) FAIL(render(r.err()));
    return r->providers;
  }
  survivors_reply survivors(const selection& s, bool end = false) {
    auto r = call(survivors_request{s, {}, end});
    if (!r) FAIL(render(r.err()));
    return *r;
  }
  /// Ours by its label, and in no table.
  void unheard_of(const std::string& id) {
    auto& info = api->boxes[id].info;
    info.remote_id = id;
    info.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}};
  }
  /// A run that came to its end, with nothing left.
  swarm_id ended_run() {
    auto id = run();
    agents_end(only_sandbox(id));
    REQUIRE(ending(id) == "closed completed");
    REQUIRE(api->boxes.empty());
    connected.clear();
    return id;
  }
};

} // namespace

TEST_CASE_METHOD(places_world, "panic for all asks each provider with a key, and ends there what "
                               "the tables have never heard of") {
  keyed = {"cloud"};
  unheard_of("i9");
  CHECK(asked_by_panic(everything()) == strings{"cloud"});
  auto found = survivors(everything());
  CHECK(found.listed == 1);
  CHECK(found.ids == strings{"i9"});
  CHECK(found.unanswered.empty());
  CHECK(survivors(everything(), true).listed == 1);
  CHECK(api->boxes.empty());
  CHECK(count("survivor_kill_intended") == 1);
  CHECK(survivors(everything()).listed == 0);
  finish();
}

TEST_CASE_METHOD(places_world, "a panic for all names each provider that it cannot ask, and counts "
                               "none of them as empty") {
  SECTION("one with a key that is out of reach") {
    keyed = {"cloud"};
    out_of_reach["cloud"] = make_error(errc::network);
    CHECK(asked_by_panic(everything()) == strings{"cloud"});
    auto left = survivors(everything());
    REQUIRE(left.unanswered.size() == 1);
    CHECK(left.unanswered[0].starts_with("cloud: network"));
  }
  SECTION("one that was used, and has no key any more") {
    spec->provider = "cloud";
    ended_run();
    out_of_reach["cloud"] = make_error(errc::secret_missing, "CLOUD_KEY");
    CHECK(asked_by_panic(everything()) == strings{"cloud"});
    auto left = survivors(everything());
    REQUIRE(left.unanswered.size() == 1);
    CHECK(left.unanswered[0].starts_with("cloud: secret_missing"));
  }
  SECTION("but none that has no key and was never used, unless it is named") {
    out_of_reach["cloud"] = make_error(errc::secret_missing, "CLOUD_KEY");
    CHECK(asked_by_panic(everything()).empty());
    CHECK(survivors(everything()).unanswered.empty());
    CHECK(connected.empty());
    CHECK(asked_by_panic(at("cloud")) == strings{"cloud"});
    auto left = survivors(at("cloud"));
    REQUIRE(left.unanswered.size() == 1);
    CHECK(left.unanswered[0].starts_with("cloud: secret_missing"));
  }
  finish();
}

TEST_CASE_METHOD(places_world, "a panic starts no local host that has no sandbox, and asks one "
                               "that has some") {
  auto id = ended_run();
  auto box = only_sandbox(id).sandbox;
  for (const auto& s : {everything(), at("local"), of(id), of(box)}) {
    INFO(text_of(s));
    CHECK(asked_by_panic(s).empty());
    auto left = call(survivors_request{s, {"local"}, false});
    REQUIRE(left);
    CHECK(left->listed == 0);
    CHECK(left->unanswered.empty());
  }
  CHECK(connected.empty());
  local_holds = true;
  unheard_of("left behind");
  for (const auto& s : {everything(), at("local")}) {
    INFO(text_of(s));
    CHECK(asked_by_panic(s) == strings{"local"});
    CHECK(survivors(s).ids == strings{"left behind"});
  }
  CHECK(connected == strings(2, "local"));
  finish();
}

TEST_CASE_METHOD(places_world, "a local host that a create may be on its way to is asked") {
  api->hold(operation::create);
  auto id = run();
  REQUIRE(only_sandbox(id).unresolved);
  REQUIRE(tables->living_sandboxes().value().empty());
  connected.clear();
  CHECK(survivors(everything()).listed == 1);
  CHECK(survivors(of(id)).listed == 1);
  CHECK(survivors(of(only_sandbox(id).sandbox)).listed == 1);
  CHECK(connected == strings(3, "local"));
  api->release(operation::create);
  settle();
  finish();
}

TEST_CASE_METHOD(places_world, "a panic for a run or a sandbox that is over asks the provider that "
                               "it was at") {
  spec->provider = "cloud";
  auto id = ended_run();
  auto box = only_sandbox(id).sandbox;
  unheard_of("twin"); // of a create whose answer was lost
  api->boxes["twin"].info.metadata["skep.sandbox"] = box.value;
  api->boxes["twin"].info.metadata["skep.swarm"] = id.value;
  CHECK(asked_by_panic(of(id)) == strings{"cloud"});
  CHECK(survivors(of(id)).ids == strings{"twin"});
  CHECK(asked_by_panic(of(box)) == strings{"cloud"});
  CHECK(survivors(of(box), true).ids == strings{"twin"});
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(places_world, "a panic for a provider, a run or a sandbox that nobody knows is "
                               "refused, and nothing is written down") {
  auto id = run();
  auto refused = [this](const selection& s) {
    auto panic = call(panic_request{s});
    auto look = call(survivors_request{s, {}, false});
    REQUIRE_FALSE(panic);
    REQUIRE_FALSE(look);
    CHECK(panic.err().code == look.err().code);
    return panic.err().code;
  };
  CHECK(refused(at("loca")) == errc::unknown_provider);
  CHECK(refused(of(sandbox_id{"sb_nope"})) == errc::not_found);
  CHECK(refused(of(swarm_id{"sw_nope"})) == errc::no_such_swarm);
  CHECK(count("daemon.panic") == 0);
  CHECK(states(id) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(places_world, "sandboxes at a provider that is not configured any more are named "
                               "by a panic while their lease lasts") {
  spec->provider = "cloud";
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  auto box = only_sandbox(id);
  REQUIRE(box.kept);
  configured = {"local"};
  out_of_reach["cloud"] = make_error(errc::unknown_provider, "cloud");
  for (const auto& s : {everything(), at("cloud"), of(id), of(box.sandbox)}) {
    INFO(text_of(s));
    CHECK(asked_by_panic(s) == strings{"cloud"});
    CHECK(survivors(s).unanswered
          == strings{"cloud: " + render(make_error(errc::unknown_provider))});
  }
  wall_jump = box.lease_end_at - svc->wall_now();
  CHECK(asked_by_panic(everything()).empty());
  CHECK(survivors(everything()).unanswered.empty());
  CHECK(call(panic_request{at("cloud")}).err().code == errc::unknown_provider);
  finish();
}
