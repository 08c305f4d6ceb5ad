// How an agent is ended from outside, and stopped where it is: signals to it and what follows them.
#include "actors/guest_call.hpp"
#include "actors/pane_actor.hpp"
#include "actors/pane_launch.hpp"

namespace skep::actors {

void pane_impl::on_stop(stop_mode how) {
  if (rec_.state == pane_phase::closed) return;
  auto first = !std::exchange(stopping_, true);
  if (first || at_once(how)) take_reason(how);
  if (at_once(how)) return close(stop_outcome_, {}); // the sandbox goes with it
  if (!first) return;
  if (rec_.state == pane_phase::queued || rec_.state == pane_phase::restarting)
    return close(stop_outcome_, stop_why_);
  if (rec_.state == pane_phase::running) return interrupt();
  const auto in_queue = has_turn_ && awaited_ != rec_.attempt;
  if (rec_.state == pane_phase::starting && in_queue) over_before_launch();
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

// Told again where it is repeated: what an agent started meanwhile is stopped, too. Only those that
// may stand still are told to go on.
void pane_impl::freeze(bool frozen) {
  if (rec_.state != pane_phase::running) return;
  may_stand_ = may_stand_ || frozen;
  if (!may_stand_) return;
  frozen_ = frozen;
  ++freezes_;
  tell_freeze(0);
}

// It was answered as done when it was on disk: so it is repeated until a holder has answered. One
// signal is under way at a time, for two could arrive in the other order; what was asked for
// meanwhile follows it. An interrupt lets what is frozen go on by itself.
void pane_impl::tell_freeze(std::uint32_t tries) {
  if (telling_freeze_ || !frozen_ || rec_.state != pane_phase::running || stopping_ || closing_)
    return;
  telling_freeze_ = true;
  ctx_->api->run(ctx_->address(),
                 signal_command(*ctx_, rec_.pane, rec_.attempt, *frozen_ ? "STOP" : "CONT"),
                 home<sandbox::command_result>(
                     [this, asked = freezes_, tries](result<sandbox::command_result> r) {
                       telling_freeze_ = false;
                       if (asked != freezes_) return tell_freeze(0);
                       auto answer = read_guest_answer(r);
                       if (answer || answer.err().code == errc::gone) return;
                       later(signal_wait(limits(), tries), [this, asked, tries] {
                         if (asked == freezes_) tell_freeze(tries + 1);
                       });
                     }));
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
        later(signal_wait(limits(), tries),
              [this, attempt, tries] { kill_attempt(attempt, tries + 1); });
      }));
}

// Before a pane is closed that has not heard of its agent. `asked`: its launch, where it was asked
// for, may have started one. What a former life asked for may have, whatever is known here.
void pane_impl::kill_unheard(bool asked) {
  if (word_ == rec_.attempt) return;
  if (former_ == rec_.attempt || (asked && asked_ == rec_.attempt)) kill_attempt(rec_.attempt);
}

} // namespace skep::actors
