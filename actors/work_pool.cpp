#include "actors/work_pool.hpp"

#include <algorithm>

namespace skep::actors {

work_pool::work_pool(unsigned threads) {
  for (unsigned i = 0; i < std::max(1u, threads); ++i)
    threads_.emplace_back([this] { run(); });
}

work_pool::~work_pool() {
  stop();
}

void work_pool::submit(std::function<void()> job) {
  {
    std::lock_guard guard{mutex_};
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

std::size_t work_pool::waiting() const {
  std::lock_guard guard{mutex_};
  return jobs_.size();
}

void work_pool::stop() {
  std::deque<std::function<void()>> dropped; // destroyed outside the lock: jobs may hold handles
  {
    std::lock_guard guard{mutex_};
    stopping_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_all();
  for (auto& t : threads_)
    if (t.joinable()) t.join();
}

void work_pool::run() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock{mutex_};
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

} // namespace skep::actors
