// What the daemon asks of its tables again and again: how it is read, and what is answered.
#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <sqlite3.h>

struct sqlite3_api_routines; // of sqlite3ext.h, which is for extensions

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

/// The statements that connections run which are opened while one of these lives.
class statements_run {
public:
  statements_run() {
    seen().clear();
    REQUIRE(sqlite3_auto_extension(entry()) == SQLITE_OK);
  }
  ~statements_run() { sqlite3_cancel_auto_extension(entry()); }
  statements_run(const statements_run&) = delete;
  statements_run& operator=(const statements_run&) = delete;
  /// So far, each once.
  static std::set<std::string>& seen() {
    static std::set<std::string> all;
    return all;
  }

private:
  static int note(unsigned, void*, void* statement, void*) {
    if (const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement))) seen().insert(sql);
    return 0;
  }
  static int watch(sqlite3* db, const char**, const sqlite3_api_routines*) {
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, note, nullptr);
  }
  static void (*entry())() { return reinterpret_cast<void (*)()>(&watch); }
};

/// All that a daemon asks on its ticks, on every wake, and for commands that scripts poll.
void ask_all(reader& r) {
  auto answered = [](const auto& x) {
    if (!x) FAIL(render(x.err()));
  };
  auto now = at(10'000);
  auto w = swarm_no(1);
  auto s = sandbox_no(1);
  // The REAPER.
  answered(r.unconfirmed_kills());
  answered(r.unresolved_creates());
  answered(r.kept_past_lease(now));
  answered(r.providers_to_list(now));
  answered(r.sandbox(s));
  // ADMISSION, and `skep budget`.
  answered(r.spend(now));
  // Metrics and health.
  answered(r.count_open());
  answered(r.living_sandboxes());
  answered(r.find_remote("remote1"));
  // Lists and states of what runs.
  answered(r.swarms(false));
  answered(r.all_sandboxes(false));
  answered(r.all_panes(false));
  answered(r.swarms_named("nightly"));
  answered(r.swarms_named("sw"));
  answered(r.panes_named("pn_1234"));
  answered(r.swarm(w));
  answered(r.spec(w));
  answered(r.sandboxes(w));
  answered(r.panes(w));
  answered(r.panes(s));
  answered(r.pane(pane_no(1)));
  answered(r.transfers(w));
  answered(r.replacements(w));
  // Commands.
  answered(r.command("key", now));
  answered(r.switch_is_on("draining"));
  answered(r.created_seq(w));
  answered(r.uploads("local"));
  // Events.
  answered(r.read_chunks({}));
  answered(r.read_chunks({2, w, {}, 4, 1 << 20}));
  answered(r.read_chunks({2, w, s, 4, 1 << 20}));
  answered(r.stream_id());
  answered(r.epoch());
  // Restarts of actors.
  answered(r.open_swarms());
  answered(r.open_sandboxes());
  answered(r.open_panes());
}

/// Indexes that hold what is open or still to be done, and so stay small.
const std::set<std::string> small_indexes = {"swarms_open_newest",       "sandboxes_open_newest",
                                             "panes_open_newest",        "sandboxes_kill_pending",
                                             "sandboxes_create_pending", "sandboxes_charged",
                                             "sandboxes_living",         "sandboxes_kept"};

/// The index that a line of a plan names; empty: none.
std::string index_in(const std::string& line) {
  auto begin = line.find("INDEX ");
  if (begin == std::string::npos) return {};
  begin += 6;
  return line.substr(begin, line.find(' ', begin) - begin);
}

/// The lines of the plan of `sql` that read more the more is over; empty: none.
std::string growing_part(connection& db, const std::string& sql) {
  auto q = db.prepare("EXPLAIN QUERY PLAN " + sql);
  if (!q) FAIL(render(q.err()));
  std::vector<std::string> lines;
  bool sorted = false;
  while (q->step().value()) {
    lines.push_back(q->text(3));
    sorted = sorted || lines.back().find("TEMP B-TREE") != std::string::npos;
  }
  // The first row of an order that is there anyway is all that is read.
  bool one_row = !sorted && sql.ends_with(" LIMIT 1");
  std::string out;
  for (const auto& line : lines) {
    auto index = index_in(line);
    bool all = line.starts_with("SCAN ") && line != "SCAN CONSTANT ROW" && line != "SCAN budgets"
               && small_indexes.count(index) == 0 && !one_row;
    // By the state closed that is nearly all of them.
    if (all || index == "sandboxes_by_state" || index == "swarms_by_state") out += line + "; ";
  }
  return out;
}

/// A row of the table of sandboxes, as far as the questions here go.
struct made_row {
  sandbox_id id;
  std::string provider;
  int state = 0;
  std::string remote_id;
  bool kill_intended = false;
  bool kill_confirmed = false;
  bool kept = false;
  utc_time lease_end{};
  utc_time created{};

  bool lives() const {
    return !remote_id.empty() && !kill_confirmed && (state != 9 || kept || kill_intended);
  }
};

constexpr utc_time some_day = utc_time{} + std::chrono::hours{10'000};

/// Rows of every kind, about `some_day`, in the order of their ids.
std::vector<made_row> make_rows(std::uint32_t seed) {
  std::mt19937 random{seed};
  auto one_in = [&](std::uint32_t n) { return random() % n == 0; };
  auto minutes = [&](std::uint32_t below) {
    return std::chrono::minutes{static_cast<std::int64_t>(random() % below)};
  };
  std::vector<made_row> out;
  for (int n = 0; n < 120; ++n) {
    auto& x = out.emplace_back();
    x.id = sandbox_no(n);
    x.provider = "p" + std::to_string(random() % 40);
    x.state = one_in(3) ? static_cast<int>(random() % 9) : 9;
    if (!one_in(4)) x.remote_id = "remote" + std::to_string(n);
    x.kill_intended = one_in(3);
    x.kill_confirmed = one_in(2);
    x.kept = one_in(3);
    if (!one_in(3)) x.lease_end = some_day - std::chrono::hours{20} + minutes(40 * 60);
    x.created = some_day - minutes(60 * 60);
  }
  return out;
}

void store(const fs::path& database, const std::vector<made_row>& rows) {
  auto db = connection::open(database);
  REQUIRE(db.ok());
  for (const auto& x : rows) {
    auto done = db->run("INSERT INTO sandboxes (sandbox, swarm, \"index\", provider, state, "
                        "result, remote_id, kill_intended, kill_confirmed, kept, lease_end_at_ms, "
                        "created_at_ms, phase_since_ms) "
                        "VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)",
                        x.id, swarm_no(1), x.provider, x.state, x.state == 9 ? 1 : 0, x.remote_id,
                        x.kill_intended, x.kill_confirmed, x.kept, x.lease_end, x.created);
    if (!done) FAIL(render(done.err()));
  }
}

/// Those of which `wanted` is true, oldest first.
template <class Wanted>
std::vector<sandbox_id> plainly(std::vector<made_row> rows, Wanted wanted) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.created < b.created; });
  std::vector<sandbox_id> out;
  for (const auto& x : rows)
    if (wanted(x)) out.push_back(x.id);
  return out;
}

