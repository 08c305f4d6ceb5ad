// What a daemon that dies must not forget of a sandbox that fails, and successors of sandboxes that
// their provider lost: the whole tree under the virtual clock.
#include "actors/replacement.hpp"
#include "tests/actors/tree_fixture.hpp"

#include <set>

using namespace skep;
using namespace skep::test;

namespace {

struct replacing_world : tree_world {
  replacing_world() {
    spec->replace_lost = 1;
    spec->sandboxes = 2;
  }
  /// The provider loses it; time passes until the journal says so.
  void lose(const sandbox_record& s) {
    api->lose(s.remote_id);
    for (int i = 0; i < 600 && row(s).state != phase::closed; ++i) {
      v.advance(200ms);
      settle();
    }
    REQUIRE(row(s).result == outcome::lost);
  }
  sandbox_record row(const sandbox_record& s) { return tables->sandbox(s.sandbox).value(); }
  std::vector<replacement_record> replacements(const swarm_id& id) {
    return tables->replacements(id).value();
  }
  sandbox_record newest(const swarm_id& id) {
    for (const auto& s : sandboxes(id))
      if (s.sandbox == replacements(id).back().successor) return s;
    FAIL("no successor began");
    return {};
  }
};

} // namespace

// ---- the first error ------------------------------------------------------------------------

