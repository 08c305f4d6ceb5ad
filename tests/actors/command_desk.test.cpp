// Scripts of the COMMANDS desk: idempotency keys, and that no command is lost.
#include "tests/actors/nearly_full.hpp"
#include "tests/actors/tree_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct desk_world : tree_world {
  desk_world() { start(); }
  template <class R>
  errc refused(const R& r, const std::string& key = {}) {
    auto a = call(r, key);
    return a ? errc::none : a.err().code;
  }
};

/// Input with the key "i1" was accepted, and whoever was to write it died before it had.
struct lost_input_world : desk_world {
  swarm_id id;
  pane_record pane;
  std::uint64_t accepted = 0;

  lost_input_world() {
    id = run();
    pane = tables->panes(only_sandbox(id).sandbox)->at(0);
    api->hold(operation::write_file);
    auto first = send();
    REQUIRE(first);
    accepted = first->seq;
    REQUIRE(guest_calls("input") == 0);
  }
  result<send_reply> send() { return call(send_request{pane.pane, {"hello\n"}}, "i1"); }
  void next_daemon() {
    stop();
    api->release(operation::write_file);
    start();
    advance(2s);
  }
  /// Of the input, in order: "KEY STATE".
  strings fates() const {
    strings out;
    for (const auto& r : all<input_receipt>())
      if (r.state != receipt::accepted)
        out.push_back(r.key + " " + std::string{to_string(r.state)});
    return out;
  }
  strings told() const {
    strings out;
    for (const auto& n : all<notice>())
      if (n.code == "input_not_written") out.push_back(n.text);
    return out;
  }
};

} // namespace

TEST_CASE_METHOD(desk_world,
                 "the same key and run get the first answer, before and after a restart") {
  auto first = call(run_request{*spec}, "k1");
  REQUIRE(first);
  CHECK(first->seq > 0);
  for (int i = 0; i < 2; ++i) {
    auto again = call(run_request{*spec}, "k1");
    REQUIRE(again);
    CHECK(again->swarm == first->swarm);
    CHECK(again->seq == first->seq);
    stop();
    start();
  }
  CHECK(count("swarm.created") == 1);
  auto other = *spec;
  other.name = "another";
  CHECK(refused(run_request{other}, "k1") == errc::key_reused);
  CHECK(refused(stop_request{first->swarm, false}, "k1") == errc::key_reused);
  CHECK(count("swarm.created") == 1);
  CHECK(swarm(first->swarm).state == swarm_phase::running);
  CHECK(refused(run_request{*spec}, std::string(65, 'k')) == errc::bad_argument);
  finish();
}

TEST_CASE_METHOD(desk_world, "a run that was refused does not use up its key") {
  auto bad = *spec;
  bad.panes = 0;
  CHECK(refused(run_request{bad}, "k1") != errc::none);
  REQUIRE(call(run_request{*spec}, "k1"));
  finish();
}

