#include "storage/journal.hpp"
#include "messages/crash_point.hpp"
#include "storage/checkpointer.hpp"
#include "storage/chunk_scan.hpp"
#include "storage/damage.hpp"
#include "storage/epoch_file.hpp"
#include "storage/migrator.hpp"
#include "storage/state_tables.hpp"

#include <chrono>
#include <unordered_map>

namespace skep::storage {
namespace {

/// What the journal remembers of a swarm or sandbox so that an append asks the database nothing.
struct track {
  std::int64_t id = 0;       ///< In journal_swarms or journal_sandboxes.
  std::int64_t swarm_id = 0; ///< Of a sandbox.
  std::uint64_t last_seq = 0;
};

/// What kinds of event a chunk holds.
struct content {
  bool facts = false;
  bool new_work = false;
  bool closes_sandbox = false;
  bool closes_swarm = false;
};

content look_at(const std::vector<event_place>& events) {
  content out;
  for (const auto& e : events) {
    const auto* known = find_event(e.type);
    out.facts |= known != nullptr && known->kind == event_class::fact;
    out.new_work |= e.type == event_traits<swarm_created>::info.type
                    || e.type == event_traits<create_intended>::info.type;
    out.closes_sandbox |= e.type == event_traits<sandbox_closed>::info.type;
    out.closes_swarm |= e.type == event_traits<swarm_closed>::info.type;
  }
  return out;
}

/// Of the crash points of one chunk: the name of its first fact, or of its first event.
std::string_view label_of(const std::vector<event_place>& events) {
  const event_info* first = nullptr;
  for (const auto& e : events) {
    const auto* known = find_event(e.type);
    if (known == nullptr) continue;
    if (known->kind == event_class::fact) return known->name;
    if (first == nullptr) first = known;
  }
  return first == nullptr ? "unknown" : first->name;
}

} // namespace

struct journal::state {
  state(connection c, disk_guard g, std::filesystem::path f)
      : db(std::move(c)), disk(std::move(g)), file(std::move(f)) {}
  ~state() {
    // The threads end first: they have connections of their own to the same file.
    damage.reset();
    checkpoints.reset();
    if (db.in_transaction()) static_cast<void>(db.run("ROLLBACK").ok());
  }

  connection db;
  disk_guard disk;
  std::filesystem::path file;
  std::unique_ptr<checkpointer> checkpoints;
  std::unique_ptr<damage_check> damage;
  std::chrono::steady_clock::time_point disk_seen{};
  std::optional<audit_log> audit;
  std::string stream_id;
  std::uint64_t head = 0;
  std::uint64_t oldest = 1;
  bool begun = false;
  bool broken = false;
  std::unordered_map<std::string, track> swarms;
  std::unordered_map<std::string, track> sandboxes;
  std::vector<event_place> places; ///< Reused by every append.
  /// Labels and numbers of what waits for its COMMIT; kept only while crash points are armed.
  std::vector<std::pair<std::string_view, std::string>> appended;

  result<void> load();
  result<track> find_swarm(const swarm_id& id);
  result<track> find_sandbox(const sandbox_id& id, const track& swarm);
  result<void> admit(const content& what) const;
  result<numbering> store(const chunk& c, const content& what, track& swarm, track& sandbox);
  result<void> apply_facts(const chunk& c, std::uint64_t first_seq);
  error note(error e);
};

result<void> journal::state::load() {
  auto last =
      db.number("SELECT first_seq + count - 1 FROM chunks ORDER BY first_seq DESC LIMIT 1", 0);
  if (!last) return last.err();
  head = static_cast<std::uint64_t>(*last);
  auto first = db.number("SELECT first_seq FROM chunks ORDER BY first_seq LIMIT 1", 1);
  if (!first) return first.err();
  oldest = static_cast<std::uint64_t>(*first);
  auto made = db.run("INSERT INTO journal_info VALUES ('stream_id', ?1) ON CONFLICT DO NOTHING",
                     random_token(16));
  if (!made) return made;
  auto q = db.prepare("SELECT value FROM journal_info WHERE name = 'stream_id'");
  if (!q) return q.err();
  auto row = q->step();
  if (!row) return row.err();
  stream_id = q->text(0);
  return {};
}

/// Remembers what a failure did to the transaction.
error journal::state::note(error e) {
  if (e.code == errc::disk_full) disk.release_reserve();
  if (e.code == errc::corrupt_database) {
    leave_damage(file, e);
    broken = true;
  }
  if (begun && !db.in_transaction()) broken = true;
  return e;
}

result<track> journal::state::find_swarm(const swarm_id& id) {
  if (id.empty()) return track{};
  if (auto i = swarms.find(id.value); i != swarms.end()) return i->second;
  track out;
  auto known = db.number("SELECT id FROM journal_swarms WHERE swarm = ?1", 0, id);
  if (!known) return known.err();
  out.id = *known;
  if (out.id == 0) return out;
  auto last = db.number("SELECT first_seq + count - 1 FROM chunks WHERE swarm = ?1 AND swarm > 0 "
                        "ORDER BY first_seq DESC LIMIT 1",
                        0, out.id);
  if (!last) return last.err();
  out.last_seq = static_cast<std::uint64_t>(*last);
  return out;
}

result<track> journal::state::find_sandbox(const sandbox_id& id, const track& swarm) {
  if (id.empty()) return track{};
  track out;
  if (auto i = sandboxes.find(id.value); i != sandboxes.end()) {
    out = i->second;
  } else {
    auto q = db.prepare("SELECT id, swarm_id FROM journal_sandboxes WHERE sandbox = ?1");
    if (!q) return q.err();
    auto row = q->bind(id).step();
    if (!row) return row.err();
    if (!*row) return out;
    q->read(0, out.id);
    q->read(1, out.swarm_id);
    auto last = db.number("SELECT first_seq + count - 1 FROM chunks WHERE sandbox = ?1 AND "
                          "sandbox > 0 ORDER BY first_seq DESC LIMIT 1",
                          0, out.id);
    if (!last) return last.err();
    out.last_seq = static_cast<std::uint64_t>(*last);
  }
  if (out.swarm_id != swarm.id)
    return make_error(errc::bad_frame, "sandbox " + id.value + " belongs to another swarm");
  return out;
}

result<void> journal::state::admit(const content& what) const {
  if (disk.level() == disk_level::plenty || (what.facts && !what.new_work)) return {};
  return make_error(errc::disk_full,
                    what.facts ? "no new work is accepted" : "notes are not kept at present");
}

result<void> journal::state::apply_facts(const chunk& c, std::uint64_t first_seq) {
  std::string_view body = c.body.data;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto* known = find_event(places[i].type);
    if (known == nullptr || known->kind == event_class::note) continue;
    event_reader one{body.substr(places[i].offset, places[i].size)};
    auto e = one.next();
    if (!e) return e.err();
    if (auto done = apply(db, c, first_seq + i, *e); !done) return done;
  }
  return {};
}