TEST_CASE_METHOD(tree_world, "the first error and its step outlive a daemon that dies after the "
                             "kill intent") {
  start();
  guest["unpack"] = [](const sandbox::command&) -> result<sandbox::command_result> {
    return make_error(errc::unsafe_archive, "the seventh block", "it does not add up");
  };
  api->hold(operation::kill);
  auto id = run();
  REQUIRE(count("sandbox.kill_intended") == 1);
  REQUIRE(count("sandbox.closed") == 0);
  auto before = only_sandbox(id);
  CHECK(before.error_code == "unsafe_archive"); // people see it while the sandbox still goes
  stop();
  start();
  api->release(operation::kill);
  advance(30s);
  auto after = only_sandbox(id);
  CHECK(ending(id) == "closed failed");
  CHECK(after.result == outcome::failed);
  CHECK(after.error_text == before.error_text);
  CHECK(after.error_step == "unpack");
  CHECK(after.error_message == before.error_message);
  CHECK(after.error_cause == before.error_cause);
  CHECK(swarm(id).error_text.find("Step: unpack") != std::string::npos);
  CHECK(count("sandbox.failing") == 1);
  CHECK(api->count(operation::create) == 1);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(tree_world, "the first error is on disk before the kill intent") {
  start();
  guest["unpack"] = [](const sandbox::command&) -> result<sandbox::command_result> {
    return make_error(errc::unsafe_archive);
  };
  auto id = run();
  advance(5s);
  CHECK(ending(id) == "closed failed");
  auto events = log->events();
  auto at = [&](const char* what) {
    for (std::size_t i = 0; i < events.size(); ++i)
      if (events[i].find(what) != std::string::npos) return i;
    return events.size();
  };
  CHECK(at("sandbox.failing") < at("sandbox.kill_intended"));
  CHECK(at("sandbox.kill_intended") < at("sandbox.closed"));
  finish();
}

TEST_CASE_METHOD(tree_world, "a sandbox that was winding down fails with its first error after a "
                             "restart, and what its agents did is collected") {
  spec->panes = 2;
  spec->panes_out_percent = 1; // one pane out is enough
  start();
  auto id = run();
  auto s = only_sandbox(id);
  auto panes = tables->panes(s.sandbox).value();
  std::string frame;
  pack_follow(frame, follow_kind::exit, follow_exit{panes[0].pane, 1, 3, 0, 0, {}});
  for (auto& stream : api->streams)
    if (stream->open) stream->emit(frame);
  settle();
  advance(1s);
  REQUIRE(count("sandbox.failing") == 1);
  REQUIRE(count("sandbox.closed") == 0);
  auto before = only_sandbox(id);
  CHECK_FALSE(before.error_code.empty());
  stop();
  start();
  advance(60s); // the other agent does not listen
  auto after = only_sandbox(id);
  CHECK(after.state == phase::closed);
  CHECK(after.result == outcome::failed);
  CHECK(after.error_text == before.error_text);
  CHECK(count("sandbox.failing") == 1);
  CHECK(count("transfer.intended") >= 2); // the upload, and what came back
  finish();
}

namespace {

/// Two panes whose agents end; the difference of p0 cannot be made, the first `failures` times.
struct collecting_world : tree_world {
  int failures = 100;

  collecting_world() {
    spec->panes = 2;
    api->on_run =
        [this, usual = api->on_run](const sandbox::remote& r,
                                    const sandbox::command& c) -> result<sandbox::command_result> {
      auto of_p0 = c.argv.size() > 1 && c.argv[1] == "diff"
                   && std::find(c.argv.begin(), c.argv.end(), "p0") != c.argv.end();
      if (!of_p0 || failures-- <= 0) return usual(r, c);
      return said("{\"error\":\"not_found\",\"message\":\"no commit in the tree\"}\n", 1);
    };
  }
  strings order(std::initializer_list<const char*> wanted) {
    strings out;
    for (const auto& e : log->events())
      for (const auto* w : wanted)
        if (e.find(w) != std::string::npos) out.push_back(w);
    return out;
  }
  bool has_patch(const swarm_id& id, const std::string& pane) const {
    return std::filesystem::exists(std::filesystem::path{spec->out_dir} / id.value
                                   / (pane + ".patch"));
  }
};

} // namespace

TEST_CASE_METHOD(collecting_world, "a result that could not be fetched is not forgotten by a "
                                   "daemon that dies after the kill intent") {
  start();
  auto id = run();
  api->hold(operation::kill);
  // Else the sandbox would be left up with what could not be fetched.
  advance(std::chrono::milliseconds{spec->limit_ms});
  agents_end(only_sandbox(id), 130);
  advance(5s);
  REQUIRE(count("transfer.failed") == 1);
  REQUIRE(count("sandbox.kill_intended") == 1);
  REQUIRE(count("sandbox.closed") == 0);
  CHECK(order({"sandbox.failing", "sandbox.kill_intended"})
        == strings{"sandbox.failing", "sandbox.kill_intended"});
  auto before = only_sandbox(id);
  CHECK(before.error_code == "remote_command_failed");
  stop();
  start();
  api->release(operation::kill);
  advance(30s);
  auto after = only_sandbox(id);
  CHECK(ending(id) == "closed timed_out");
  CHECK(after.result == outcome::timed_out); // the limit came first
  CHECK(after.error_code == before.error_code);
  CHECK(after.error_step == "diff");
  CHECK(count("sandbox.failing") == 1);
  CHECK(has_patch(id, "p1"));
  CHECK_FALSE(has_patch(id, "p0"));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(collecting_world, "a daemon that dies while it collects leaves all of it to the "
                                   "next one, what could not be fetched included") {
  failures = 1;
  start();
  auto id = run();
  api->hold(operation::download_file); // of p1
  agents_end(only_sandbox(id));
  REQUIRE(count("transfer.failed") == 1);
  REQUIRE(count("sandbox.kill_intended") == 0);
  stop();
  api->release(operation::download_file);
  start();
  advance(30s);
  CHECK(ending(id) == "closed completed");
  CHECK(has_patch(id, "p0"));
  CHECK(has_patch(id, "p1"));
  CHECK(count("sandbox.failing") == 0);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(tree_world, "a killed run is killed after a restart, too") {
  start();
  auto id = run();
  api->hold(operation::kill);
  auto reply = post(stop_request{id, true});
  advance(1s);
  REQUIRE(count("sandbox.kill_intended") == 1);
  stop();
  start();
  api->release(operation::kill);
  advance(30s);
  CHECK(ending(id) == "closed killed");
  finish();
}

// ---- successors -----------------------------------------------------------------------------

TEST_CASE_METHOD(replacing_world, "a lost sandbox gets one successor with the same number, and the "
                                  "event says what was lost") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  auto panes = tables->panes(rows[1].sandbox).value();
  REQUIRE(call(send_request{panes[0].pane, {"a question\n"}}));
  lose(rows[1]);
  advance(5s);
  REQUIRE(count("swarm.sandbox_replaced") == 1);
  auto known = replacements(id);
  REQUIRE(known.size() == 1);
  CHECK(known[0].lost == rows[1].sandbox);
  CHECK(known[0].number == 1);
  CHECK(known[0].base_commit == rows[1].base_commit);
  CHECK_FALSE(known[0].base_commit.empty());
  CHECK(known[0].last_sync_at.time_since_epoch().count() > 0); // its upload
  CHECK(known[0].unanswered == 1);
  auto next = newest(id);
  CHECK(next.index == rows[1].index);
  CHECK(next.state == phase::running);
  auto its = tables->panes(next.sandbox).value();
  REQUIRE(its.size() == 1);
  CHECK(its[0].name == panes[0].name);
  CHECK(its[0].index == panes[0].index);
  CHECK_FALSE(its[0].pane == panes[0].pane);
  CHECK(api->count(operation::create) == 3);

  auto shown = call(status_request{id});
  REQUIRE(shown);
  REQUIRE(shown->replacements.size() == 1);
  CHECK(shown->replacements[0].successor == next.sandbox);

  agents_end(rows[0]);
  agents_end(next);
  advance(5s);
  CHECK(ending(id) == "closed completed"); // what counts is how its successors end
  std::ifstream in{std::filesystem::path{spec->out_dir} / id.value / "summary.json"};
  auto summary = json::parse(in, nullptr, false);
  REQUIRE(summary.is_object());
  REQUIRE(summary["replacements"].size() == 1);
  CHECK(summary["replacements"][0]["lost"] == rows[1].sandbox.value);
  CHECK(summary["sandboxes"].size() == 3);
  finish();
}

TEST_CASE_METHOD(replacing_world, "no more successors are made than the run allows") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  lose(rows[0]);
  advance(5s);
  auto next = newest(id);
  lose(next);
  advance(5s);
  CHECK(count("swarm.sandbox_replaced") == 1);
  CHECK(sandboxes(id).size() == 3);
  agents_end(rows[1]);
  advance(5s);
  CHECK(ending(id) == "closed lost");
  finish();
}

TEST_CASE_METHOD(replacing_world, "sandboxes that are lost at once all get the successors that the "
                                  "run allows") {
  spec->sandboxes = 4;
  spec->replace_lost = 3;
  start();
  auto id = run();
  for (const auto& s : sandboxes(id))
    api->lose(s.remote_id);
  advance(2min);
  CHECK(count("swarm.sandbox_replaced") == 3);
  CHECK(sandboxes(id).size() == 7);
  std::set<std::uint32_t> numbers;
  for (const auto& r : replacements(id))
    numbers.insert(r.number);
  CHECK(numbers == std::set<std::uint32_t>{1, 2, 3});
  finish();
}

TEST_CASE_METHOD(replacing_world, "without --replace-lost a lost sandbox stays lost") {
  spec->replace_lost = 0;
  start();
  auto id = run();
  auto rows = sandboxes(id);
  lose(rows[0]);
  advance(5s);
  CHECK(count("swarm.sandbox_replaced") == 0);
  agents_end(rows[1]);
  advance(5s);
  CHECK(ending(id) == "closed lost");
  finish();
}

TEST_CASE_METHOD(replacing_world, "a run that stops gets no successor any more") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  auto reply = post(stop_request{id, false});
  advance(100ms);
  api->lose(rows[0].remote_id);
  advance(120s);
  CHECK(count("swarm.sandbox_replaced") == 0);
  CHECK(swarm(id).state == swarm_phase::closed);
  finish();
}

