// One SQLite connection: opened safely, statements prepared once, values bound and read by type.
// Not thread-safe: a connection belongs to one thread at a time. Nothing here throws.
#pragma once

#include "messages/enums.hpp"
#include "messages/error.hpp"
#include "messages/fields.hpp"
#include "messages/ids.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace skep::storage {

/// How a database file is opened.
struct open_options {
  bool read_only = false;
  bool create = true; ///< Make the file (mode 0600) when it is missing; not with read_only.
  bool check = false; ///< check_pages() at once: takes the longer the larger the file is.
  /// For a file that the backup API fills: no log beside it, so that a write that fails does so
  /// while it is copied and not when the log is moved into it.
  bool fills_copy = false;
  /// With read_only: nobody writes to the file meanwhile. It is read without locks, and nothing is
  /// made beside it. Never for a database in use.
  bool unchanging = false;
  std::chrono::milliseconds busy_timeout{5000}; ///< How long a writer waits for another one.
  int cache_kib = 64 * 1024;
};

namespace detail {
struct cached_statement {
  sqlite3_stmt* stmt = nullptr;
  bool in_use = false;
};
} // namespace detail

/// One use of a prepared statement; resets it and gives it back at the end of its life. Text and
/// blobs are bound by reference: they must live until the last step().
class query {
public:
  query(query&& other) noexcept;
  query& operator=(query&&) = delete;
  ~query();

  /// Binds the parameters ?1, ?2, ... in order.
  template <class... Ts>
  query& bind(const Ts&... xs) {
    int i = 0;
    (bind_one(++i, xs), ...);
    return *this;
  }
  /// True: a row can be read. False: done.
  result<bool> step();
  /// Steps to the end, dropping rows.
  result<void> run();

  /// Reads column `i` (from 0) of the present row; NULL reads as the type's zero.
  template <class T>
  void read(int i, T& out) const {
    if constexpr (std::is_same_v<T, bytes>)
      out.data = blob(i);
    else if constexpr (std::is_same_v<T, std::string>)
      out = text(i);
    else if constexpr (is_id<T>)
      out.value = text(i);
    else if constexpr (std::is_same_v<T, utc_time>)
      out = utc_time{std::chrono::milliseconds{integer(i)}};
    else if constexpr (std::is_same_v<T, bool>)
      out = integer(i) != 0;
    else if constexpr (std::is_floating_point_v<T>)
      out = static_cast<T>(real(i));
    else
      out = static_cast<T>(integer(i));
  }
  std::int64_t integer(int i) const;
  double real(int i) const;
  std::string text(int i) const;
  std::string blob(int i) const;

private:
  friend class connection;
  query(sqlite3* db, sqlite3_stmt* stmt, detail::cached_statement* cached)
      : db_(db), stmt_(stmt), cached_(cached) {}

  template <class T>
  void bind_one(int i, const T& x) {
    if constexpr (std::is_same_v<T, bytes>)
      bind_blob(i, x.data);
    else if constexpr (is_id<T>)
      bind_text(i, x.value);
    else if constexpr (std::is_same_v<T, utc_time>)
      bind_integer(i, x.time_since_epoch().count());
    else if constexpr (std::is_floating_point_v<T>)
      bind_real(i, x);
    else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>)
      bind_integer(i, static_cast<std::int64_t>(x));
    else
      bind_text(i, std::string_view{x});
  }
  void bind_integer(int i, std::int64_t x);
  void bind_real(int i, double x);
  void bind_text(int i, std::string_view x);
  void bind_blob(int i, std::string_view x);

  sqlite3* db_;
  sqlite3_stmt* stmt_;
  detail::cached_statement* cached_; ///< nullptr: the statement is this query's own.
  int failed_ = 0;                   ///< First binding that failed, reported by step().
};

class connection {
public:
  /// Opens (and makes) the file in WAL mode with synchronous=FULL and foreign keys on. Errors: io,
  /// corrupt_database (not a database, or `check` found damage), sql.
  static result<connection> open(const std::filesystem::path& file, const open_options& how = {});
  connection(connection&& other) noexcept;
  connection& operator=(connection&& other) noexcept;
  ~connection();

  /// The statement for `sql`, prepared at its first use and kept.
  result<query> prepare(std::string_view sql);
  /// Prepares, binds and runs to the end.
  template <class... Ts>
  result<void> run(std::string_view sql, const Ts&... xs) {
    auto q = prepare(sql);
    if (!q) return q.err();
    return q->bind(xs...).run();
  }
  /// First column of the first row as a number; `fallback` when there is no row.
  template <class... Ts>
  result<std::int64_t> number(std::string_view sql, std::int64_t fallback, const Ts&... xs) {
    auto q = prepare(sql);
    if (!q) return q.err();
    auto row = q->bind(xs...).step();
    if (!row) return row.err();
    return *row ? q->integer(0) : fallback;
  }
  /// Runs a script of several statements; kept by nothing.
  result<void> execute(std::string_view script);

  /// Reads every page (quick_check), or those of one table and its indexes. Errors:
  /// corrupt_database, and io for a page that cannot be read.
  result<void> check_pages(std::string_view table = {});

  /// Closes now; nothing else may be done with it then. Errors: what SQLite says about the close.
  result<void> finish();

  /// Rows changed by the last INSERT, UPDATE or DELETE.
  std::int64_t changes() const;
  /// False outside of a transaction, also after SQLite rolled one back by itself.
  bool in_transaction() const;
  /// For what this class does not offer (backup API, checkpoints).
  sqlite3* handle() const { return db_; }

private:
  connection() = default;
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view x) const { return std::hash<std::string_view>{}(x); }
  };
  void close();

  sqlite3* db_ = nullptr;
  std::unordered_map<std::string, std::unique_ptr<detail::cached_statement>, text_hash,
                     std::equal_to<>>
      statements_;
};

/// A transaction that is rolled back unless commit() succeeded.
class transaction {
public:
  enum class kind { read, write };
  static result<transaction> begin(connection& db, kind k);
  transaction(transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  transaction& operator=(transaction&&) = delete;
  ~transaction();
  result<void> commit();

private:
  explicit transaction(connection& db) : db_(&db) {}
  connection* db_;
};

/// The error of SQLite's result `code` on `db`: full -> disk_full, damaged -> corrupt_database,
/// input/output -> io, else sql. `what` says what was tried.
error sqlite_error(sqlite3* db, int code, std::string what);

} // namespace skep::storage
