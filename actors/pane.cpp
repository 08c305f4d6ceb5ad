#include "actors/pane.hpp"

#include "actors/guest_call.hpp"
#include "actors/pane_actor.hpp"
#include "actors/pane_launch.hpp"

#include <algorithm>

namespace skep::actors {

pane_impl::pane_impl(caf::actor_config& cfg, context_ptr context, pane_record record)
    : domain_actor(cfg), ctx_(std::move(context)), rec_(std::move(record)),
      notes_(ctx_->svc->limits.pane_notes) {}

pane_impl::behavior_type pane_impl::make_behavior() {
  return {
      [this](begin_a) { begin(); },
      [this](output_a, std::uint32_t generation, std::uint64_t offset, const std::string& bytes) {
        on_output(generation, offset, bytes);
      },
      [this](exited_a, const follow_exit& x) { on_exited(x); },
      [this](freeze_a, bool frozen) { freeze(frozen); },
      [this](input_a, const std::string& key, const std::string& bytes) {
        return on_input(key, bytes);
      },
      [this](stop_a, stop_mode how) { on_stop(how); },
      [](done_a, const continuation& c) { c.run(); },
  };
}

void pane_impl::on_exit() {
  release_place();
  ctx_.reset();
}

error pane_impl::with_step(error e, const char* step) {
  if (e && e.step.empty()) e.step = step;
  return e;
}

// ---- taking up ------------------------------------------------------------------------------

void pane_impl::begin() {
  if (began_) return;
  began_ = true;
  look_for_former_inputs();
  switch (rec_.state) {
  case pane_phase::closed:
    return tell_closed();
  case pane_phase::queued:
    return start_attempt(1);
  case pane_phase::restarting: // a former daemon may not have ended the one before
    given_up_ = rec_.attempt;
    kill_attempt(rec_.attempt);
    return next_attempt();
  case pane_phase::exited:
    over_ = rec_.attempt;
    return judge(); // the fact was stored, its consequence was not
  case pane_phase::starting:
  case pane_phase::running:
    return adopt();
  }
}

// The adapter's knowledge died with the last daemon: it reads the log again, silently. A start that
// was only intended may have waited for its turn, or for its prompt: it goes all the way again, and
// where its agent runs, the guest says so and starts no second one.
void pane_impl::adopt() {
  make_output();
  replay_log();
  if (rec_.state == pane_phase::starting) {
    former_ = rec_.attempt;
    return admit();
  }
  may_stand_ = true;
  start_agent();
}

void pane_impl::make_output() {
  output_.emplace(ctx_->spec->agent, rec_.pane);
}

void pane_impl::replay_log() {
  output_->replay(ctx_->log_path(rec_.pane, rec_.attempt));
}

// ---- output ---------------------------------------------------------------------------------

void pane_impl::on_output(std::uint32_t generation, std::uint64_t offset,
                          const std::string& bytes) {
  if (generation != rec_.attempt || !output_ || rec_.state == pane_phase::closed) return;
  tell_blocks(output_->take(offset, bytes));
}

void pane_impl::tell_blocks(std::vector<agent_block> blocks) {
  for (auto& block : blocks) {
    block.pane = rec_.pane;
    if (!notes_.take(ctx_->svc->boot_now(), now())) continue;
    tell_suppressed();
    note(ctx_->recorder(), now(), block);
  }
}

// Once for each gap: when blocks are journaled again, or the attempt ends.
void pane_impl::tell_suppressed() {
  if (auto gap = notes_.left_out(); gap.count > 0)
    note(ctx_->recorder(), now(), notes_suppressed{rec_.pane, gap.count, gap.since, rec_.attempt});
}

// An attempt's account is told at its end, whatever that is. So one that is taken up again has told
// nothing yet, and all of it stands in its log.
void pane_impl::tell_usage() {
  auto usage = output_ ? output_->usage() : std::nullopt;
  if (!usage) return;
  usage->pane = rec_.pane;
  note(ctx_->recorder(), now(), *usage);
}

// ---- the end of an attempt ------------------------------------------------------------------

void pane_impl::on_exited(const follow_exit& x) {
  if (x.generation == given_up_) return attempt_over(x.generation);
  auto under_way = rec_.state == pane_phase::starting || rec_.state == pane_phase::running;
  if (!under_way || closing_ || x.generation != rec_.attempt || is_over(x.generation))
    return;                                 // followers repeat exits
  if (rec_.state == pane_phase::starting) { // it was faster than the fact of its start
    early_exit_ = std::make_unique<follow_exit>(x);
    return;
  }
  exit_seen_ = over_ = x.generation;
  rec_.exit_code = x.exit_code;
  rec_.signal = x.signal;
  rec_.final_offset = x.final_offset;
  release_place();
  tell_blocks(output_->finish());
  tell_suppressed();
  tell_usage(); // it and the exit travel in this order, so that a crash cannot part them
  record(
      ctx_->recorder(), now(),
      pane_exited{rec_.pane, rec_.attempt, x.exit_code, x.signal, x.final_offset},
      [this](std::uint64_t) {
        rec_.state = pane_phase::exited;
        judge();
      },
      [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
}

void pane_impl::judge() {
  if (!output_) {
    make_output();
    replay_log();
    output_->usage(); // that was told with the exit
  }
  if (stopping_) return close(stop_outcome_, stop_why_);
  auto end = output_->adapter().on_exit(rec_.exit_code, rec_.signal);
  auto bounded = ctx_->spec->pane_budget_usd > 0
                 || ctx_->svc->rests->models_of(ctx_->swarm, ctx_->sandbox).has_value();
  end.result != outcome::completed&& bounded ? ask_if_spent(end, 1) : conclude(end);
}

// Whose models are refused for its budget ends by itself, with words of its own, and often sooner
// than a look at the budget stops it. A gateway that does not answer leaves it those words.
void pane_impl::ask_if_spent(const verdict& end, std::uint32_t attempt) {
  ctx_->api->get_model_usage(
      ctx_->address().remote_id,
      home<sandbox::model_usage>([this, end, attempt](result<sandbox::model_usage> r) {
        if (closing_) return;
        if (stopping_) return close(stop_outcome_, stop_why_);
        const auto& p = limits();
        if (!r && retriable(r.err()) && attempt < p.step_attempts)
          return later(p.step_wait * (1u << attempt), [this, end, attempt] {
            if (!closing_) ask_if_spent(end, attempt + 1);
          });
        if (r && r->used_up)
          return close(outcome::budget, with_step(make_error(errc::budget_spent), "agent"));
        conclude(end);
      }));
}

void pane_impl::conclude(const verdict& end) {
  auto again = end.result == outcome::failed && end.worth_retrying
               && rec_.attempt <= ctx_->spec->pane_restarts;
  if (again) return restart(end.why);
  if (end.on_its_word && !ctx_->spec->allow_no_changes) return ask_for_changes(1);
  close(end.result, with_step(end.why, "agent"));
}

// "Done" over a work tree without a change is suspect. A sandbox that does not answer leaves the
// agent its word: that no change was found is then not known.
void pane_impl::ask_for_changes(std::uint32_t attempt) {
  ctx_->api->run(
      ctx_->address(), changed_command(*ctx_, rec_),
      home<sandbox::command_result>([this, attempt](result<sandbox::command_result> r) {
        auto answer = read_guest_answer(r);
        auto changed = answer ? read_changed(*answer) : result<bool>{answer.err()};
        const auto& p = limits();
        if (!changed && retriable(changed.err()) && attempt < p.step_attempts)
          return later(p.step_wait * (1u << attempt), [this, attempt] {
            if (!closing_) ask_for_changes(attempt + 1);
          });
        if (!changed || *changed) return close(outcome::completed, {});
        close(outcome::suspect,
              with_step(make_error(errc::suspect_result,
                                   "it reported success and changed no file; where that is "
                                   "right, run it with --allow-no-changes"),
                        "agent"));
      }));
}

void pane_impl::restart(const error& why) {
  early_exit_.reset();
  tell_usage();
  const auto& p = limits();
  auto wait = std::min(p.pane_wait_most, p.pane_wait_first * (1 << std::min(rec_.attempt - 1, 6u)));
  record(
      ctx_->recorder(), now(),
      pane_restarting{rec_.pane, rec_.attempt,
                      std::chrono::duration_cast<std::chrono::milliseconds>(wait).count(),
                      why.message},
      [this, wait](std::uint64_t) {
        rec_.state = pane_phase::restarting;
        later(wait, [this] { next_attempt(); });
      },
      [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
}

// ---- its own end ----------------------------------------------------------------------------

void pane_impl::close(outcome result, error why) {
  if (closing_) return;
  closing_ = true;
  tell_suppressed();
  tell_usage();
  release_place();
  if (why) why.sandbox = ctx_->sandbox;
  rec_.result = result;
  why_ = why;
  record(
      ctx_->recorder(), now(),
      pane_closed{rec_.pane, result, std::move(why), rec_.attempt, rec_.final_offset},
      [this](std::uint64_t) {
        rec_.state = pane_phase::closed;
        tell_closed();
      },
      [this](const error&) { this->quit(caf::make_error(caf::sec::runtime_error, "journal")); });
}

void pane_impl::tell_closed() {
  caf::anon_send(ctx_->keeper(), exited_a::value, rec_.pane, rec_.result, why_);
}

pane_actor spawn_pane(caf::scheduled_actor* parent, context_ptr context, pane_record record) {
  return parent->spawn<pane_impl>(std::move(context), std::move(record));
}

} // namespace skep::actors
