#include "actors/work_pool.hpp"

#include <algorithm>
#include <exception>

namespace skep::actors {

work_pool::work_pool(unsigned threads, failure_hook failed) : failed_(std::move(failed)) {
  running_ = std::max(1u, threads);
  for (std::size_t i = running_; i > 0; --i)
    threads_.emplace_back([this] { run(); });
}

work_pool::~work_pool() {
  stop();
}

void work_pool::submit(std::function<void()> job) {
  {
    std::lock_guard guard{mutex_};
    if (cancelled_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

std::size_t work_pool::waiting() const {
  std::lock_guard guard{mutex_};
  return jobs_.size();
}

void work_pool::cancel() {
  std::deque<std::function<void()>> dropped; // destroyed outside the lock: jobs may hold handles
  {
    std::lock_guard guard{mutex_};
    cancelled_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_all();
}

void work_pool::stop() {
  cancel();
  for (auto& t : threads_)
    if (t.joinable()) t.join();
}

bool work_pool::stop(std::chrono::milliseconds limit) {
  cancel();
  {
    std::unique_lock lock{mutex_};
    if (!ended_.wait_for(lock, limit, [this] { return running_ == 0; })) return false;
  }
  stop(); // they have left their loops
  return true;
}

void work_pool::run() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock{mutex_};
      wake_.wait(lock, [this] { return cancelled_ || !jobs_.empty(); });
      if (jobs_.empty()) {
        --running_;
        ended_.notify_all(); // under the lock: who waits may destroy the pool
        return;
      }
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    carry_out(job);
  }
}

// One job that fails for want of memory or of a thread is worth no daemon.
void work_pool::carry_out(const std::function<void()>& job) const {
  auto tell = [this](const char* what) noexcept {
    try {
      if (failed_) failed_(what);
    } catch (...) { // nor is the word of it
    }
  };
  try {
    job();
  } catch (const std::exception& e) {
    tell(e.what());
  } catch (...) {
    tell("an exception without words");
  }
}

} // namespace skep::actors
