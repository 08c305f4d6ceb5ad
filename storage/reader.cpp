#include "storage/reader.hpp"
#include "storage/rows.hpp"

#include <algorithm>

namespace skep::storage {
namespace {

constexpr std::string_view select_chunks =
    "SELECT c.first_seq, coalesce(w.swarm, ''), coalesce(s.sandbox, ''), c.count, "
    "c.previous_in_sandbox, c.previous_in_swarm, c.body FROM chunks c "
    "LEFT JOIN journal_swarms w ON w.id = c.swarm "
    "LEFT JOIN journal_sandboxes s ON s.id = c.sandbox ";

/// Takes chunks until the page is full. False: there may be more behind them.
result<bool> take_chunks(query& q, const chunk_selector& want, std::vector<chunk>& out) {
  std::uint64_t size = 0;
  for (;;) {
    auto row = q.step();
    if (!row) return row.err();
    if (!*row) return true;
    chunk c;
    q.read(0, c.first_seq);
    q.read(3, c.count);
    if (c.last_seq() < want.from) continue; // the chunk before the one that holds `from`
    q.read(6, c.body);
    size += c.body.data.size();
    if (!out.empty() && (size > want.max_bytes || out.size() >= want.max_chunks)) return false;
    q.read(1, c.swarm);
    q.read(2, c.sandbox);
    q.read(4, c.previous_in_sandbox);
    q.read(5, c.previous_in_swarm);
    out.push_back(std::move(c));
  }
}

/// Of a row whose sandbox is there as far as we know; word for word that of sandboxes_living.
constexpr std::string_view living_row = "remote_id <> '' AND kill_confirmed = 0 AND "
                                        "(state <> 9 OR kept = 1 OR kill_intended = 1)";

/// The longest time limit, the longest grace and an hour for clocks that differ. A sandbox that was
/// taken up again has a longer one; its row says until when.
constexpr std::chrono::hours longest_lease{26};

// Providers of rows that are young at ?1 or have a lease at ?2, each term by an index of its own:
// with one OR for all of them every row ever written would be read. Where SQLite, which has no
// statistics here, would choose an index of all rows, the one that stays small is named.
constexpr std::string_view select_recent_providers =
    "SELECT provider, 0 FROM sandboxes INDEXED BY sandboxes_by_age WHERE created_at_ms > ?1 "
    "UNION SELECT provider, 0 FROM sandboxes INDEXED BY sandboxes_open_newest "
    "WHERE state <> 9 AND lease_end_at_ms > ?2 "
    "UNION SELECT provider, 0 FROM sandboxes INDEXED BY sandboxes_closed_by_lease "
    "WHERE state = 9 AND lease_end_at_ms > ?2 "
    // Where those were asked for that are at their fallback now.
    "UNION SELECT provider, 0 FROM creates INDEXED BY creates_by_time WHERE at_ms > ?1";

template <class R>
result<R> only_one(result<std::vector<R>> rows, errc missing, const std::string& what) {
  if (!rows) return rows.err();
  if (rows->empty()) return make_error(missing, what);
  return std::move(rows->front());
}

} // namespace

result<reader> reader::open(const std::filesystem::path& database) {
  open_options how;
  how.read_only = true;
  how.cache_kib = 8 * 1024;
  auto db = connection::open(database, how);
  if (!db) return db.err();
  return reader{std::move(*db)};
}

result<std::uint64_t> reader::head() {
  auto n =
      db_.number("SELECT first_seq + count - 1 FROM chunks ORDER BY first_seq DESC LIMIT 1", 0);
  if (!n) return n.err();
  return static_cast<std::uint64_t>(*n);
}

result<open_counts> reader::count_open() {
  open_counts out;
  auto count = [this](std::string_view sql, std::map<int, std::uint64_t>& to) -> result<void> {
    auto q = db_.prepare(sql);
    if (!q) return q.err();
    for (;;) {
      auto row = q->step();
      if (!row) return row.err();
      if (!*row) return {};
      to[static_cast<int>(q->integer(0))] = static_cast<std::uint64_t>(q->integer(1));
    }
  };
  if (auto done = count("SELECT state, count(*) FROM sandboxes "
                        "INDEXED BY sandboxes_open_newest WHERE state <> 9 GROUP BY state",
                        out.sandboxes);
      !done)
    return done.err();
  if (auto done =
          count("SELECT state, count(*) FROM panes WHERE state <> 5 GROUP BY state", out.panes);
      !done)
    return done.err();
  auto swarms =
      db_.number("SELECT count(*) FROM swarms INDEXED BY swarms_open_newest WHERE state <> 3", 0);
  if (!swarms) return swarms.err();
  out.swarms = static_cast<std::uint64_t>(*swarms);
  return out;
}

result<std::uint64_t> reader::oldest() {
  auto n = db_.number("SELECT first_seq FROM chunks ORDER BY first_seq LIMIT 1", 1);
  if (!n) return n.err();
  return static_cast<std::uint64_t>(*n);
}

result<std::uint64_t> reader::created_seq(const swarm_id& id) {
  chunk_selector want;
  want.swarm = id;
  want.max_chunks = 1;
  auto first = oldest();
  if (!first) return first.err();
  want.from = *first;
  auto page = read_chunks(want);
  if (!page) return page.err();
  for (const auto& c : page->chunks)
    if (event_reader events{c.body.data}; c.sandbox.empty())
      for (auto seq = c.first_seq; !events.done(); ++seq) {
        auto e = events.next();
        if (!e) return e.err();
        if (e->type == event_traits<swarm_created>::info.type) return seq;
      }
  return std::uint64_t{0};
}

result<std::string> reader::stream_id() {
  auto q = db_.prepare("SELECT value FROM journal_info WHERE name = 'stream_id'");
  if (!q) return q.err();
  auto row = q->step();
  if (!row) return row.err();
  if (!*row) return make_error(errc::schema_mismatch, "the journal has no stream id");
  return q->text(0);
}

result<std::uint64_t> reader::epoch() {
  auto n = db_.number("SELECT max(epoch) FROM epochs", 0);
  if (!n) return n.err();
  return static_cast<std::uint64_t>(*n);
}

result<chunk_page> reader::read_chunks(const chunk_selector& selector) {
  auto want = selector;
  want.from = std::max<std::uint64_t>(want.from, 1);
  want.max_chunks = std::max<std::uint32_t>(want.max_chunks, 1);
  auto t = transaction::begin(db_, transaction::kind::read);
  if (!t) return t.err();
  chunk_page page;
  auto first = oldest();
  if (!first) return first.err();
  auto last = head();
  if (!last) return last.err();
  page.oldest = *first;
  page.head = *last;
  page.next = page.head + 1;
  if (want.from < page.oldest)
    return make_error(errc::compacted, "oldest=" + std::to_string(page.oldest));
  if (want.from > page.head) {
    page.next = want.from;
    return page;
  }

  // Which index: that of the sandbox, of the swarm, or the sequence itself. All three begin at the
  // chunk that begins at or before `from`, which may hold it.
  std::string_view column = "";
  std::int64_t id = 0;
  if (!want.sandbox.empty() || !want.swarm.empty()) {
    bool one_sandbox = !want.sandbox.empty();
    column = one_sandbox ? "sandbox" : "swarm";
    auto found = one_sandbox
                     ? db_.number("SELECT s.id FROM journal_sandboxes s JOIN journal_swarms w "
                                  "ON w.id = s.swarm_id WHERE s.sandbox = ?1 AND "
                                  "(?2 = '' OR w.swarm = ?2)",
                                  0, want.sandbox, want.swarm)
                     : db_.number("SELECT id FROM journal_swarms WHERE swarm = ?1", 0, want.swarm);
    if (!found) return found.err();
    if (*found == 0) return page; // nothing was written about it yet
    id = *found;
  }
  auto only = [&](const std::string& prefix) {
    auto name = prefix + std::string{column};
    return column.empty() ? std::string{} : name + " = ?2 AND " + name + " > 0 AND ";
  };
  auto sql = std::string{select_chunks} + "WHERE " + only("c.")
             + "c.first_seq >= coalesce((SELECT max(first_seq) FROM chunks WHERE " + only("")
             + "first_seq <= ?1), 1) ORDER BY c.first_seq";
  auto q = db_.prepare(sql);
  if (!q) return q.err();
  if (column.empty())
    q->bind(want.from);
  else
    q->bind(want.from, id);
  auto all = take_chunks(*q, want, page.chunks);
  if (!all) return all.err();
  if (!*all) page.next = page.chunks.back().last_seq() + 1;
  return page;
}

// ---- state tables ---------------------------------------------------------------------------

result<std::vector<swarm_record>> reader::swarms(bool all) {
  return read_rows<swarm_record>(db_, "swarms",
                                 all ? "ORDER BY created_at_ms DESC, rowid DESC"
                                     : "WHERE state <> 3 ORDER BY created_at_ms DESC, rowid DESC");
}

result<swarm_record> reader::swarm(const swarm_id& id) {
  return only_one(read_rows<swarm_record>(db_, "swarms", "WHERE swarm = ?1", id),
                  errc::no_such_swarm, id.value);
}

result<std::vector<sandbox_record>> reader::sandboxes(const swarm_id& id) {
  return read_rows<sandbox_record>(db_, "sandboxes", "WHERE swarm = ?1 ORDER BY \"index\", rowid",
                                   id);
}

result<std::vector<sandbox_record>> reader::all_sandboxes(bool all) {
  return read_rows<sandbox_record>(
      db_, "sandboxes",
      all ? "ORDER BY rowid"
          : "WHERE swarm IN (SELECT swarm FROM swarms WHERE state <> 3) ORDER BY rowid");
}

result<sandbox_record> reader::sandbox(const sandbox_id& id) {
  return only_one(read_rows<sandbox_record>(db_, "sandboxes", "WHERE sandbox = ?1", id),
                  errc::not_found, "sandbox " + id.value);
}

result<std::optional<sandbox_record>> reader::find_remote(std::string_view remote_id) {
  auto rows = read_rows<sandbox_record>(
      db_, "sandboxes", "WHERE remote_id = ?1 AND remote_id <> '' LIMIT 1", remote_id);
  if (!rows) return rows.err();
  if (rows->empty()) return std::optional<sandbox_record>{};
  return std::optional{std::move(rows->front())};
}

result<std::vector<pane_record>> reader::panes(const swarm_id& id) {
  return read_rows<pane_record>(db_, "panes", "WHERE swarm = ?1 ORDER BY \"index\", rowid", id);
}

result<std::vector<pane_record>> reader::panes(const sandbox_id& id) {
  return read_rows<pane_record>(db_, "panes", "WHERE sandbox = ?1 ORDER BY \"index\", rowid", id);
}

result<std::vector<pane_record>> reader::all_panes(bool all) {
  return read_rows<pane_record>(
      db_, "panes",
      all ? "ORDER BY rowid"
          : "WHERE swarm IN (SELECT swarm FROM swarms WHERE state <> 3) ORDER BY rowid");
}

result<pane_record> reader::pane(const pane_id& id) {
  return only_one(read_rows<pane_record>(db_, "panes", "WHERE pane = ?1", id), errc::no_such_pane,
                  id.value);
}

result<std::vector<transfer_record>> reader::transfers(const swarm_id& id) {
  return read_rows<transfer_record>(db_, "transfers",
                                    "WHERE swarm = ?1 ORDER BY created_at_ms, rowid", id);
}

namespace {
// An id is ASCII below 127. Two bounds and no LIKE: they are looked up in the index of the key.
std::string begins_with(std::string_view column, std::string_view text) {
  std::string id{column};
  return text.size() < 4 ? id + " = ?1" : id + " >= ?1 AND " + id + " < ?1 || char(127)";
}
} // namespace

result<std::vector<swarm_record>> reader::swarms_named(std::string_view text) {
  return read_rows<swarm_record>(db_, "swarms",
                                 "WHERE name = ?1 AND name <> '' OR " + begins_with("swarm", text)
                                     + " ORDER BY created_at_ms DESC, rowid DESC",
                                 text);
}

result<std::vector<swarm_record>> reader::swarms_of_repo(std::string_view repo) {
  return read_rows<swarm_record>(db_, "swarms",
                                 "WHERE repo = ?1 ORDER BY created_at_ms DESC, rowid DESC", repo);
}

result<std::vector<pane_record>> reader::panes_named(std::string_view text) {
  return read_rows<pane_record>(
      db_, "panes", "WHERE " + begins_with("pane", text) + " ORDER BY created_at_ms, rowid", text);
}

result<std::vector<replacement_record>> reader::replacements(const swarm_id& id) {
  return read_rows<replacement_record>(db_, "replacements", "WHERE swarm = ?1 ORDER BY number", id);
}

// ---- recovery -------------------------------------------------------------------------------

result<std::vector<open_swarm>> reader::open_swarms() {
  auto sql = "SELECT spec, " + columns_of<swarm_record>()
             + " FROM swarms WHERE state <> 3 ORDER BY created_at_ms, rowid";
  auto q = db_.prepare(sql);
  if (!q) return q.err();
  std::vector<open_swarm> out;
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return out;
    auto& x = out.emplace_back();
    q->read(0, x.spec);
    read_row(*q, x.record, 1);
  }
}

