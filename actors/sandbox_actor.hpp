// The SANDBOX's class, for the files that define it and nobody else:
//
//   sandbox.cpp            its messages, the order of its phases while all goes well, its panes
//   sandbox_create.cpp     how it comes to be: create, search, adoption
//   sandbox_fallback.cpp   how one that its provider refuses is made at the run's fallback
//   sandbox_lease.cpp      how long it may live: its lease, and the end before the lease's
//   sandbox_transfers.cpp  what travels: the upload, the downloads, a last look at output
//   sandbox_attach.cpp     people who attach
//   sandbox_watch.cpp      what is watched while it runs: idle panes, panes that are out; freezing
//   sandbox_spend.cpp      its place among the limits, what its models cost, its panes' budgets
//   sandbox_end.cpp        how it ends: stop, failure, loss, kill, the last event
//   sandbox_leave.cpp      how it is left up at its end, and its agents before that
//   sandbox_child.cpp      its supervisor
#pragma once

#include "actors/idle_watch.hpp"
#include "actors/output_poller.hpp"
#include "actors/pane_set.hpp"
#include "actors/sandbox.hpp"
#include "actors/sandbox_birth.hpp"
#include "messages/json.hpp"

#include <optional>
#include <set>

namespace skep::actors {

class sandbox_impl : public domain_actor<sandbox_actor> {
public:
  sandbox_impl(caf::actor_config& cfg, context_ptr context, sandbox_start start,
               std::function<swarm_actor()> swarm, supervisor_actor supervisor);

  const char* name() const override { return "sandbox"; }
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  // ---- helpers ----
  utc_time now() const { return ctx_->svc->wall_now(); }
  const policies& limits() const { return ctx_->svc->limits; }

