#include "actors/swarm.hpp"

#include "actors/replacement.hpp"
#include "actors/soft_limits.hpp"
#include "actors/swarm_results.hpp"
#include "actors/swarm_sandboxes.hpp"

namespace skep::actors {
namespace {

class swarm_impl : public domain_actor<swarm_actor> {
public:
  swarm_impl(caf::actor_config& cfg, swarm_context_ptr context, swarm_start start,
             std::function<void(const swarm_id&)> closed)
      : domain_actor(cfg), ctx_(std::move(context)), start_(std::move(start)),
        closed_(std::move(closed)) {}

  const char* name() const override { return "swarm"; }

  behavior_type make_behavior() override {
    return {
        [this](begin_a) { return begin(); },
        [this](stop_a, stop_mode how) { return on_stop(how); },
        [this](input_a, const pane_id& pane, const std::string& key, const std::string& bytes) {
          return on_input(pane, key, bytes);
        },
        [this](attach_a, const attach_open_request& r) { return on_attach(r); },
        [this](keepers_a, const sandbox_id& only) { return sandboxes_.keepers(only); },
        [this](exited_a, const sandbox_ending& x) { on_sandbox_closed(x); },
        [this](tick_a) { on_tick(); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    sandboxes_.clear();
    for (auto& [how, promise] : std::exchange(early_, {}))
      promise.deliver(to_caf(make_error(errc::shutting_down)));
    closed_ = nullptr;
    ctx_.reset();
  }

private:
  using answer = caf::typed_response_promise<std::uint64_t>;
  struct known_boxes {
    std::vector<sandbox_record> sandboxes;
    std::vector<replacement_record> replacements;
  };
  struct known_loss {
    std::uint32_t index;
    sandbox_replaced event;
  };

  utc_time now() const { return ctx_->svc->wall_now(); }
  const swarm_spec& spec() const { return *ctx_->spec; }

  // A callback of this life.
  template <class F>
  auto mine(F f) {
    return [this, life = life_, f = std::move(f)](auto&&... xs) mutable {
      if (life == life_) f(std::forward<decltype(xs)>(xs)...);
    };
  }

  template <event E, class Next>
  void fact(const E& e, Next next) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  // ---- the beginning ----
  caf::result<std::uint64_t> begin() {
    auto promise = make_response_promise<std::uint64_t>();
    if (start_.fresh) {
      create(promise);
    } else {
      promise.deliver(std::uint64_t{0});
      take_up();
    }
    return promise;
  }

  void create(answer promise) {
    start_.fresh = false; // from now on the tables know more
    auto began = now();
    if (!start_.accepted.key.empty()) note(ctx_->recorder(), began, start_.accepted);
    const auto& s = spec();
    record(
        ctx_->recorder(), began,
        swarm_created{s.name,
                      s.repo,
                      s.provider,
                      s.agent,
                      s.sandboxes,
                      s.panes,
                      s.keep,
                      s.out_dir,
                      {pack(s)},
                      s.budget_usd,
                      s.pane_budget_usd},
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

  void warn_if_open() {
    if (spec().network == network_policy::open)
      note(ctx_->recorder(), now(),
           notice{severity::warning, "network_open",
                  "the sandboxes of " + ctx_->swarm.value
                      + " may reach every public address of the internet"});
  }

  // After a restart of the daemon, of this actor, or of the supervisor of its sandboxes.
  void take_up() {
    if (start_.record.state == swarm_phase::closed) return closed_(ctx_->swarm);
    if (finishing_ || closing_) return; // nothing of the sandboxes is needed any more
    ++life_;
    comparing_ = false;
    limit_from(start_.record.created_at);
    if (start_.record.state == swarm_phase::stopping && !stop_)
      stop_ = former_stop(start_.record, ctx_->limit()->over(boot_now()));
    sandboxes_.clear();
    replacing_ = 0;
    went_on();
    adopt();
  }

  void limit_from(utc_time began) {
    if (!ctx_->limit())
      ctx_->limit(time_limit{began, std::chrono::milliseconds{spec().limit_ms}, now(), boot_now()});
    if (!soft_) soft_.emplace(spec().warn_at_ms, spec().limit_ms, start_.record.warned_ms);
  }

  // The swarm is in the journal: wishes that came before are recorded now, the clock runs.
  void went_on() {
    on_disk_ = true;
    for (auto& [how, promise] : std::exchange(early_, {}))
      stop(how, promise);
    if (!std::exchange(ticking_, true)) tick_later();
  }

  // ---- starting ----
  void prepare() {
    if (stop_) return close(stopped_outcome(), {});
    pack_tree([this](result<upload_bundle> r) {
      if (!r) return close(outcome::failed, r.err());
      bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
      tell_scan([this] {
        if (bundle_->refused) return close(outcome::failed, bundle_->refused);
        connect([this](const error& why) {
          if (why) return close(outcome::failed, why);
          start_all();
        });
      });
    });
  }

  // What the scan found is on disk before anything is made.
  template <class Next>
  void tell_scan(Next next) {
    if (!bundle_->scanned.report.telling()) return next();
    fact(bundle_->scanned, mine(std::move(next)));
  }

  template <class Next>
  void pack_tree(Next next) {
    in_pool<prepared_bundle>(
        ctx_->svc,
        [svc = ctx_->svc, spec = ctx_->spec, id = ctx_->swarm] {
          return prepare_bundle(*svc, *spec, id);
        },
        mine([this, next = std::move(next)](result<prepared_bundle> r) mutable {
          if (!r) return next(result<upload_bundle>{r.err()});
          for (const auto& x : r->notices)
            note(ctx_->recorder(), now(), x);
          next(result<upload_bundle>{std::move(r->bundle)});
        }));
  }

  template <class Next>
  void connect(Next next) {
    in_pool<std::shared_ptr<sandbox::api>>(
        ctx_->svc, [svc = ctx_->svc, name = spec().provider] { return svc->provider(name); },
        mine([this, next](result<std::shared_ptr<sandbox::api>> r) mutable {
          if (!r) return next(r.err());
          api_ = std::move(*r);
          next(error{});
        }));
  }

  void start_all() {
    if (stop_) return close(stopped_outcome(), {});
    for (std::uint32_t i = 0; i < spec().sandboxes; ++i)
      start_sandbox(plan_sandbox(spec(), ctx_->swarm, i));
  }

  void start_sandbox(sandbox_start start) {
    auto context = sandboxes_.add(ctx_->svc, ctx_->spec, api_, start);
    start.bundle = bundle_;
    auto child =
        sandbox_child(context, std::move(start), [weak = std::weak_ptr<swarm_context>(ctx_)] {
          auto swarm = weak.lock();
          return swarm ? swarm->keeper() : swarm_actor{};
        });
    request(ctx_->sandboxes(), std::chrono::seconds{30}, add_child_a::value, std::move(child))
        .then([](const caf::strong_actor_ptr&) {},
              [this, id = context->sandbox](caf::error& e) {
                on_sandbox_closed({id, outcome::failed, from_caf(e), true});
              });
  }

  // ---- taking up what a former life left ----
  void adopt() {
    auto svc = ctx_->svc;
    in_pool<known_boxes>(
        svc,
        [svc, id = ctx_->swarm]() -> result<known_boxes> {
          auto boxes = svc->load_sandboxes(id);
          if (!boxes) return boxes.err();
          auto replaced = replacements_of(*svc, id);
          if (!replaced) return replaced.err();
          return known_boxes{std::move(*boxes), std::move(*replaced)};
        },
        mine([this](result<known_boxes> r) {
          if (!r) return this->quit(to_caf(r.err()));
          auto& boxes = r->sandboxes;
          if (boxes.empty()) return prepare(); // it ended between swarm.created and its first one
          replaced_ = static_cast<std::uint32_t>(r->replacements.size());
          if (!stop_) {
            missing_ = missing_indices(spec(), boxes);
            owed_ = owed(boxes, r->replacements, spec().replace_lost);
          }
          std::erase_if(boxes, [](const auto& x) { return x.state == phase::closed; });
          if (boxes.empty() && missing_.empty() && owed_.empty()) return finish();
          reach(std::move(boxes));
        }));
  }

  // Sandboxes live there, so a provider that does not answer is waited for, up to the run's end.
  void reach(std::vector<sandbox_record> open) {
    connect([this, open = std::move(open)](const error& why) mutable {
      if (!why) return with_bundle(std::move(open));
      if (retriable(why) && (!stop_ || stop_ == stop_mode::graceful))
        return later(ctx_->svc->limits.settle_interval,
                     mine([this, open = std::move(open)] { reach(open); }));
      for (const auto& r : open) {
        sandboxes_.add(ctx_->svc, ctx_->spec, nullptr, {r, {}, false, nullptr});
        on_sandbox_closed({r.sandbox, outcome::failed, why, true});
      }
      if (open.empty()) close(outcome::failed, why); // and those that are missing cannot be made
    });
  }

  void with_bundle(std::vector<sandbox_record> open) {
    if (bundle_
        || (missing_.empty() && owed_.empty()
            && std::none_of(open.begin(), open.end(),
                            [](const auto& r) { return r.base_commit.empty(); })))
      return adopt_all(open);
    pack_tree([this, open](result<upload_bundle> r) {
      // Without a bundle those sandboxes fail with their own error.
      if (r.ok() && !r->refused) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
      adopt_all(open);
    });
  }

  void adopt_all(const std::vector<sandbox_record>& open) {
    for (const auto& r : open) {
      sandbox_start start{r, {}, false, nullptr, stop_};
      if (auto panes = ctx_->svc->load_panes(r.sandbox); panes.ok() && !panes->empty()) {
        start.panes = std::move(*panes);
        start_sandbox(std::move(start));
      } else {
        sandboxes_.add(ctx_->svc, ctx_->spec, api_, start);
        on_sandbox_closed({r.sandbox, outcome::failed,
                           make_error(errc::internal, "its panes are unknown"), true});
      }
    }
    for (auto index : std::exchange(missing_, {})) // it ended while it started them
      start_sandbox(plan_sandbox(spec(), ctx_->swarm, index));
    for (auto& x : std::exchange(owed_, {}))
      x.successor.empty() ? replace(x.lost.sandbox) : start_successor(x.lost.index, x.successor);
  }

  // ---- successors of lost sandboxes ----

  // Only while the run goes on: what a stop or the end of its time has reached is not begun again.
  bool may_replace() const {
    return !stop_ && !closing_ && !finishing_ && api_ && !ctx_->limit()->over(boot_now())
           && replaced_ + replacing_ < spec().replace_lost;
  }

  // The intent names the successor, so that a daemon that dies now starts this one and no other.
  void replace(const sandbox_id& lost) {
    ++replacing_;
    in_pool<known_loss>(
        ctx_->svc,
        [svc = ctx_->svc, spec = ctx_->spec, lost]() -> result<known_loss> {
          auto row = svc->load_sandbox(lost);
          if (!row) return row.err();
          return known_loss{row->index, what_was_lost(*svc, *spec, *row)};
        },
        mine([this](result<known_loss> r) {
          --replacing_;
          if (!r) return this->quit(to_caf(r.err()));
          if (!may_replace()) return finish_when_empty();
          r->event.successor = sandbox_id::make();
          r->event.number = ++replaced_;
          r->event.most = spec().replace_lost;
          ++replacing_;
          fact(r->event, mine([this, index = r->index, id = r->event.successor] {
                 --replacing_;
                 stop_ ? finish_when_empty() : start_successor(index, id);
               }));
        }));
  }

  void start_successor(std::uint32_t index, const sandbox_id& id) {
    if (bundle_) return start_sandbox(plan_sandbox(spec(), ctx_->swarm, index, id));
    ++replacing_;
    pack_tree([this, index, id](result<upload_bundle> r) {
      --replacing_;
      // Without a bundle it fails with its own error.
      if (r.ok()) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
      stop_ ? finish_when_empty() : start_sandbox(plan_sandbox(spec(), ctx_->swarm, index, id));
    });
  }

  void finish_when_empty() {
    if (!sandboxes_.any_open() && replacing_ == 0) finish();
  }

  // ---- while it runs ----
  std::chrono::milliseconds boot_now() const { return ctx_->svc->boot_now(); }
  void tick_later() { this->delayed_send(me(), std::chrono::seconds{1}, tick_a::value); }

  // The hard limit needs no client. A wish to stop is said again and again: a SANDBOX that was just
  // being started or restarted has not heard it; to the others it means nothing new.
  // Past the limit also those that were stopped before must be quick: their lease is about to end.
  void on_tick() {
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

  std::chrono::milliseconds elapsed() const {
    return std::chrono::milliseconds{spec().limit_ms} - ctx_->limit()->left(boot_now());
  }
  run_cost cost() const { return cost_so_far(*ctx_->svc, ctx_->swarm); }

  caf::result<std::uint64_t> on_stop(stop_mode how) {
    auto promise = make_response_promise<std::uint64_t>();
    if (on_disk_)
      stop(how, promise);
    else
      early_.emplace_back(how, promise);
    return promise;
  }

  void stop(stop_mode how, answer promise) {
    stop(how, [promise](result<std::uint64_t> seq) mutable {
      seq ? promise.deliver(*seq) : promise.deliver(to_caf(seq.err()));
    });
  }

  // The wish is on disk before anything is done about it: a daemon that dies now goes on stopping.
  void stop(stop_mode how, std::function<void(result<std::uint64_t>)> then) {
    auto again = stop_.has_value();
    if (closing_ || (again && (!at_once(how) || at_once(*stop_))))
      return then(ctx_->svc->handles->head_seq());
    stop_ = how;
    if (again) {
      sandboxes_.tell_stop(how);
      return then(ctx_->svc->handles->head_seq());
    }
    record(
        ctx_->recorder(), now(), swarm_phase_changed{swarm_phase::stopping, reason_of(how)},
        [this, then](std::uint64_t seq) {
          then(seq);
          sandboxes_.tell_stop(*stop_);
        },
        [this, then](const error& e) {
          then(e);
          this->quit(to_caf(e));
        });
  }

  caf::result<std::uint64_t> on_input(const pane_id& pane, const std::string& key,
                                      const std::string& bytes) {
    auto keeper = sandboxes_.keeper_of(pane);
    if (!keeper) return to_caf(make_error(errc::wrong_phase, "the pane does not run"));
    auto promise = make_response_promise<std::uint64_t>();
    request(keeper, record_deadline, input_a::value, pane, key, bytes)
        .then([promise](std::uint64_t seq) mutable { promise.deliver(seq); },
              [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
    return promise;
  }

  caf::result<caf::strong_actor_ptr, std::uint32_t> on_attach(const attach_open_request& r) {
    auto keeper = r.pane.empty() ? sandboxes_.keeper_of(r.sandbox) : sandboxes_.keeper_of(r.pane);
    if (!keeper) return to_caf(make_error(errc::wrong_phase, "its sandbox does not run"));
    return delegate(keeper, attach_a::value, r);
  }

  // ---- the end ----
  void on_sandbox_closed(const sandbox_ending& x) {
    if (!sandboxes_.open(x.sandbox)) return;
    x.gave_up ? abandon(x) : forget(x);
  }

  void forget(const sandbox_ending& x) {
    if (!sandboxes_.close(x.sandbox)) return;
    auto again = x.result == outcome::lost && may_replace();
    if (x.why && !first_error_ && !again) first_error_ = x.why;
    auto drop = [this, id = x.sandbox] { sandboxes_.drop(id); };
    request(ctx_->sandboxes(), std::chrono::seconds{60}, del_child_a::value, x.sandbox.value)
        .then(drop, [drop](caf::error&) { drop(); });
    if (again) return replace(x.sandbox);
    finish_when_empty();
    uncompared_.push_back(x.sandbox);
    compare();
  }

  // ---- panes that changed the same paths: told as results come in, and all of them at the end.
  void compare() {
    if (comparing_ || finishing_ || uncompared_.empty()) return;
    comparing_ = true;
    auto svc = ctx_->svc;
    in_pool<std::vector<collision>>(
        svc,
        [svc, spec = ctx_->spec, id = ctx_->swarm, boxes = std::exchange(uncompared_, {})] {
          return collisions_with(*svc, *spec, id, boxes);
        },
        mine([this](result<std::vector<collision>> r) {
          comparing_ = false;
          // What cannot be compared now is compared at the end, where an error counts.
          if (r && !finishing_) tell(*r);
          compare();
        }));
  }

  void tell(const std::vector<collision>& met) {
    constexpr std::size_t most = 200;
    for (const auto& x : met) {
      auto what = std::pair{x.panes.size(), x.level};
      if (auto i = told_.find(x.path); i != told_.end() && i->second == what) continue;
      if (told_.size() >= most) return; // summary.json has them all
      told_[x.path] = what;
      note(ctx_->recorder(), now(), x);
    }
  }

  // Its supervisor gave up: nobody else will say so in the journal.
  void abandon(const sandbox_ending& x) {
    auto c = abandonment(*ctx_->svc, x.sandbox, x.why);
    if (!c && (c.err().code == errc::wrong_phase || c.err().code == errc::not_found))
      return forget(x); // closed already, or never heard of
    auto again = [this, x] { later(std::chrono::seconds{1}, [this, x] { on_sandbox_closed(x); }); };
    if (!c) return again();
    request(ctx_->svc->handles->journal(), record_deadline, append_a::value, *c)
        .then(
            [this, x](std::uint64_t) {
              ctx_->svc->handles->wake_reaper();
              forget(x);
            },
            [again](caf::error&) { again(); }); // the tables are read anew
  }

  void finish() {
    if (std::exchange(finishing_, true)) return;
    auto svc = ctx_->svc;
    in_pool<concluded>(
        svc, [svc, spec = ctx_->spec, id = ctx_->swarm] { return conclude(*svc, *spec, id); },
        [this](result<concluded> r) {
          if (!r) return close(outcome::failed, r.err());
          tell(r->met);
          if (r->end.result != outcome::completed && first_error_) r->end.why = first_error_;
          close(std::move(r->end));
        });
  }

  outcome stopped_outcome() const { return outcome_of(*stop_); }

  void close(outcome result, error why) {
    swarm_closed end;
    end.result = result;
    end.why = std::move(why);
    close(std::move(end));
  }

  void close(swarm_closed end) {
    if (std::exchange(closing_, true)) return;
    fact(end, [this] {
      remove_work_files(*ctx_->svc, ctx_->swarm);
      // Nobody waited for the answers of its creates.
      if (stop_ && at_once(*stop_)) ctx_->svc->handles->wake_reaper();
      closed_(ctx_->swarm);
    });
  }

  swarm_context_ptr ctx_;
  swarm_start start_;
  std::function<void(const swarm_id&)> closed_;
  std::vector<std::pair<stop_mode, answer>> early_; ///< From before swarm.created was on disk.
  std::shared_ptr<const upload_bundle> bundle_;
  std::shared_ptr<sandbox::api> api_;
  sandbox_set sandboxes_;
  std::vector<std::uint32_t> missing_; ///< Sandboxes of the run that a former life did not begin.
  std::vector<owed_successor> owed_;   ///< As above, of successors.
  std::uint32_t replaced_ = 0;         ///< Lost sandboxes with a successor on disk.
  std::uint32_t replacing_ = 0;        ///< On their way to one.
  error first_error_;
  std::optional<soft_limits> soft_;
  std::optional<stop_mode> stop_;
  std::vector<sandbox_id> uncompared_; ///< Closed, and their results not yet looked at.
  std::map<std::string, std::pair<std::size_t, overlap>> told_; ///< Path -> collision as told.
  std::uint64_t life_ = 0; ///< Grows with every take_up(); what an older one began is dropped.
  bool on_disk_ = false;
  bool ticking_ = false;
  bool comparing_ = false;
  bool finishing_ = false;
  bool closing_ = false;
};

} // namespace

swarm_actor spawn_swarm(caf::scheduled_actor* parent, swarm_context_ptr context, swarm_start start,
                        std::function<void(const swarm_id&)> closed) {
  return parent->spawn<swarm_impl>(std::move(context), std::move(start), std::move(closed));
}

} // namespace skep::actors