result<bytes> reader::spec(const swarm_id& id) {
  auto q = db_.prepare("SELECT spec FROM swarms WHERE swarm = ?1");
  if (!q) return q.err();
  auto row = q->bind(id).step();
  if (!row) return row.err();
  if (!*row) return make_error(errc::no_such_swarm, id.value);
  return bytes{q->blob(0)};
}

result<std::vector<sandbox_record>> reader::open_sandboxes() {
  return read_rows<sandbox_record>(db_, "sandboxes",
                                   "WHERE state <> 9 ORDER BY created_at_ms, rowid");
}

result<std::vector<pane_record>> reader::open_panes() {
  return read_rows<pane_record>(db_, "panes", "WHERE state <> 5 ORDER BY created_at_ms, rowid");
}

result<std::vector<sandbox_record>> reader::unconfirmed_kills() {
  return read_rows<sandbox_record>(
      db_, "sandboxes",
      "WHERE kill_intended = 1 AND kill_confirmed = 0 ORDER BY created_at_ms, rowid");
}

result<std::vector<sandbox_record>> reader::unresolved_creates() {
  return read_rows<sandbox_record>(db_, "sandboxes",
                                   "WHERE unresolved = 1 ORDER BY created_at_ms, rowid");
}

result<std::vector<sandbox_record>> reader::kept_past_lease(utc_time now) {
  return read_rows<sandbox_record>(db_, "sandboxes INDEXED BY sandboxes_kept",
                                   "WHERE state = 9 AND kept = 1 AND kill_intended = 0 AND "
                                   "lease_end_at_ms <= ?1 ORDER BY created_at_ms, rowid",
                                   now);
}

