#include "storage/reader.hpp"
#include "tests/storage/money_story.hpp"
#include "tests/storage/process.hpp"
#include "tests/storage/support.hpp"

#include <fstream>
#include <random>
#include <regex>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

reader open_reader(const fs::path& file) {
  auto r = reader::open(file);
  if (!r) FAIL(render(r.err()));
  return std::move(*r);
}

connection open_raw(const fs::path& file) {
  auto db = connection::open(file);
  REQUIRE(db.ok());
  return std::move(*db);
}

/// A column that takes the numbers from 0 to a last one, and what SQLite says when it is another:
/// its constraint's name, or the expression of one without.
struct enumeration_column {
  std::string table, name, constraint;
};

/// All that the schema has, by table and name.
std::vector<enumeration_column> enumeration_columns(connection& db) {
  static const std::regex check{R"((?:CONSTRAINT (\w+) )?CHECK \(((\w+) BETWEEN 0 AND \d+)\))"};
  std::vector<enumeration_column> out;
  auto q = db.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'table'");
  REQUIRE(q.ok());
  while (q->step().value()) {
    auto sql = std::string{q->text(1)};
    for (std::sregex_iterator i{sql.begin(), sql.end(), check}, end; i != end; ++i)
      out.push_back({std::string{q->text(0)}, (*i)[3], (*i)[1].matched ? (*i)[1] : (*i)[2]});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a.table, a.name) < std::tie(b.table, b.name);
  });
  return out;
}

