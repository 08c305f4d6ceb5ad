#include "storage/connection.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {

error sqlite_error(sqlite3* db, int code, std::string what) {
  // The message of the handle belongs to its last call only; the code's own text always fits.
  std::string reason = db != nullptr && (sqlite3_errcode(db) & 0xff) == (code & 0xff)
                           ? sqlite3_errmsg(db)
                           : sqlite3_errstr(code);
  errc kind = errc::sql;
  switch (code & 0xff) {
  case SQLITE_FULL:
    kind = errc::disk_full;
    break;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    kind = errc::corrupt_database;
    break;
  case SQLITE_IOERR:
  case SQLITE_CANTOPEN:
  case SQLITE_READONLY:
  case SQLITE_PERM:
    kind = errc::io;
    break;
  default:
    break;
  }
  return make_error(kind, std::move(what), std::move(reason));
}

// ---- query ----------------------------------------------------------------------------------

query::query(query&& other) noexcept
    : db_(other.db_), stmt_(std::exchange(other.stmt_, nullptr)), cached_(other.cached_),
      failed_(other.failed_) {}

query::~query() {
  if (stmt_ == nullptr) return;
  if (cached_ == nullptr) {
    sqlite3_finalize(stmt_);
    return;
  }
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
  cached_->in_use = false;
}

result<bool> query::step() {
  if (failed_ != 0) return sqlite_error(nullptr, failed_, "a value could not be bound");
  auto code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(db_, code, sqlite3_sql(stmt_));
}

result<void> query::run() {
  for (;;) {
    auto row = step();
    if (!row) return row.err();
    if (!*row) return {};
  }
}

std::int64_t query::integer(int i) const {
  return sqlite3_column_int64(stmt_, i);
}

double query::real(int i) const {
  return sqlite3_column_double(stmt_, i);
}

std::string query::text(int i) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, i));
  return data == nullptr
             ? std::string{}
             : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, i)));
}

std::string query::blob(int i) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_, i));
  return data == nullptr
             ? std::string{}
             : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, i)));
}

void query::bind_integer(int i, std::int64_t x) {
  if (auto code = sqlite3_bind_int64(stmt_, i, x); code != SQLITE_OK && failed_ == 0)
    failed_ = code;
}

void query::bind_real(int i, double x) {
  if (auto code = sqlite3_bind_double(stmt_, i, x); code != SQLITE_OK && failed_ == 0)
    failed_ = code;
}

void query::bind_text(int i, std::string_view x) {
  // A null pointer would bind NULL: an empty view is an empty text.
  auto code = sqlite3_bind_text64(stmt_, i, x.empty() ? "" : x.data(), x.size(), SQLITE_STATIC,
                                  SQLITE_UTF8);
  if (code != SQLITE_OK && failed_ == 0) failed_ = code;
}

void query::bind_blob(int i, std::string_view x) {
  auto code = x.empty() ? sqlite3_bind_zeroblob(stmt_, i, 0)
                        : sqlite3_bind_blob64(stmt_, i, x.data(), x.size(), SQLITE_STATIC);
  if (code != SQLITE_OK && failed_ == 0) failed_ = code;
}

// ---- connection -----------------------------------------------------------------------------

namespace {

/// Makes the file with mode 0600 before SQLite does: its -wal and -shm inherit the mode, and the
/// umask of a process with threads is better left alone. A file that is there is not opened:
/// closing any descriptor of it takes away the locks that this process's connections have on it,
/// and another program would then remove the write-ahead log beneath them.
result<void> make_private_file(const std::filesystem::path& file) {
  auto failed = [&](int number) {
    return make_error(errc::io, "cannot open the database " + file.string(), std::strerror(number));
  };
  auto fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  if (errno != EEXIST) return failed(errno);
  struct stat s {};
  if (::lstat(file.c_str(), &s) != 0) return failed(errno);
  if (S_ISLNK(s.st_mode)) return failed(ELOOP);
  return {};
}

/// The file as a URI that tells SQLite that it does not change: every other byte escaped.
std::string unchanging_uri(const std::filesystem::path& file) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._~/";
  constexpr std::string_view digits = "0123456789ABCDEF";
  // With an empty host, so that a path that begins with two slashes is one all the same.
  std::string out = file.is_absolute() ? "file://" : "file:";
  for (char c : file.string()) {
    if (plain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out += {'%', digits[byte >> 4], digits[byte & 0xf]};
  }
  return out + "?immutable=1";
}

} // namespace

