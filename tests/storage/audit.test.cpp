// The audit log: lines that follow from the journal, their chain, and what its verifier sees.
#include "storage/audit_spool.hpp"
#include "storage/audit_verify.hpp"
#include "storage/state_dir.hpp"
#include "tests/storage/audit_support.hpp"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> out;
  std::stringstream in{text_of_file(file)};
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& x : lines)
    out += x + "\n";
  return out;
}

/// A journal with a story, closed; its audit log has several lines.
void make_log(const temp_dir& dir) {
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  REQUIRE(take_epoch(j, "1.0", 77, at(500)).ok());
  begin_story(j);
  REQUIRE(put(j, swarm_no(1), sandbox_no(1), 2000, pane_usage{pane_no(1), 0.25, 10, 20, 1, "done"})
          == errc::none);
  REQUIRE(put(j, swarm_no(1), sandbox_no(1), 2001, kill_intended{"asked for"}) == errc::none);
}

audit_verdict verdict_of(const temp_dir& dir) {
  auto v = verify_audit(dir / "skep.db", std::chrono::milliseconds{0});
  REQUIRE(v.ok());
  return *v;
}

std::string findings_text(const audit_verdict& v) {
  std::string out;
  for (const auto& f : v.findings)
    out += std::string{to_string(f.kind)} + " " + std::to_string(f.line) + "-"
           + std::to_string(f.last) + "; ";
  return out;
}

/// From now on every write to a file of this name fails as on a full disk.
void fill_disk_under(const fs::path& file) {
  for (const auto& x : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code ec;
    if (fs::read_symlink(x.path(), ec) != fs::canonical(file)) continue;
    auto full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    ::dup2(full, std::stoi(x.path().filename().string()));
    ::close(full);
  }
}

/// The operation of each type's line, of an event with its defaults; "none" is on purpose.
const std::map<std::string_view, std::string_view> audit_operations = {
    {"daemon.started", "DAEMON_STARTED"},
    {"daemon.stopping", "DAEMON_STOPPING"},
    {"command.accepted", "COMMAND_ACCEPTED"},
    {"supervisor.child_restarted", "none"},
    {"supervisor.gave_up", "SUPERVISOR_GAVE_UP"},
    {"notice", "none"}, // but for those of the test
    {"command.asked", "COMMAND_ASKED"},
    {"audit.repaired", "AUDIT_REPAIRED"},
    {"daemon.done_outside", ""}, // the one that it names
    {"budget.set", "BUDGET_SET"},
    {"budget.warned", "BUDGET_WARNED"},
    {"daemon.draining", "UNDRAINED"},
    {"daemon.panic", "PANIC"},
    {"daemon.stop_forced", "STOP_FORCED"},
    {"swarm.created", "SWARM_CREATED"},
    {"swarm.phase_changed", "none"},
    {"swarm.closed", "SWARM_CLOSED"},
    {"swarm.time_warning", "TIME_WARNING"},
    {"swarm.time_limit", "TIME_LIMIT_REACHED"},
    {"swarm.budget_warned", "BUDGET_WARNED"},
    {"swarm.scanned", "SCAN_FOUND"},
    {"swarm.sandbox_replaced", "SANDBOX_REPLACED"},
    {"sandbox.queued", "none"},
    {"sandbox.create_intended", "SANDBOX_CREATE_INTENDED"},
    {"sandbox.created", "SANDBOX_CREATED"},
    {"sandbox.create_failed", "SANDBOX_CREATE_FAILED"},
    {"sandbox.fell_back", "SANDBOX_FELL_BACK"},
    {"sandbox.phase_changed", "none"},
    {"sandbox.lease_intended", "SANDBOX_LEASE_SET"},
    {"sandbox.base_recorded", "none"},
    {"sandbox.degraded", "none"},
    {"sandbox.kill_intended", "SANDBOX_KILL_INTENDED"},
    {"sandbox.kill_confirmed", "SANDBOX_KILLED"},
    {"sandbox.closed", "SANDBOX_CLOSED"},
    {"sandbox.waits", "none"},
    {"sandbox.model_spend", "MODEL_COST_COUNTED"},
    {"sandbox.output_incomplete", "OUTPUT_INCOMPLETE"},
    {"sandbox.frozen", "THAWED"},
    {"sandbox.failing", "SANDBOX_FAILING"},
    {"sandbox.usage", "none"},
    {"sandbox.poll_failed", "none"},
    {"pane.created", "none"},
    {"pane.start_intended", "none"},
    {"pane.started", "AGENT_STARTED"},
    {"pane.exited", "none"},
    {"pane.restarting", "AGENT_RESTARTING"},
    {"pane.closed", "AGENT_CLOSED"},
    {"pane.usage", "COST_REPORTED"},
    {"pane.block", "none"},
    {"pane.input", "AGENT_INPUT"},
    {"pane.budget_warned", "BUDGET_WARNED"},
    {"pane.blocks_suppressed", "none"},
    {"pane.log_truncated", "LOG_TRUNCATED"},
    {"pane.idle", "AGENT_IDLE"},
    {"pane.active", "AGENT_ACTIVE"},
    {"transfer.intended", "TRANSFER_INTENDED"},
    {"transfer.done", "TRANSFER_DONE"},
    {"transfer.failed", "TRANSFER_FAILED"},
    {"transfer.progress", "none"},
    {"transfer.results_scanned", "RESULTS_SCAN_FOUND"},
    {"collision", "COLLISION"},
};

