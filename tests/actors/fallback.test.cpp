// Runs with a fallback: what their provider refuses is made there. `api` is the fallback; the
// provider itself has room for nothing.
#include "tests/actors/limit_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct fallback_world : limit_world {
  std::shared_ptr<fake_api> cloud = std::make_shared<fake_api>();
  error no_cloud; ///< Why the provider itself cannot be had.

  fallback_world() {
    spec->fallback = "spare";
    rules.providers["spare"].section = "providers.spare";
    cloud->now = api->now;
    refuse(errc::quota);
    svc->provider = [this](const std::string& name) -> result<std::shared_ptr<sandbox::api>> {
      if (name == "spare") return std::shared_ptr<sandbox::api>{api};
      if (no_cloud) return no_cloud;
      return std::shared_ptr<sandbox::api>{cloud};
    };
  }
  /// What hangs at the provider keeps the client that it hangs at, as long as nobody answers.
  ~fallback_world() {
    if (!ended) finish();
    for (auto op : {operation::create, operation::health})
      cloud->release(op);
  }
  /// The provider makes as many, which then hang, and refuses the others.
  void make_first(int many) {
    cloud->hold(operation::health);
    cloud->turn_down = [left = many](operation op, const std::string&) mutable {
      return op == operation::create && left-- <= 0 ? make_error(errc::quota) : error{};
    };
  }
  void refuse(errc how) {
    cloud->turn_down = [how](operation op, const std::string&) {
      return op == operation::create ? make_error(how) : error{};
    };
  }
  /// Starts a run; its sandbox has fallen back and waits for the fallback's client.
  swarm_id run_to_its_fallback() {
    auto started = post(run_request{*spec});
    for (int n = 0; n < 100 && all<sandbox_fell_back>().empty(); ++n) {
      drain();
      v.run();
    }
    auto r = read<run_reply>(started);
    REQUIRE(r);
    REQUIRE(all<sandbox_fell_back>().size() == 1);
    return r->swarm;
  }
  std::size_t asked_of_cloud() const { return cloud->count(operation::create); }
  std::uint64_t counted(const std::string& provider, const std::string& rule) {
    auto shown = call(budget_request{});
    REQUIRE(shown);
    for (const auto& line : shown->limits)
      if (line.provider == provider && line.rule == rule) return line.count;
    FAIL("no such line");
    return 0;
  }
};

} // namespace

