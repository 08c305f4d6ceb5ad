// A bounded pool of threads for blocking local work (packing, unpacking, hashing): never a thread
// per sandbox, never blocking work in a handler.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace skep::actors {

class work_pool {
public:
  /// Starts `threads` (at least 1) threads.
  explicit work_pool(unsigned threads);
  /// Waits for the jobs that run; those that wait are dropped.
  ~work_pool();
  /// Queues a job; jobs start in order. It must not throw. Thread-safe. After stop(): dropped.
  void submit(std::function<void()> job);
  /// Jobs that no thread has taken yet. Thread-safe.
  std::size_t waiting() const;
  void stop();

private:
  void run();
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace skep::actors