/// What the line of an event says first, or "none".
std::string operation_of(const any_event& e) {
  auto entry = audit_entry_of(e, {});
  return entry ? entry->operation : "none";
}

template <event E>
void judge_default() {
  constexpr auto about = event_traits<E>::info;
  INFO(about.name);
  auto row = audit_operations.find(about.name);
  REQUIRE(row != audit_operations.end()); // a new type: say what the audit log makes of it
  CHECK(operation_of(E{}) == row->second);
  CHECK((row->second == "none" || audited(about.type)));
}

} // namespace

TEST_CASE("every type of event has the line of the audit log that the table says, or none",
          "[owasp-a09]") {
#define SKEP_JUDGED(number, Type, text, cls) judge_default<Type>();
  SKEP_EVENTS(SKEP_JUDGED)
#undef SKEP_JUDGED
  CHECK(audit_operations.size() == all_events().size());
}

TEST_CASE("events whose line depends on what they say have the one that fits") {
  auto told = [](std::string code) {
    return operation_of(notice{severity::warning, std::move(code), "i1 at local"});
  };
  CHECK(told("network_open") == "NETWORK_OPEN");
  CHECK(told("orphan_kill_intended") == "ORPHAN_KILL_INTENDED");
  CHECK(told("orphan_ended") == "ORPHAN_ENDED");
  CHECK(told("survivor_kill_intended") == "SURVIVOR_KILL_INTENDED");
  CHECK(told("near_limit") == "RESOURCE_NEAR_LIMIT");
  CHECK(told("output_polled") == "none");
  CHECK(operation_of(daemon_draining{true, ""}) == "DRAINED");
  CHECK(operation_of(sandbox_frozen{true, ""}) == "FROZEN");
  CHECK(operation_of(swarm_scanned{scan_policy::block, true, {}}) == "SCAN_BLOCKED");
  CHECK(operation_of(input_receipt{pane_no(1), "k", 1, receipt::written}) == "none");
  CHECK(operation_of(done_outside{"SECRET_SET", "A", 1, 2, at(3)}) == "SECRET_SET");
}