TEST_CASE_METHOD(desk_world, "a run that a nearly full disk refuses does not use up its key") {
  log->refuse = nearly_full;
  CHECK(refused(run_request{*spec}, "k1") == errc::disk_full);
  CHECK(count("command.accepted") == 0);
  CHECK(count("swarm.created") == 0);
  CHECK(registry->size() == 0);
  log->refuse = nullptr;
  auto again = call(run_request{*spec}, "k1");
  REQUIRE(again);
  CHECK(again->seq > 0);
  CHECK(swarm(again->swarm).state == swarm_phase::running);
  CHECK(call(run_request{*spec}, "k1")->swarm == again->swarm);
  CHECK(count("command.accepted") == 1);
  CHECK(count("swarm.created") == 1);
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop with a key is carried out once and answers the same") {
  auto one = run();
  auto first = call(stop_request{{}, false}, "s1"); // all
  REQUIRE(first);
  CHECK(first->swarms == std::vector<swarm_id>{one});
  agents_end(only_sandbox(one), 130);
  auto two = run(); // not meant by that stop
  auto again = call(stop_request{{}, false}, "s1");
  REQUIRE(again);
  CHECK(again->swarms == first->swarms);
  CHECK(again->seq == first->seq);
  CHECK(swarm(two).state == swarm_phase::running);
  stop();
  start();
  CHECK(call(stop_request{{}, false}, "s1")->seq == first->seq);
  CHECK(swarm(two).state == swarm_phase::running);
  CHECK(refused(stop_request{{}, true}, "s1") == errc::key_reused);
  CHECK(refused(daemon_stop_request{false}, "s1") == errc::key_reused);
  CHECK(swarm(two).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(desk_world, "a key is kept for 24 hours") {
  auto id = run("k1");
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  v.advance(23h);
  CHECK(call(run_request{*spec}, "k1")->swarm == id);
  v.advance(1h);
  auto next = call(run_request{*spec}, "k1");
  REQUIRE(next);
  CHECK_FALSE(next->swarm == id);
  finish();
}

TEST_CASE_METHOD(desk_world, "input with a key is written once") {
  auto id = run();
  auto pane = tables->panes(only_sandbox(id).sandbox)->at(0).pane;
  auto first = call(send_request{pane, {"hello\n"}}, "i1");
  REQUIRE(first);
  CHECK(call(send_request{pane, {"hello\n"}}, "i1")->seq == first->seq);
  CHECK(guest_calls("input") == 1);
  CHECK(refused(send_request{pane, {"other\n"}}, "i1") == errc::key_reused);
  CHECK(guest_calls("input") == 1);
  CHECK(call(send_request{pane, {"hello\n"}})->seq > first->seq); // without a key: again
  CHECK(guest_calls("input") == 2);
  finish();
}

TEST_CASE_METHOD(lost_input_world, "input that was accepted and not written when its daemon or its "
                                   "pane's actor died is told, and its key sends it again") {
  SECTION("the daemon") {
    next_daemon();
  }
  SECTION("the actor") {
    crash(path_of(only_sandbox(id)) + "/pane-" + pane.name);
    api->release(operation::write_file);
    advance(5s);
  }
  CHECK(fates() == strings{"i1 expired"});
  auto words = told();
  REQUIRE(words.size() == 1);
  INFO(words[0]);
  CHECK(words[0].starts_with(pane.name + " (" + pane.pane.value + "): the input of event "
                             + std::to_string(accepted) + " may not have been written"));
  CHECK(guest_calls("input") == 0);

  auto again = send();
  REQUIRE(again);
  CHECK(again->seq > accepted);
  CHECK(guest_calls("input") == 1);
  CHECK(fates() == strings{"i1 expired", "i1 written"});
  CHECK(send()->seq == accepted); // it is written: the first answer again
  CHECK(guest_calls("input") == 1);
  CHECK(refused(send_request{pane.pane, {"other\n"}}, "i1") == errc::key_reused);
  finish();
}

TEST_CASE_METHOD(lost_input_world,
                 "input whose daemon died after it was written is written by the word of its pane "
                 "inside, and not again") {
  auto remote = only_sandbox(id).remote_id;
  api->boxes.at(remote).files[ctx->pane_dir(pane.pane, 1) + "/inputs"] = "i0 3\ni1 6\n";
  next_daemon();
  CHECK(fates() == strings{"i1 written"});
  CHECK(told().empty());
  CHECK(send()->seq == accepted);
  CHECK(guest_calls("input") == 0);
  finish();
}

TEST_CASE_METHOD(lost_input_world,
                 "input that is sent again with its key while it is on its way waits in no second "
                 "place") {
  CHECK(send()->seq == accepted);
  CHECK(all<input_receipt>().size() == 1);
  api->release(operation::write_file);
  settle();
  CHECK(guest_calls("input") == 1);
  CHECK(fates() == strings{"i1 written"});
  finish();
}

TEST_CASE_METHOD(lost_input_world,
                 "a key whose input was lost is refused once its pane is over, and "
                 "the refusal says that it is not known to have been written") {
  next_daemon();
  agents_end(only_sandbox(id));
  auto refusal = send();
  REQUIRE_FALSE(refusal);
  CHECK(refusal.err().code == errc::wrong_phase);
  INFO(refusal.err().message);
  CHECK(refusal.err().message.starts_with("the input was accepted as event "
                                          + std::to_string(accepted)
                                          + " and is not known to have been written"));
  CHECK(guest_calls("input") == 0);
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "the end of the daemon has a key, too, and is refused while swarms run") {
  auto id = run();
  CHECK(refused(daemon_stop_request{false}, "d1") == errc::wrong_phase);
  CHECK(shut_downs == 0);
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  CHECK(call(daemon_stop_request{false}, "d1")->open_swarms == 0);
  CHECK(shut_downs == 1);
  stop();
  start();
  CHECK(call(daemon_stop_request{false}, "d1")); // meant the one before
  CHECK(shut_downs == 1);
  CHECK(call(daemon_stop_request{false}, "d2"));
  CHECK(shut_downs == 2);
  finish();
}

TEST_CASE_METHOD(desk_world, "a client that saw swarm.closed may end the daemon at once") {
  auto id = run();
  reply_ptr status, end;
  log->on_commit = [&] {
    if (end || count("swarm.closed") == 0) return;
    status = send(daemon_status_request{});
    end = send(daemon_stop_request{false}, "d1");
  };
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  log->on_commit = nullptr;
  REQUIRE(end);
  CHECK(read<daemon_status_reply>(status).value().open_swarms == 0);
  CHECK(read<daemon_stop_reply>(end).value().open_swarms == 0);
  CHECK(shut_downs == 1);
  finish();
}

TEST_CASE_METHOD(desk_world, "a second request with a key waits for the answer of the first") {
  auto id = run();
  crash(path_of(id) + "/swarm");
  auto first = post(stop_request{id, false}, "s1");
  auto second = post(stop_request{id, false}, "s1");
  auto other = post(stop_request{id, true}, "s1");
  CHECK_FALSE(*first);
  CHECK_FALSE(*second);
  CHECK(read<stop_reply>(other).err().code == errc::key_reused);
  advance(3s);
  REQUIRE(read<stop_reply>(first));
  CHECK(read<stop_reply>(second)->seq == read<stop_reply>(first)->seq);
  CHECK((*second)->id != (*first)->id);
  CHECK(swarm(id).state == swarm_phase::stopping);
  agents_end(only_sandbox(id), 130);
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop while the swarm is being restarted waits and is not lost") {
  auto id = run();
  crash(path_of(id) + "/swarm");
  REQUIRE(at(path_of(id) + "/swarm") == nullptr);
  auto reply = post(stop_request{id, true});
  CHECK_FALSE(*reply);
  advance(3s);
  REQUIRE(read<stop_reply>(reply));
  advance(1s);
  CHECK(ending(id) == "closed killed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "input for a pane whose swarm is being restarted waits and is written once") {
  auto id = run();
  auto pane = tables->panes(only_sandbox(id).sandbox)->at(0).pane;
  crash(path_of(id) + "/swarm");
  REQUIRE(at(path_of(id) + "/swarm") == nullptr);
  auto reply = post(send_request{pane, {"hello\n"}});
  CHECK_FALSE(*reply);
  advance(5s);
  REQUIRE(read<send_reply>(reply));
  CHECK(guest_calls("input") == 1);
  agents_end(only_sandbox(id));
  CHECK(refused(send_request{pane, {"late"}}) == errc::wrong_phase); // at once: the tables say so
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop that overtakes the swarm's beginning is carried out") {
  auto begun = post(run_request{*spec});
  // Nothing of the pool has run yet: the swarm exists and packs.
  REQUIRE(read<run_reply>(begun));
  auto id = read<run_reply>(begun)->swarm;
  REQUIRE(call(stop_request{id, false}));
  advance(1s);
  CHECK(ending(id) == "closed cancelled");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "a command whose desk dies is refused, and nothing of it happens later") {
  auto id = run();
  crash(path_of(id) + "/swarm"); // so that the answer takes a while
  auto reply = post(stop_request{id, true}, "s1");
  crash("work/commands");
  settle();
  CHECK(read<stop_reply>(reply).err().code == errc::shutting_down);
  advance(5s);
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(api->boxes.size() == 1);
  REQUIRE(call(stop_request{id, true}, "s1")); // the key is free
  advance(2s);
  CHECK(ending(id) == "closed killed");
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "stopping what is closed or unknown says so; kept sandboxes can be killed") {
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.size() == 1);
  CHECK(refused(stop_request{id, false}) == errc::wrong_phase);
  CHECK(refused(stop_request{{"sw_nosuch"}, false}) == errc::no_such_swarm);
  REQUIRE(call(stop_request{id, true}, "k"));
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(call(stop_request{id, true}, "k"));
  CHECK(refused(stop_request{id, true}) == errc::wrong_phase);
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "a list is of what runs and of closed runs that left a sandbox behind") {
  spec->keep = true;
  auto keeps = run();
  agents_end(only_sandbox(keeps));
  spec->keep = false;
  auto over = run();
  agents_end(only_sandbox(over));
  auto open = run();
  REQUIRE(ending(keeps) == "closed completed");
  REQUIRE(ending(over) == "closed completed");
  auto listed = [&](bool all) {
    auto list = call(list_request{all});
    REQUIRE(list);
    std::vector<swarm_id> swarms, boxes, panes;
    for (const auto& s : list->swarms)
      swarms.push_back(s.swarm);
    for (const auto& b : list->sandboxes)
      boxes.push_back(b.swarm);
    for (const auto& p : list->panes)
      panes.push_back(p.swarm);
    return std::tuple{swarms, boxes, panes};
  };
  using ids = std::vector<swarm_id>;
  CHECK(listed(false) == std::tuple{ids{open, keeps}, ids{open, keeps}, ids{open}});
  CHECK(listed(true)
        == std::tuple{ids{open, over, keeps}, ids{keeps, over, open}, ids{keeps, over, open}});
  REQUIRE(call(stop_request{keeps, true}));
  advance(1s);
  CHECK(listed(false) == std::tuple{ids{open}, ids{open}, ids{open}});
  finish();
}

TEST_CASE_METHOD(desk_world, "a list of what one word names has nothing else, and no sandbox") {
  spec->name = "nightly";
  auto one = run();
  agents_end(only_sandbox(one));
  auto two = run();
  auto pane = tables->panes(two)->at(0).pane;
  auto named = [&](const std::string& word) {
    auto list = call(list_request{false, word});
    REQUIRE(list);
    CHECK(list->sandboxes.empty());
    std::vector<std::string> out;
    for (const auto& s : list->swarms)
      out.push_back(s.swarm.value);
    for (const auto& p : list->panes)
      out.push_back(p.pane.value);
    return out;
  };
  CHECK(named("nightly") == strings{two.value, one.value});
  CHECK(named("night").empty());
  CHECK(named(one.value) == strings{one.value});
  CHECK(named(pane.value) == strings{pane.value});
  CHECK(named(pane.value.substr(0, pane.value.size() - 1)) == strings{pane.value});
  CHECK(named("sw_").empty()); // too short to mean one
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "a list of one work tree has its runs, the newest first, and no more") {
  auto one = run();
  agents_end(only_sandbox(one));
  auto two = run();
  auto of = [&](const std::string& repo) {
    auto list = call(list_request{false, {}, repo});
    REQUIRE(list);
    CHECK(list->sandboxes.empty());
    CHECK(list->panes.empty());
    std::vector<swarm_id> out;
    for (const auto& s : list->swarms)
      out.push_back(s.swarm);
    return out;
  };
  CHECK(of(tree.path) == std::vector<swarm_id>{two, one});
  CHECK(of(tree.path + "/below").empty());
  finish();
}

TEST_CASE_METHOD(desk_world, "a kill of a run that goes on means the sandbox that it kept, too") {
  spec->keep = true;
  spec->sandboxes = 2;
  auto id = run();
  auto kept = sandboxes(id)[0];
  agents_end(kept);
  REQUIRE(states(id) == strings{"closed completed", "running"});
  REQUIRE(only_sandbox(id).kept);
  REQUIRE(api->boxes.size() == 2);
  SECTION("of this run") {
    auto killed = call(stop_request{id, true});
    REQUIRE(killed);
    CHECK(killed->swarms == std::vector<swarm_id>{id});
  }
  SECTION("of all") {
    auto killed = call(stop_request{{}, true});
    REQUIRE(killed);
    CHECK(killed->swarms == std::vector<swarm_id>{id});
  }
  SECTION("where its own intent could not be written at first") {
    log->refuse = [&](const chunk& c) {
      return c.sandbox == kept.sandbox ? make_error(errc::io) : error{};
    };
    CHECK(refused(stop_request{id, true}) == errc::io);
    advance(2s);
    CHECK(ending(id) == "closed killed");
    CHECK(api->boxes.size() == 1);
    log->refuse = nullptr;
    advance(2s); // nobody says it again
  }
  advance(1s);
  CHECK(ending(id) == "closed killed");
  CHECK(states(id) == strings{"closed completed", "closed killed"});
  CHECK(only_sandbox(id).kill_confirmed);
  CHECK_FALSE(only_sandbox(id).kept);
  CHECK(count("sandbox.kill_confirmed") == 2);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(desk_world, "kill --all means what closed runs had kept; stop --all does not") {
  spec->keep = true;
  auto one = run();
  agents_end(only_sandbox(one));
  REQUIRE(ending(one) == "closed completed");
  CHECK(call(stop_request{{}, false})->swarms.empty());
  advance(1s);
  CHECK(only_sandbox(one).kept);
  auto two = run();
  auto killed = call(stop_request{{}, true});
  REQUIRE(killed);
  CHECK(killed->swarms == std::vector<swarm_id>{two, one});
  advance(1s);
  CHECK(ending(two) == "closed killed");
  CHECK(ending(one) == "closed completed");
  CHECK(only_sandbox(one).kill_confirmed);
  CHECK(api->boxes.empty());
  CHECK(call(stop_request{{}, true})->swarms.empty());
  finish();
}

TEST_CASE_METHOD(desk_world, "what can be refused is refused before anything is made") {
  svc->secret = [](const std::string&) { return std::string{}; };
  svc->knows_provider = [](const std::string& name) { return name == "local"; };
  spec->provider = "elsewhere";
  CHECK(refused(run_request{*spec}) == errc::unknown_provider);
  spec->provider = "local";
  svc->key_secret = [](const std::string&) { return std::string{"PROVIDER_KEY"}; };
  CHECK(refused(run_request{*spec}) == errc::secret_missing);
  svc->key_secret = [](const std::string&) { return std::string{}; };
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"do it"};
  CHECK(refused(run_request{*spec}) == errc::secret_missing);
  CHECK(log->committed.empty());
  CHECK(api->calls.empty());
  finish();
}
