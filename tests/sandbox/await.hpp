// Waiting for callbacks of another thread, always with a limit.
#pragma once

#include "sandbox/api.hpp"
#include "sandbox/http_engine.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>

namespace skep::sandbox {

inline constexpr std::chrono::seconds await_limit{20};

/// The value of a future; the test fails when it does not come.
template <class T>
T value_of(std::future<T> f) {
  if (f.wait_for(await_limit) != std::future_status::ready) {
    FAIL("nothing came within the limit");
    std::abort();
  }
  return f.get();
}

/// Makes a call and waits for its result: await<sandbox::detail>([&](auto then) { api.get(id,
/// then); }).
template <class T, class Start>
result<T> await(Start start) {
  auto promise = std::make_shared<std::promise<result<T>>>();
  auto future = promise->get_future();
  start(done<T>{[promise](result<T> r) { promise->set_value(std::move(r)); }});
  return value_of(std::move(future));
}

/// Submits and waits.
inline http_answer fetch(http_engine& engine, http_request request,
                         std::function<flow(std::string_view)> on_data = {}) {
  auto promise = std::make_shared<std::promise<http_answer>>();
  auto future = promise->get_future();
  http_handlers h;
  h.on_data = std::move(on_data);
  h.on_done = [promise](http_answer a) { promise->set_value(std::move(a)); };
  engine.submit(std::move(request), std::move(h));
  return value_of(std::move(future));
}

/// A value that one thread changes and another waits for.
template <class T>
class watched {
public:
  explicit watched(T first = {}) : value_(std::move(first)) {}
  template <class Change>
  void change(Change f) {
    std::lock_guard lock{mutex_};
    f(value_);
    changed_.notify_all();
  }
  template <class Condition>
  bool until(Condition good) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, await_limit, [&] { return good(value_); });
  }
  T get() {
    std::lock_guard lock{mutex_};
    return value_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_;
};

} // namespace skep::sandbox
