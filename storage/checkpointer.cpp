#include "storage/checkpointer.hpp"

#include <sqlite3.h>

namespace skep::storage {

result<std::unique_ptr<checkpointer>> checkpointer::start(const std::filesystem::path& database,
                                                          checkpoint_policy policy) {
  open_options how;
  how.create = false;
  how.busy_timeout = policy.patience;
  how.cache_kib = 256; // it copies pages, it reads none twice
  auto db = connection::open(database, how);
  if (!db) return db.err();
  auto wal = database;
  wal += "-wal";
  return std::unique_ptr<checkpointer>(new checkpointer(std::move(*db), std::move(wal), policy));
}

checkpointer::checkpointer(connection db, std::filesystem::path wal, checkpoint_policy policy)
    : db_(std::move(db)), wal_(std::move(wal)), policy_(policy), thread_([this] { loop(); }) {}

checkpointer::~checkpointer() {
  {
    std::lock_guard hold{mutex_};
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void checkpointer::mark_dirty() {
  std::lock_guard hold{mutex_};
  if (dirty_) return;
  dirty_ = true;
  changed_.notify_all();
}

void checkpointer::loop() {
  std::unique_lock hold{mutex_};
  while (!stop_) {
    changed_.wait(hold, [this] { return stop_ || dirty_; });
    // Collect a period's worth of commits, then move them; go on until a period brought none.
    for (bool busy = true; busy && !stop_;) {
      changed_.wait_for(hold, policy_.period, [this] { return stop_; });
      busy = std::exchange(dirty_, false);
      if (stop_) return;
      hold.unlock();
      checkpoint(!busy);
      hold.lock();
    }
  }
}

void checkpointer::checkpoint(bool quiet) {
  std::error_code ignored;
  auto size = std::filesystem::file_size(wal_, ignored);
  if (ignored) size = 0;
  int mode = SQLITE_CHECKPOINT_PASSIVE;
  if (quiet && size > policy_.quiet_bound_bytes)
    mode = SQLITE_CHECKPOINT_TRUNCATE;
  else if (size > policy_.hard_bound_bytes)
    mode = SQLITE_CHECKPOINT_RESTART;
  // Failing (readers, another checkpoint) is normal: the next period tries again, and the log keeps
  // everything until then.
  sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, mode, nullptr, nullptr);
  runs_.fetch_add(1, std::memory_order_relaxed);
}

} // namespace skep::storage
