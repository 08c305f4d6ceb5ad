// Scripts of the REAPER against a provider in memory.
#include "actors/reaper.hpp"

#include "tests/actors/held_journal.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct reaper_world : world {
  std::vector<sandbox_record> unconfirmed;
  std::vector<sandbox_record> unresolved;
  std::vector<sandbox_record> kept; ///< Their leases are as their rows say.
  std::map<std::string, sandbox_record> rows;
  strings providers{"local"};
  strings recent, configured;
  int reads = 0; ///< Of kills that are not confirmed.

  ~reaper_world() { CHECK(end() == 0); }

  void begin() {
    reaper_tables tables;
    tables.unconfirmed_kills = [this]() -> result<std::vector<sandbox_record>> {
      ++reads;
      // As the journal's tables have it: confirmed ones are gone.
      std::vector<sandbox_record> out;
      auto confirmed = all<kill_confirmed>();
      for (const auto& r : unconfirmed)
        if (std::none_of(confirmed.begin(), confirmed.end(),
                         [&](auto& c) { return c.remote_id == r.remote_id; }))
          out.push_back(r);
      return out;
    };
    tables.unresolved_creates = [this]() -> result<std::vector<sandbox_record>> {
      auto out = unresolved;
      std::erase_if(out, [&](const sandbox_record& r) {
        auto told = all<create_failed>();
        return !all<sandbox_created>().empty()
               || std::any_of(told.begin(), told.end(),
                              [&](auto& e) { return e.intent == r.intent; });
      });
      return out;
    };
    tables.kept_past_lease = [this](utc_time now) -> result<std::vector<sandbox_record>> {
      auto out = kept;
      auto confirmed = all<kill_confirmed>();
      std::erase_if(out, [&](const sandbox_record& r) {
        return r.lease_end_at > now
               || std::any_of(confirmed.begin(), confirmed.end(),
                              [&](auto& c) { return c.remote_id == r.remote_id; });
      });
      return out;
    };
    tables.sandbox = [this](const sandbox_id& id) -> result<sandbox_record> {
      auto i = rows.find(id.value);
      if (i == rows.end()) return make_error(errc::not_found);
      return i->second;
    };
    tables.providers = [this] { return providers; };
    tables.recent = [this] { return recent; };
    tables.configured = [this] { return configured; };
    under_supervisor({"reaper", [this, tables](caf::scheduled_actor* parent) {
                        auto h = spawn_reaper(parent, svc, tables);
                        svc->handles->put("reaper", h);
                        return h;
                      }});
  }
  /// One that was kept, whose lease is over after `lease`.
  void keep(const std::string& id, std::chrono::milliseconds lease) {
    sandbox_record r;
    r.sandbox = {"sb_" + id};
    r.swarm = {"sw_a"};
    r.provider = "local";
    r.remote_id = id;
    r.state = phase::closed;
    r.kept = true;
    r.lease_end_at = svc->wall_now() + lease;
    kept.push_back(r);
    rows[r.sandbox.value] = r;
    box(id, {{"skep.install", "in_1"}, {"skep.sandbox", r.sandbox.value}});
  }
  /// One that has ended here as sb_a, and whose kill is on disk and not confirmed.
  sandbox_record being_killed(const std::string& id) {
    sandbox_record r;
    r.sandbox = {"sb_a"};
    r.swarm = {"sw_a"};
    r.provider = "local";
    r.remote_id = id;
    r.state = phase::closed;
    r.kill_intended = true;
    unconfirmed = {r};
    rows["sb_a"] = r;
    box(id, {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}});
    return r;
  }
  void box(const std::string& id, std::map<std::string, std::string> labels) {
    api->boxes[id].info.remote_id = id;
    api->boxes[id].info.metadata = std::move(labels);
  }
};

} // namespace

