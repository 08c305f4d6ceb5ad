#include "host/isolation_state.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace skep::host {

struct isolation_state::attempt {
  explicit attempt(asio::io_context& io) : done(io) {}
  notifier done;
  bool ended = false;
};

struct isolation_state::worker {
  asio::thread_pool pool{1};
};

isolation_state::isolation_state(asio::io_context& io, error found,
                                 std::function<result<void>()> look)
    : io_(io), problem_(std::move(found)), look_(std::move(look)) {}

isolation_state::~isolation_state() = default;

task<error> isolation_state::look_again() {
  if (!problem_) co_return error{};
  if (!attempt_) {
    attempt_ = std::make_shared<attempt>(io_);
    if (!worker_) worker_ = std::make_unique<worker>();
    asio::post(worker_->pool, [this] {
      error found;
      if (auto r = look_(); !r) found = r.err();
      asio::post(io_, [this, found] {
        problem_ = found;
        auto over = std::exchange(attempt_, nullptr);
        over->ended = true;
        over->done.notify();
      });
    });
  }
  auto mine = attempt_;
  while (!mine->ended)
    co_await mine->done.wait();
  co_return problem_;
}

} // namespace skep::host
