// How a sandbox ends: a wish to stop, an error, or its loss; then what its agents did is collected
// where that is possible, what was made is destroyed, its panes are closed, and its last event is
// written.
#include "actors/reaper.hpp"
#include "actors/sandbox_actor.hpp"
#include "actors/transfer.hpp"
#include "actors/untold_findings.hpp"

namespace skep::actors {

// ---- reasons --------------------------------------------------------------------------------

// Agents that are over have results to collect, whatever else is known of their sandbox: what
// ended them ends nothing more, only a wish for the end at once does.
bool sandbox_impl::ending() {
  if (rec_.state == phase::collecting && !destroying_ && !(stop_ && at_once(*stop_))) return false;
  if (!first_error_ && !stop_) return false;
  destroy();
  return true;
}

void sandbox_impl::fail(error e) {
  remember(std::move(e));
  worth_collecting() ? wind_down() : destroy();
}

void sandbox_impl::give_up(error e) {
  remember(std::move(e));
  destroy();
}

void sandbox_impl::give_up_unreached(error e) {
  if (rec_.state >= phase::starting) unfetched_from(0);
  give_up(std::move(e));
}

void sandbox_impl::remember(error e) {
  // What a stop broke on its way out, such as a call into a sandbox that is gone, is no failure.
  if (first_error_ || finishing_ || (destroying_ && stop_)) return;
  if (e.sandbox.empty()) e.sandbox = ctx_->sandbox;
  first_error_ = std::move(e);
  // Nobody waits: events keep their order, so that it is on disk before a kill intent and the end.
  note(ctx_->recorder(), now(), sandbox_failing{first_error_});
}

bool sandbox_impl::failed_collecting() const {
  return rec_.state == phase::collecting && download_steps.count(first_error_.step) > 0;
}

error first_error(const sandbox_record& r) {
  auto e = error_of(r.error_code, r.error_message, r.error_cause);
  if (!e) return e;
  e.sandbox = r.sandbox;
  e.step = r.error_step;
  return e;
}

bool sandbox_impl::worth_collecting() const {
  return !destroying_ && !lost_ && !ctx_->spec->no_partial && !(stop_ && at_once(*stop_))
         && !rec_.kill_intended && !rec_.remote_id.empty() && !rec_.base_commit.empty()
         && rec_.state >= phase::starting && rec_.state < phase::collecting;
}

void sandbox_impl::wind_down() {
  if (std::exchange(winding_down_, true)) return;
  bound_end();
  for (const auto& p : panes_.all())
    if (auto h = ctx_->pane(p.pane); h && p.state != pane_phase::closed)
      caf::anon_send(h, stop_a::value, stop_mode::graceful);
  check_panes();
}

void sandbox_impl::bound_end() {
  if (std::exchange(bounded_, true)) return;
  later(limits().end_within(), [this] {
    if (destroying_ || rec_.state == phase::closed) return;
    note(ctx_->recorder(), now(),
         notice{severity::warning, "results_incomplete",
                ctx_->sandbox.value + ": its time was over before everything was collected"});
    if (rec_.state == phase::collecting) unfetched_from(collect_next_ - (transfer_ ? 1u : 0u));
    destroy();
  });
}

void sandbox_impl::lost(error why, std::string_view step) {
  lost_ = true;
  why.step = step;
  fail(std::move(why));
}

// A 404 is all that some providers say while a store of theirs fails, too, and what is closed as
// lost is ended with the work in it. The host of this machine knows what it has, and past its lease
// a sandbox is gone.
bool sandbox_impl::maybe_lost() {
  const auto& provider = ctx_->spec->provider;
  if (provider == "local" || lease_over() || ++denials_ >= limits().loss_looks) return false;
  if (!std::exchange(denial_told_, true))
    note(ctx_->recorder(), now(),
         notice{severity::warning, "maybe_lost",
                ctx_->sandbox.value + ": " + provider
                    + " says 404 of it; it is asked again before it counts as lost"});
  return true;
}

void sandbox_impl::found_again() {
  denials_ = 0;
  if (!std::exchange(denial_told_, false)) return;
  note(ctx_->recorder(), now(),
       notice{severity::info, "not_lost",
              ctx_->sandbox.value + ": " + ctx_->spec->provider + " has it after all"});
}

// Once the results are being collected, nobody needs output or health any more.
void sandbox_impl::on_output_lost(const error& why) {
  if (destroying_ || rec_.state >= phase::collecting) return;
  // After an outage a poller that goes on has the time again that it has after any success.
  if (output_reached_at_ && retriable(why)
      && clock().now() - *output_reached_at_ < limits().poll_give_up)
    return;
  if (!std::exchange(asking_output_, true)) ask_about_output(why);
}

// Where the provider cannot be reached either, the network of this machine may be what is away:
// agents work on, and nothing of theirs could be fetched now. The poller goes on meanwhile where
// waiting may help.
void sandbox_impl::ask_about_output(const error& why) {
  ctx_->api->get(
      rec_.remote_id, home<sandbox::detail>([this, why](result<sandbox::detail> r) {
        if (destroying_ || rec_.state >= phase::collecting) return;
        if (!r && r.err().code == errc::not_found) return output_denied(why, r.err());
        denials_ = 0;
        if (r.ok()) found_again();
        if (!r && retriable(r.err())) return output_out_of_reach(why, r.err());
        asking_output_ = false;
        const auto was_away = std::exchange(output_looks_, 0) > 0;
        if (was_away && r.ok()) {
          output_reached_at_ = clock().now();
          note(ctx_->recorder(), now(),
               notice{severity::info, "provider_reached",
                      ctx_->sandbox.value + ": " + ctx_->spec->provider + " answers again"});
        }
        if (!was_away || !r.ok() || !retriable(why)) fail(given_up_output(why));
      }));
}

// As after a restart; see denied().
void sandbox_impl::output_denied(const error& why, const error& answer) {
  if (!maybe_lost()) return on_lost(answer);
  if (stop_ && stopped_in_vain()) return give_up_unreached(given_up_output(why));
  later(limits().look_wait(denials_ - 1), [this, why] {
    if (!destroying_ && rec_.state < phase::collecting) ask_about_output(why);
  });
}

// As long as after a restart; see out_of_reach().
void sandbox_impl::output_out_of_reach(const error& why, const error& answer) {
  if (lease_over()) return give_up(given_up_output(why));
  if (stop_ && stopped_in_vain()) return give_up_unreached(given_up_output(why));
  if (output_looks_ == 0)
    note(ctx_->recorder(), now(),
         notice{severity::warning, "provider_unreachable",
                ctx_->sandbox.value + ": neither its output comes nor does " + ctx_->spec->provider
                    + " answer, as when the network of this machine is away; its agents may work "
                      "on, and it is asked again until the run's time limit: "
                    + render(answer)});
  later(limits().look_wait(output_looks_++), [this, why] {
    if (!destroying_ && rec_.state < phase::collecting) ask_about_output(why);
  });
}

// The error that the sandbox fails with. The poller writes no log any more: what is missing is
// looked for after the results.
error sandbox_impl::given_up_output(const error& why) {
  note(ctx_->recorder(), now(),
       notice{severity::error, "output_incomplete",
              "the output of " + ctx_->sandbox.value
                  + " is incomplete from here on: " + render(why)});
  remove_child("poller");
  auto e = why;
  e.message = "output incomplete" + (why.message.empty() ? "" : ": " + why.message);
  output_lost_ = e;
  output_ends_early_ = panes_.open();
  return e;
}

// On disk before the end is: the results say it, too.
void sandbox_impl::tell_output_lost() {
  auto why = std::exchange(output_lost_, {});
  if (!why) return;
  if (why.sandbox.empty()) why.sandbox = ctx_->sandbox;
  fact(output_incomplete{output_ends_early_, why}, [] {});
}

void sandbox_impl::on_lost(const error& why) {
  if (destroying_ || rec_.state >= phase::collecting) return;
  lost(why, to_string(rec_.state));
}

void sandbox_impl::on_stop(stop_mode how) {
  if (leaving_ && how != stop_mode::graceful) return leave_no_longer("its end came", how);
  if (destroying_ || rec_.state == phase::closed) return;
  if (ctx_->spec->no_partial && how == stop_mode::timed_out) how = stop_mode::limit_kill;
  if (ctx_->spec->no_partial && how == stop_mode::budget) how = stop_mode::budget_kill;
  auto first = !stop_;
  if (first) stopped_first_ = !first_error_ && !collect_error_;
  if (first || at_once(how)) stop_ = how;
  if (at_once(how)) return destroy();
  if (how == stop_mode::timed_out) past_limit_ = true;
  if (past_limit_ && rec_.state >= phase::starting) bound_end();
  if (!first) return;
  if (rec_.state >= phase::starting) {
    for (const auto& p : panes_.all())
      if (auto h = ctx_->pane(p.pane)) caf::anon_send(h, stop_a::value, how);
    return check_panes();
  }
  // Nobody needs what is still to be done before the agents, and a step may hang. What came of a
  // create the REAPER finds out; the create itself is waited for: its answer names what to kill.
  if (search_ || transfer_ || waiting_ || rec_.state > phase::creating) destroy();
}

// ---- the end --------------------------------------------------------------------------------

void sandbox_impl::destroy() {
  if (destroying_) return;
  if (collect_error_) remember(std::exchange(collect_error_, {}));
  destroying_ = true;
  give_place_back();
  const auto hurry = stop_ && at_once(*stop_);
  search_.reset();
  cancel_transfer();
  remove_attachments();
  remove_child("health");
  remove_child("poller"); // its stream would only break when the sandbox goes
  remove_child(last_look_name);
  tell_output_lost();
  for (const auto& p : panes_.all()) {
    if (p.state == pane_phase::closed) continue;
    if (auto h = ctx_->pane(p.pane))
      caf::anon_send(h, stop_a::value, hurry ? *stop_ : stop_mode::kill);
    else
      close_unborn(p);
  }
  kept_ = stays();
  if (kept_) return leave();
  if (rec_.remote_id.empty() || lost_) {
    gone_ = true;
    return finish_when_quiet();
  }
  if (rec_.kill_intended) return kill(); // by a former life of this actor
  intend_kill();
}

void sandbox_impl::intend_kill() {
  auto end = [this] {
    auto why = first_error_ ? std::string{to_string(first_error_.code)} : std::string{"done"};
    fact(kill_intended{why}, [this] { kill(); });
  };
  // What its models cost is asked for once more while somebody can tell.
  const auto waits = !stop_ || !at_once(*stop_) || stop_ == stop_mode::limit_kill;
  if (waits) return count_models(end);
  count_models({}); // the answer mostly comes before the kill takes effect
  end();
}

// Its actor never came to be, so nobody else will say how it ended.
void sandbox_impl::close_unborn(const pane_record& p) {
  auto result = first_error_ && !stopped_first_ ? outcome::failed
                : stop_                         ? outcome_of(*stop_)
                                                : outcome::cancelled;
  fact(pane_closed{p.pane, result, first_error_, p.attempt, p.final_offset},
       [this, id = p.pane, result] {
         panes_.closed(id, result, {});
         finish_when_quiet();
       });
}

void sandbox_impl::kill() {
  ctx_->api->kill(
      rec_.remote_id, home<bool>([this](result<bool> r) {
        if (r.ok())
          return fact(kill_confirmed{rec_.remote_id}, [this] {
            gone_ = true;
            give_place_back();
            finish_when_quiet();
          });
        if (++kills_ < limits().kill_attempts)
          return later(limits().kill_retry, [this] { kill(); });
        gone_ = true; // the intent is on disk: the REAPER goes on
        note(ctx_->recorder(), now(),
             kill_unconfirmed(ctx_->sandbox, rec_.remote_id, ctx_->spec->provider, r.err()));
        finish_when_quiet();
      }));
}

// The sandbox's last event comes after the last words of its panes.
void sandbox_impl::finish_when_quiet() {
  if (!gone_ || !panes_.all_closed() || finishing_) return;
  if (untold_) return tell_untold();
  finishing_ = true;
  auto why = first_error_;
  auto result = verdict(why);
  if (why) why.sandbox = ctx_->sandbox;
  // Beside the error everywhere that it is shown: status, summary, the run's end.
  if (kept_ && why && !unfetched_.empty())
    why.message += (why.message.empty() ? "" : "; ") + about_unfetched();
  fact(sandbox_closed{result, why, kept_}, [this, result, why] {
    rec_.state = phase::closed;
    report(result, why);
  });
}

// Its results may be here and its sandbox not: then nothing is collected again that would tell.
void sandbox_impl::tell_untold() {
  if (std::exchange(telling_, true)) return;
  using list = std::vector<results_scanned>;
  in_pool<list>(
      ctx_->svc,
      [svc = ctx_->svc, spec = ctx_->spec, box = rec_]() -> result<list> {
        return untold_findings(*svc, *spec, box);
      },
      [this](result<list> r) {
        for (const auto& x : r ? *r : list{})
          note(ctx_->recorder(), now(), x);
        untold_ = false;
        finish_when_quiet();
      });
}

outcome sandbox_impl::verdict(error& why) const {
  if (lost_) return outcome::lost;
  if (first_error_ && !stopped_first_)
    return first_error_.code == errc::budget_spent ? outcome::budget : outcome::failed;
  if (!stop_) return panes_.verdict(why);
  // What failed on its way out, such as a result that could not be read, changes no outcome: the
  // error stands beside it.
  auto result = outcome_of(*stop_);
  if (first_error_) return result;
  if (result == outcome::timed_out)
    why = make_error(errc::timed_out,
                     lease_ends_ ? "its provider gave it a shorter life than the run's time limit"
                                 : "the time limit of the run was reached");
  if (result == outcome::budget) why = make_error(errc::budget_spent);
  return result;
}

void sandbox_impl::report(outcome result, const error& why) {
  if (auto swarm = swarm_())
    caf::anon_send(swarm, exited_a::value, sandbox_ending{ctx_->sandbox, result, why});
}

} // namespace skep::actors