result<connection> connection::open(const std::filesystem::path& file, const open_options& how) {
  if (how.create && !how.read_only)
    if (auto made = make_private_file(file); !made) return made.err();
  connection out;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
              | (how.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
  auto name = file.string();
  if (how.read_only && how.unchanging) {
    flags |= SQLITE_OPEN_URI;
    name = unchanging_uri(file);
  }
  auto code = sqlite3_open_v2(name.c_str(), &out.db_, flags, nullptr);
  if (code != SQLITE_OK)
    return sqlite_error(out.db_, code, "cannot open the database " + file.string());
  sqlite3_busy_timeout(out.db_, static_cast<int>(how.busy_timeout.count()));

  // temp_store: the savepoint journals of chunks stay in memory. The first pragma that reads the
  // file finds out when it is not a database.
  std::string pragmas = "PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-"
                        + std::to_string(how.cache_kib) + ";";
  if (how.read_only)
    pragmas += "PRAGMA query_only=ON; PRAGMA schema_version;";
  else
    pragmas += std::string{"PRAGMA journal_mode="} + (how.fills_copy ? "MEMORY" : "WAL")
               + "; PRAGMA synchronous=FULL;";
  if (auto done = out.execute(pragmas); !done) {
    auto e = done.err();
    e.message = "cannot open the database " + file.string();
    return e;
  }
  if (how.check)
    if (auto done = out.check_pages(); !done) return done.err();
  return out;
}

connection::connection(connection&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)), statements_(std::move(other.statements_)) {
  other.statements_.clear();
}

connection& connection::operator=(connection&& other) noexcept {
  if (this != &other) {
    close();
    db_ = std::exchange(other.db_, nullptr);
    statements_ = std::move(other.statements_);
    other.statements_.clear();
  }
  return *this;
}

connection::~connection() {
  close();
}

void connection::close() {
  for (auto& [sql, s] : statements_)
    sqlite3_finalize(s->stmt);
  statements_.clear();
  if (db_ != nullptr) sqlite3_close_v2(std::exchange(db_, nullptr));
}

result<void> connection::finish() {
  for (auto& [sql, s] : statements_)
    sqlite3_finalize(s->stmt);
  statements_.clear();
  if (db_ == nullptr) return {};
  auto code = sqlite3_close(db_);
  // One that is in use stays open, and goes with this object.
  if (code != SQLITE_OK) return sqlite_error(db_, code, "a database could not be closed");
  db_ = nullptr;
  return {};
}

result<query> connection::prepare(std::string_view sql) {
  auto make = [&]() -> result<sqlite3_stmt*> {
    sqlite3_stmt* stmt = nullptr;
    auto code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                   SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
    if (code != SQLITE_OK) return sqlite_error(db_, code, std::string{sql});
    return stmt;
  };
  auto i = statements_.find(sql);
  if (i == statements_.end()) {
    auto stmt = make();
    if (!stmt) return stmt.err();
    auto entry = std::make_unique<detail::cached_statement>();
    entry->stmt = *stmt;
    i = statements_.emplace(std::string{sql}, std::move(entry)).first;
  }
  auto& entry = *i->second;
  if (entry.in_use) { // used twice at once: a statement of its own for the second
    auto stmt = make();
    if (!stmt) return stmt.err();
    return query{db_, *stmt, nullptr};
  }
  entry.in_use = true;
  return query{db_, entry.stmt, &entry};
}

result<void> connection::execute(std::string_view script) {
  std::string text{script};
  auto code = sqlite3_exec(db_, text.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_error(db_, code, "a script of statements failed");
  return {};
}

result<void> connection::check_pages(std::string_view table) {
  auto inside = std::string{table.empty() ? "1" : table};
  auto q = prepare("PRAGMA quick_check(" + inside + ")");
  if (!q) return q.err();
  auto row = q->step();
  if (!row) return row.err();
  if (auto text = q->text(0); text != "ok") {
    const auto* file = sqlite3_db_filename(db_, "main");
    return make_error(errc::corrupt_database, file == nullptr ? "" : file, text);
  }
  return {};
}

std::int64_t connection::changes() const {
  return sqlite3_changes64(db_);
}

bool connection::in_transaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

// ---- transaction ----------------------------------------------------------------------------

result<transaction> transaction::begin(connection& db, kind k) {
  auto done = db.run(k == kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
  if (!done) return done.err();
  return transaction{db};
}

transaction::~transaction() {
  // Nothing can be done about a failed rollback; SQLite has then ended the transaction itself.
  if (db_ != nullptr && db_->in_transaction()) static_cast<void>(db_->run("ROLLBACK").ok());
}

result<void> transaction::commit() {
  auto done = db_->run("COMMIT");
  if (!done) return done.err();
  db_ = nullptr;
  return {};
}

} // namespace skep::storage
