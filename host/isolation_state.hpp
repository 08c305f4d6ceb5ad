// Whether sandboxes can be made here, as it was last found, and another look where they could not:
// whoever installs what was missing need not start the host anew.
#pragma once

#include "host/async.hpp"
#include "messages/error.hpp"

#include <functional>
#include <memory>

namespace skep::host {

class isolation_state {
public:
  /// `found`: what the first look said, no error for all well. `look` is called on a thread of its
  /// own and may block.
  isolation_state(asio::io_context& io, error found, std::function<result<void>()> look);
  /// Waits for a look that is under way.
  ~isolation_state();
  isolation_state(const isolation_state&) = delete;
  isolation_state& operator=(const isolation_state&) = delete;

  /// What is missing by the last look, or no error. Looks at nothing.
  const error& problem() const { return problem_; }
  /// The same after another look when something was missing. One look at a time: who comes during
  /// one gets its answer. What was found once is not looked at again.
  task<error> look_again();

private:
  struct attempt;
  struct worker;
  asio::io_context& io_;
  error problem_;
  std::function<result<void>()> look_;
  std::shared_ptr<attempt> attempt_; // the look that is under way
  std::unique_ptr<worker> worker_;   // the thread for looks, from the first one on
};

} // namespace skep::host