TEST_CASE_METHOD(fallback_world,
                 "a sandbox that its provider refuses for its quota, its rate or "
                 "want of room is made at the fallback, and costs what that costs") {
  rules.providers["cloud"] = metered_rules("providers.cloud");
  rules.providers["spare"].usd_per_hour = 0.05;
  rules.providers["spare"].creates_per_hour = 20;
  auto how = GENERATE(errc::quota, errc::rate, errc::capacity);
  refuse(how);
  begin();
  auto id = run();
  CHECK(asked_of_cloud() == 1);
  CHECK(api->count(operation::create) == 1);
  CHECK(states(id) == strings{"running"});
  auto box = only_sandbox(id);
  CHECK(box.provider == "spare");
  CHECK(box.usd_per_hour == 0.05);
  auto told = all<sandbox_fell_back>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].provider == "spare");
  CHECK(told[0].from == "cloud");
  CHECK(told[0].why.code == how);
  CHECK(all<sandbox_waits>().empty());
  CHECK(all<sandbox_failing>().empty());
  CHECK(counted("spare", "creates_per_hour") == 1);
  CHECK(counted("spare", "max_active") == 1);
  CHECK(counted("cloud", "max_active") == 0);
  agents_end(box);
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(fallback_world, "a sandbox that its provider cannot make for another reason does "
                                 "not fall back") {
  refuse(errc::auth);
  begin();
  auto id = run();
  advance(2s);
  CHECK(ending(id) == "closed failed");
  CHECK(only_sandbox(id).error_code == "auth");
  CHECK(only_sandbox(id).provider == "cloud");
  CHECK(api->calls.empty());
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "who has a fallback does not wait for a provider that has refused, "
                 "and asks it anew later") {
  rule().max_active = 1;
  begin();
  spec->sandboxes = 5;
  auto one = run();
  CHECK(asked_of_cloud() == 1);
  CHECK(states(one) == strings(5, "running"));
  CHECK(api->boxes.size() == 5);
  for (const auto& x : all<sandbox_waits>())
    CHECK(x.rule == "max_active"); // until the first one had its answer
  CHECK(all<sandbox_fell_back>().size() == 5);
  // Half a minute later it is asked again, by one sandbox.
  advance(31s);
  spec->sandboxes = 1;
  auto two = run();
  CHECK(asked_of_cloud() == 2);
  CHECK(states(two) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(fallback_world, "limits of ours at the provider are waited for, fallback or not") {
  cloud->turn_down = nullptr;
  cloud->on_run = api->on_run;
  rule().max_active = 1;
  begin();
  cloud->hold(operation::create); // one is on its way
  spec->sandboxes = 2;
  auto id = run();
  advance(20s);
  CHECK(asked_of_cloud() == 1);
  CHECK(api->calls.empty());
  REQUIRE(all<sandbox_waits>().size() >= 1);
  CHECK(all<sandbox_waits>()[0].rule == "max_active");
  CHECK(sandboxes(id)[1].provider == "cloud");
  finish();
}

TEST_CASE_METHOD(fallback_world, "a run that does not queue falls back all the same") {
  spec->no_queue = true;
  begin();
  auto id = run();
  CHECK(states(id) == strings{"running"});
  CHECK(only_sandbox(id).provider == "spare");
  finish();
}

TEST_CASE_METHOD(fallback_world, "at a fallback that refuses, too, a sandbox waits for it") {
  begin();
  bool full = true;
  api->turn_down = [&](operation op, const std::string&) -> error {
    return full && op == operation::create ? make_error(errc::capacity) : error{};
  };
  auto id = run();
  advance(2s);
  CHECK(all<sandbox_fell_back>().size() == 1);
  REQUIRE(all<sandbox_waits>().size() == 1);
  CHECK(all<sandbox_waits>()[0].rule == "provider");
  CHECK(all<sandbox_waits>()[0].setting == "the plan of spare");
  full = false;
  advance(30s);
  CHECK(states(id) == strings{"running"});
  CHECK(asked_of_cloud() == 1);
  finish();
}

TEST_CASE_METHOD(fallback_world, "a run is stopped while its fallback is being reached") {
  begin();
  auto id = run_to_its_fallback();
  post(stop_request{id, true});
  settle();
  advance(5s);
  CHECK(ending(id) == "closed killed");
  CHECK(api->count(operation::create) == 0);
  finish();
}

TEST_CASE_METHOD(fallback_world, "a SANDBOX that dies on its way to the fallback goes on there") {
  begin();
  auto id = run_to_its_fallback();
  crash(path_of(only_sandbox(id)) + "/sandbox");
  settle();
  advance(5s);
  CHECK(states(id) == strings{"running"});
  CHECK(all<sandbox_fell_back>().size() == 1);
  CHECK(asked_of_cloud() == 1);
  CHECK(api->boxes.size() == 1);
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "a sandbox at the fallback is found again there by the next daemon, "
                 "also when the provider cannot be reached") {
  begin();
  auto id = run();
  auto box = only_sandbox(id);
  REQUIRE(states(id) == strings{"running"});
  stop();
  no_cloud = make_error(errc::network);
  cloud->calls.clear();
  start();
  advance(2s);
  CHECK(states(id) == strings{"running"});
  CHECK(api->count(operation::create) == 1);
  CHECK(cloud->calls.empty());
  agents_end(box);
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "a create at the fallback without an answer is looked for there by "
                 "the next daemon") {
  begin();
  api->hold(operation::create);
  auto id = run();
  REQUIRE(api->boxes.size() == 1);
  REQUIRE(only_sandbox(id).unresolved);
  stop();
  api->release(operation::create);
  cloud->calls.clear();
  start();
  advance(5s);
  CHECK(states(id) == strings{"running"});
  CHECK(api->boxes.size() == 1);
  CHECK(cloud->calls.empty());
  finish();
}

TEST_CASE_METHOD(fallback_world, "a daemon that died before the create at the fallback makes it "
                                 "there, and asks the provider no second time") {
  begin();
  log->refuse = [&](const chunk& c) -> error { // the last that comes to the disk is the fall back
    for (event_reader r{c.body.data}; !r.done();)
      if (auto e = r.next(); e && e->type == event_traits<create_intended>::info.type
                             && !all<sandbox_fell_back>().empty())
        return make_error(errc::disk_full);
    return {};
  };
  auto id = run();
  REQUIRE(all<sandbox_fell_back>().size() == 1);
  REQUIRE(api->count(operation::create) == 0);
  stop();
  log->refuse = nullptr;
  start();
  advance(2s);
  CHECK(states(id) == strings{"running"});
  CHECK(only_sandbox(id).provider == "spare");
  CHECK(asked_of_cloud() == 1);
  finish();
}

TEST_CASE_METHOD(fallback_world, "a successor is asked for at the provider first") {
  spec->replace_lost = 1;
  begin();
  auto id = run();
  auto box = only_sandbox(id);
  REQUIRE(box.provider == "spare");
  api->lose(box.remote_id);
  advance(2min);
  auto rows = sandboxes(id);
  REQUIRE(rows.size() == 2);
  CHECK(asked_of_cloud() == 2);
  CHECK(rows[1].provider == "spare");
  CHECK(rows[1].state == phase::running);
  finish();
}

TEST_CASE_METHOD(fallback_world, "a fallback that cannot be reached for a moment is waited for") {
  int asked = 0;
  svc->provider = [&, ask = svc->provider](const std::string& name) {
    if (name == "spare" && ++asked <= 2)
      return result<std::shared_ptr<sandbox::api>>{make_error(errc::host_failed)};
    return ask(name);
  };
  begin();
  spec->sandboxes = 3;
  auto id = run();
  CHECK(asked == 1); // for all of them
  CHECK(states(id) == strings(3, "creating"));
  advance(svc->limits.settle_interval * 2 + 1s);
  CHECK(states(id) == strings(3, "running"));
  CHECK(all<sandbox_failing>().empty());
  std::size_t told = 0; // each says once that it waits
  for (const auto& n : all<notice>())
    told += n.code == "provider_unreachable";
  CHECK(told == 3);
  finish();
}

TEST_CASE_METHOD(fallback_world, "with --no-queue a limit of ours refuses, fallback or not") {
  cloud->turn_down = nullptr;
  cloud->hold(operation::create);
  rule().max_active = 1;
  spec->no_queue = true;
  begin();
  auto one = post(run_request{*spec}); // both are let in before either has its place
  auto two = post(run_request{*spec});
  settle();
  advance(svc->limits.reclaim + 2s);
  CHECK(asked_of_cloud() == 1);
  CHECK(api->calls.empty());
  CHECK(all<sandbox_fell_back>().empty());
  auto second = read<run_reply>(two);
  REQUIRE(second);
  CHECK(ending(second->swarm) == "closed failed");
  CHECK(only_sandbox(second->swarm).error_code == "quota");
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "what is at one provider is taken up, whatever becomes of the other") {
  begin();
  make_first(1);
  spec->sandboxes = 2;
  auto id = run();
  REQUIRE(states(id) == strings{"verifying", "running"});
  REQUIRE(sandboxes(id)[1].provider == "spare");
  stop();
  SECTION("which nobody configured any more") {
    no_cloud = make_error(errc::unknown_provider, "cloud");
    start();
    advance(10s);
    CHECK(states(id) == strings{"verifying", "running"});
    CHECK(swarm(id).state == swarm_phase::running);
    agents_end(sandboxes(id)[1]);
    advance(2s);
    CHECK(states(id) == strings{"verifying", "closed completed"});
    CHECK(swarm(id).state == swarm_phase::running); // the other one may live
  }
  SECTION("which can never be had") {
    no_cloud = make_error(errc::program_missing);
    start();
    advance(10s);
    CHECK(states(id) == strings{"closed failed", "running"});
    agents_end(sandboxes(id)[1]);
    advance(2s);
    CHECK(ending(id) == "closed failed");
  }
  CHECK(api->count(operation::create) == 1);
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "a successor waits for the provider that the daemon has not reached "
                 "since it is back") {
  spec->replace_lost = 1;
  begin();
  auto id = run();
  auto box = only_sandbox(id);
  stop();
  no_cloud = make_error(errc::secret_missing);
  start();
  advance(2s);
  REQUIRE(states(id) == strings{"running"});
  api->lose(box.remote_id);
  advance(2min);
  CHECK(states(id) == strings{"closed lost"});
  CHECK(swarm(id).state == swarm_phase::running);
  no_cloud = {};
  advance(1min);
  REQUIRE(sandboxes(id).size() == 2);
  CHECK(sandboxes(id)[1].state == phase::running);
  finish();
}

TEST_CASE_METHOD(fallback_world,
                 "a panic at a provider touches nothing of other runs at another one") {
  begin();
  make_first(1);
  auto ours = std::exchange(spec->fallback, {});
  auto other = run(); // at the provider itself
  REQUIRE(cloud->boxes.size() == 1);
  spec->fallback = ours;
  auto id = run();
  REQUIRE(api->boxes.size() == 1);
  selection there;
  there.provider = "spare";
  auto told = call(panic_request{there});
  REQUIRE(told);
  CHECK(told->providers == strings{"spare"});
  advance(6s);
  auto left = post(survivors_request{there, told->providers, true});
  settle();
  advance(1s);
  auto counted = read<survivors_reply>(left);
  REQUIRE(counted);
  CHECK(counted->listed == 0);
  CHECK(api->boxes.empty());
  CHECK(ending(id) == "closed killed");
  CHECK(cloud->boxes.size() == 1);
  CHECK(cloud->count(operation::kill) == 0);
  CHECK(swarm(other).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(fallback_world, "a panic at a provider ends the runs that fall back to it") {
  begin();
  auto id = run();
  selection there;
  there.provider = "spare";
  auto told = call(panic_request{there});
  REQUIRE(told);
  CHECK(told->sandboxes == 1);
  CHECK(std::find(told->providers.begin(), told->providers.end(), "spare")
        != told->providers.end());
  advance(5s);
  CHECK(ending(id) == "closed killed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(fallback_world, "a fallback that is not there, or has no key, is refused before "
                                 "anything is made") {
  begin();
  svc->knows_provider = [](const std::string& name) { return name != "spare"; };
  auto unknown = call(run_request{*spec});
  REQUIRE_FALSE(unknown);
  CHECK(unknown.err().code == errc::unknown_provider);
  CHECK(unknown.err().message == "spare");
  svc->knows_provider = [](const std::string&) { return true; };
  svc->key_secret = [](const std::string& name) { return name == "spare" ? "SPARE_KEY" : ""; };
  svc->secret = [](const std::string&) { return std::string{}; };
  auto keyless = call(run_request{*spec});
  REQUIRE_FALSE(keyless);
  CHECK(keyless.err().code == errc::secret_missing);
  CHECK(keyless.err().message == "provider spare needs SPARE_KEY");
  CHECK(tables->open_swarms().value().empty());
  finish();
}

TEST_CASE_METHOD(fallback_world, "a run has to fit its fallback as well: its lease cap, its price, "
                                 "its budget") {
  svc->limits.create_at["spare"].lease_cap = 600s;
  rules.providers["spare"].usd_per_hour = 100;
  begin();
  auto shown = call(plan_request{*spec});
  REQUIRE(shown);
  CHECK_FALSE(shown->refused);
  CHECK(shown->limit_ms
        == (std::chrono::milliseconds{600s} - std::chrono::milliseconds{svc->limits.lease_grace})
               .count());
  REQUIRE(shown->remarks.size() == 1);
  CHECK(shown->remarks[0].find("sandboxes of spare live at most 600 s") != std::string::npos);
  spec->budget_usd = 0.01; // the provider itself costs nothing here
  auto poor = call(plan_request{*spec});
  REQUIRE(poor);
  CHECK(poor->refused.code == errc::never_fits);
  spec->budget_usd = 1000;
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"do it"};
  svc->counts_models = [](const std::string& name) { return name == "cloud"; };
  auto unknown = call(plan_request{*spec});
  REQUIRE(unknown);
  CHECK(unknown->refused.code == errc::price_unknown);
  CHECK(unknown->refused.message.find("spare") != std::string::npos);
  finish();
}
