#include "actors/policy.hpp"

namespace skep::actors {

error validate(const policies& p) {
  auto bad = [](const char* name) {
    return make_error(errc::out_of_range, std::string{"policy "} + name);
  };
  using namespace std::chrono_literals;
  if (p.create_lease < 30s) return bad("create_lease must be at least 30 s");
  if (p.lease_grace < 1s) return bad("lease_grace must be positive");
  if (p.settle_looks < 1 || p.settle_interval < 1s)
    return bad("settle_looks and settle_interval must be positive");
  if (p.poll_failures < 1 || p.poll_wait_first > p.poll_wait_most)
    return bad("poll_wait_first must not exceed poll_wait_most");
  if (p.pane_wait_first > p.pane_wait_most)
    return bad("pane_wait_first must not exceed pane_wait_most");
  if (p.step_attempts < 1 || p.kill_attempts < 1) return bad("attempts must be positive");
  if (p.poll_buffer_bytes < 64 * 1024) return bad("poll_buffer_bytes must be at least 64 KiB");
  return {};
}

} // namespace skep::actors