TEST_CASE_METHOD(replacing_world, "a daemon that dies between a loss and its successor makes "
                                  "exactly one") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  // How far it gets: the loss alone, the intent, the successor's first events, its create.
  auto reached = GENERATE(as<std::string>{}, "sandbox.closed", "swarm.sandbox_replaced",
                          "sandbox.queued", "sandbox.create_intended");
  INFO(reached);
  auto before = count(reached);
  api->lose(rows[0].remote_id);
  for (int i = 0; i < 60000 && count(reached) == before; ++i) {
    v.advance(10ms);
    if (i % 20 == 19)
      settle();
    else
      v.run();
  }
  REQUIRE(count(reached) > before);
  stop();
  start();
  advance(200s); // an unresolved create is settled first
  CHECK(count("swarm.sandbox_replaced") == 1);
  CHECK(sandboxes(id).size() == 3);
  auto next = newest(id);
  CHECK(next.state == phase::running);
  CHECK(api->boxes.size() == 2);
  agents_end(rows[1]);
  agents_end(next);
  advance(5s);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(replacing_world, "the log of a lost sandbox is kept beside its successor's") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  auto old = tables->panes(rows[0].sandbox).value().at(0);
  std::filesystem::create_directories(svc->state_dir / "logs" / id.value);
  auto put_log = [&](const pane_record& p, const char* text) {
    std::ofstream{svc->state_dir / "logs" / id.value / (p.pane.value + ".1.log")} << text;
  };
  put_log(old, "before\n");
  lose(rows[0]);
  advance(5s);
  CHECK(replacements(id).at(0).output_bytes == 7);
  auto next = newest(id);
  put_log(tables->panes(next.sandbox).value().at(0), "after\n");
  agents_end(rows[1]);
  agents_end(next);
  advance(5s);
  auto text_of = [&](const std::string& name) {
    std::ifstream in{std::filesystem::path{spec->out_dir} / id.value / name};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  };
  CHECK(text_of(old.name + ".log") == "after\n");
  CHECK(text_of(old.name + ".lost-1.log") == "before\n");
  finish();
}

