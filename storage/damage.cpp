#include "storage/damage.hpp"

#include "storage/files.hpp"
#include "storage/migrator.hpp"

#include <sqlite3.h>
#include <sys/resource.h>
#include <unistd.h>

namespace skep::storage {
namespace {

/// Of the journal's end, read with their bodies: some MiB.
constexpr int newest_chunks = 256;

std::filesystem::path damage_file(const std::filesystem::path& database) {
  return database.parent_path() / "damage";
}

/// With the write-ahead log, which becomes a part of it.
std::uint64_t bytes_of(const std::filesystem::path& database) {
  std::uint64_t out = 0;
  for (const auto* part : {"", "-wal"}) {
    auto file = database;
    file += part;
    std::error_code missing;
    if (auto n = std::filesystem::file_size(file, missing); !missing) out += n;
  }
  return out;
}

} // namespace

bool needs_whole_check(const std::filesystem::path& database, const migrator& schema,
                       std::uint64_t most_bytes) {
  if (bytes_of(database) <= most_bytes || path_exists(damage_file(database))) return true;
  auto found = schema.status();
  return !found || found->current != found->newest;
}

result<void> check_ends(connection& db) {
  // A file that is shorter than its header says is refused by whatever reads it first.
  for (const auto* table : {"journal_info", "epochs", "switches", "budgets"})
    if (auto done = db.check_pages(table); !done) return done;
  auto q = db.prepare("SELECT body FROM chunks ORDER BY first_seq DESC LIMIT ?1");
  if (!q) return q.err();
  q->bind(newest_chunks);
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return {}; // the step has read the body, too
  }
}

void leave_damage(const std::filesystem::path& database, const error& found) {
  static_cast<void>(write_file(damage_file(database), render(found) + "\n").ok());
}

void forget_damage(const std::filesystem::path& database) {
  ::unlink(damage_file(database).c_str());
}

// ---- damage_check ---------------------------------------------------------------------------

result<std::unique_ptr<damage_check>>
damage_check::start(const std::filesystem::path& database, std::chrono::milliseconds delay,
                    std::function<void(const error&)> verdict) {
  open_options how;
  how.read_only = true;
  how.cache_kib = 1024; // nearly every page is read once
  auto db = connection::open(database, how);
  if (!db) return db.err();
  return std::unique_ptr<damage_check>(
      new damage_check(std::move(*db), database, delay, std::move(verdict)));
}

damage_check::damage_check(connection db, std::filesystem::path database,
                           std::chrono::milliseconds delay,
                           std::function<void(const error&)> verdict)
    : db_(std::move(db)), database_(std::move(database)), delay_(delay),
      verdict_(std::move(verdict)), thread_([this] { run(); }) {}

damage_check::~damage_check() {
  {
    std::unique_lock hold{mutex_};
    stop_ = true;
    changed_.notify_all();
    // An interrupt that comes before the statement began is lost: it is repeated.
    while (!done_) {
      sqlite3_interrupt(db_.handle());
      changed_.wait_for(hold, std::chrono::milliseconds{5}, [this] { return done_; });
    }
  }
  thread_.join();
}

void damage_check::run() {
  // Of this thread alone; refused nowhere, since it only goes up.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
  bool stop = false;
  {
    std::unique_lock hold{mutex_};
    stop = changed_.wait_for(hold, delay_, [this] { return stop_; });
  }
  auto checked = stop ? result<void>{} : db_.check_pages();
  {
    std::unique_lock hold{mutex_};
    stop = stop_;
    done_ = true;
    changed_.notify_all();
  }
  auto found = checked ? error{} : checked.err();
  if (found.code == errc::corrupt_database) leave_damage(database_, found);
  if (verdict_ && !stop) verdict_(found);
}

} // namespace skep::storage