TEST_CASE("lines about orphans, survivors, idle panes and models say which and how much") {
  for (const auto* code : {"orphan_kill_intended", "orphan_ended", "survivor_kill_intended"}) {
    INFO(code);
    auto line = audit_entry_of(notice{severity::warning, code, "i1 (sb_x)"}, {});
    REQUIRE(line);
    CHECK(line->metadata == json{{"text", "i1 (sb_x)"}});
  }
  auto idle = pane_idle{pane_no(1), 60'000, 60'000, 60'000};
  CHECK_FALSE(audit_entry_of(idle, {})->metadata.contains("cost_usd")); // an older daemon's
  idle.cost_usd = 0.75;
  idle.text = "p1 gave no sign of life";
  CHECK(audit_entry_of(idle, {})->metadata["cost_usd"] == 0.75);
  auto cost = audit_entry_of(model_spend{3, 0.25, 1, 10, 20}, {});
  REQUIRE(cost);
  CHECK(cost->category == audit_category::cost);
  CHECK(cost->metadata["calls"] == 3);
  CHECK(cost->metadata["cost_usd"] == 0.25);
  CHECK(cost->metadata["unpriced_calls"] == 1);
  CHECK(cost->metadata["input_tokens"] == 10);
  CHECK(cost->metadata["output_tokens"] == 20);
}

TEST_CASE("each operation on security, cost, resources and data is one line with its fields",
          "[owasp-a09]") {
  temp_dir dir;
  make_log(dir);
  auto lines = lines_of(dir / "audit.jsonl");
  std::vector<std::string> operations;
  std::set<std::string> categories;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    INFO(lines[i]);
    auto j = json::parse(lines[i]);
    CHECK(j["line"] == i + 1);
    CHECK(j["ts"].get<std::string>().size() == 24);
    CHECK(std::set<std::string>{"INFO", "WARN", "ERROR"}.count(j["level"]) == 1);
    operations.push_back(j["operation"]);
    categories.insert(j["category"].get<std::string>());
  }
  CHECK(operations
        == std::vector<std::string>{"DAEMON_STARTED", "SWARM_CREATED", "SANDBOX_CREATE_INTENDED",
                                    "SANDBOX_CREATED", "AGENT_STARTED", "COST_REPORTED",
                                    "SANDBOX_KILL_INTENDED"});
  CHECK(categories == std::set<std::string>{"SECURITY", "RESOURCE", "COST"});
  auto created = json::parse(lines[3]);
  CHECK(created["ts"] == "1970-01-01T00:00:01.003Z");
  CHECK(created["swarm"] == swarm_no(1).value);
  CHECK(created["sandbox"] == sandbox_no(1).value);
  CHECK(created["metadata"]["remote_id"] == "remote1");
  CHECK(created["metadata"]["timeout_ms"] == 3'600'000);
  CHECK(created["metadata"]["rate_usd_per_hour"] == 0.0);
  CHECK(json::parse(lines[5])["metadata"]["cost_usd"] == 0.25);
  struct stat st {};
  REQUIRE(::stat((dir / "audit.jsonl").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  CHECK(verdict_of(dir).findings.empty());
  CHECK(verdict_of(dir).lines == lines.size());
}

TEST_CASE("the audit log is shown by level, category, operation and swarm") {
  temp_dir dir;
  make_log(dir);
  auto count = [&](audit_filter f) { return read_audit(dir.path(), f).value().size(); };
  CHECK(count({}) == 7);
  CHECK(count({"", "COST", "", "", 0}) == 1);
  CHECK(count({"INFO", "", "", "", 0}) == 7);
  CHECK(count({"", "", "SANDBOX_CREATED", "", 0}) == 1);
  CHECK(count({"", "", "", swarm_no(1).value, 0}) == 6);
  CHECK(count({"", "", "", "", 2}) == 2);
  CHECK(read_audit(dir.path(), {"", "", "", "", 1})->front()["operation"]
        == "SANDBOX_KILL_INTENDED");
}

TEST_CASE("an event that is refused has no line, and one chunk's refusal costs no other a line") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db", audited_options(dir));
    begin_story(j);
    REQUIRE(j.begin().ok());
    auto bad = chunk_of(swarm_no(1), sandbox_no(1), 3000, kill_intended{"a"},
                        pane_started{pane_no(1), 9, 1});
    CHECK_FALSE(j.append(bad).ok());
    auto good = chunk_of(swarm_no(1), sandbox_no(1), 3001, kill_intended{"b"});
    CHECK(j.append(good).ok());
    REQUIRE(j.commit().ok());
  }
  auto lines = lines_of(dir / "audit.jsonl");
  CHECK(json::parse(lines.back())["metadata"]["reason"] == "b");
  CHECK(text_of_file(dir / "audit.jsonl").find("\"reason\":\"a\"") == std::string::npos);
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("files of the audit log are rotated by size and stay one chain") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db", audited_options(dir, 1500));
    begin_story(j);
    for (int i = 0; i < 20; ++i)
      REQUIRE(
          put(j, swarm_no(1), sandbox_no(1), 3000 + i, pane_usage{pane_no(1), 0.01, 1, 1, 1, ""})
          == errc::none);
  }
  auto files = audit_files(dir.path());
  REQUIRE(files.size() > 3);
  CHECK(files.front().filename() == "audit-000000000001.jsonl");
  for (const auto& f : files) {
    CHECK(fs::file_size(f) < 2500);
    struct stat st {};
    REQUIRE(::stat(f.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0600);
  }
  CHECK(verdict_of(dir).findings.empty());
  CHECK(verdict_of(dir).lines == 24);
  // A journal that is opened again goes on in the same chain.
  {
    auto j = open_journal(dir / "skep.db", audited_options(dir, 1500));
    CHECK(j.audit()->repaired().line == 0);
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 4000, kill_intended{"x"}) == errc::none);
  }
  CHECK(verdict_of(dir).lines == 25);
  CHECK(verdict_of(dir).findings.empty());
  fs::remove(files[1]);
  auto v = verdict_of(dir);
  REQUIRE(v.findings.size() == 1);
  CHECK(v.findings[0].kind == audit_finding_kind::removed);
}

