#include "host/pause.hpp"

#include "host/members.hpp"

#include <algorithm>
#include <csignal>

namespace skep::host {

task<result<void>> sandbox_pause::stop(pid_t bubblewrap, std::chrono::milliseconds limit) {
  constexpr std::chrono::milliseconds between{2};
  auto found = inner_pid_namespace(bubblewrap);
  if (!found) co_return found.err();
  namespace_ = *found;
  left_alone_.clear();
  for (const auto& m : members_of(namespace_))
    if (m.state == 'T') left_alone_.insert(m.pid);
  auto until = std::chrono::steady_clock::now() + limit;
  asio::steady_timer timer{io_};
  for (;;) {
    auto all = members_of(namespace_);
    bool still = true;
    for (const auto& m : all) {
      if (m.still()) continue;
      still = false;
      signal_member(m.pid, namespace_, SIGSTOP);
    }
    if (still) co_return result<void>{};
    if (std::chrono::steady_clock::now() >= until) {
      go();
      co_return make_error(errc::timed_out, "some processes of the sandbox do not stop");
    }
    timer.expires_after(between);
    error_code ec;
    co_await timer.async_wait(into(ec));
  }
}

void sandbox_pause::go() {
  auto all = members_of(namespace_);
  std::reverse(all.begin(), all.end());
  for (const auto& m : all)
    if (!left_alone_.contains(m.pid)) signal_member(m.pid, namespace_, SIGCONT);
  left_alone_.clear();
}

} // namespace skep::host