std::vector<sandbox_id> ids_of(const result<std::vector<sandbox_record>>& rows) {
  if (!rows) FAIL(render(rows.err()));
  std::vector<sandbox_id> out;
  for (const auto& x : *rows)
    out.push_back(x.sandbox);
  return out;
}

std::map<std::string, bool> providers_plainly(const std::vector<made_row>& rows, utc_time now) {
  std::map<std::string, bool> out;
  for (const auto& x : rows)
    if (x.created > now - std::chrono::hours{26} || x.lease_end > now || x.lives()) {
      auto& lives = out[x.provider];
      lives = lives || x.lives();
    }
  return out;
}

} // namespace

TEST_CASE("no question that the daemon repeats reads rows that only grow in number") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    begin_story(j);
  }
  std::set<std::string> asked;
  {
    statements_run run;
    auto r = reader::open(dir / "skep.db");
    REQUIRE(r.ok());
    ask_all(*r);
    asked = run.seen();
  }
  auto db = connection::open(dir / "skep.db");
  REQUIRE(db.ok());
  std::size_t explained = 0;
  for (const auto& sql : asked) {
    if (!sql.starts_with("SELECT")) continue; // of transactions
    INFO(sql);
    CHECK(growing_part(*db, sql) == "");
    ++explained;
  }
  CHECK(explained >= 40); // some questions are several statements
  // Such are found.
  CHECK(growing_part(*db, "SELECT provider FROM sandboxes WHERE created_at_ms > ?1 OR "
                          "remote_id <> ''")
        != "");
  CHECK(growing_part(*db, "SELECT sandbox FROM sandboxes WHERE state = 9 AND base_commit = ?1")
        != "");
  CHECK(growing_part(*db, "SELECT provider FROM creates WHERE sandbox = ?1") == "SCAN creates; ");
  CHECK(growing_part(*db, "SELECT pane FROM panes WHERE cost_usd > 1 ORDER BY cost_usd LIMIT 1")
        == "SCAN panes; ");
}

TEST_CASE("what is asked by way of small indexes is what a plain reading of all rows says") {
  std::size_t living = 0, recent = 0, left_out = 0, past = 0;
  for (std::uint32_t seed : {1u, 2u, 3u}) {
    INFO("seed " << seed);
    temp_dir dir;
    {
      auto j = open_journal(dir / "skep.db");
      REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
    }
    auto rows = make_rows(seed);
    store(dir / "skep.db", rows);
    std::set<std::string> all;
    std::map<int, std::uint64_t> open;
    for (const auto& x : rows) {
      all.insert(x.provider);
      if (x.state != 9) ++open[x.state];
    }
    auto r = reader::open(dir / "skep.db");
    REQUIRE(r.ok());
    CHECK(ids_of(r->living_sandboxes())
          == plainly(rows, [](const made_row& x) { return x.lives(); }));
    auto counts = r->count_open();
    REQUIRE(counts.ok());
    CHECK(counts->sandboxes == open);
    CHECK(counts->swarms == 1);
    for (int h = -40; h <= 60; h += 5) {
      auto now = some_day + std::chrono::hours{h};
      INFO("hour " << h);
      auto listed = r->providers_to_list(now);
      REQUIRE(listed.ok());
      CHECK(*listed == providers_plainly(rows, now));
      for (const auto& [name, lives] : *listed)
        ++(lives ? living : recent);
      left_out += all.size() - listed->size();
      auto kept = ids_of(r->kept_past_lease(now));
      CHECK(kept == plainly(rows, [&](const made_row& x) {
              return x.state == 9 && x.kept && !x.kill_intended && x.lease_end <= now;
            }));
      past += kept.size();
    }
    auto ever = r->providers_to_list(utc_time{}); // each provider that was ever used
    REQUIRE(ever.ok());
    CHECK(*ever == providers_plainly(rows, utc_time{}));
    CHECK(ever->size() == all.size());
  }
  // The rows were of every kind.
  CHECK(living > 0);
  CHECK(recent > 0);
  CHECK(left_out > 0);
  CHECK(past > 0);
}