/// The rows of one chunk; `swarm` and `sandbox` get their ids when they are new.
result<numbering> journal::state::store(const chunk& c, const content& what, track& swarm,
                                        track& sandbox) {
  auto insert_id = [&](std::string_view sql, const auto& id, auto... more) -> result<std::int64_t> {
    auto q = db.prepare(sql);
    if (!q) return q.err();
    auto row = q->bind(id, more...).step();
    if (!row) return row.err();
    return q->integer(0);
  };
  if (!c.swarm.empty() && swarm.id == 0) {
    auto id = insert_id("INSERT INTO journal_swarms (swarm) VALUES (?1) RETURNING id", c.swarm);
    if (!id) return id.err();
    swarm.id = *id;
  }
  if (!c.sandbox.empty() && sandbox.id == 0) {
    auto id =
        insert_id("INSERT INTO journal_sandboxes (sandbox, swarm_id) VALUES (?1, ?2) RETURNING id",
                  c.sandbox, swarm.id);
    if (!id) return id.err();
    sandbox.id = *id;
    sandbox.swarm_id = swarm.id;
  }
  numbering out{head + 1, sandbox.last_seq, swarm.last_seq};
  auto stored =
      db.run("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", out.first_seq, swarm.id,
             sandbox.id, c.count, out.previous_in_sandbox, out.previous_in_swarm, c.body);
  if (!stored) return stored.err();
  if (what.facts)
    if (auto done = apply_facts(c, out.first_seq); !done) return done.err();
  return out;
}

// ---- journal --------------------------------------------------------------------------------

journal::journal(std::unique_ptr<state> s) : state_(std::move(s)) {}
journal::journal(journal&&) noexcept = default;
journal& journal::operator=(journal&&) noexcept = default;
journal::~journal() = default;

result<journal> journal::open(const std::filesystem::path& database,
                              const journal_options& options) {
  migrator schema{database, database.parent_path() / "backups"};
  open_options how;
  how.check = options.check && needs_whole_check(database, schema, options.check_at_open_bytes);
  auto db = connection::open(database, how);
  if (!db) return db.err();
  if (how.check) forget_damage(database);
  auto migrated = schema.migrate(options.backup_before_upgrade);
  if (!migrated) return migrated.err();
  auto s = std::make_unique<state>(std::move(*db), disk_guard{database.parent_path(), options.disk},
                                   database);
  if (options.check && !how.check)
    if (auto done = check_ends(s->db); !done) return done.err();
  if (auto done = s->load(); !done) return done.err();
  if (options.audit) {
    auto log = audit_log::open(s->db, *options.audit, s->head);
    if (!log) return log.err();
    s->audit.emplace(std::move(*log));
  }
  if (options.checkpoint_thread) {
    if (auto done = s->db.execute("PRAGMA wal_autocheckpoint=0"); !done) return done.err();
    auto thread = checkpointer::start(database);
    if (!thread) return thread.err();
    s->checkpoints = std::move(*thread);
  }
  if (options.check && !how.check) {
    auto rest = damage_check::start(database, options.check_delay, options.checked);
    if (!rest) return rest.err();
    s->damage = std::move(*rest);
  }
  return journal{std::move(s)};
}

