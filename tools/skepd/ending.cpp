#include "tools/skepd/ending.hpp"

#include "tools/skepd/json_log.hpp"

#include <unistd.h>

namespace skep::tools {

namespace {

/// Waits a moment; true when a signal that ends us came.
bool another_signal(const sigset_t& signals) {
  timespec moment{0, 100'000'000};
  auto got = ::sigtimedwait(&signals, nullptr, &moment);
  return got == SIGTERM || got == SIGINT;
}

/// True when a signal that ends us came from outside since the last look; never waits. Those that
/// this process sends to itself only wake its main thread.
bool signalled(const sigset_t& signals) {
  timespec none{0, 0};
  siginfo_t from{};
  for (int got; (got = ::sigtimedwait(&signals, &from, &none)) > 0;)
    if ((got == SIGTERM || got == SIGINT) && from.si_pid != ::getpid()) return true;
  return false;
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
  actors::ask_all_to_end(registry, plan.mode());
  actors::unled_ending rest{svc, registry};
  auto left = [&] {
    const bool of_rest = rest.go_on(out.took);
    return of_rest || registry.size() > 0;
  };
  while (left()) {
    auto again = another_signal(signals);
    out.took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    switch (plan.due(out.took, again)) {
    case course::step::wait:
      continue;
    case course::step::ask:
      actors::ask_all_to_end(registry, plan.mode());
      continue;
    case course::step::force:
      log_line(log_level::warn, "daemon", "daemon.ending_forced", {{"left", registry.size()}});
      actors::ask_all_to_end(registry, plan.mode());
      continue;
    case course::step::give_up:
      if (!left()) break;
      out.refused = actors::who_is_left(svc, registry);
      for (auto& who : rest.who_is_left())
        out.refused.push_back(std::move(who));
      tell(sys, svc, out);
      return out;
    }
  }
  return out;
}

void await_or_exit(const sigset_t& signals, std::chrono::steady_clock::time_point until,
                   const char* what, const std::function<bool()>& over) {
  while (!over()) {
    if (signalled(signals)) {
      log_line(log_level::warn, "daemon", "daemon.ending_forced", {{"waited_for", what}});
      std::_Exit(info(errc::stop_refused).exit_code);
    }
    if (std::chrono::steady_clock::now() < until) continue;
    log_line(log_level::error, "daemon", "daemon.stop_timed_out", {{"waited_for", what}});
    std::_Exit(info(errc::timed_out).exit_code);
  }
}

} // namespace skep::tools
