#include "actors/swarm_actor.hpp"
#include "actors/work_files.hpp"

namespace skep::actors {

swarm_impl::swarm_impl(caf::actor_config& cfg, swarm_context_ptr context, swarm_start start,
                       std::function<void(const swarm_id&)> closed)
    : domain_actor(cfg), ctx_(std::move(context)), start_(std::move(start)),
      closed_(std::move(closed)) {
  if (!spec().fallback.empty())
    fallback_ = std::make_shared<fallback_place>(ctx_->svc, at_fallback(spec()));
}

swarm_impl::behavior_type swarm_impl::make_behavior() {
  return {
      [this](begin_a) { return begin(); },
      [this](stop_a, stop_mode how) { return on_stop(how); },
      [this](input_a, const pane_id& pane, const std::string& key, const std::string& bytes) {
        return on_input(pane, key, bytes);
      },
      [this](attach_a, const attach_open_request& r) { return on_attach(r); },
      [this](keepers_a, const sandbox_id& only) { return sandboxes_.keepers(only); },
      [this](exited_a, const sandbox_ending& x) { on_sandbox_closed(x); },
      [this](stored_a, const sandbox_id& id) { compare_with(id); },
      [this](tick_a) { on_tick(); },
      [](done_a, const continuation& c) { c.run(); },
  };
}

void swarm_impl::on_exit() {
  sandboxes_.clear();
  for (auto& [how, promise] : std::exchange(early_, {}))
    promise.deliver(to_caf(make_error(errc::shutting_down)));
  closed_ = nullptr;
  ctx_.reset();
}

// ---- the beginning -------------------------------------------------------------------------

caf::result<std::uint64_t> swarm_impl::begin() {
  auto promise = make_response_promise<std::uint64_t>();
  if (start_.fresh) {
    create(promise);
  } else {
    promise.deliver(std::uint64_t{0});
    take_up();
  }
  return promise;
}

void swarm_impl::create(answer promise) {
  start_.fresh = false; // from now on the tables know more
  auto began = now();
  // The key and the run together: a key alone would answer the next try with a swarm that is none.
  packed_events all;
  if (!start_.accepted.key.empty()) all.add(began, start_.accepted);
  const auto& s = spec();
  all.add(began, swarm_created{s.name,
                               s.repo,
                               s.provider,
                               s.agent,
                               s.sandboxes,
                               s.panes,
                               s.keep,
                               s.out_dir,
                               {pack(s)},
                               s.budget_usd,
                               s.pane_budget_usd});
  record_all(
      ctx_->recorder(), std::move(all),
      [this, promise, began](std::uint64_t seq) mutable {
        promise.deliver(seq);
        for (const auto& text : start_.remarks)
          note(ctx_->recorder(), now(), notice{severity::warning, "otherwise", text});
        warn_if_open();
        limit_from(began);
        went_on();
        // Somebody may have asked for the end meanwhile: then phase `running` would not fit.
        if (stop_) return prepare();
        fact(swarm_phase_changed{swarm_phase::running, {}}, [this] { prepare(); });
      },
      [this, promise](const error& why) mutable {
        promise.deliver(to_caf(why));
        this->quit(to_caf(why));
      });
}

void swarm_impl::warn_if_open() {
  if (spec().network == network_policy::open)
    note(ctx_->recorder(), now(),
         notice{severity::warning, "network_open",
                "the sandboxes of " + ctx_->swarm.value
                    + " may reach every public address of the internet"});
}

// After a restart of the daemon, of this actor, or of the supervisor of its sandboxes.
void swarm_impl::take_up() {
  if (start_.record.state == swarm_phase::closed) return closed_(ctx_->swarm);
  if (finishing_ || closing_) return; // nothing of the sandboxes is needed any more
  ++life_;
  comparing_ = false;
  limit_from(start_.record.created_at);
  if (start_.record.state == swarm_phase::stopping && !stop_) {
    stop_ = former_stop(start_.record, ctx_->limit()->over(boot_now()));
    if (stop_ == stop_mode::former_shutdown && ctx_->daemon_ends()) stop_ = stop_mode::shutdown;
  }
  sandboxes_.clear();
  replacing_ = unnumbered_ = unreached_ = 0;
  waiting_for_tree_.clear();
  unmade_ = {};
  went_on();
  adopt();
}

void swarm_impl::limit_from(utc_time began) {
  if (!ctx_->limit())
    ctx_->limit(time_limit{began, std::chrono::milliseconds{spec().limit_ms}, now(), boot_now()});
  if (!soft_) soft_.emplace(spec().warn_at_ms, spec().limit_ms, start_.record.warned_ms);
}

// The swarm is in the journal: wishes that came before are recorded now, the clock runs.
void swarm_impl::went_on() {
  on_disk_ = true;
  for (auto& [how, promise] : std::exchange(early_, {}))
    stop(how, promise);
  if (!std::exchange(ticking_, true)) tick_later();
}

// ---- starting ------------------------------------------------------------------------------

void swarm_impl::prepare() {
  if (stop_) return close(stopped_outcome(), {});
  in_pool<packed_tree>(
      ctx_->svc,
      [svc = ctx_->svc, spec = ctx_->spec, id = ctx_->swarm]() -> result<packed_tree> {
        auto tree = prepare_bundle(*svc, *spec, id);
        if (!tree) return tree.err();
        auto told = scan_is_on_record(*svc, id, tree->bundle.scanned);
        return packed_tree{std::move(*tree), told};
      },
      mine([this](result<packed_tree> r) { prepared(std::move(r)); }));
}

void swarm_impl::prepared(result<packed_tree> r) {
  if (!r) return close(outcome::failed, r.err());
  tell_of_packing(r->tree.notices);
  bundle_ = std::make_shared<const upload_bundle>(std::move(r->tree.bundle));
  tell_scan(r->told, [this] {
    if (bundle_->refused) return close(outcome::failed, bundle_->refused);
    connect(spec().provider, [this](const error& why) {
      if (why) return close(outcome::failed, why);
      start_all();
    });
  });
}

// What the scan found is on disk before anything is made; of a bundle that a former life packed,
// it may be there already, or not.
void swarm_impl::tell_scan(bool told, std::function<void()> next) {
  if (told || !bundle_->scanned.report.telling()) return next();
  fact(bundle_->scanned, mine(std::move(next)));
}

void swarm_impl::pack_tree(std::function<void(result<upload_bundle>)> next) {
  in_pool<prepared_bundle>(
      ctx_->svc,
      [svc = ctx_->svc, spec = ctx_->spec, id = ctx_->swarm] {
        return prepare_bundle(*svc, *spec, id);
      },
      mine([this, next = std::move(next)](result<prepared_bundle> r) {
        if (!r) return next(r.err());
        tell_of_packing(r->notices);
        next(std::move(r->bundle));
      }));
}

void swarm_impl::tell_of_packing(const std::vector<notice>& what) {
  for (const auto& n : what)
    note(ctx_->recorder(), now(), n);
}

void swarm_impl::connect(const std::string& provider, std::function<void(const error&)> next) {
  at_provider(ctx_->svc, provider,
              mine([this, provider, next](result<std::shared_ptr<sandbox::api>> r) mutable {
                if (!r) return next(r.err());
                clients_[provider] = std::move(*r);
                next(error{});
              }));
}

void swarm_impl::start_all() {
  if (stop_) return close(stopped_outcome(), {});
  for (std::uint32_t i = 0; i < spec().sandboxes; ++i)
    start_sandbox(plan_sandbox(spec(), ctx_->swarm, i));
}

void swarm_impl::start_sandbox(sandbox_start start) {
  const bool fell_back = fallback_ && start.record.provider == fallback_->provider();
  const auto& place = fell_back ? fallback_->spec() : ctx_->spec;
  auto context = sandboxes_.add(ctx_->svc, place, clients_.at(place->provider), start);
  if (!fell_back) context->fallback = fallback_;
  start.bundle = bundle_;
  auto child =
      sandbox_child(context, std::move(start), [weak = std::weak_ptr<swarm_context>(ctx_)] {
        auto swarm = weak.lock();
        return swarm ? swarm->keeper() : swarm_actor{};
      });
  ask<caf::strong_actor_ptr>(
      this, ctx_->sandboxes(), std::chrono::seconds{30}, [](const caf::strong_actor_ptr&) {},
      [this, id = context->sandbox](caf::error& e) {
        on_sandbox_closed({id, outcome::failed, from_caf(e), true});
      },
      add_child_a::value, std::move(child));
}

// ---- while it runs -------------------------------------------------------------------------

std::chrono::milliseconds swarm_impl::boot_now() const {
  return ctx_->svc->boot_now();
}
void swarm_impl::tick_later() {
  this->delayed_send(me(), std::chrono::seconds{1}, tick_a::value);
}

// The hard limit needs no client. A wish to stop is said again and again: a SANDBOX that was just
// being started or restarted has not heard it; to the others it means nothing new.
// Past the limit also those that were stopped before must be quick: their lease is about to end.
void swarm_impl::on_tick() {
  if (closing_) return;
  auto over = ctx_->limit()->over(boot_now());
  if (!stop_ && over) {
    note(ctx_->recorder(), now(), hard_limit(elapsed().count(), spec().limit_ms, cost()));
    stop(stop_mode::timed_out, [](result<std::uint64_t>) {});
  } else if (stop_) {
    sandboxes_.tell_stop(over && !at_once(*stop_) ? stop_mode::timed_out : *stop_);
  } else if (auto due = soft_->due(elapsed())) {
    fact(with_cost(std::move(*due), cost()), [] {});
  }
  tick_later();
}

std::chrono::milliseconds swarm_impl::elapsed() const {
  return std::chrono::milliseconds{spec().limit_ms} - ctx_->limit()->left(boot_now());
}
run_cost swarm_impl::cost() const {
  return cost_so_far(*ctx_->svc, ctx_->swarm);
}

caf::result<std::uint64_t> swarm_impl::on_stop(stop_mode how) {
  auto promise = make_response_promise<std::uint64_t>();
  if (how == stop_mode::shutdown) ctx_->daemon_ends(true);
  if (on_disk_)
    stop(how, promise);
  else
    early_.emplace_back(how, promise);
  return promise;
}

void swarm_impl::stop(stop_mode how, answer promise) {
  stop(how, [promise](result<std::uint64_t> seq) mutable {
    seq ? promise.deliver(*seq) : promise.deliver(to_caf(seq.err()));
  });
}

// The wish is on disk before anything is done about it: a daemon that dies now goes on stopping,
// and goes on killing where a kill came after a stop.
void swarm_impl::stop(stop_mode how, std::function<void(result<std::uint64_t>)> then) {
  const auto before = stop_;
  // What goes on for a former daemon has less time once this one ends, too.
  const auto sooner = how == stop_mode::shutdown && before == stop_mode::former_shutdown;
  if (closing_ || (before && !sooner && (!at_once(how) || at_once(*before))))
    return then(ctx_->svc->handles->head_seq());
  stop_ = how;
  if (before && reason_of(how) == reason_of(*before)) {
    sandboxes_.tell_stop(how); // only quicker: a next life comes to the same by itself
    return then(ctx_->svc->handles->head_seq());
  }
  record(
      ctx_->recorder(), now(), swarm_phase_changed{swarm_phase::stopping, reason_of(how)},
      [this, then](std::uint64_t seq) {
        then(seq);
        sandboxes_.tell_stop(*stop_);
      },
      [this, then, before](const error& e) {
        then(e);
        if (!before) return this->quit(to_caf(e));
        sandboxes_.tell_stop(*stop_); // each kill writes its own intent before it is sent
      });
}

caf::result<std::uint64_t> swarm_impl::on_input(const pane_id& pane, const std::string& key,
                                                const std::string& bytes) {
  auto keeper = sandboxes_.keeper_of(pane);
  if (!keeper) return to_caf(make_error(errc::wrong_phase, "the pane does not run"));
  auto promise = make_response_promise<std::uint64_t>();
  ask<std::uint64_t>(
      this, keeper, record_deadline, [promise](std::uint64_t seq) mutable { promise.deliver(seq); },
      [promise](caf::error& e) mutable { promise.deliver(std::move(e)); }, input_a::value, pane,
      key, bytes);
  return promise;
}

caf::result<caf::strong_actor_ptr, std::uint32_t>
swarm_impl::on_attach(const attach_open_request& r) {
  auto keeper = r.pane.empty() ? sandboxes_.keeper_of(r.sandbox) : sandboxes_.keeper_of(r.pane);
  if (!keeper) return to_caf(make_error(errc::wrong_phase, "its sandbox does not run"));
  return delegate(keeper, attach_a::value, r);
}

// ---- the end -------------------------------------------------------------------------------

void swarm_impl::on_sandbox_closed(const sandbox_ending& x) {
  if (!sandboxes_.open(x.sandbox)) return;
  x.gave_up ? abandon(x) : forget(x);
}

void swarm_impl::forget(const sandbox_ending& x) {
  if (!sandboxes_.close(x.sandbox)) return;
  auto again = x.result == outcome::lost && may_replace();
  if (x.why && !first_error_ && !again) first_error_ = x.why;
  auto drop = [this, id = x.sandbox] { sandboxes_.drop(id); };
  ask<void>(
      this, ctx_->sandboxes(), std::chrono::seconds{60}, drop, [drop](caf::error&) { drop(); },
      del_child_a::value, x.sandbox.value);
  if (again) return replace(x.sandbox);
  finish_when_empty();
  compare_with(x.sandbox);
}

// Its supervisor gave up: nobody else will say so in the journal.
void swarm_impl::abandon(const sandbox_ending& x) {
  auto c = abandonment(*ctx_->svc, x.sandbox, x.why);
  if (!c && (c.err().code == errc::wrong_phase || c.err().code == errc::not_found))
    return forget(x); // closed already, or never heard of
  auto again = [this, x] { later(std::chrono::seconds{1}, [this, x] { on_sandbox_closed(x); }); };
  if (!c) return again();
  ask<std::uint64_t>(
      this, ctx_->svc->handles->journal(), record_deadline,
      [this, x](std::uint64_t) {
        ctx_->svc->handles->wake_reaper();
        forget(x);
      },
      [again](caf::error&) { again(); }, // the tables are read anew
      append_a::value, *c);
}

// A comparison that is under way comes to its end first: both put originals into the same folder.
void swarm_impl::finish() {
  if (!std::exchange(finishing_, true) && !comparing_) write_end();
}

void swarm_impl::write_end() {
  auto svc = ctx_->svc;
  in_pool<concluded>(
      svc, [svc, spec = ctx_->spec, id = ctx_->swarm] { return conclude(*svc, *spec, id); },
      [this](result<concluded> r) {
        if (!r) return close(outcome::failed, r.err());
        tell(r->met);
        if (r->about_place) note(ctx_->recorder(), now(), *r->about_place);
        if (unmade_ && r->end.result == outcome::completed) r->end.result = outcome::failed;
        if (r->end.result != outcome::completed && first_error_) r->end.why = first_error_;
        close(std::move(r->end));
      });
}

outcome swarm_impl::stopped_outcome() const {
  return outcome_of(*stop_);
}

void swarm_impl::close(outcome result, error why) {
  swarm_closed end;
  end.result = result;
  end.why = std::move(why);
  close(std::move(end));
}

void swarm_impl::close(swarm_closed end) {
  if (std::exchange(closing_, true)) return;
  fact(end, [this] {
    remove_work_files(*ctx_->svc, ctx_->swarm);
    // Nobody waited for the answers of its creates.
    if (stop_ && at_once(*stop_)) ctx_->svc->handles->wake_reaper();
    closed_(ctx_->swarm);
  });
}

swarm_actor spawn_swarm(caf::scheduled_actor* parent, swarm_context_ptr context, swarm_start start,
                        std::function<void(const swarm_id&)> closed) {
  return parent->spawn<swarm_impl>(std::move(context), std::move(start), std::move(closed));
}

} // namespace skep::actors