result<void> journal::begin() {
  auto& s = *state_;
  if (s.broken || s.begun) return make_error(errc::internal, "the journal cannot begin now");
  if (auto t = std::chrono::steady_clock::now();
      s.disk_seen == std::chrono::steady_clock::time_point{}
      || t - s.disk_seen >= std::chrono::seconds{1}) {
    s.disk.refresh();
    s.disk_seen = t;
  }
  if (auto done = s.db.run("BEGIN IMMEDIATE"); !done) return done;
  s.begun = true;
  return {};
}

result<numbering> journal::append(chunk& c) {
  auto& s = *state_;
  if (s.broken || !s.begun) return make_error(errc::internal, "append without begin");
  if ((!c.swarm.empty() && !c.swarm.valid()) || (!c.sandbox.empty() && !c.sandbox.valid())
      || (c.swarm.empty() && !c.sandbox.empty()))
    return make_error(errc::bad_frame, "the ids of a chunk are not valid");
  if (auto scanned = scan_chunk(c.body.data, c.count, s.places); !scanned) return scanned.err();
  if (crash_points_armed()) crash_point(crash_kind::append, label_of(s.places));
  auto what = look_at(s.places);
  if (auto admitted = s.admit(what); !admitted) return admitted.err();
  auto swarm = s.find_swarm(c.swarm);
  if (!swarm) return s.note(swarm.err());
  auto sandbox = s.find_sandbox(c.sandbox, *swarm);
  if (!sandbox) return s.note(sandbox.err());

  // One INSERT is atomic by itself; only what touches several rows needs a savepoint.
  bool guarded = what.facts || (!c.swarm.empty() && swarm->id == 0)
                 || (!c.sandbox.empty() && sandbox->id == 0);
  if (guarded)
    if (auto done = s.db.run("SAVEPOINT chunk"); !done) return s.note(done.err());
  auto stored = s.store(c, what, *swarm, *sandbox);
  if (stored && guarded)
    if (auto done = s.db.run("RELEASE chunk"); !done) stored = done.err();
  if (!stored) {
    // When the rollback fails, too, SQLite has ended the transaction or cannot go on: note() or the
    // flag says so.
    if (guarded && s.db.in_transaction()
        && (!s.db.run("ROLLBACK TO chunk") || !s.db.run("RELEASE chunk")))
      s.broken = true;
    return s.note(stored.err());
  }

  s.head += c.count;
  swarm->last_seq = sandbox->last_seq = s.head;
  if (what.closes_swarm)
    s.swarms.erase(c.swarm.value);
  else if (!c.swarm.empty())
    s.swarms.insert_or_assign(c.swarm.value, *swarm);
  if (what.closes_sandbox)
    s.sandboxes.erase(c.sandbox.value);
  else if (!c.sandbox.empty())
    s.sandboxes.insert_or_assign(c.sandbox.value, *sandbox);
  c.first_seq = stored->first_seq;
  c.previous_in_sandbox = stored->previous_in_sandbox;
  c.previous_in_swarm = stored->previous_in_swarm;
  // It was read once already: what fails here is the database.
  if (s.audit)
    if (auto done = s.audit->take(s.db, c, c.first_seq, s.places); !done) s.broken = true;
  if (crash_points_armed())
    s.appended.emplace_back(label_of(s.places),
                            std::to_string(c.first_seq) + " " + std::to_string(c.last_seq()));
  return stored;
}

result<void> journal::commit() {
  auto& s = *state_;
  if (s.broken || !s.begun) return make_error(errc::internal, "commit without begin");
  auto done = s.audit ? s.audit->anchor(s.db) : result<void>{};
  if (done) done = s.db.run("COMMIT");
  if (!done) {
    s.broken = true;
    return s.note(done.err());
  }
  s.begun = false;
  if (s.audit) s.audit->write();
  if (s.checkpoints) s.checkpoints->mark_dirty();
  for (const auto& [label, numbers] : std::exchange(s.appended, {}))
    crash_point(crash_kind::stored, label, numbers);
  return {};
}

bool journal::broken() const {
  return state_->broken;
}
std::uint64_t journal::head() const {
  return state_->head;
}
std::uint64_t journal::oldest() const {
  return state_->oldest;
}
result<std::uint64_t> journal::newest_epoch() const {
  auto newest = state_->db.number("SELECT max(epoch) FROM epochs", 0);
  if (!newest) return newest.err();
  return static_cast<std::uint64_t>(*newest);
}
const std::filesystem::path& journal::database() const {
  return state_->file;
}
const std::string& journal::stream_id() const {
  return state_->stream_id;
}
result<void> journal::renew_stream() {
  auto& s = *state_;
  if (s.broken || !s.begun) return make_error(errc::internal, "renew_stream without begin");
  auto other = random_token(16);
  auto done = s.db.run("UPDATE journal_info SET value = ?1 WHERE name = 'stream_id'", other);
  if (!done) return s.note(done.err());
  s.stream_id = other;
  return {};
}
const audit_log* journal::audit() const {
  return state_->audit ? &*state_->audit : nullptr;
}
disk_level journal::disk() const {
  return state_->disk.level();
}

} // namespace skep::storage
