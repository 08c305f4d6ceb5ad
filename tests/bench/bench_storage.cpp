// The journal beside a plain SQLite loop that writes the same rows: same schema, settings, batch
// and checkpoint thread. What is left is the journal's own work (checking, numbering, savepoints,
// facts).
//
//   bench_storage [--tiny]     goal: median ratio >= 0.8 with 32 events a chunk; exit 1 when missed
//
// Repetitions are interleaved; each prints events/s and CPU seconds. --tiny runs everything once
// and briefly, asserting nothing.
#include "messages/event_io.hpp"
#include "storage/checkpointer.hpp"
#include "storage/journal.hpp"
#include "storage/migrator.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <sqlite3.h>

namespace {

using namespace skep;
using namespace skep::storage;
namespace fs = std::filesystem;

constexpr std::uint32_t events_a_chunk = 32;
constexpr int chunks_a_commit = 31; // about 1,000 events
constexpr double goal = 0.8;

struct load {
  int sandboxes = 2000;
  int chunks = 6000;
  int repetitions = 7;
};

struct measured {
  double events_per_s = 0;
  double cpu_s = 0;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_storage: %s\n", what.c_str());
  std::exit(2);
}

template <class T>
T take(result<T> r) {
  if (!r) fail(render(r.err()));
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

template <class F>
measured measure(const load& l, F work) {
  auto cpu = cpu_seconds();
  auto start = std::chrono::steady_clock::now();
  work();
  std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  return {static_cast<double>(l.chunks) * events_a_chunk / wall.count(), cpu_seconds() - cpu};
}

class scratch {
public:
  scratch() {
    auto pattern = (fs::temp_directory_path() / "skep-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) fail("no temporary directory");
    path_ = pattern;
  }
  ~scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path database() const { return path_ / "skep.db"; }

private:
  fs::path path_;
};

sandbox_id sandbox_no(int i) {
  return {"sb_bench" + std::to_string(i)};
}

/// Blocks of an agent's output, about 150 bytes an event.
bytes chunk_body(bool with_fact) {
  bytes out;
  for (std::uint32_t i = 0; i < events_a_chunk; ++i) {
    utc_time at{std::chrono::milliseconds{1'700'000'000'000 + i}};
    if (with_fact && i == 0)
      pack_event(out.data, at, lease_intended{at});
    else
      pack_event(out.data, at,
                 agent_block{{"pn_bench"}, block_kind::text, "", std::string(100, 'b'), false});
  }
  return out;
}

/// A database in which every sandbox has its rows, so that both sides begin alike.
void prepare(const fs::path& file, const load& l) {
  journal_options o;
  o.disk = {0, 0};
  auto j = take(journal::open(file, o));
  swarm_id w{"sw_bench"};
  take(j.begin());
  auto put = [&](const sandbox_id& s, const auto& e) {
    chunk c;
    c.swarm = w;
    c.sandbox = s;
    c.count = 1;
    pack_event(c.body.data, {}, e);
    take(j.append(c));
  };
  put({}, swarm_created{"bench", "/r", "local", agent_kind::command, 1, 1, false, "/o", {}});
  for (int i = 0; i < l.sandboxes; ++i)
    put(sandbox_no(i), sandbox_queued{static_cast<std::uint32_t>(i), "local"});
  take(j.commit());
}

measured run_journal(const load& l, bool with_fact) {
  scratch dir;
  prepare(dir.database(), l);
  journal_options o;
  o.disk = {0, 0};
  auto j = take(journal::open(dir.database(), o));
  chunk c;
  c.swarm = {"sw_bench"};
  c.count = events_a_chunk;
  c.body = chunk_body(with_fact);
  std::vector<sandbox_id> ids;
  for (int i = 0; i < l.sandboxes; ++i)
    ids.push_back(sandbox_no(i));
  return measure(l, [&] {
    for (int i = 0; i < l.chunks; ++i) {
      if (i % chunks_a_commit == 0) take(j.begin());
      c.sandbox = ids[static_cast<std::size_t>(i) % ids.size()];
      take(j.append(c));
      if (i % chunks_a_commit == chunks_a_commit - 1 || i == l.chunks - 1) take(j.commit());
    }
  });
}

measured run_raw(const load& l) {
  scratch dir;
  prepare(dir.database(), l);
  sqlite3* db = nullptr;
  auto check = [&](int code) {
    if (code != SQLITE_OK && code != SQLITE_DONE) fail(sqlite3_errmsg(db));
  };
  check(sqlite3_open_v2(dir.database().c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        nullptr));
  check(sqlite3_exec(db,
                     "PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; "
                     "PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY",
                     nullptr, nullptr, nullptr));
  auto checkpoints = take(checkpointer::start(dir.database()));
  sqlite3_stmt* insert = nullptr;
  sqlite3_stmt* begin = nullptr;
  sqlite3_stmt* commit = nullptr;
  auto prepare_statement = [&](const char* sql, sqlite3_stmt** out) {
    check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, nullptr));
  };
  prepare_statement("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", &insert);
  prepare_statement("BEGIN IMMEDIATE", &begin);
  prepare_statement("COMMIT", &commit);
  auto run = [&](sqlite3_stmt* s) {
    check(sqlite3_step(s));
    check(sqlite3_reset(s));
  };
  auto body = chunk_body(false);
  std::int64_t seq = l.sandboxes + 2;
  auto out = measure(l, [&] {
    for (int i = 0; i < l.chunks; ++i) {
      if (i % chunks_a_commit == 0) run(begin);
      sqlite3_bind_int64(insert, 1, seq);
      sqlite3_bind_int64(insert, 2, 1);
      sqlite3_bind_int64(insert, 3, 1 + i % l.sandboxes);
      sqlite3_bind_int64(insert, 4, events_a_chunk);
      sqlite3_bind_int64(insert, 5, seq - 1);
      sqlite3_bind_int64(insert, 6, seq - 1);
      sqlite3_bind_blob64(insert, 7, body.data.data(), body.data.size(), SQLITE_STATIC);
      run(insert);
      seq += events_a_chunk;
      if (i % chunks_a_commit == chunks_a_commit - 1 || i == l.chunks - 1) {
        run(commit);
        checkpoints->mark_dirty();
      }
    }
  });
  checkpoints.reset();
  for (auto* s : {insert, begin, commit})
    sqlite3_finalize(s);
  sqlite3_close(db);
  return out;
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

} // namespace

int main(int argc, char* argv[]) {
  bool tiny = argc > 1 && std::strcmp(argv[1], "--tiny") == 0;
  load l;
  if (tiny) l = {20, 100, 1};
  std::vector<double> ratios, fact_ratios, cpu_ratios;
  std::printf("journal beside raw SQLite, %u events a chunk, %d chunks, %d sandboxes, "
              "synchronous=FULL\n",
              events_a_chunk, l.chunks, l.sandboxes);
  for (int i = 0; i < l.repetitions; ++i) {
    // Each side goes first every other time.
    measured raw, own;
    if (i % 2 == 0) raw = run_raw(l);
    own = run_journal(l, false);
    if (i % 2 != 0) raw = run_raw(l);
    auto facts = run_journal(l, true);
    ratios.push_back(own.events_per_s / raw.events_per_s);
    cpu_ratios.push_back(raw.cpu_s / own.cpu_s);
    fact_ratios.push_back(facts.events_per_s / raw.events_per_s);
    std::printf("  raw %8.0f ev/s %.2f cpu s | journal %8.0f ev/s %.2f cpu s, ratio %.2f | "
                "with a fact a chunk %8.0f ev/s, ratio %.2f\n",
                raw.events_per_s, raw.cpu_s, own.events_per_s, own.cpu_s, ratios.back(),
                facts.events_per_s, fact_ratios.back());
  }
  auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  auto middle = median(ratios);
  std::printf("journal / raw: median %.2f, spread %.2f to %.2f (goal %.2f); by CPU time: median "
              "%.2f; with a fact a chunk: median %.2f\n",
              middle, *low, *high, goal, median(cpu_ratios), median(fact_ratios));
  if (tiny) return 0;
  std::printf("%s\n", middle >= goal ? "goal met" : "goal MISSED");
  return middle >= goal ? 0 : 1;
}