// ---- what was lost --------------------------------------------------------------------------

namespace {

/// One chunk of a sandbox's journal, as the reader gives it.
template <class... E>
storage::chunk_page page_of(const E&... events) {
  storage::chunk_page page;
  chunk c;
  c.first_seq = 1;
  utc_time at{std::chrono::milliseconds{1000}};
  ((pack_event(c.body.data, at += std::chrono::milliseconds{1000}, events), ++c.count), ...);
  page.head = c.count;
  page.next = c.count + 1;
  page.chunks.push_back(std::move(c));
  return page;
}

agent_block tool(const char* name, const char* text) {
  return {{"pn_0"}, block_kind::tool_use, name, text, false};
}

} // namespace

TEST_CASE_METHOD(world, "paths that agents wrote since the last sync are named, hostile ones not") {
  svc->read_chunks = [](const storage::chunk_selector&) -> result<storage::chunk_page> {
    return page_of(pane_created{{"pn_0"}, 0, "p0", agent_kind::claude, "skep/p0"},
                   tool("Write", R"({"file_path":"before.txt"})"),
                   transfer_done{{"tr_1"}, 1, 2, "aa"}, // the last sync
                   tool("Write", R"({"content":"x","file_path":"src/a.cpp"})"),
                   tool("Edit", R"({"file_path":"src/b.cpp","old_string":"cut in the mid)"),
                   tool("Edit", R"({"file_path":"src/a.cpp"})"), // twice is once
                   tool("Bash", R"({"file_path":"not/a/write"})"),
                   tool("Write", R"({"file_path":"two\nlines"})"),
                   tool("Write", R"({"file_path":["no","text"]})"), tool("Write", "no document"),
                   input_receipt{{"pn_0"}, "k1", 1, receipt::accepted},
                   input_receipt{{"pn_0"}, "k2", 1, receipt::written},
                   input_receipt{{"pn_0"}, "k1", 1, receipt::answered});
  };
  swarm_spec asked;
  asked.prompts = {"do it"};
  sandbox_record lost;
  lost.sandbox = {"sb_x"};
  lost.base_commit = "c0ffee";
  auto told = actors::what_was_lost(*svc, asked, lost);
  CHECK(told.unsynced == strings{"src/a.cpp", "src/b.cpp"});
  CHECK(told.last_sync_at.time_since_epoch().count() == 4000);
  CHECK(told.unanswered == 2); // the prompt of p0 and k2
  CHECK(told.base_commit == "c0ffee");
}
