// Whether the database is damaged, without a start that takes the longer the larger it is.
//
//   up to journal_options::check_at_open_bytes   every page is read at open
//   above                                        at open the small tables and the end of the
//                                                journal; every page by a thread, after the start
//
//   STATE/damage    0600, text: damage was found while the database was open. Whatever the size,
//                   the next open reads every page, and removes the file when the database is sound
//                   (again): so nobody writes a second time into one that is known to be damaged.
#pragma once

#include "storage/connection.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace skep::storage {

class migrator;

/// Every page is to be read at open: the database is small, its schema is about to be changed or
/// cannot be told, or it was found damaged before.
bool needs_whole_check(const std::filesystem::path& database, const migrator& schema,
                       std::uint64_t most_bytes);

/// What a start stands on, in a time that does not depend on the size: header and size of the file,
/// the small tables, and the newest chunks with their bodies. Of a database with today's schema.
/// Errors: corrupt_database, io, sql.
result<void> check_ends(connection& db);

/// Writes down that the database is damaged. As far as the disk lets it: who calls ends soon.
void leave_damage(const std::filesystem::path& database, const error& found);
/// It was found to be sound.
void forget_damage(const std::filesystem::path& database);

/// Reads every page of a database once, beside those who use it, at the lowest priority. While it
/// reads, the write-ahead log cannot begin anew and grows.
class damage_check {
public:
  /// Begins after `delay`, and calls `verdict` once, from its own thread: with no error for a sound
  /// database, with corrupt_database (also left in STATE/damage), or with why it could not be
  /// told (io, sql). `verdict` may be empty. Errors: as of connection::open.
  static result<std::unique_ptr<damage_check>> start(const std::filesystem::path& database,
                                                     std::chrono::milliseconds delay,
                                                     std::function<void(const error&)> verdict);
  /// Ends the thread, within milliseconds and without a verdict when it still reads.
  ~damage_check();
  damage_check(const damage_check&) = delete;
  damage_check& operator=(const damage_check&) = delete;

private:
  damage_check(connection db, std::filesystem::path database, std::chrono::milliseconds delay,
               std::function<void(const error&)> verdict);
  void run();

  connection db_; ///< Of the thread.
  std::filesystem::path database_;
  std::chrono::milliseconds delay_;
  std::function<void(const error&)> verdict_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  bool done_ = false;
  std::thread thread_;
};

} // namespace skep::storage
