#include "actors/pane.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/guest_call.hpp"
#include "actors/note_bucket.hpp"
#include "actors/output_log.hpp"
#include "actors/pane_launch.hpp"

#include <fstream>

namespace skep::actors {
namespace {

/// Inputs that may wait for an earlier one to be written.
constexpr std::size_t most_inputs = 64;

class pane_impl : public domain_actor<pane_actor> {
public:
  pane_impl(caf::actor_config& cfg, context_ptr context, pane_record record)
      : domain_actor(cfg), ctx_(std::move(context)), rec_(std::move(record)),
        notes_(ctx_->svc->limits.pane_notes) {}

  const char* name() const override { return "pane"; }

  behavior_type make_behavior() override {
    return {
        [this](begin_a) { begin(); },
        [this](output_a, std::uint32_t generation, const std::string& bytes) {
          on_output(generation, bytes);
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

  void on_exit() override {
    release_place();
    ctx_.reset();
  }

private:
  utc_time now() const { return ctx_->svc->wall_now(); }

  void begin() {
    if (began_) return;
    began_ = true;
    switch (rec_.state) {
    case pane_phase::closed:
      return tell_closed();
    case pane_phase::queued:
      return start_attempt(1);
    case pane_phase::restarting:
      return start_attempt(rec_.attempt + 1);
    case pane_phase::exited:
      return judge(); // the fact was stored, its consequence was not
    case pane_phase::starting:
    case pane_phase::running:
      return adopt();
    }
  }

  // The adapter's knowledge died with the last daemon: it reads the log again, silently.
  void adopt() {
    make_adapter();
    replay_log();
    if (rec_.state == pane_phase::starting) await_ready();
    start_agent();
  }

  void make_adapter() { adapter_ = skep::actors::make_adapter(ctx_->spec->agent, rec_.pane); }

  void replay_log() {
    usage_ = {};
    if (ctx_->spec->agent == agent_kind::command) return;
    auto log = ctx_->log_path(rec_.pane, rec_.attempt);
    std::ifstream in(log, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(log_begin(log)));
    std::string block(64 * 1024, '\0');
    while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
      for (auto& e : adapter_->on_output({block.data(), static_cast<std::size_t>(in.gcount())}))
        if (auto* u = std::get_if<pane_usage>(&e)) usage_ = std::move(*u);
  }

  void start_attempt(std::uint32_t attempt) {
    if (stopping_) return close(stop_outcome_, stop_why_);
    rec_.attempt = attempt;
    usage_ = {};
    make_adapter();
    record(
        ctx_->recorder(), now(), pane_start_intended{rec_.pane, attempt},
        [this](std::uint64_t) {
          rec_.state = pane_phase::starting;
          admit();
        },
        [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
  }

  // Starting an agent costs about a second of CPU: the LIMITER spreads starts over time. It keeps
  // our turn when we ask again, so the wait is made of short requests.
  void admit() {
    auto limiter = ctx_->svc->handles->limiter();
    if (!limiter) return prepare();
    ask<void>(
        this, limiter, std::chrono::seconds{60},
        [this] {
          holds_place_ = true;
          prepare();
        },
        [this](caf::error& e) {
          if (e == caf::sec::request_timeout && !stopping_) return admit();
          close(stopping_ ? stop_outcome_ : outcome::failed,
                stopping_ ? stop_why_ : with_step(from_caf(e), "admission"));
        },
        admit_a::value, rec_.pane, ctx_->sandbox);
  }

  void release_place() {
    if (!std::exchange(holds_place_, false) || !ctx_) return;
    if (auto limiter = ctx_->svc->handles->limiter())
      caf::anon_send(limiter, release_a::value, rec_.pane);
  }

  void prepare() {
    if (stopping_) return close(stop_outcome_, stop_why_);
    if (rec_.state == pane_phase::starting && std::exchange(awaited_, rec_.attempt) != rec_.attempt)
      await_ready();
    auto prompt = prompt_of(*ctx_, rec_, *adapter_);
    if (prompt.empty()) return start_agent();
    ctx_->api->write_file(ctx_->address(), prompt_path(rec_), std::move(prompt), {},
                          home<void>([this](result<void> r) {
                            if (r.ok()) return start_agent();
                            try_again(r.err(), [this] { prepare(); });
                          }));
  }

  // The holder's own word, from inside, says that the agent runs. It has its time; whatever comes
  // later than that is stopped.
  void await_ready() {
    later(ctx_->svc->limits.ready_limit, [this, attempt = rec_.attempt] {
      if (rec_.attempt != attempt || rec_.state != pane_phase::starting || closing_) return;
      auto limit = std::to_string(ctx_->svc->limits.ready_limit.count());
      auto why = make_error(errc::not_ready, rec_.name + " (" + rec_.pane.value
                                                 + ") gave no word within " + limit + " s");
      send_signal("KILL");
      release_place();
      if (stopping_) return close(stop_outcome_, stop_why_);
      if (rec_.attempt <= ctx_->spec->pane_restarts) return restart(std::move(why));
      close(outcome::failed, with_step(std::move(why), "start"));
    });
  }

  void start_agent() {
    ctx_->api->run(ctx_->address(), launch_command(*ctx_, rec_, *adapter_),
                   home<sandbox::command_result>(
                       [this, attempt = rec_.attempt](result<sandbox::command_result> r) {
                         auto answer = read_guest_answer(r);
                         on_launched(attempt, answer ? read_launched(*answer) : answer.err());
                       }));
  }

  void on_launched(std::uint32_t attempt, const result<std::int64_t>& answer) {
    if (closing_ || attempt != rec_.attempt || rec_.state == pane_phase::restarting) {
      if (answer.ok()) kill_attempt(attempt); // it came too late
      return;
    }
    if (!answer) return try_again(answer.err(), [this] { start_agent(); });
    tries_ = 0;
    if (rec_.state == pane_phase::running) { // adopted; an exit, if any, comes with the follower
      ctx_->active(rec_.pane);
      caf::anon_send(ctx_->keeper(), ready_a::value, rec_.pane);
      if (stopping_) interrupt();
      return;
    }
    auto pid = *answer; // 0: it ended before we asked again
    record(
        ctx_->recorder(), now(), pane_started{rec_.pane, rec_.attempt, pid},
        [this](std::uint64_t) {
          release_place();
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

  void try_again(error why, std::function<void()> step) {
    if (stopping_) return close(stop_outcome_, {});
    if (!retriable(why) || ++tries_ >= ctx_->svc->limits.step_attempts)
      return close(outcome::failed, with_step(std::move(why), "start"));
    later(ctx_->svc->limits.step_wait * (1u << tries_), std::move(step));
  }

  void on_output(std::uint32_t generation, const std::string& bytes) {
    if (generation != rec_.attempt || !adapter_ || rec_.state == pane_phase::closed) return;
    for (auto& e : adapter_->on_output(bytes)) {
      if (auto* block = std::get_if<agent_block>(&e)) {
        block->pane = rec_.pane;
        if (notes_.take(ctx_->svc->boot_now(), now())) {
          tell_suppressed();
          note(ctx_->recorder(), now(), *block);
        }
      } else if (auto* usage = std::get_if<pane_usage>(&e)) {
        usage_ = std::move(*usage);
      }
    }
  }

  // Once for each gap: when blocks are journaled again, or the attempt ends.
  void tell_suppressed() {
    if (auto gap = notes_.left_out(); gap.count > 0)
      note(ctx_->recorder(), now(),
           notes_suppressed{rec_.pane, gap.count, gap.since, rec_.attempt});
  }

  void on_exited(const follow_exit& x) {
    if (x.generation != rec_.attempt || rec_.state == pane_phase::closed
        || rec_.state == pane_phase::exited || exit_seen_ == x.generation)
      return;                                 // followers repeat exits
    if (rec_.state == pane_phase::starting) { // it was faster than the fact of its start
      early_exit_ = std::make_unique<follow_exit>(x);
      return;
    }
    exit_seen_ = x.generation;
    rec_.exit_code = x.exit_code;
    rec_.signal = x.signal;
    rec_.final_offset = x.final_offset;
    release_place();
    on_output(rec_.attempt, "\n"); // a last line without its end counts, too
    tell_suppressed();
    // The adapter's totals and the exit travel in this order, so that a crash cannot part them.
    if (usage_.turns > 0 || usage_.cost_usd > 0 || !usage_.summary.empty()) {
      usage_.pane = rec_.pane;
      note(ctx_->recorder(), now(), usage_);
    }
    record(
        ctx_->recorder(), now(),
        pane_exited{rec_.pane, rec_.attempt, x.exit_code, x.signal, x.final_offset},
        [this](std::uint64_t) {
          rec_.state = pane_phase::exited;
          judge();
        },
        [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
  }

  void judge() {
    if (!adapter_) {
      make_adapter();
      replay_log();
    }
    if (stopping_) return close(stop_outcome_, stop_why_);
    auto end = adapter_->on_exit(rec_.exit_code, rec_.signal);
    auto again = end.result == outcome::failed && end.worth_retrying
                 && rec_.attempt <= ctx_->spec->pane_restarts;
    if (again) return restart(end.why);
    if (end.on_its_word && !ctx_->spec->allow_no_changes) return ask_for_changes(1);
    close(end.result, with_step(end.why, "agent"));
  }

  // "Done" over a work tree without a change is suspect. A sandbox that does not answer leaves the
  // agent its word: that no change was found is then not known.
  void ask_for_changes(std::uint32_t attempt) {
    ctx_->api->run(
        ctx_->address(), changed_command(*ctx_, rec_),
        home<sandbox::command_result>([this, attempt](result<sandbox::command_result> r) {
          auto answer = read_guest_answer(r);
          auto changed = answer ? read_changed(*answer) : result<bool>{answer.err()};
          const auto& p = ctx_->svc->limits;
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

  void restart(const error& why) {
    const auto& p = ctx_->svc->limits;
    auto wait =
        std::min(p.pane_wait_most, p.pane_wait_first * (1 << std::min(rec_.attempt - 1, 6u)));
    record(
        ctx_->recorder(), now(),
        pane_restarting{rec_.pane, rec_.attempt,
                        std::chrono::duration_cast<std::chrono::milliseconds>(wait).count(),
                        why.message},
        [this, wait](std::uint64_t) {
          rec_.state = pane_phase::restarting;
          later(wait, [this] {
            if (rec_.state == pane_phase::restarting) start_attempt(rec_.attempt + 1);
          });
        },
        [this](const error& e) { close(outcome::failed, with_step(e, "journal")); });
  }

  caf::result<std::uint64_t> on_input(const std::string& key, const std::string& bytes) {
    if (!takes_input(ctx_->spec->agent))
      return to_caf(make_error(errc::cannot_send, "this pane's agent reads no input"));
    if (rec_.state != pane_phase::running)
      return to_caf(
          make_error(errc::wrong_phase, "the pane is " + std::string{to_string(rec_.state)}));
    if (inputs_.size() >= most_inputs)
      return to_caf(make_error(errc::rate, "earlier input has not been written yet"));
    auto promise = make_response_promise<std::uint64_t>();
    record(
        ctx_->recorder(), now(), input_receipt{rec_.pane, key, bytes.size(), receipt::accepted},
        [this, promise, key, bytes](std::uint64_t seq) mutable {
          promise.deliver(seq);
          queue_input(key, bytes);
        },
        [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
    return promise;
  }

  // One after the other: two requests under way may arrive in the other order.
  void queue_input(const std::string& key, const std::string& bytes) {
    inputs_.push_back({key, bytes});
    if (inputs_.size() == 1) write_input(key, bytes);
  }

  void input_over() {
    inputs_.erase(inputs_.begin());
    if (!inputs_.empty()) write_input(inputs_.front().key, inputs_.front().bytes);
  }

  void write_input(const std::string& key, const std::string& bytes) {
    auto file = input_path(rec_, key);
    auto settle = [this, key, size = bytes.size()](const result<json>& answer) {
      auto arrived = answer.ok() && read_input_arrived(*answer);
      if (!answer)
        note(ctx_->recorder(), now(),
             notice{severity::warning, "input_not_written",
                    rec_.name + " (" + rec_.pane.value + "): " + render(answer.err())});
      note(ctx_->recorder(), now(),
           input_receipt{rec_.pane, key, size, arrived ? receipt::written : receipt::expired});
      input_over();
    };
    ctx_->api->write_file(
        ctx_->address(), file, bytes, {}, home<void>([this, key, file, settle](result<void> r) {
          if (!r) return settle(r.err());
          ctx_->api->run(ctx_->address(),
                         guest_command(*ctx_,
                                       {"input", "--dir", ctx_->pane_dir(rec_.pane, rec_.attempt),
                                        "--key", key, "--file", file},
                                       ctx_->svc->limits.guest_command),
                         home<sandbox::command_result>([settle](result<sandbox::command_result> a) {
                           settle(read_guest_answer(a));
                         }));
        }));
  }

  void on_stop(stop_mode how) {
    if (rec_.state == pane_phase::closed) return;
    auto first = !std::exchange(stopping_, true);
    if (first || at_once(how)) take_reason(how);
    if (at_once(how)) return close(stop_outcome_, {}); // the sandbox goes with it
    if (!first) return;
    if (rec_.state == pane_phase::queued || rec_.state == pane_phase::restarting)
      return close(stop_outcome_, stop_why_);
    if (rec_.state == pane_phase::running) interrupt();
  }

  void take_reason(stop_mode how) {
    stop_outcome_ = outcome_of(how);
    if (how == stop_mode::idle)
      stop_why_ =
          with_step(make_error(errc::idle, rec_.name + " was silent for "
                                               + std::to_string(ctx_->spec->idle_limit_ms / 1000)
                                               + " s and longer"),
                    "agent");
    const auto& p = ctx_->svc->limits;
    auto ends = how == stop_mode::shutdown;
    interrupt_grace_ = ends ? p.shutdown_interrupt : p.stop_grace;
    kill_grace_ = ends ? p.shutdown_grace : p.stop_grace;
  }

  // SIGINT, then after the grace time SIGKILL, then after another one the pane is closed
  // regardless. One that did not listen is named.
  void interrupt() {
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
  void freeze(bool frozen) {
    if (rec_.state == pane_phase::running && !stopping_) send_signal(frozen ? "STOP" : "CONT");
  }

  void send_signal(const char* signal_name) { signal_attempt(rec_.attempt, signal_name); }
  void kill_attempt(std::uint32_t attempt) { signal_attempt(attempt, "KILL"); }

  void signal_attempt(std::uint32_t attempt, const char* signal_name) {
    ctx_->api->run(ctx_->address(), signal_command(*ctx_, rec_.pane, attempt, signal_name),
                   [](result<sandbox::command_result>) {});
  }

  static error with_step(error e, const char* step) {
    if (e && e.step.empty()) e.step = step;
    return e;
  }

  void close(outcome result, error why) {
    if (closing_) return;
    closing_ = true;
    tell_suppressed();
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

  void tell_closed() {
    caf::anon_send(ctx_->keeper(), exited_a::value, rec_.pane, rec_.result, why_);
  }

  context_ptr ctx_;
  pane_record rec_;
  std::unique_ptr<agent_adapter> adapter_;
  pane_usage usage_;
  note_bucket notes_;
  std::unique_ptr<follow_exit> early_exit_;
  error why_;
  outcome stop_outcome_ = outcome::cancelled;
  error stop_why_;
  std::chrono::seconds interrupt_grace_{10}, kill_grace_{10}; ///< Of the stop that was asked for.
  std::uint32_t awaited_ = 0; ///< The attempt whose word is awaited, see await_ready().
  std::uint32_t tries_ = 0;
  std::uint32_t exit_seen_ = 0;
  bool began_ = false;
  bool stopping_ = false;
  bool closing_ = false;
  bool holds_place_ = false;
  struct input {
    std::string key;
    std::string bytes;
  };
  std::vector<input> inputs_; ///< Accepted and not yet written; the first is under way.
};

} // namespace

pane_actor spawn_pane(caf::scheduled_actor* parent, context_ptr context, pane_record record) {
  return parent->spawn<pane_impl>(std::move(context), std::move(record));
}

} // namespace skep::actors