  /// Puts a fact on disk, then goes on. When it cannot be, this actor ends in error and is
  /// restarted: the tables know more.
  template <event E, class Next>
  void fact(const E& e, Next next) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  /// As fact(), of what a nearly full disk refuses although it takes facts: then `refused` goes on,
  /// and nothing ends.
  template <event E, class Next, class Refused>
  void fact_or(const E& e, Next next, Refused refused) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this, refused](const error& why) mutable {
          why.code == errc::disk_full ? refused() : this->quit(to_caf(why));
        });
  }

  /// As fact(), of several at once: all are on disk, or none.
  template <class Next>
  void facts(packed_events all, Next next) {
    record_all(
        ctx_->recorder(), std::move(all), [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  /// Enters a phase (a fact) and goes on; phases only grow, entering an old one again is skipped.
  template <class Next>
  void enter(phase to, Next next) {
    if (rec_.state >= to) return next();
    using std::chrono::milliseconds;
    auto known = rec_.phase_since.time_since_epoch().count() > 0;
    auto spent =
        known ? std::chrono::duration_cast<milliseconds>(now() - rec_.phase_since).count() : 0;
    steps_.push_back({rec_.state, spent});
    fact(phase_changed{to, spent, to == phase::running ? steps_ : std::vector<phase_time>{}},
         [this, to, next] {
           rec_.state = to;
           rec_.phase_since = now();
           next();
         });
  }

  /// Continuation of a step: its error fails the sandbox, a wish to end comes before `next`.
  template <class T, class Next>
  std::function<void(result<T>)> then_or_fail(Next next) {
    return home<T>([this, next](result<T> r) { go_on_or_fail(std::move(r), next); });
  }

  /// Runs `step(done)` and goes on as then_or_fail(). After an error in passing the step is run
  /// again, as long as again_in() says; so it must be one that may be done twice.
  template <class T, class Step, class Next>
  void again_or_fail(Step step, Next next, std::uint32_t failures = 0) {
    step(home<T>([this, step, next, failures](result<T> r) {
      auto wait = r.ok() ? std::nullopt : again_in(r.err(), failures + 1);
      if (!wait) return go_on_or_fail(std::move(r), next);
      later(*wait, [this, step, next, failures] {
        if (!ending()) again_or_fail<T>(step, next, failures + 1);
      });
    }));
  }

  template <class T, class Next>
  void go_on_or_fail(result<T> r, Next next) {
    if (!r) return fail(r.err());
    if (ending()) return;
    if constexpr (std::is_void_v<T>)
      next();
    else
      next(std::move(*r));
  }

  static error at_step(error e, std::string_view step) {
    if (e.step.empty()) e.step = step;
    return e;
  }

  /// Adds a child of the supervisor behind the others; `failed` when it could not be started. One
  /// that is there already is fine: the supervisor restarts what stands behind this actor.
  void add_child(child_spec child, std::function<void(error)> failed);
  /// `then` runs when it is down, or was not there.
  void remove_child(std::string id, std::function<void()> then);
  void remove_child(std::string id) {
    remove_child(std::move(id), [] {});
  }

  // ---- sandbox_spend.cpp ----
  void wait_for_place(std::function<void()> next);
  void give_place_back(const error& answer = {});
  bool wait_for_provider(const error& why);
  void count_models(std::function<void()> then);
  bool may_spend();
  void counted(const sandbox::model_usage& u);
  void bound_models(std::function<void()> then);
  /// While it is being left: no further call of a model is let through, then `then` runs. Where the
  /// gateway gives no answer, too.
  void forbid_models(std::function<void()> then);
  std::optional<std::uint64_t> allowance() const;
  sandbox_record charged_record() const;
  void judge_panes();
  /// What all of its panes together may cost is spent.
  bool panes_spent_all() const;
  void on_spend_tick();

  // ---- sandbox_create.cpp ----
  void introduce();
  void create();
  void intend_create();
  void wait_for_disk();
  void tell_disk_wait();
  void drop_intent();
  void on_created(result<sandbox::created> r);
  void born(sandbox::created made);
  void search(utc_time intended_at);
  void look();
  void on_look(utc_time asked_at, result<sandbox::created> r);
  void no_sandbox_came();
  void resume();
  /// Panes of the run that a former daemon did not write down are written down now, then `next`
  /// runs. Too late for that, they are told.
  void complete_panes(std::function<void()> next);
  void take_up();
  void reach();
  void look_for_it(const turnstile::shared_pass& pass);
  void reached(const sandbox::detail& seen, const turnstile::shared_pass& pass);
  void denied(const error& why);
  void out_of_reach(const error& why);
  bool stopped_in_vain();
  void refused(const error& why);
  void resume_search();
  void end_leftovers(std::function<void()> next);
  void leftovers_stay(const error& why, const std::function<void()>& next);
  void resume_phase();

  // ---- sandbox_fallback.cpp ----
  /// Makes it at the run's fallback where `why` is a refusal that a fallback is for; false: not.
  bool fall_back(const error& why);
  /// Runs `next` once the context is that of the provider on record.
  void at_its_provider(std::function<void()> next);
  void tell_out_of_reach(const error& why);

  // ---- sandbox_lease.cpp ----
  void extend_lease();
  void look_at_lease(std::chrono::seconds asked);
  void lease_seen(std::chrono::seconds asked, const sandbox::detail& seen);
  void renew_lease(const sandbox::detail& seen, const turnstile::shared_pass& pass);
  /// The provider gives it a shorter life than was asked for, until `end`: it is stopped in time.
  void bound_life(utc_time end);
  void tell_cap(std::chrono::milliseconds life);
  /// The lease on record.
  bool lease_over() const;
  bool lease_stop_due() const;
  void watch_lease();

  // ---- sandbox.cpp ----
  void verify();
  void provision();
  /// Until a step before the upload is run again that has now failed `failures` times in a row, the
  /// last time by `why`. Nothing: it has failed.
  std::optional<std::chrono::milliseconds> again_in(const error& why, std::uint32_t failures) const;
  /// Until a nearly full disk takes it.
  void tell_again(const notice& what);
  void start_panes();
  child_spec pane_child(const pane_record& p);
  void on_pane_ready(const pane_id& pane);
  void on_pane_closed(const pane_id& pane, outcome result, const error& why);
  void check_panes();
  void on_tick();
  void tick_later();
  caf::result<std::uint64_t> on_input(const pane_id& pane, const std::string& key,
                                      const std::string& bytes);

  // ---- sandbox_watch.cpp ----
  caf::result<std::uint64_t> on_freeze(bool frozen);
  /// More panes are out than may be: the sandbox fails. True when it does.
  bool too_many_out();
  void watch_idle();
  void on_idle_word(const pane_record& p, idle_watch::word word);
  pane_idle idle_warning(const pane_record& p) const;

  // ---- sandbox_transfers.cpp ----
  void upload();
  void collect();
  void collect_rest();
  void next_download();
  void begin_transfer(const transfer_intended& what, child_spec child);
  void on_transfer_over(const transfer_ending& x);
  void uploaded(const transfer_ending& x);
  void downloaded(const transfer_ending& x);
  void tell_stored();
  void cancel_transfer();
  /// The rest of logs whose end was not seen, then the end.
  void look_at_output();
  void looked_at_output(const last_looked& x, bool was_lost);

  // ---- sandbox_attach.cpp ----
  using attached = caf::typed_response_promise<caf::strong_actor_ptr, std::uint32_t>;
  caf::result<caf::strong_actor_ptr, std::uint32_t> on_attach(const attach_open_request& r);
  void start_attach(child_spec child, std::uint32_t generation, attached promise);
  void remove_attachments();

  // ---- sandbox_end.cpp ----
  /// True when the end was asked for or an error came: the sandbox is being destroyed.
  bool ending();
  void fail(error e);
  /// As fail(), of one that answers nobody: it is destroyed at once.
  void give_up(error e);
  /// As give_up(), of one that was stopped and is out of reach: what agents did is still inside.
  void give_up_unreached(error e);
  void remember(error e);
  /// Of a former life that intended the kill: its first error came while it collected, so behind
  /// any stop that had reached its panes.
  bool failed_collecting() const;
  /// Agents have worked here, and what they did can still be fetched.
  bool worth_collecting() const;
  /// After a failure: the agents end, what they did is collected, then the sandbox is destroyed.
  void wind_down();
  /// The kill comes before the lease is over, whatever is still being collected then.
  void bound_end();
  void lost(error why, std::string_view step);
  /// Its provider has just denied to have it: whether that is to be asked again before it counts.
  bool maybe_lost();
  /// The provider has it: a row of such looks is over.
  void found_again();
  /// The poller cannot read: the provider decides whether that is the sandbox's end.
  void on_output_lost(const error& why);
  void ask_about_output(const error& why);
  void output_denied(const error& why, const error& answer);
  void output_out_of_reach(const error& why, const error& answer);
  error given_up_output(const error& why);
  void tell_output_lost();
  void on_lost(const error& why);
  void on_stop(stop_mode how);
  void destroy();
  void intend_kill();
  void close_unborn(const pane_record& p);
  void kill();
  void finish_when_quiet();
  void tell_untold();
  outcome verdict(error& why) const;
  void report(outcome result, const error& why);

  // ---- sandbox_leave.cpp ----
  /// Whether the sandbox is left alone at its end: somebody wanted to keep it, or what its agents
  /// did is still in there.
  bool stays() const;
  /// From this pane on (of a shared tree: its first) nobody has fetched what was done.
  void unfetched_from(std::size_t first);
  /// What people are to know of one with results in it: until when it lives, and what to do.
  std::string about_unfetched() const;
  void leave();
  void look_for_agents();
  void end_agents();
  void reach_agents();
  /// Before results are collected: agents whose end was not seen are killed, for a bounded time.
  void still_agents();
  void still_agents_later();
  void agents_still();
  void tell_not_still();
  void kill_agents();
  void on_agent_killed(const pane_id& pane, const result<json>& answer);
  void end_agents_later();
  std::string names_at_work() const;
  void left();
  /// It is killed instead. `how`: the stop that wants it.
  void leave_no_longer(const std::string& why, std::optional<stop_mode> how = {});

  /// The one transfer under way.
  struct transfer {
    transfer_id id;
    transfer_direction direction;
  };

  context_ptr ctx_;
  sandbox_record rec_;
  pane_set panes_;
  std::shared_ptr<const upload_bundle> bundle_;
  bool fresh_;
  std::optional<stop_mode> former_stop_; ///< See sandbox_start.
  std::function<swarm_actor()> swarm_;
  supervisor_actor supervisor_;

  // create
  std::optional<create_search> search_; ///< While a create is unresolved.
  error create_error_;                  ///< Of the newest create.
  std::uint32_t creates_ = 0;
  bool reaching_ = false;            ///< A former daemon's; its provider has not answered yet.
  std::uint32_t away_looks_ = 0;     ///< That found the provider out of reach.
  std::uint32_t adopt_failures_ = 0; ///< Other answers without the sandbox.
  std::uint32_t denials_ = 0;        ///< Looks in a row that got a 404; see maybe_lost().
  bool denial_told_ = false;         ///< And that it is there again is not.
  std::uint32_t leftover_looks_ = 0; ///< That found something, or failed.
  // All on the boot-time clock.
  std::optional<std::chrono::milliseconds> asked_at_;     ///< Its create was sent, in this life.
  std::optional<std::chrono::milliseconds> stop_at_;      ///< Its lease ends before its run does.
  std::optional<std::chrono::milliseconds> disk_full_at_; ///< Its create waits for the disk since.
  bool lease_ends_ = false;                               ///< That is why it is stopped.

  // running, collecting
  bool moving_ = false;           ///< A change of phase is on its way to the disk.
  std::vector<phase_time> steps_; ///< Phases that are over, as far as this daemon saw them.
  bool ticking_ = false;
  std::optional<transfer> transfer_;
  std::size_t collect_next_ = 0;
  std::set<pane_id> stored_; ///< By a former life, as panes_in_place() says.
  bool stilling_ = false;    ///< See still_agents().
  std::uint32_t still_rounds_ = 0;
  idle_watch idle_;
  std::uint32_t freezing_ = 0; ///< Facts of freezing or thawing on their way to the disk.

  // limits and money
  bool waiting_ = false; ///< For ADMISSION, for its fallback's client, or for room on the disk.
  bool told_of_fallback_ = false; ///< That it cannot be had.
  bool counting_ = true;          ///< Until the provider says that it counts nothing.
  bool counts_ = false;           ///< It has answered for its models, so that it does count.
  std::optional<bool> may_spend_; ///< Does not change; see may_spend().
  bool asking_spend_ = false;
  std::uint64_t counted_calls_ = 0, counted_unpriced_ = 0, counted_cut_ = 0;
  bool told_count_ = false;                    ///< By this life of the actor.
  std::uint64_t counted_micro_ = 0;            ///< What its models have cost, as last counted.
  std::optional<std::uint64_t> allowed_micro_; ///< What the gateway was told; nothing: no cap.
  bool told_allowance_ = false;                ///< In this life.
  std::set<std::string> warned_;
  std::set<pane_id> panes_out_of_money_;

  // the end
  bool winding_down_ = false; ///< See wind_down().
  bool bounded_ = false;      ///< See bound_end().
  error first_error_;
  error collect_error_;                ///< Of the first download that failed; see downloaded().
  std::vector<std::string> unfetched_; ///< Panes whose results are still inside, and only there.
  bool past_limit_ = false;            ///< The run's time limit stops it, if nothing did before.
  error output_lost_; ///< Output could not be fetched; not told yet, a last look may bring it.
  std::vector<pane_id> output_ends_early_; ///< With output_lost_: of these panes.
  bool asking_output_ = false;             ///< The provider, since the poller gave up.
  std::uint32_t output_looks_ = 0;         ///< Of those, that found it out of reach.
  std::optional<caf::actor_clock::time_point> output_reached_at_; ///< It answered after those.
  std::optional<caf::actor_clock::time_point> stop_seen_at_;      ///< Out of reach, by a look.
  std::optional<stop_mode> stop_;
  bool stopped_first_ = false; ///< Before anything failed: the stop is its outcome.
  std::uint32_t kills_ = 0;
  bool lost_ = false;
  bool kept_ = false;
  bool leaving_ = false;                            ///< See leave().
  std::optional<std::vector<pane_record>> at_work_; ///< Agents not known to be over; none: unknown.
  std::size_t unanswered_ = 0;                      ///< Kills of this round.
  std::uint32_t kill_rounds_ = 0;                   ///< That left agents without an answer.
  bool destroying_ = false;
  bool gone_ = false; ///< At the provider, or not ours to end.
  bool finishing_ = false;
  bool untold_ = false; ///< A former life may have collected results without a word of findings.
  bool telling_ = false;
};

} // namespace skep::actors
