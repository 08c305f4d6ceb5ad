// An attempt's launch, step by step, until the holder inside says that its agent runs. Each step
// may be asked for again: `skep-guest pane` starts an agent once, and then answers how far it is.
#include "actors/guest_call.hpp"
#include "actors/pane_actor.hpp"
#include "actors/pane_launch.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

/// The launch may have happened all the same, and its sandbox be there.
bool may_have_started(const error& why) {
  return retriable(why) && why.code != errc::gone && why.code != errc::cancelled;
}

} // namespace

void pane_impl::start_attempt(std::uint32_t attempt) {
  if (stopping_) return close(stop_outcome_, stop_why_);
  rec_.attempt = attempt;
  tries_ = 0;
  frozen_.reset();
  may_stand_ = false;
  make_output();
  record(
      ctx_->recorder(), now(), pane_start_intended{rec_.pane, attempt},
      [this](std::uint64_t) {
        rec_.state = pane_phase::starting;
        admit();
      },
      [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
}

// Two agents never work in one tree: the next one waits until the one before has ended, or until a
// holder has answered its kill. Without either within the limit there is no next one.
void pane_impl::next_attempt() {
  if (rec_.state != pane_phase::restarting || closing_) return;
  if (stopping_) return close(stop_outcome_, stop_why_); // it came while the fact was on its way
  const auto before = rec_.attempt;
  if (over_ == before) return start_attempt(before + 1);
  next_waits_ = true;
  later(limits().attempt_end_limit, [this, before] {
    if (!next_waits_ || rec_.attempt != before || closing_) return;
    next_waits_ = false;
    close(outcome::failed,
          with_step(make_error(errc::timed_out,
                               "attempt " + std::to_string(before) + " of " + rec_.name + " ("
                                   + rec_.pane.value + ") may still run: nothing inside confirmed "
                                   + "its end within "
                                   + std::to_string(limits().attempt_end_limit.count()) + " s"),
                    "start"));
  });
}

void pane_impl::attempt_over(std::uint32_t attempt) {
  if (attempt != rec_.attempt) return;
  over_ = attempt;
  if (std::exchange(next_waits_, false)) next_attempt();
}

// Starting an agent costs about a second of CPU: the LIMITER spreads starts over time. It keeps our
// turn when we ask again, so the wait is made of short requests.
void pane_impl::admit() {
  if (over_before_launch()) return;
  auto limiter = ctx_->svc->handles->limiter();
  if (!limiter) return prepare();
  has_turn_ = true;
  ask<void>(
      this, limiter, std::chrono::seconds{60}, [this] { prepare(); },
      [this](caf::error& e) {
        if (over_before_launch()) return;
        if (e == caf::sec::request_timeout) return admit();
        kill_unheard(false);
        close(outcome::failed, with_step(from_caf(e), "admission"));
      },
      admit_a::value, rec_.pane, ctx_->sandbox);
}

// The turn of one that still waits, too: its place would come when nobody wants it any more.
void pane_impl::release_place() {
  if (!std::exchange(has_turn_, false) || !ctx_) return;
  if (auto limiter = ctx_->svc->handles->limiter())
    caf::anon_send(limiter, release_a::value, rec_.pane);
}

// A stop before this life has launched anything needs no launch; what a former life may have
// launched is ended with it.
bool pane_impl::over_before_launch() {
  if (closing_) return true;
  if (!stopping_) return false;
  kill_unheard(false);
  close(stop_outcome_, stop_why_);
  return true;
}

void pane_impl::prepare() {
  if (over_before_launch()) return;
  if (rec_.state == pane_phase::starting && std::exchange(awaited_, rec_.attempt) != rec_.attempt)
    await_ready();
  auto prompt = prompt_of(*ctx_, rec_, output_->adapter());
  if (prompt.empty()) return start_agent();
  ctx_->api->write_file(ctx_->address(), prompt_path(rec_), std::move(prompt), {},
                        home<void>([this, attempt = rec_.attempt](result<void> r) {
                          if (closing_ || attempt != rec_.attempt || is_over(attempt)) return;
                          if (word_ == attempt) return; // of a former life's, by its output
                          // An agent that runs already needs none: its guest is asked all the same.
                          auto tries_it = former_ == attempt && !r.ok() && !retriable(r.err());
                          if (r.ok() || tries_it) return start_agent();
                          try_again(r.err(), [this] { prepare(); });
                        }));
}

// The holder's own word, from inside, says that the agent runs. It has its time; whatever comes
// later than that is stopped.
void pane_impl::await_ready() {
  later(limits().ready_limit, [this, attempt = rec_.attempt] { no_word(attempt); });
}

void pane_impl::no_word(std::uint32_t attempt) {
  auto waits = rec_.attempt == attempt && rec_.state == pane_phase::starting && word_ != attempt;
  if (!waits || closing_ || is_over(attempt)) return;
  // Its end or its output is proof enough: only the answer was lost, and with it the process's
  // number.
  if (early_exit_ || has_written()) return launched(0);
  given_up_ = attempt;
  auto why =
      make_error(errc::not_ready, rec_.name + " (" + rec_.pane.value + ") gave no word within "
                                      + std::to_string(limits().ready_limit.count()) + " s");
  asked_ == attempt || former_ == attempt ? kill_attempt(attempt) : attempt_over(attempt);
  release_place();
  if (stopping_) return close(stop_outcome_, stop_why_);
  if (attempt <= ctx_->spec->pane_restarts) return restart(std::move(why));
  close(outcome::failed, with_step(std::move(why), "start"));
}

// The log here is written by the POLLER, for every kind of agent.
bool pane_impl::has_written() const {
  std::error_code ec;
  auto size = std::filesystem::file_size(ctx_->log_path(rec_.pane, rec_.attempt), ec);
  return !ec && size > 0;
}

void pane_impl::start_agent() {
  asked_ = rec_.attempt;
  ctx_->api->run(ctx_->address(), launch_command(*ctx_, rec_, output_->adapter()),
                 home<sandbox::command_result>(
                     [this, attempt = rec_.attempt](result<sandbox::command_result> r) {
                       auto answer = read_guest_answer(r);
                       on_launched(attempt, answer ? read_launched(*answer) : answer.err());
                     }));
}

void pane_impl::on_launched(std::uint32_t attempt, const result<std::int64_t>& answer) {
  if (word_ == attempt) return;
  if (closing_ || attempt != rec_.attempt || is_over(attempt)) {
    // It came too late. A call that was cut off may still start an agent that nobody knows.
    if (exit_seen_ != attempt && (answer.ok() || may_have_started(answer.err())))
      kill_attempt(attempt);
    return;
  }
  if (!answer) return try_again(answer.err(), [this] { start_agent(); });
  // A guest that had started it before took no second prompt, and none is left lying around.
  if (former_ == attempt && !prompt_of(*ctx_, rec_, output_->adapter()).empty())
    ctx_->api->remove(ctx_->address(), prompt_path(rec_), {}, [](result<void>) {});
  launched(*answer);
}

// `pid` 0: not known, for its agent ended before we asked again, or only its signs of life came.
void pane_impl::launched(std::int64_t pid) {
  word_ = rec_.attempt;
  tries_ = 0;
  if (rec_.state == pane_phase::running) { // adopted; an exit, if any, comes with the follower
    ctx_->active(rec_.pane);
    caf::anon_send(ctx_->keeper(), ready_a::value, rec_.pane);
    if (stopping_) interrupt();
    return;
  }
  record(
      ctx_->recorder(), now(), pane_started{rec_.pane, rec_.attempt, pid},
      [this](std::uint64_t) {
        release_place();
        if (closing_) return;
        ctx_->active(rec_.pane);
        if (rec_.state == pane_phase::starting) rec_.state = pane_phase::running;
        caf::anon_send(ctx_->keeper(), ready_a::value, rec_.pane);
        if (early_exit_)
          on_exited(*std::exchange(early_exit_, nullptr));
        else if (stopping_)
          interrupt();
      },
      [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
}

void pane_impl::try_again(error why, std::function<void()> step) {
  const auto& p = limits();
  auto again = [this, attempt = rec_.attempt, step = std::move(step)] { repeat(attempt, step); };
  // An agent that was found running needs no start: it is asked for as long as it takes.
  if (rec_.state == pane_phase::running && retriable(why)) {
    auto wait = p.step_wait * (1u << std::min(++tries_, 10u));
    return later(std::min<caf::timespan>(wait, p.pane_wait_most), std::move(again));
  }
  // Silence is no refusal, and no_word() ends it.
  auto silent = asked_ == rec_.attempt && why.code == errc::timed_out;
  if (silent && !stopping_) return later(p.step_wait * 2, std::move(again));
  if (!stopping_ && retriable(why) && ++tries_ < p.step_attempts)
    return later(p.step_wait * (1u << tries_), std::move(again));
  kill_unheard(may_have_started(why));
  if (stopping_) return close(stop_outcome_, {});
  close(outcome::failed, with_step(std::move(why), "start"));
}

void pane_impl::repeat(std::uint32_t attempt, const std::function<void()>& step) {
  if (closing_ || attempt != rec_.attempt || is_over(attempt) || word_ == attempt) return;
  if (!stopping_ || rec_.state == pane_phase::running) return step();
  kill_unheard(true);
  close(stop_outcome_, stop_why_);
}

} // namespace skep::actors
