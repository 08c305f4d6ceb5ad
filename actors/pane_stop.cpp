// How an agent is ended from outside, and stopped where it is: signals to it and what follows them.
#include "actors/guest_call.hpp"
#include "actors/pane_actor.hpp"
#include "actors/pane_launch.hpp"

#include <algorithm>

namespace skep::actors {

void pane_impl::on_stop(stop_mode how) {
  if (rec_.state == pane_phase::closed) return;
  auto first = !std::exchange(stopping_, true);
  if (first || at_once(how)) take_reason(how);
  if (at_once(how)) return close(stop_outcome_, {}); // the sandbox goes with it
  if (!first) return;
  if (rec_.state == pane_phase::queued || rec_.state == pane_phase::restarting)
    return close(stop_outcome_, stop_why_);
  if (rec_.state == pane_phase::running) interrupt();
}

void pane_impl::take_reason(stop_mode how) {
  stop_outcome_ = outcome_of(how);
  if (how == stop_mode::idle)
    stop_why_ =
        with_step(make_error(errc::idle, rec_.name + " was silent for "
                                             + std::to_string(ctx_->spec->idle_limit_ms / 1000)
                                             + " s and longer"),
                  "agent");
  const auto& p = limits();
  auto ends = how == stop_mode::shutdown;
  interrupt_grace_ = ends ? p.shutdown_interrupt : p.stop_grace;
  kill_grace_ = ends ? p.shutdown_grace : p.stop_grace;
}

// SIGINT, then after the grace time SIGKILL, then after another one the pane is closed regardless.
// One that did not listen is named. Once for each attempt.
void pane_impl::interrupt() {
  if (std::exchange(interrupted_, rec_.attempt) == rec_.attempt) return;
  send_signal("INT");
  later(interrupt_grace_, [this] {
    if (rec_.state != pane_phase::running) return;
    note(ctx_->recorder(), now(),
         notice{severity::warning, "agent_unresponsive",
                rec_.name + " (" + rec_.pane.value + ") in " + ctx_->sandbox.value
                    + " did not end within " + std::to_string(interrupt_grace_.count())
                    + " s of its interrupt and is killed"});
    send_signal("KILL");
    later(kill_grace_, [this] {
      if (rec_.state != pane_phase::running) return;
      auto why = make_error(errc::timed_out, "the agent did not end");
      close(stop_outcome_, stop_why_ ? stop_why_ : why);
    });
  });
}

// Told again where it is repeated: an agent that started meanwhile is stopped, too.
void pane_impl::freeze(bool frozen) {
  if (rec_.state == pane_phase::running && !stopping_) send_signal(frozen ? "STOP" : "CONT");
}

void pane_impl::send_signal(const char* signal_name) {
  ctx_->api->run(ctx_->address(), signal_command(*ctx_, rec_.pane, rec_.attempt, signal_name),
                 [](result<sandbox::command_result>) {});
}

// Ends an agent that nobody follows, or its start that may still come: asked again until a holder
// has answered or the sandbox is gone, for it works in a tree that may be another attempt's. Where
// nothing was started, the answer is that nothing can be any more (`skep-guest signal`).
void pane_impl::kill_attempt(std::uint32_t attempt, std::uint32_t tries) {
  ctx_->api->run(
      ctx_->address(), signal_command(*ctx_, rec_.pane, attempt, "KILL"),
      home<sandbox::command_result>([this, attempt, tries](result<sandbox::command_result> r) {
        auto answer = read_guest_answer(r);
        if (answer) return attempt_over(attempt);
        if (answer.err().code == errc::gone) return;
        const auto& p = limits();
        auto wait = std::min(p.kill_retry * (1 << std::min(tries, 6u)), p.pane_wait_most);
        later(wait, [this, attempt, tries] { kill_attempt(attempt, tries + 1); });
      }));
}

} // namespace skep::actors
