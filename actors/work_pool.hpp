// A bounded pool of threads for blocking work (packing, unpacking, hashing; in a pool of its own,
// reaching providers): never a thread per sandbox, never blocking work in a handler.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace skep::actors {

class work_pool {
public:
  /// Is told what a job threw; on the pool's threads.
  using failure_hook = std::function<void(const std::string& what)>;

  /// Starts `threads` (at least 1) threads.
  explicit work_pool(unsigned threads, failure_hook failed = {});
  /// As stop() without a limit.
  ~work_pool();
  /// Queues a job; jobs start in order. What it throws goes to the hook, and the pool goes on with
  /// the next one. Thread-safe. After stop(): dropped.
  void submit(std::function<void()> job);
  /// Jobs that no thread has taken yet. Thread-safe.
  std::size_t waiting() const;
  /// True once the pool stops: a job that takes long looks at it and ends early. Nobody takes what
  /// it would have brought. Lives as long as the pool; thread-safe.
  const std::atomic<bool>& cancelled() const { return cancelled_; }
  /// Drops the jobs that wait, sets cancelled(), and waits for those that run.
  void stop();
  /// The same, for at most `limit`. False when a job still runs then: the pool takes nothing any
  /// more, and may be asked again. One thread at a time.
  bool stop(std::chrono::milliseconds limit);

private:
  void cancel();
  void run();
  void carry_out(const std::function<void()>& job) const;
  const failure_hook failed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable ended_;
  std::deque<std::function<void()>> jobs_;
  std::atomic<bool> cancelled_{false};
  std::size_t running_ = 0; ///< Threads that have not ended.
  std::vector<std::thread> threads_;
};

} // namespace skep::actors