TEST_CASE_METHOD(reaper_world, "kills are repeated until the provider confirms, then no more") {
  auto open = being_killed("i1"); // a SANDBOX does this one itself
  open.remote_id = "i2";
  open.state = phase::running;
  unconfirmed.push_back(open);
  api->fail(operation::kill, make_error(errc::network));
  api->fail(operation::kill, make_error(errc::timed_out));
  begin();
  advance(15s);
  CHECK(api->count(operation::kill) == 1);
  CHECK(count("sandbox.kill_confirmed") == 0);
  advance(30s);
  CHECK(api->count(operation::kill) == 3);
  REQUIRE(count("sandbox.kill_confirmed") == 1);
  CHECK(log->committed.back().sandbox == sandbox_id{"sb_a"});
  advance(2min);
  CHECK(api->count(operation::kill) == 3);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(reaper_world, "no kill and no list of the reaper waits for what is packed") {
  part_pools();
  bool packed = false;
  svc->pool->submit([&packed] { packed = true; });
  work_hangs = true;
  (void)being_killed("i1");
  begin();
  advance(16s);
  CHECK(api->count(operation::kill) == 1);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->count(operation::list) == 1);
  CHECK_FALSE(packed);
  work_hangs = false;
  settle();
  CHECK(packed);
}

TEST_CASE_METHOD(reaper_world, "who wakes the reaper has every kill at once and no list, and wakes "
                               "that come together are one look and one question for the client") {
  std::vector<sandbox_record> all;
  for (int i = 0; i < 20; ++i) {
    auto id = "i" + std::to_string(i);
    all.push_back(being_killed(id));
    all.back().sandbox = {"sb_" + id};
  }
  unconfirmed = all;
  int clients = 0;
  svc->provider = [this, &clients](const std::string&) {
    ++clients;
    return result<std::shared_ptr<sandbox::api>>{std::shared_ptr<sandbox::api>{api}};
  };
  begin();
  for (int i = 0; i < 20; ++i)
    svc->handles->wake_reaper();
  settle();
  CHECK(reads == 1);
  CHECK(clients == 1);
  CHECK(api->count(operation::kill) == 20);
  CHECK(count("sandbox.kill_confirmed") == 20);
  CHECK(api->count(operation::list) == 0);
  svc->handles->wake_reaper(); // the next one is a look again
  settle();
  CHECK(reads == 2);
  CHECK(api->count(operation::kill) == 20);
  advance(16s); // lists are for its own time
  CHECK(api->count(operation::list) == 1);
}

TEST_CASE_METHOD(reaper_world, "a provider whose list hangs is not asked for another one") {
  api->hold(operation::list);
  begin();
  advance(50s); // three looks
  CHECK(reads == 3);
  CHECK(api->count(operation::list) == 1);
  api->release(operation::list);
  advance(15s);
  CHECK(api->count(operation::list) == 2);
}

TEST_CASE_METHOD(reaper_world, "a kill whose client could not be had for want of memory is "
                               "repeated") {
  (void)being_killed("i1");
  int clients = 0;
  svc->provider = [this, &clients](const std::string&) -> result<std::shared_ptr<sandbox::api>> {
    if (++clients == 1) throw std::bad_alloc{};
    return std::shared_ptr<sandbox::api>{api};
  };
  begin();
  advance(16s);
  CHECK(clients == 1);
  CHECK(api->calls.empty());
  advance(15s);
  CHECK(clients == 2);
  CHECK(api->count(operation::kill) == 1);
  CHECK(api->count(operation::list) == 1);
  CHECK(count("sandbox.kill_confirmed") == 1);
}

TEST_CASE_METHOD(reaper_world, "a kill that its provider goes on refusing is told after a minute, "
                               "then ever more rarely, until it is confirmed") {
  CHECK(svc->limits.kill_told_most == 100min);
  svc->limits.kill_told_most = 10min;
  (void)being_killed("i1");
  constexpr std::size_t refusals = 93;
  for (std::size_t i = 0; i < refusals; ++i)
    api->fail(operation::kill, make_error(errc::auth, "its key has expired"));
  begin();
  advance(70s); // tried first at 15 s
  CHECK(api->count(operation::kill) == 4);
  CHECK(count("kill_unconfirmed") == 0);
  advance(10s);
  auto told = all<notice>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].code == "kill_unconfirmed");
  CHECK(told[0].level == severity::warning);
  CHECK(told[0].text.starts_with("sb_a: local has not confirmed that i1 is gone; "));
  CHECK(told[0].text.find("its key has expired") != std::string::npos);
  CHECK(log->committed.back().swarm == swarm_id{"sw_a"});
  CHECK(log->committed.back().sandbox == sandbox_id{"sb_a"});
  advance(9min);
  CHECK(count("kill_unconfirmed") == 1);
  advance(2min);
  CHECK(count("kill_unconfirmed") == 2);
  advance(11min); // not a hundred minutes, which is above the most
  CHECK(count("kill_unconfirmed") == 3);
  REQUIRE(api->count(operation::kill) == refusals);
  CHECK(count("sandbox.kill_confirmed") == 0);
  advance(15s);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->boxes.empty());
  advance(15min);
  CHECK(count("kill_unconfirmed") == 3);
}