TEST_CASE("the verifier names a changed byte, wherever in whichever line it is", "[owasp-a09]") {
  temp_dir dir;
  make_log(dir);
  auto good = text_of_file(dir / "audit.jsonl");
  std::uint64_t line = 1;
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (good[i] == '\n') {
      ++line;
      continue; // joining two lines is another matter
    }
    auto bad = good;
    bad[i] = bad[i] == '7' ? '8' : '7';
    write_file_text(dir / "audit.jsonl", bad);
    auto v = verdict_of(dir);
    bool named = std::any_of(v.findings.begin(), v.findings.end(), [&](const auto& f) {
      return f.kind == audit_finding_kind::changed && f.line == line;
    });
    if (!named || v.findings.size() != 1) {
      INFO("byte " << i << " of line " << line << ": " << findings_text(v));
      CHECK(named);
      CHECK(v.findings.size() == 1);
      break;
    }
  }
}

TEST_CASE("the verifier names a removed line, a cut tail, swapped lines, added ones",
          "[owasp-a09]") {
  temp_dir dir;
  make_log(dir);
  auto file = dir / "audit.jsonl";
  const auto good = lines_of(file);
  REQUIRE(good.size() == 7);
  auto found = [&](std::vector<std::string> lines) {
    write_file_text(file, joined(lines));
    return findings_text(verdict_of(dir));
  };
  for (std::size_t i = 0; i + 1 < good.size(); ++i) {
    auto removed = good;
    removed.erase(removed.begin() + static_cast<std::ptrdiff_t>(i));
    auto n = std::to_string(i + 1);
    CHECK(found(removed) == "removed " + n + "-" + n + "; ");
    auto swapped = good;
    std::swap(swapped[i], swapped[i + 1]);
    CHECK(found(swapped) == "swapped " + n + "-" + std::to_string(i + 2) + "; ");
    auto cut = good;
    cut.resize(i);
    CHECK(found(cut) == "cut " + n + "-7; ");
  }
  auto cut = good;
  cut.pop_back();
  CHECK(found(cut) == "cut 7-7; ");
  auto more = good;
  auto extra = good.back();
  extra.replace(extra.find("\"line\":7"), 8, "\"line\":8");
  more.push_back(extra);
  CHECK(found(more) == "added 8-8; ");
  auto twice = good;
  twice.insert(twice.begin() + 3, good[2]);
  CHECK(found(twice).find("added 3-3") != std::string::npos);
  CHECK(found({}) == "cut 1-7; ");
  CHECK(found(good).empty());
  // A line that was changed together with the hash that the next one tells of it.
  auto forged = good;
  forged[2].replace(forged[2].find("base"), 4, "evil");
  auto hash = to_hex(sha256_of(forged[2]));
  forged[3].replace(forged[3].size() - 66, 64, hash);
  CHECK(found(forged) == "changed 4-4; ");
  fs::remove(file);
  CHECK(findings_text(verdict_of(dir)) == "cut 1-7; ");
}