/// Every fact at least once, in two swarms, with failures, restarts, late answers and kills.
void tell_long_story(journal& j) {
  REQUIRE(take_epoch(j, "1.2.3", 77, at(900)).ok());
  REQUIRE(
      put(j, {}, {}, 950,
          command_accepted{"key1", "run", "f00d", {std::string("\x82\x01\xff\x00", 4)}, at(960)})
      == errc::none);
  begin_story(j);
  auto w = swarm_no(1);
  auto s = sandbox_no(1);
  auto p = pane_no(1);
  auto ok = [&](errc c) { REQUIRE(c == errc::none); };
  ok(put(j, w, {}, 1100, swarm_phase_changed{swarm_phase::running, "first pane"}));
  ok(put(j, w, s, 1101, lease_intended{at(99999)}, base_recorded{"c0ffee", true, 3, 4, "aa"}));
  ok(put(j, w, s, 1102, transfer_intended{{"tr_1"}, transfer_direction::upload, {}, 3, 400}));
  ok(put(j, w, s, 1103, transfer_done{{"tr_1"}, 4, 401, "beef"}));
  scan_report seen;
  seen.findings = {{"a/b.txt", 3, "github_token", "git", finding_severity::high}};
  seen.high = 1;
  ok(put(j, w, {}, 1103, swarm_scanned{scan_policy::warn, false, seen}));
  ok(put(j, w, s, 1104, results_scanned{{"tr_1"}, "p0", seen}));
  ok(put(j, w, s, 1104, transfer_intended{{"tr_2"}, transfer_direction::download, p, 0, 0}));
  auto why = make_error(errc::network, "no \"route\"", "connect: refused");
  why.step = "download";
  why.sandbox = s;
  why.retry_after_ms = 1500;
  ok(put(j, w, s, 1105, transfer_failed{{"tr_2"}, why}));
  ok(put(j, w, s, 1106, transfer_intended{{"tr_3"}, transfer_direction::download, p, 0, 0}));
  ok(put(j, w, s, 1107, pane_usage{p, 0.1, 10, 20, 1, "first"}, pane_usage{p, 0.2, 1, 2, 3, ""}));
  ok(put(j, w, s, 1108, input_receipt{p, "k", 5, receipt::written}, note_of("h\xc3\xa9llo")));
  ok(put(j, w, s, 1109, pane_exited{p, 1, -1, 9, 1234}));
  ok(put(j, w, s, 1110, pane_restarting{p, 1, 1000, "killed"}));
  ok(put(j, w, s, 1111, pane_start_intended{p, 2}, pane_start_intended{p, 2}));
  ok(put(j, w, s, 1112, pane_started{p, 2, 4712}));
  ok(put(j, w, s, 1113, sandbox_degraded{{p}}));
  ok(put(j, w, s, 1114, poll_failed{1, 5, why}));
  ok(put(j, w, s, 1114, pane_idle{p, 600'000, 600'000, 60'000}, pane_active{p},
         pane_idle{p, 600'001, 600'000, 60'000}, log_truncated{p, 2, 1'048'576, 1'048'576}));
  ok(put(j, w, s, 1114, sandbox_frozen{true, "x"}, output_incomplete{{p}, why}));
  ok(put(j, w, {}, 1114, time_warning{1'800'000, {60'000}, 1'800'500, 3'600'000, 0.5, false, "t"},
         time_limit_reached{3'600'000, 3'600'000, 1.5, true, "t"}));
  ok(put(j, {}, {}, 1114, daemon_draining{true, "x"}, panic_asked{"all", 3},
         daemon_draining{false, "y"}, stop_forced{30'000, {"sw_a sb_b: p0"}}));
  ok(put(j, w, s, 1115, pane_exited{p, 2, 0, 0, 2000}));
  ok(put(j, w, s, 1116, phase_changed{phase::collecting, 9},
         pane_closed{p, outcome::completed, {}, 2, 2000}));
  ok(put(j, w, s, 1117, kill_intended{"done"}, sandbox_closed{outcome::completed, {}, false}));
  ok(put(j, w, s, 1118, kill_confirmed{"remote1"}));
  ok(put(j, w, {}, 1119, collision{"a/b", {"p0", "p1"}, overlap::conflict}));
  ok(put(j, w, {}, 1119, swarm_closed{outcome::completed, {}, 1, 0, 0.3}));

  // The second swarm: a failed create, one that is answered after the sandbox was closed, one kept.
  auto w2 = swarm_no(2);
  ok(put(j, w2, {}, 2000, command_accepted{"key2", "run", "f00d", {"r"}, at(900'000)}, a_swarm()));
  ok(put(j, w2, sandbox_no(2), 2001, sandbox_queued{0, "local"}, create_intended{"a", "base", 1}));
  ok(put(j, w2, sandbox_no(2), 2002, create_failed{"a", why},
         sandbox_fell_back{"cloud", 0.25, "local", why}, create_intended{"b", "base", 1}));
  ok(put(j, w2, sandbox_no(2), 2003, sandbox_closed{outcome::cancelled, why, false}));
  ok(put(j, w2, sandbox_no(2), 2004, sandbox_created{"b", "late", "0.2"}, kill_intended{"late"}));
  ok(put(j, w2, sandbox_no(3), 2005, sandbox_queued{1, "local"}, create_intended{"c", "base", 1},
         sandbox_created{"c", "kept3", "0.2"}, phase_changed{phase::running, 0}));
  ok(put(j, w2, sandbox_no(3), 2006,
         pane_created{pane_no(3), 1, "p1", agent_kind::claude, "skep/p1"}));
  ok(put(j, w2, sandbox_no(3), 2007, pane_closed{pane_no(3), outcome::failed, why, 1, 0}));
  ok(put(j, w2, sandbox_no(3), 2008, sandbox_closed{outcome::failed, why, true}));
  ok(put(j, w2, sandbox_no(5), 2008, sandbox_queued{3, "local"}, sandbox_failing{why},
         sandbox_failing{make_error(errc::gone, "a later one changes nothing")}));
  ok(put(j, w2, sandbox_no(5), 2009, sandbox_closed{outcome::lost, why, false}));
  ok(put(j, w2, {}, 2009,
         sandbox_replaced{
             sandbox_no(5), sandbox_no(6), 1, 2, "c0ffee", at(1000), {"a", "b c"}, 3, 77, 0.25}));
  ok(put(j, w2, sandbox_no(4), 2009, sandbox_queued{2, "local"}, create_intended{"d", "base", 1}));
  ok(put(j, w2, sandbox_no(4), 2009, sandbox_failing{why},
         notes_suppressed{pane_no(3), 5, at(1), 1}));
  ok(put(j, {}, {}, 3000, daemon_stopping{1, "asked"}));
}

/// The journal as `skep events --from 1 --json` prints it.
void dump_events(const fs::path& database, const fs::path& to) {
  auto r = open_reader(database);
  std::ofstream out{to};
  chunk_selector want;
  want.max_chunks = 3;
  for (;;) {
    auto page = r.read_chunks(want);
    REQUIRE(page.ok());
    for (const auto& c : page->chunks) {
      auto seq = c.first_seq;
      for (event_reader events{c.body.data}; !events.done(); ++seq) {
        auto e = events.next();
        REQUIRE(e.ok());
        json line = json::object();
        line["seq"] = seq;
        line["swarm"] = c.swarm.value;
        line["sandbox"] = c.sandbox.value;
        line.update(event_to_json(*e));
        out << to_line(line) << '\n';
      }
    }
    if (page->next > page->head) return;
    want.from = page->next;
  }
}

finished fold_and_compare(const temp_dir& dir) {
  dump_events(dir / "skep.db", dir / "events.jsonl");
  const char* source = std::getenv("SKEP_SOURCE");
  auto root = fs::path{source != nullptr ? source : "."};
  return run_program(
      {"/usr/bin/python3", root / "tests/peer/fold.py", "--database", dir / "skep.db"},
      dir / "events.jsonl");
}

/// The plan of a query as one line.
std::string plan_of(connection& db, const std::string& sql) {
  auto q = db.prepare("EXPLAIN QUERY PLAN " + sql);
  if (!q) FAIL(render(q.err()));
  std::string out;
  while (q->step().value())
    out += q->text(3) + "; ";
  return out;
}

} // namespace

TEST_CASE("the facts of a run become the rows that people see") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_long_story(j);
  auto r = open_reader(dir / "skep.db");

  auto w = r.swarm(swarm_no(1)).value();
  CHECK(w.state == swarm_phase::closed);
  CHECK(w.result == outcome::completed);
  CHECK(w.created_at == at(1000));
  CHECK(w.closed_at == at(1119));
  CHECK(w.cost_usd == 0.1 + 0.2);
  auto s = r.sandbox(sandbox_no(1)).value();
  CHECK(s.remote_id == "remote1");
  CHECK(s.base_commit == "c0ffee");
  CHECK(s.lease_end_at == at(99999));
  CHECK((s.kill_intended && s.kill_confirmed && s.degraded && !s.unresolved && !s.kept));
  auto p = r.pane(pane_no(1)).value();
  CHECK(p.attempt == 2);
  CHECK(p.final_offset == 2000);
  CHECK(p.input_tokens == 11);
  CHECK(p.output_tokens == 22);
  CHECK(p.turns == 4);
  CHECK(p.summary == "first");
  CHECK(p.started_at == at(1112));
  auto transfers = r.transfers(swarm_no(1)).value();
  REQUIRE(transfers.size() == 3);
  CHECK(transfers[0].state == transfer_phase::done);
  CHECK(transfers[0].files == 4);
  CHECK(transfers[1].error_code == "network");
  CHECK(transfers[2].state == transfer_phase::failed); // under way when the sandbox was closed
  CHECK(transfers[2].error_code == "cancelled");

  auto late = r.sandbox(sandbox_no(2)).value();
  CHECK(late.remote_id == "late");
  CHECK(late.error_code == "network");
  CHECK(late.error_text.find("connect: refused") != std::string::npos);
  CHECK(late.error_step == "download");

  auto failing = r.sandbox(sandbox_no(4)).value(); // not closed, and its reason is there
  CHECK(failing.error_code == "network");
  CHECK(failing.error_step == "download");
  CHECK(failing.error_message == "no \"route\"");
  CHECK(failing.error_cause == "connect: refused");
  CHECK(r.sandbox(sandbox_no(5)).value().error_code == "network"); // the first one stayed
  CHECK(r.pane(pane_no(3)).value().error_step == "download");

  auto replaced = r.replacements(swarm_no(2)).value();
  REQUIRE(replaced.size() == 1);
  CHECK(replaced[0].lost == sandbox_no(5));
  CHECK(replaced[0].successor == sandbox_no(6));
  CHECK(replaced[0].unsynced == "a\nb c\n");
  CHECK(replaced[0].unanswered == 3);
  CHECK(replaced[0].last_sync_at == at(1000));
  CHECK(r.replacements(swarm_no(1)).value().empty());
}

TEST_CASE("only a lost sandbox of a run that goes on is replaced, and once") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  REQUIRE(take_epoch(j, "1", 1, at(1)).ok());
  auto w = swarm_no(1);
  REQUIRE(put(j, w, {}, 1, a_swarm()) == errc::none);
  auto by = [](int lost, int successor) {
    return sandbox_replaced{sandbox_no(lost), sandbox_no(successor), 1, 1, "", at(0), {}, 0, 0, 0};
  };
  auto lost = make_error(errc::not_found);
  for (int n : {1, 2, 3})
    REQUIRE(put(j, w, sandbox_no(n), 2, sandbox_queued{0, "local"}) == errc::none);
  CHECK(put(j, w, {}, 3, by(1, 4)) == errc::wrong_phase); // it lives
  REQUIRE(put(j, w, sandbox_no(1), 4, sandbox_closed{outcome::lost, lost, false}) == errc::none);
  REQUIRE(put(j, w, sandbox_no(2), 4, sandbox_closed{outcome::failed, lost, false}) == errc::none);
  CHECK(put(j, w, {}, 5, by(2, 4)) == errc::wrong_phase); // it failed
  CHECK(put(j, w, {}, 5, by(1, 1)) == errc::bad_argument);
  CHECK(put(j, w, sandbox_no(1), 5, by(1, 4)) != errc::none); // in a sandbox's chunk
  CHECK(put(j, w, {}, 5, by(1, 4)) == errc::none);
  CHECK(put(j, w, {}, 6, by(1, 5)) == errc::exists);
  REQUIRE(put(j, w, sandbox_no(3), 7, sandbox_closed{outcome::lost, lost, false}) == errc::none);
  CHECK(put(j, w, {}, 8, by(3, 4)) == errc::exists); // that successor is another's
  REQUIRE(put(j, w, {}, 9, swarm_phase_changed{swarm_phase::stopping, "stop"}) == errc::none);
  CHECK(put(j, w, {}, 10, by(3, 5)) == errc::wrong_phase);
  // The same wish twice is none; a kill after it is another.
  auto wish = [&](const char* why) { return swarm_phase_changed{swarm_phase::stopping, why}; };
  CHECK(put(j, w, {}, 10, wish("stop")) == errc::wrong_phase);
  CHECK(put(j, w, {}, 10, wish("kill")) == errc::none);
  CHECK(put(j, w, {}, 10, swarm_phase_changed{swarm_phase::running, "kill"}) == errc::wrong_phase);
  CHECK(put(j, w, sandbox_no(1), 11, sandbox_failing{lost}) == errc::wrong_phase); // closed
}

TEST_CASE("recovery finds what was left open") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_long_story(j);
  auto r = open_reader(dir / "skep.db");
  auto open = r.open_swarms().value();
  REQUIRE(open.size() == 1);
  CHECK(open[0].record.swarm == swarm_no(2));
  CHECK(open[0].spec == a_swarm().spec);
  CHECK(r.spec(swarm_no(1)).value() == a_swarm().spec);
  CHECK(r.spec(swarm_no(9)).err().code == errc::no_such_swarm);
  CHECK(r.open_sandboxes().value().at(0).sandbox == sandbox_no(4));
  CHECK(r.open_panes().value().empty());
  CHECK(r.unconfirmed_kills().value().at(0).sandbox == sandbox_no(2));
  CHECK(r.unresolved_creates().value().at(0).sandbox == sandbox_no(4));
  std::vector<std::string> living;
  auto living_rows = r.living_sandboxes().value();
  for (const auto& s : living_rows)
    living.push_back(s.remote_id);
  CHECK(living == std::vector<std::string>{"late", "kept3"});
  CHECK(r.find_remote("kept3").value()->sandbox == sandbox_no(3));
  CHECK_FALSE(r.find_remote("").value());
  CHECK(r.swarms(true).value().size() == 2);
  CHECK(r.swarms(true).value().at(0).swarm == swarm_no(2)); // newest first
  CHECK(r.swarms(false).value().size() == 1);
  CHECK(r.all_sandboxes(false).value().size() == 4);
  CHECK(r.all_sandboxes(true).value().size() == 5);
  CHECK(r.all_panes(false).value().size() == 1);
  CHECK(r.all_panes(true).value().size() == 2);
  CHECK(r.sandboxes(swarm_no(2)).value().size() == 4);
  CHECK(r.panes(sandbox_no(1)).value().size() == 1);
  CHECK(r.panes(swarm_no(1)).value().size() == 1);
  CHECK(r.pane(pane_no(9)).err().code == errc::no_such_pane);
}

TEST_CASE(
    "a word names swarms by name or by the beginning of their id, and panes by that of theirs") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_long_story(j);
  auto r = open_reader(dir / "skep.db");
  auto swarms = [&](std::string_view word) {
    std::vector<swarm_id> out;
    const auto rows = r.swarms_named(word).value();
    for (const auto& s : rows)
      out.push_back(s.swarm);
    return out;
  };
  auto panes = [&](std::string_view word) { return r.panes_named(word).value().size(); };
  const std::vector both{swarm_no(2), swarm_no(1)};
  auto name = r.swarm(swarm_no(1)).value().name;
  REQUIRE_FALSE(name.empty());
  CHECK(swarms(name) == both);
  CHECK(swarms(name.substr(0, name.size() - 1)).empty());
  CHECK(swarms(swarm_no(1).value) == std::vector{swarm_no(1)});
  CHECK(swarms(swarm_no(1).value.substr(0, 4)) == both);
  CHECK(swarms("sw_").empty());
  CHECK(swarms("").empty());
  CHECK(swarms("sw_\xff").empty());
  CHECK(panes(r.all_panes(true).value().at(0).pane.value) == 1);
  CHECK(panes(r.all_panes(true).value().at(0).pane.value.substr(0, 4)) == 2);
  CHECK(panes("pn_") == 0);
}

TEST_CASE("a command's key is known until it expires") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_long_story(j);
  auto r = open_reader(dir / "skep.db");
  CHECK_FALSE(r.command("key1", at(950)).value()); // removed when a later one came
  auto known = r.command("key2", at(899'999)).value();
  REQUIRE(known);
  CHECK(known->fingerprint == "f00d");
  CHECK(known->reply == bytes{"r"});
  CHECK_FALSE(r.command("key2", at(900'000)).value());
  CHECK_FALSE(r.command("other", at(1)).value());
  CHECK(put(j, {}, {}, 5000, command_accepted{"key2", "stop", "dead", {}, at(10'000)})
        == errc::key_reused);
  CHECK(put(j, {}, {}, 900'000, command_accepted{"key2", "stop", "dead", {}, at(999'999)})
        == errc::none);
}

TEST_CASE("facts that do not fit are refused by name") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  begin_story(j);
  auto w = swarm_no(1);
  auto s = sandbox_no(1);
  auto p = pane_no(1);
  using e = errc;
  // Phases only grow, closed has an event of its own.
  CHECK(put(j, w, s, 9, phase_changed{phase::running, 0}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, phase_changed{phase::creating, 0}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, phase_changed{phase::closed, 0}) == e::wrong_phase);
  CHECK(put(j, w, {}, 9, swarm_phase_changed{swarm_phase::queued, ""}) == e::wrong_phase);
  CHECK(put(j, w, {}, 9, swarm_phase_changed{swarm_phase::closed, ""}) == e::wrong_phase);
  // Existing and missing things.
  CHECK(put(j, w, {}, 9, a_swarm()) == e::exists);
  CHECK(put(j, swarm_no(2), {}, 9, swarm_phase_changed{swarm_phase::running, ""})
        == e::no_such_swarm);
  CHECK(put(j, swarm_no(2), sandbox_no(2), 9, sandbox_queued{0, "local"}) == e::no_such_swarm);
  CHECK(put(j, w, s, 9, sandbox_queued{0, "local"}) == e::exists);
  CHECK(put(j, w, s, 9, pane_created{p, 0, "p0", agent_kind::command, ""}) == e::exists);
  CHECK(put(j, w, s, 9, pane_exited{pane_no(7), 1, 0, 0, 0}) == e::no_such_pane);
  CHECK(put(j, w, s, 9, transfer_done{{"tr_9"}, 1, 1, ""}) == e::not_found);
  // Attempts in order.
  CHECK(put(j, w, s, 9, pane_start_intended{p, 2}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, pane_started{p, 1, 5}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, pane_exited{p, 2, 0, 0, 0}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, pane_closed{p, outcome::none, {}, 1, 0}) == e::bad_argument);
  CHECK(put(j, w, s, 9, pane_closed{p, outcome::failed, {}, 0, 0}) == e::wrong_phase);
  // Creates: an answer without intent, a second intent beside the first.
  CHECK(put(j, w, s, 9, sandbox_created{"in1", "twin", ""}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, create_intended{"in2", "base", 1}) == e::wrong_phase);
  // It falls back before it is anywhere.
  CHECK(put(j, w, s, 9, sandbox_fell_back{"cloud", 0, "local", {}}) == e::wrong_phase);
  // Claims from inside that no column can hold.
  CHECK(put(j, w, s, 9, pane_usage{p, -1, 0, 0, 0, ""}) == e::out_of_range);
  CHECK(put(j, w, s, 9, pane_usage{p, std::nan(""), 0, 0, 0, ""})
        == e::bad_frame); // no such number
  CHECK(put(j, w, s, 9, pane_usage{p, 0, UINT64_MAX, 0, 0, ""}) == e::out_of_range);
  // Events in the wrong place.
  CHECK(put(j, w, {}, 9, kill_intended{""}) == e::bad_frame);
  CHECK(put(j, w, s, 9, swarm_closed{outcome::failed, {}, 0, 0, 0}) == e::bad_frame);
  CHECK(put(j, w, {}, 9, daemon_started{5, "", 1}) == e::bad_frame);
  // Order of ends: panes, sandbox, swarm; nothing after them.
  CHECK(put(j, w, {}, 9, swarm_closed{outcome::failed, {}, 0, 0, 0}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, sandbox_closed{outcome::failed, {}, false}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, pane_closed{p, outcome::failed, {}, 1, 0}) == e::none);
  CHECK(put(j, w, s, 9, pane_usage{p, 0, 1, 1, 1, ""}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, input_receipt{p, "k", 1, receipt::accepted}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, sandbox_closed{outcome::failed, {}, true}) == e::none);
  CHECK(put(j, w, s, 9, sandbox_closed{outcome::failed, {}, true}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, lease_intended{at(5)}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, transfer_intended{{"tr_1"}, {}, {}, 0, 0}) == e::wrong_phase);
  CHECK(put(j, w, s, 9, kill_intended{"user"}) == e::none); // kept ones are killed later
  CHECK(put(j, w, s, 9, kill_confirmed{"remote1"}) == e::none);
  CHECK(put(j, w, {}, 9, swarm_closed{outcome::failed, {}, 0, 0, 0}) == e::none);
  CHECK(put(j, w, {}, 9, swarm_closed{outcome::failed, {}, 0, 0, 0}) == e::wrong_phase);
  CHECK(put(j, w, sandbox_no(5), 9, sandbox_queued{1, "local"}) == e::wrong_phase);
}

TEST_CASE(
    "a sandbox falls back to another provider while nothing of it is anywhere, and each of its "
    "creates counts where it was sent") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto w = swarm_no(1);
  auto s = sandbox_no(1);
  using e = errc;
  auto to = [](const char* provider, double usd = 0.25) {
    return sandbox_fell_back{provider, usd, "cloud", make_error(errc::capacity)};
  };
  REQUIRE(put(j, w, {}, 1, a_swarm()) == e::none);
  CHECK(put(j, w, s, 2, to("spare")) == e::not_found);
  REQUIRE(put(j, w, s, 2, sandbox_queued{0, "cloud", 0.1}, create_intended{"a", "base", 1})
          == e::none);
  CHECK(put(j, w, s, 3, to("spare")) == e::wrong_phase); // its create may have made it
  REQUIRE(put(j, w, s, 4, create_failed{"a", make_error(errc::capacity)}) == e::none);
  CHECK(put(j, w, s, 5, to("")) == e::bad_argument);
  CHECK(put(j, w, s, 5, to("cloud")) == e::wrong_phase);
  CHECK(put(j, w, s, 5, to("spare", -1)) == e::out_of_range);
  REQUIRE(put(j, w, s, 5, to("spare"), create_intended{"b", "base", 1}) == e::none);
  auto opened = reader::open(dir / "skep.db");
  REQUIRE(opened);
  auto& r = *opened;
  CHECK(r.sandbox(s)->provider == "spare");
  CHECK(r.sandbox(s)->usd_per_hour == 0.25);
  auto spent = r.spend(at(6)).value();
  CHECK(spent.creates["cloud"].size() == 1);
  CHECK(spent.creates["spare"].size() == 1);
  // What came too late of the first one is looked for where it was asked for.
  auto to_list = r.providers_to_list(at(6)).value();
  CHECK(to_list.count("cloud") == 1);
  CHECK(to_list.count("spare") == 1);
  REQUIRE(put(j, w, s, 7, sandbox_created{"b", "remote1", ""}) == e::none);
  CHECK(put(j, w, s, 8, to("cloud")) == e::wrong_phase); // it is there
}

TEST_CASE("an independent fold of the printed events gives the tables row for row") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    tell_long_story(j);
    tell_of_money(j);
  }
  auto done = fold_and_compare(dir);
  CHECK(done.output == "same\n");
  CHECK(done.exit_code == 0);
  SECTION("and notices one changed column") {
    auto db = open_raw(dir / "skep.db");
    REQUIRE(db.run("UPDATE panes SET turns = turns + 1 WHERE pane = ?1", pane_no(1)).ok());
    done = fold_and_compare(dir);
    CHECK(done.exit_code == 1);
    CHECK(done.output.find("pn_test1.turns: fold 4, database 5") != std::string::npos);
  }
}

TEST_CASE("every enumeration column takes exactly the values of its enumeration") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    tell_long_story(j);
    tell_of_money(j);
  }
  auto db = open_raw(dir / "skep.db");
  const std::map<std::string, std::size_t> sizes = {
      {"swarms.agent", enum_size<agent_kind>},
      {"swarms.state", enum_size<swarm_phase>},
      {"swarms.result", enum_size<outcome>},
      {"swarms.keep", 2},
      {"sandboxes.state", enum_size<phase>},
      {"sandboxes.result", enum_size<outcome>},
      {"sandboxes.unresolved", 2},
      {"sandboxes.kill_intended", 2},
      {"sandboxes.kill_confirmed", 2},
      {"sandboxes.degraded", 2},
      {"sandboxes.kept", 2},
      {"sandboxes.counted", 2},
      {"sandboxes.output_incomplete", 2},
      {"sandboxes.frozen", 2},
      {"panes.agent", enum_size<agent_kind>},
      {"panes.state", enum_size<pane_phase>},
      {"panes.result", enum_size<outcome>},
      {"panes.counted", 2},
      {"panes.output_incomplete", 2},
      {"panes.idle", 2},
      {"transfers.direction", enum_size<transfer_direction>},
      {"transfers.state", enum_size<transfer_phase>},
      {"switches.state", 2},
      {"budgets.scope", 2},
      {"spend_warnings.scope", enum_size<budget_scope>},
  };
  auto columns = enumeration_columns(db);
  std::vector<std::string> found, known;
  for (const auto& c : columns)
    found.push_back(c.table + "." + c.name);
  for (const auto& [name, size] : sizes)
    known.push_back(name);
  REQUIRE(found == known); // a new one is looked at as well
  for (const auto& c : columns) {
    auto name = c.table + "." + c.name;
    INFO(name);
    REQUIRE(db.number("SELECT count(*) FROM " + c.table, 0).value() > 0); // else nothing is checked
    // Its constraint refuses; another one (closed needs an outcome) may refuse beside it.
    auto refused_by = [&](std::int64_t value) {
      auto done = db.run("UPDATE " + c.table + " SET " + c.name + " = ?1", value);
      return done ? std::string{} : done.err().cause;
    };
    auto last = static_cast<std::int64_t>(sizes.at(name)) - 1;
    auto own = "CHECK constraint failed: " + c.constraint;
    REQUIRE(db.run("BEGIN").ok());
    CHECK(refused_by(last + 1) == own);
    CHECK(refused_by(-1) == own);
    CHECK(refused_by(0) != own);
    CHECK(refused_by(last) != own);
    REQUIRE(db.run("ROLLBACK").ok());
  }
  CHECK(db.run("UPDATE swarms SET state = 'x'").err().code == errc::sql); // STRICT: no text
}

TEST_CASE("lists by state, swarm and age use an index") {
  temp_dir dir;
  { auto j = open_journal(dir / "skep.db"); }
  auto db = open_raw(dir / "skep.db");
  struct expectation {
    const char* sql;
    const char* index;
  };
  const expectation list[] = {
      {"SELECT * FROM swarms WHERE state <> 3 ORDER BY created_at_ms DESC", "swarms_open_newest"},
      {"SELECT * FROM swarms ORDER BY created_at_ms DESC", "swarms_newest"},
      {"SELECT * FROM swarms WHERE state = 1 ORDER BY created_at_ms DESC", "swarms_by_state"},
      {"SELECT * FROM sandboxes WHERE swarm = 'x' ORDER BY \"index\"", "sandboxes_by_swarm"},
      {"SELECT * FROM sandboxes WHERE state = 6 ORDER BY created_at_ms DESC", "sandboxes_by_state"},
      {"SELECT * FROM sandboxes WHERE state <> 9 ORDER BY created_at_ms DESC",
       "sandboxes_open_newest"},
      {"SELECT * FROM sandboxes WHERE remote_id = 'x' AND remote_id <> ''", "sandboxes_by_remote"},
      {"SELECT * FROM sandboxes WHERE kill_intended = 1 AND kill_confirmed = 0",
       "sandboxes_kill_pending"},
      {"SELECT * FROM sandboxes WHERE unresolved = 1", "sandboxes_create_pending"},
      {"SELECT * FROM panes WHERE sandbox = 'x' ORDER BY \"index\"", "panes_by_sandbox"},
      {"SELECT * FROM panes WHERE swarm = 'x' ORDER BY \"index\"", "panes_by_swarm"},
      {"SELECT * FROM panes WHERE state <> 5 ORDER BY created_at_ms DESC", "panes_open_newest"},
      {"SELECT * FROM transfers WHERE swarm = 'x' ORDER BY created_at_ms", "transfers_by_swarm"},
      {"SELECT * FROM chunks WHERE sandbox = 5 AND sandbox > 0 AND first_seq >= 7 ORDER BY "
       "first_seq",
       "chunks_by_sandbox"},
      {"SELECT * FROM chunks WHERE swarm = 5 AND swarm > 0 AND first_seq >= 7 ORDER BY first_seq",
       "chunks_by_swarm"},
      {"SELECT * FROM chunks WHERE first_seq >= 7 ORDER BY first_seq", "PRIMARY KEY"},
  };
  for (const auto& x : list) {
    auto plan = plan_of(db, x.sql);
    INFO(x.sql << "\n  " << plan);
    CHECK(plan.find(x.index) != std::string::npos);
    CHECK(plan.find("TEMP B-TREE") == std::string::npos); // nothing is sorted
  }
}

TEST_CASE("the view for people names every state and counts minutes") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
  for (std::size_t i = 0; i < enum_size<phase>; ++i)
    REQUIRE(put(j, swarm_no(1), sandbox_no(static_cast<int>(i)), 1'000'000,
                sandbox_queued{static_cast<std::uint32_t>(i), "local"})
            == errc::none);
  auto db = open_raw(dir / "skep.db");
  REQUIRE(db.run("UPDATE sandboxes SET state = \"index\", closed_at_ms = 1090000, "
                 "result = CASE WHEN \"index\" = 9 THEN 1 ELSE 0 END")
              .ok());
  auto q = db.prepare("SELECT state, result, is_closed, runtime_minutes FROM sandbox_sessions "
                      "ORDER BY \"index\"");
  REQUIRE(q.ok());
  for (std::size_t i = 0; i < enum_size<phase>; ++i) {
    REQUIRE(q->step().value());
    bool closed = static_cast<phase>(i) == phase::closed;
    CHECK(q->text(0) == to_string(static_cast<phase>(i)));
    CHECK(q->text(1) == (closed ? "completed" : "none"));
    CHECK(q->integer(2) == (closed ? 1 : 0));
    if (closed)
      CHECK(q->real(3) == 1.5);
    else
      CHECK(q->real(3) > 1000); // since 1970
  }
  REQUIRE(db.run("UPDATE sandboxes SET state = 9, result = 8 - \"index\" % 8").ok());
  auto names = db.prepare("SELECT result, \"index\" FROM sandbox_sessions");
  REQUIRE(names.ok());
  while (names->step().value())
    CHECK(names->text(0) == to_string(static_cast<outcome>(8 - names->integer(1) % 8)));
}