result<std::vector<sandbox_record>> reader::living_sandboxes() {
  return read_rows<sandbox_record>(
      db_, "sandboxes", "WHERE " + std::string{living_row} + " ORDER BY created_at_ms, rowid");
}

result<std::map<std::string, bool>> reader::providers_to_list(utc_time now) {
  auto q =
      db_.prepare("SELECT provider, 1 FROM sandboxes INDEXED BY sandboxes_living WHERE "
                  + std::string{living_row} + " UNION " + std::string{select_recent_providers});
  if (!q) return q.err();
  q->bind(now - longest_lease, now);
  std::map<std::string, bool> out;
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return out;
    std::string name;
    q->read(0, name);
    auto& lives = out[name];
    lives = lives || q->integer(1) != 0;
  }
}

result<bool> reader::switch_is_on(std::string_view name) {
  auto n = db_.number("SELECT state FROM switches WHERE name = ?1", 0, name);
  if (!n) return n.err();
  return *n != 0;
}

result<std::optional<stored_command>> reader::command(std::string_view key, utc_time now) {
  auto q = db_.prepare("SELECT key, command, fingerprint, reply, expires_at_ms FROM commands "
                       "WHERE key = ?1 AND expires_at_ms > ?2");
  if (!q) return q.err();
  auto row = q->bind(key, now).step();
  if (!row) return row.err();
  if (!*row) return std::optional<stored_command>{};
  stored_command out;
  q->read(0, out.key);
  q->read(1, out.command);
  q->read(2, out.fingerprint);
  q->read(3, out.reply);
  q->read(4, out.expires_at);
  return std::optional{std::move(out)};
}

} // namespace skep::storage