TEST_CASE(
    "lines that a crash kept from the file are written again, byte for byte, and it is said") {
  temp_dir dir;
  make_log(dir);
  auto file = dir / "audit.jsonl";
  const auto good = text_of_file(file);
  auto half = good.substr(0, good.size() - 40); // in the middle of the last line
  auto fewer = lines_of(file);
  fewer.resize(5);
  const auto two_less = joined(fewer);
  for (const auto& left : {half, two_less, std::string{}}) {
    write_file_text(file, left);
    CHECK_FALSE(verdict_of(dir).findings.empty());
    {
      auto j = open_journal(dir / "skep.db", audited_options(dir));
      CHECK(text_of_file(file) == good);
      CHECK(j.audit()->repaired().line > 0);
      CHECK(j.audit()->repaired().evidence.empty());
    }
    CHECK(verdict_of(dir).findings.empty());
  }
  write_file_text(file, two_less);
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  REQUIRE(record_repair(j, at(9000)).ok());
  auto last = json::parse(lines_of(file).back());
  CHECK(last["operation"] == "AUDIT_REPAIRED");
  CHECK(last["level"] == "WARN");
  CHECK(last["metadata"]["line"] == 6);
  CHECK(last["metadata"]["lines"] == 2);
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("a log that was tampered with is kept as evidence and made anew from the journal",
          "[owasp-a08]") {
  temp_dir dir;
  make_log(dir);
  auto file = dir / "audit.jsonl";
  const auto good = text_of_file(file);
  auto lines = lines_of(file);
  lines[2].replace(lines[2].find("base"), 4, "evil");
  const auto evil = joined(lines);
  write_file_text(file, evil);
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  auto repaired = j.audit()->repaired();
  CHECK(repaired.line == 4); // line 3 is found out by what line 4 tells of it
  REQUIRE_FALSE(repaired.evidence.empty());
  CHECK(text_of_file(dir.path() / repaired.evidence) == evil);
  REQUIRE(record_repair(j, at(9000)).ok());
  auto v = verdict_of(dir);
  INFO(findings_text(v));
  CHECK(json::parse(lines_of(file).back())["level"] == "ERROR");
}

TEST_CASE("a log without its database's word, and one ahead of a restored backup, are put aside") {
  temp_dir dir;
  make_log(dir);
  const auto good = text_of_file(dir / "audit.jsonl");
  SECTION("no anchor") {
    auto db = connection::open(dir / "skep.db");
    REQUIRE(db.ok());
    REQUIRE(db->run("DELETE FROM journal_info WHERE name = 'audit_anchor'").ok());
  }
  SECTION("an anchor that cannot be read") {
    auto db = connection::open(dir / "skep.db");
    REQUIRE(db.ok());
    REQUIRE(db->run("UPDATE journal_info SET value = 'x' WHERE name = 'audit_anchor'").ok());
  }
  {
    auto j = open_journal(dir / "skep.db", audited_options(dir));
    CHECK(j.audit()->repaired().line == 1);
    auto folder = dir.path() / j.audit()->repaired().evidence;
    CHECK(text_of_file(folder / "audit.jsonl") == good);
  }
  CHECK(text_of_file(dir / "audit.jsonl") == good); // the journal tells the same again
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("a daemon killed between COMMIT and the line leaves no hole") {
  temp_dir dir;
  make_log(dir);
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    auto j = journal::open(dir / "skep.db", audited_options(dir));
    fill_disk_under(dir / "audit.jsonl");
    auto c = chunk_of(swarm_no(1), sandbox_no(1), 5000, kill_confirmed{"remote1"});
    if (j && j->begin() && j->append(c) && j->commit() && j->audit()->failure())
      ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  auto before = lines_of(dir / "audit.jsonl").size();
  CHECK(findings_text(verdict_of(dir)) == "cut 8-8; ");
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  auto lines = lines_of(dir / "audit.jsonl");
  CHECK(lines.size() == before + 1);
  CHECK(json::parse(lines.back())["operation"] == "SANDBOX_KILLED");
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("events that a program without the log appended get their lines at the next start") {
  temp_dir dir;
  make_log(dir);
  {
    auto j = open_journal(dir / "skep.db"); // as disowning a copied state does
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 6000, kill_confirmed{"remote1"}) == errc::none);
  }
  CHECK(verdict_of(dir).findings.empty());
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  CHECK(j.audit()->repaired().line == 0);
  CHECK(json::parse(lines_of(dir / "audit.jsonl").back())["operation"] == "SANDBOX_KILLED");
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("a journal that is older than the audit log gets the lines of its whole life") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    REQUIRE(take_epoch(j, "0.1", 7, at(1)).ok());
    begin_story(j);
  }
  auto j = open_journal(dir / "skep.db", audited_options(dir));
  CHECK(j.audit()->repaired().line == 0);
  CHECK(lines_of(dir / "audit.jsonl").size() == 5);
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("texts of the audit log pass the mask, and errors are told by their kind alone") {
  temp_dir dir;
  auto o = audited_options(dir);
  o.audit->mask = [](std::string_view x) {
    std::string out{x};
    if (auto i = out.find("hunter2"); i != std::string::npos) out.replace(i, 7, "*******");
    return out;
  };
  auto j = open_journal(dir / "skep.db", o);
  auto w = a_swarm();
  w.name = "my hunter2 run";
  REQUIRE(put(j, swarm_no(1), {}, 1, w) == errc::none);
  auto why = make_error(errc::auth, "key hunter2 was refused", "status 401 hunter2");
  why.step = "create";
  REQUIRE(put(j, swarm_no(1), {}, 2, swarm_closed{outcome::failed, why, 0, 0, 0}) == errc::none);
  auto text = text_of_file(dir / "audit.jsonl");
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.find("my ******* run") != std::string::npos);
  auto last = json::parse(lines_of(dir / "audit.jsonl").back());
  CHECK(last["metadata"]["error"] == "auth");
  CHECK(last["metadata"]["step"] == "create");
  CHECK(last["level"] == "ERROR");
  CHECK(verdict_of(dir).findings.empty());
}

TEST_CASE("deeds without the daemon wait in the spool until their event is on disk") {
  temp_dir dir;
  REQUIRE(leave_word(dir.path(), "SECRET_SET", "API_KEY").ok());
  REQUIRE(leave_word(dir.path(), "SCHEMA_ROLLED_BACK", "2").ok());
  write_file_text(dir.path() / "audit-spool" / "x.json", "not json");
  auto words = spooled_words(dir.path());
  REQUIRE(words.ok());
  REQUIRE(words->size() == 3);
  CHECK((*words)[0].what.operation == "SECRET_SET");
  CHECK((*words)[0].what.subject == "API_KEY");
  CHECK((*words)[0].what.uid == static_cast<std::int64_t>(::getuid()));
  CHECK((*words)[1].what.operation == "SCHEMA_ROLLED_BACK");
  CHECK((*words)[2].what.operation == "UNREADABLE");
  for (const auto& x : *words)
    forget_word(x);
  CHECK(spooled_words(dir.path())->empty());
  temp_dir none;
  CHECK(spooled_words(none.path())->empty());
}