TEST_CASE_METHOD(reaper_world, "an orphan dies after the grace time; strangers are not touched") {
  box("ours", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  box("twin", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_live"}});
  box("live", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_live"}});
  box("kept", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_kept"}});
  box("other", {{"skep.install", "in_2"}, {"skep.sandbox", "sb_gone"}});
  box("stranger", {});
  rows["sb_live"].remote_id = "live";
  rows["sb_live"].state = phase::running;
  rows["sb_kept"].remote_id = "kept";
  rows["sb_kept"].state = phase::closed;
  rows["sb_kept"].kept = true;
  begin();
  advance(40s); // seen first at 15 s
  CHECK(api->count(operation::kill) == 0);
  advance(10s);
  CHECK(api->count(operation::kill) == 2);
  strings left;
  for (const auto& [id, b] : api->boxes)
    left.push_back(id);
  CHECK(left == strings{"kept", "live", "other", "stranger"});
  advance(1s);
  CHECK(count("orphan_ended") == 2);
  CHECK(count("orphan_kill_intended") == 2);
  advance(5min);
  CHECK(api->count(operation::kill) == 2);
}

TEST_CASE_METHOD(reaper_world, "orphans at one provider die, whatever the other providers have") {
  auto elsewhere = std::make_shared<fake_api>();
  providers = {"local", "e2b"};
  svc->provider = [this, elsewhere](const std::string& name) {
    return result<std::shared_ptr<sandbox::api>>{
        std::shared_ptr<sandbox::api>{name == "e2b" ? elsewhere : api}};
  };
  box("here", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  auto& there = elsewhere->boxes["there"].info;
  there.remote_id = "there";
  there.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}};
  begin();
  advance(2min);
  CHECK(api->boxes.empty());
  CHECK(elsewhere->boxes.empty());
}

TEST_CASE_METHOD(reaper_world, "a sandbox that is listed after its kill was confirmed is killed "
                               "after the grace time") {
  auto& r = rows["sb_a"];
  r.remote_id = "i1";
  r.state = phase::closed;
  r.kill_intended = true;
  r.kill_confirmed = true; // by an answer in passing
  box("i1", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}});
  begin();
  advance(40s); // seen first at 15 s
  CHECK(api->count(operation::kill) == 0);
  advance(10s);
  CHECK(api->count(operation::kill) == 1);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(reaper_world,
                 "a provider without a living sandbox is listed once a minute, and at "
                 "every look from its first orphan on") {
  providers = {};
  recent = {"local"};
  begin();
  advance(5min);
  CHECK(api->count(operation::list) == 5);
  box("ours", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  advance(15s);
  CHECK(api->count(operation::list) == 6);
  CHECK(api->boxes.size() == 1);
  advance(30s);
  CHECK(api->boxes.empty());
  auto lists = api->count(operation::list);
  advance(5min);
  CHECK(api->count(operation::list) <= lists + 6);
}

TEST_CASE_METHOD(reaper_world,
                 "every provider that can be asked is listed after the start until it "
                 "has answered once") {
  providers = {};
  configured = {"local"};
  std::size_t asked = 0;
  SECTION("at once") {
    asked = 1;
  }
  SECTION("when it is reached") {
    api->fail(operation::list, make_error(errc::network));
    api->fail(operation::list, make_error(errc::timed_out));
    asked = 3;
  }
  SECTION("a refusal is an answer") {
    api->fail(operation::list, make_error(errc::auth));
    asked = 1;
  }
  begin();
  advance(5min);
  CHECK(api->count(operation::list) == asked);
}

TEST_CASE_METHOD(reaper_world,
                 "an orphan's kill is in the journal before the provider hears of it") {
  box("ours", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  api->hold(operation::kill);
  begin();
  advance(50s);
  REQUIRE(api->count(operation::kill) == 1);
  auto intents = all<notice>();
  REQUIRE(intents.size() == 1);
  CHECK(intents[0].code == "orphan_kill_intended");
  CHECK(intents[0].text.find("ours") != std::string::npos);
  CHECK(count("orphan_ended") == 0);
  api->release(operation::kill);
  advance(1s);
  CHECK(count("orphan_ended") == 1);
}

TEST_CASE_METHOD(reaper_world,
                 "while an orphan's kill is on its way to the journal nobody kills it "
                 "and nobody asks again, however long that takes") {
  box("ours", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  begin();
  advance(40s);
  held_journal held;
  held.real = svc->handles->journal();
  auto holder = v.sys.spawn(holding_journal, &held);
  svc->handles->put_journal(holder);
  advance(25s); // its time is over at 45 s; the next look is at 60 s
  CHECK(held.chunks.size() == 1);
  CHECK(api->count(operation::kill) == 0);
  svc->handles->put_journal(held.real);
  SECTION("stored") {
    caf::anon_send(holder, flush_a::value);
    settle();
  }
  SECTION("refused: the next look asks again") {
    log->refuse = [](const chunk&) { return make_error(errc::wrong_phase); };
    caf::anon_send(holder, flush_a::value);
    settle();
    CHECK(api->count(operation::kill) == 0);
    log->refuse = nullptr;
    advance(15s);
  }
  CHECK(api->count(operation::kill) == 1);
  CHECK(api->boxes.empty());
  CHECK(count("orphan_kill_intended") == 1);
  holder = nullptr;
  held = {};
}

TEST_CASE_METHOD(reaper_world, "orphans are gone within a minute of the daemon's start") {
  for (int i = 0; i < 50; ++i)
    box("o" + std::to_string(i), {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}});
  begin();
  advance(60s);
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::kill) == 50);
}

TEST_CASE_METHOD(reaper_world,
                 "what stops being an orphan in time lives, and a failed list ends nothing") {
  box("i1", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}});
  begin();
  advance(40s);
  rows["sb_a"].remote_id = "i1";
  rows["sb_a"].state = phase::verifying;
  api->fail(operation::list, make_error(errc::network));
  advance(5min);
  CHECK(api->count(operation::kill) == 0);
  CHECK(api->boxes.size() == 1);
}

