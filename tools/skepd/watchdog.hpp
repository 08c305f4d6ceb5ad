// CAF 0.17's clock thread can deadlock (its timers then never fire again). This thread expects a
// heartbeat through it and ends the process when there is none: the next skepd takes everything up
// again.
#pragma once

#include <caf/all.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace skep::tools {

class watchdog {
public:
  /// Ends the process with status 70 after `patience` without a heartbeat.
  watchdog(caf::actor_system& sys, std::chrono::seconds patience);
  ~watchdog();

private:
  void watch(std::chrono::seconds patience);
  std::shared_ptr<std::atomic<std::uint64_t>> beats_;
  caf::actor heart_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace skep::tools
