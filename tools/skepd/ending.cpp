#include "tools/skepd/ending.hpp"

#include "tools/skepd/json_log.hpp"

namespace skep::tools {

namespace {

/// Waits a moment; true when a signal that ends us came.
bool another_signal(const sigset_t& signals) {
  timespec moment{0, 100'000'000};
  auto got = ::sigtimedwait(&signals, nullptr, &moment);
  return got == SIGTERM || got == SIGINT;
}

void tell(caf::actor_system& sys, const actors::services& svc, const ending& end) {
  for (const auto& who : end.refused)
    log_line(log_level::error, "daemon", "daemon.did_not_end", {{"who", who}});
  auto recorder = svc.handles->recorder();
  if (!recorder) return;
  caf::scoped_actor self{sys};
  self->request(recorder, std::chrono::seconds{2}, actors::record_a::value,
                actors::pack_now(svc.wall_now(), stop_forced{end.took.count(), end.refused}))
      .receive([](std::uint64_t) {}, [](caf::error&) {});
}

} // namespace

ending end_swarms(caf::actor_system& sys, const actors::services& svc,
                  actors::swarm_registry& registry, const sigset_t& signals) {
  using course = actors::shutdown_course;
  using std::chrono::milliseconds;
  ending out;
  course plan{svc.limits.shutdown_limit};
  auto began = std::chrono::steady_clock::now();
  log_line(log_level::info, "daemon", "daemon.ending_swarms",
           {{"count", registry.size()}, {"limit_s", svc.limits.shutdown_limit.count()}});
  actors::ask_all_to_end(registry, actors::stop_mode::shutdown);
  while (registry.size() > 0) {
    auto again = another_signal(signals);
    out.took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    switch (plan.due(out.took, again)) {
    case course::step::wait:
      continue;
    case course::step::force:
      log_line(log_level::warn, "daemon", "daemon.ending_forced", {{"left", registry.size()}});
      actors::ask_all_to_end(registry, actors::stop_mode::kill);
      continue;
    case course::step::give_up:
      if (registry.size() == 0) break;
      out.refused = actors::who_is_left(svc, registry);
      tell(sys, svc, out);
      return out;
    }
  }
  return out;
}

} // namespace skep::tools