TEST_CASE_METHOD(reaper_world,
                 "a create that its sandbox left unresolved is settled, not for ever") {
  sandbox_record r;
  r.sandbox = {"sb_a"};
  r.swarm = {"sw_a"};
  r.provider = "local";
  r.intent = "int1";
  r.unresolved = true;
  r.state = phase::closed;
  r.closed_at = svc->wall_now();
  auto open = r; // a SANDBOX looks for this one itself
  open.sandbox = {"sb_b"};
  open.intent = "int2";
  open.state = phase::creating;
  unresolved = {r, open};
  rows["sb_a"] = r;
  rows["sb_b"] = open;
  begin();
  SECTION("no list has it") {
    advance(svc->limits.create.settle_after() - 1s);
    CHECK(count("sandbox.create_failed") == 0);
    advance(17s);
    REQUIRE(all<create_failed>().size() == 1);
    CHECK(all<create_failed>()[0].intent == "int1");
    CHECK(log->committed.back().sandbox == sandbox_id{"sb_a"});
    auto lists = api->count(operation::list);
    advance(1min);
    CHECK(api->count(operation::list) == lists + 4); // orphans are looked for as ever
  }
  SECTION("lists that fail settle nothing") {
    for (int i = 0; i < 100; ++i)
      api->fail(operation::list, make_error(errc::network));
    advance(8min);
    CHECK(count("sandbox.create_failed") == 0);
  }
  SECTION("it appears late: the intent to kill is on disk with it, then it is killed") {
    advance(40s);
    box("i9", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}, {"skep.intent", "int1"}});
    api->boxes["i9"].info.address.remote_id = "i9";
    auto killed = r;
    killed.remote_id = "i9";
    killed.kill_intended = true;
    api->hold(operation::kill);
    advance(15s);
    REQUIRE(all<sandbox_created>().size() == 1);
    CHECK(all<sandbox_created>()[0].remote_id == "i9");
    CHECK(log->committed.back().count == 2);
    CHECK(count("sandbox.kill_intended") == 1);
    unconfirmed = {killed}; // as the tables have it now
    rows["sb_a"] = killed;
    CHECK(api->count(operation::kill) == 1);
    api->release(operation::kill);
    advance(1s);
    CHECK(api->boxes.empty());
    CHECK(count("sandbox.kill_confirmed") == 1);
    advance(1min);
    CHECK(api->count(operation::kill) == 1);
  }
  SECTION("while it is fresh it is looked for between the sweeps, and killed in the same breath") {
    advance(15s);
    CHECK(count("sandbox.created") == 0);
    box("i9", {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}, {"skep.intent", "int1"}});
    api->boxes["i9"].info.address.remote_id = "i9";
    advance(6s); // the next sweep is at 30 s
    CHECK(count("sandbox.kill_confirmed") == 1);
    CHECK(api->boxes.empty());
  }
}

