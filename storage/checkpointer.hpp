// Moves the write-ahead log into the database from a thread and connection of its own, so that no
// commit waits for it.
//
//   every `period` after something was written   PASSIVE: blocks nobody
//   log above `quiet_bound_bytes`, nothing written for a period   TRUNCATE
//   log above `hard_bound_bytes`, always                          RESTART: commits wait a little
#pragma once

#include "storage/connection.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace skep::storage {

struct checkpoint_policy {
  std::chrono::milliseconds period{200};
  std::uint64_t quiet_bound_bytes = 16ull << 20;
  std::uint64_t hard_bound_bytes = 256ull << 20;
  /// How long RESTART and TRUNCATE wait for readers, holding writers up.
  std::chrono::milliseconds patience{20};
};

class checkpointer {
public:
  static result<std::unique_ptr<checkpointer>> start(const std::filesystem::path& database,
                                                     checkpoint_policy policy = {});
  /// Ends the thread; a checkpoint that runs is finished.
  ~checkpointer();
  checkpointer(const checkpointer&) = delete;
  checkpointer& operator=(const checkpointer&) = delete;

  /// Something was committed. Any thread.
  void mark_dirty();
  /// Checkpoints that were run so far. Any thread.
  std::uint64_t runs() const { return runs_.load(std::memory_order_relaxed); }

private:
  checkpointer(connection db, std::filesystem::path wal, checkpoint_policy policy);
  void loop();
  void checkpoint(bool quiet);

  connection db_; ///< Of the thread.
  std::filesystem::path wal_;
  checkpoint_policy policy_;
  std::atomic<std::uint64_t> runs_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool dirty_ = false;
  bool stop_ = false;
  std::thread thread_;
};

} // namespace skep::storage