TEST_CASE_METHOD(reaper_world,
                 "a kept sandbox is left alone until its lease is over; then what its "
                 "provider does not know is confirmed gone") {
  keep("a", 10min);
  api->lose("a"); // sooner than its lease says: nobody looks
  begin();
  advance(9min);
  CHECK(api->count(operation::get) == 0);
  api->fail(operation::get, make_error(errc::network)); // which says nothing
  api->fail(operation::get, make_error(errc::auth));
  advance(80s);
  CHECK(api->count(operation::get) == 2);
  CHECK(count("sandbox.kill_confirmed") == 0);
  advance(15s);
  REQUIRE(all<kill_confirmed>().size() == 1);
  CHECK(all<kill_confirmed>()[0].remote_id == "a");
  REQUIRE(all<kill_intended>().size() == 1);
  CHECK(all<kill_intended>()[0].reason == "its lease is over");
  CHECK(log->committed.back().sandbox == sandbox_id{"sb_a"});
  CHECK(log->committed.back().count == 2); // no kill is left to be carried out
  advance(5min);
  CHECK(api->count(operation::get) == 3);
  CHECK(api->count(operation::kill) == 0);
}

TEST_CASE_METHOD(reaper_world, "a kept sandbox that somebody gave more time stays past its lease, "
                               "and is asked for once a minute") {
  keep("a", 1min);
  begin();
  advance(6min + 5s);
  CHECK(api->boxes.size() == 1);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(api->count(operation::get) == 6);
  api->lose("a");
  advance(1min);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->count(operation::kill) == 0);
}

TEST_CASE_METHOD(reaper_world, "what was uploaded goes once the last kept sandbox with work inside "
                               "is past its lease and gone") {
  keep("a", 1min);
  keep("b", 3min);
  svc->load_swarm = [](const swarm_id& id) -> result<swarm_record> {
    swarm_record out;
    out.swarm = id;
    out.state = swarm_phase::closed;
    return out;
  };
  svc->load_sandboxes = [this](const swarm_id&) -> result<std::vector<sandbox_record>> {
    auto out = kept;
    auto confirmed = all<kill_confirmed>();
    for (auto& r : out)
      for (const auto& c : confirmed)
        if (c.remote_id == r.remote_id) r.kept = false;
    return out;
  };
  auto work = svc->state_dir / "work" / "sw_a";
  std::filesystem::create_directories(work);
  std::ofstream{work / "worktree.tar"} << "the user's";
  begin();
  api->lose("a");
  advance(90s);
  REQUIRE(count("sandbox.kill_confirmed") == 1);
  CHECK(std::filesystem::exists(work / "worktree.tar"));
  api->lose("b");
  advance(3min);
  REQUIRE(count("sandbox.kill_confirmed") == 2);
  CHECK_FALSE(std::filesystem::exists(work));
}
