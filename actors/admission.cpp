#include "actors/admission.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/answer.hpp"
#include "actors/budget_watch.hpp"
#include "actors/create_backoff.hpp"
#include "actors/dead_places.hpp"
#include "actors/run_checks.hpp"
#include "actors/run_rules.hpp"

#include <list>

namespace skep::actors {
namespace {

using std::chrono::milliseconds;

/// The limit that is the provider's own: what it refused by is not known.
constexpr const char* provider_rule = "provider";

error refused_at_present(const hold& h, const std::string& provider) {
  auto e = make_error(errc::quota, provider + " has refused a create and is not asked at present");
  e.retry_after_ms = h.wait.count();
  return e;
}

class admission_impl : public domain_actor<admission_actor> {
public:
  admission_impl(caf::actor_config& cfg, services_ptr svc, std::shared_ptr<swarm_registry> swarms)
      : domain_actor(cfg), svc_(std::move(svc)), swarms_(swarms),
        watch_(svc_, std::move(swarms),
               [this](chunk_ptr c, std::function<void(bool)> then) {
                 append(std::move(c), std::move(then));
               }),
        backoff_(svc_->limits) {}

  const char* name() const override { return "admission"; }

  behavior_type make_behavior() override {
    this->set_down_handler([this](caf::down_msg& d) { died(d.source); });
    arm(); // what a former life left is looked at
    return {
        [this](admit_a, const admission_request& r) { admit(r); },
        [this](release_a, const place_given_back& x) { release(x); },
        [this](check_a, const swarm_spec& spec) -> caf::result<void> {
          if (auto e = check(spec)) return to_caf(e);
          arm();
          return caf::unit;
        },
        [this](handle_a, const request_frame& f) { return handle(f); },
        [this](tick_a) { on_tick(); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    for (auto& w : std::exchange(line_, {}))
      w.ask.then(make_error(errc::shutting_down));
    granted_.clear();
    watch_.clear();
    swarms_.reset();
    svc_.reset();
  }

private:
  struct waiting {
    admission_request ask;
    milliseconds since{0}; ///< On the boot-time clock.
    milliseconds told_at{0};
    std::uint32_t told_position = 0;
    sandbox_waits told; ///< As of the last look, whether that was news or not.
  };

  const limit_table& rules() const { return *svc_->rules; }
  utc_time now() const { return svc_->wall_now(); }

  // ---- the line ----
  void admit(const admission_request& r) {
    leave_line(r.sandbox);
    granted_.erase(r.sandbox);
    if (r.asker) this->monitor(r.asker);
    line_.push_back({r, svc_->boot_now(), milliseconds{0}, 0, {}});
    look_soon();
  }

  void release(const place_given_back& x) {
    if (x.refused)
      backoff_.refused(x.provider, x.sandbox, milliseconds{x.refused.retry_after_ms},
                       svc_->boot_now());
    leave_line(x.sandbox);
    granted_.erase(x.sandbox);
    if (!line_.empty()) look_soon();
  }

  void leave_line(const sandbox_id& id) {
    line_.remove_if([&](const auto& w) { return w.ask.sandbox == id; });
  }

  void died(const caf::actor_addr& who) {
    auto by_him = [&](const auto& ask) { return ask.asker && ask.asker->address() == who; };
    line_.remove_if([&](const auto& w) { return by_him(w.ask); });
    std::erase_if(granted_, [&](const auto& x) { return by_him(x.second); });
    look_soon();
  }

  // Many ask at once when a swarm begins: they are looked at together.
  void look_soon() {
    if (std::exchange(looking_, true)) return;
    caf::anon_send(me(), done_a::value, continuation{[this] { look(); }});
  }

  void look() {
    looking_ = false;
    auto state = svc_->load_spend(now());
    if (!state) return arm(); // the database is busy: again in a second
    serve(*state);
    watch_.publish(*state, now());
    arm();
  }

  void serve(const storage::spend_state& state) {
    auto at = now();
    claimed_.clear();
    if (line_.empty()) return;
    drop_placed(state);
    backoff_.look(state, svc_->boot_now());
    auto dead = dead_in(state);
    auto loads = loads_of(state, at);
    budget_rooms rooms{state, rules(), at};
    for (const auto& [id, ask] : granted_)
      rooms.reserve(ask.swarm, ask.reserved_usd);
    std::map<std::string, std::size_t> ahead;
    for (auto i = line_.begin(); i != line_.end();) {
      auto& w = *i;
      auto& load = loads_for(loads, state, w.ask.provider);
      auto h = hold_of(w, load, at, ahead[w.ask.provider]);
      if (!h) {
        auto spent = rooms.take(w.ask.swarm, w.ask.reserved_usd);
        if (!spent) {
          load.add(w.ask.repo, at, w.ask.longest);
          granted_[w.ask.sandbox] = w.ask;
          if (!w.ask.no_queue) backoff_.asks(w.ask.provider, w.ask.sandbox, svc_->boot_now());
        }
        w.ask.then(spent ? result<void>{spent} : result<void>{});
        i = line_.erase(i);
        continue;
      }
      auto may_wait = !w.ask.no_queue || svc_->boot_now() - w.since < svc_->limits.reclaim;
      auto place_comes = may_wait && dead.claim(*h, w.ask.provider, w.ask.repo);
      if (w.ask.falls_back && h->rule == provider_rule) {
        w.ask.then(refused_at_present(*h, w.ask.provider));
        i = line_.erase(i);
        continue;
      }
      if (w.ask.no_queue && !h->passing && !place_comes) {
        w.ask.then(refusal(*h));
        i = line_.erase(i);
        continue;
      }
      tell(w, *h, ++ahead[w.ask.provider]);
      ++i;
    }
    reclaim(dead);
    claimed_ = dead.claimed();
  }

  // Places of grants that the tables do not show yet count as well.
  using load_map = std::map<std::string, provider_load>;
  provider_load& loads_for(load_map& all, const storage::spend_state& state,
                           const std::string& provider) const {
    auto i = all.find(provider);
    if (i == all.end()) i = all.emplace(provider, load_of(state, provider)).first;
    return i->second;
  }
  load_map loads_of(const storage::spend_state& state, utc_time at) const {
    load_map out;
    for (const auto& [id, ask] : granted_)
      loads_for(out, state, ask.provider).add(ask.repo, at, ask.longest);
    return out;
  }
  // A grant whose intent the tables show is counted by them.
  void drop_placed(const storage::spend_state& state) {
    for (const auto& x : state.placed)
      granted_.erase(x.sandbox);
  }

  // Who does not queue asks a provider that refuses all the same: its answer is a refusal, too.
  std::optional<hold> hold_of(const waiting& w, const provider_load& load, utc_time at,
                              std::size_t ahead) const {
    auto left = backoff_.left(w.ask.provider, svc_->boot_now());
    if (left.count() > 0 && !w.ask.no_queue)
      return hold{provider_rule, 0,    load.active, left, "the plan of " + w.ask.provider,
                  false,         false};
    return first_hold(rules().of(w.ask.provider), load, w.ask.repo, at, ahead);
  }

  // The dead sandboxes whose places nobody waits for yet.
  dead_places dead_in(const storage::spend_state& state) {
    // What was told to end has its kill intent in the tables soon, or has not heard of it.
    auto at = svc_->boot_now();
    std::erase_if(told_to_end_,
                  [&](const auto& x) { return at - x.second >= svc_->limits.reclaim; });
    std::set<sandbox_id> told;
    for (const auto& [id, when] : told_to_end_)
      told.insert(id);
    return {state, svc_->ailing->all(), std::move(told), claimed_};
  }

  // Ends those whose places were claimed.
  void reclaim(const dead_places& dead) {
    for (const auto& id : dead.to_end()) {
      told_to_end_[id] = svc_->boot_now();
      dead.end(id);
    }
    if (dead.reaper_is_needed()) wake_reaper();
  }

  void wake_reaper() {
    auto at = svc_->boot_now();
    if (at - woken_at_ < svc_->limits.kill_retry) return;
    woken_at_ = at;
    svc_->handles->wake_reaper();
  }

  // Another rule is told at once. Another place is news at most every 10 s, and far back in the
  // line only where a quarter of it has gone: a long line would fill the journal, each step forward
  // being news of all who wait. What passes by itself is news only when it does not.
  void tell(waiting& w, const hold& h, std::size_t position) {
    if (h.passing && svc_->boot_now() - w.since < std::chrono::seconds{10}) return;
    sandbox_waits x{
        static_cast<std::uint32_t>(position), h.rule, h.limit, h.count, h.wait.count(), h.setting};
    auto at = svc_->boot_now();
    // An estimate that was known stays, while a lease is on its way to the disk.
    if (x.wait_ms == 0 && w.told.rule == x.rule) x.wait_ms = w.told.wait_ms;
    bool news = w.told.position == 0 || w.told.rule != x.rule
                || (w.told.wait_ms == 0 && x.wait_ms > 0)
                || (place_is_news(w.told_position, x.position)
                    && at - w.told_at >= std::chrono::seconds{10});
    w.told = x;
    if (!news) return;
    w.told_at = at;
    w.told_position = x.position;
    if (w.ask.waiting) w.ask.waiting(x);
  }

  static bool place_is_news(std::uint32_t told, std::uint32_t now) {
    return now > told || (now < told && (now <= 10 || now <= told - told / 4));
  }

  // ---- before a run begins ----
  error check(const swarm_spec& spec) {
    auto state = svc_->load_spend(now());
    if (!state) return state.err();
    auto dead = dead_in(*state);
    auto refused = refuse_run(spec, question(*state, spec, [&](const hold& h) {
                                return dead.claim(h, spec.provider, spec.repo);
                              }));
    if (!refused) reclaim(dead); // a run that is refused ends nothing
    return refused;
  }

  // The same for who only wants to know: no dead sandbox is killed for it.
  result<plan_reply> plan(const swarm_spec& spec) {
    if (auto e = check_spec(spec)) return e;
    auto state = svc_->load_spend(now());
    if (!state) return state.err();
    auto dead = dead_in(*state);
    auto out = plan_of(spec, question(*state, spec, [&](const hold& h) {
                         return dead.claim(h, spec.provider, spec.repo);
                       }));
    if (auto e = no_new_runs(*swarms_)) out.refused = std::move(e);
    if (!svc_->load_uploads) return out;
    auto uploads = svc_->load_uploads(spec.provider);
    if (!uploads) return uploads.err();
    out.uploads_measured = uploads->count;
    out.upload_bytes_per_s = uploads->bytes_per_s;
    return out;
  }

  // With the grants whose intents the tables do not show yet.
  run_question question(const storage::spend_state& state, const swarm_spec& spec,
                        std::function<bool(const hold&)> makes_room) {
    auto at = now();
    drop_placed(state);
    auto all = loads_of(state, at);
    model_prices models;
    models.asked = !make_adapter(spec.agent)->plan(spec, {}).gateway.empty();
    models.counted_at = svc_->counts_models;
    models.known = svc_->knows_price;
    return {rules(),
            svc_->limits,
            state,
            loads_for(all, state, spec.provider),
            std::move(models),
            at,
            std::move(makes_room)};
  }

  // ---- commands ----
  caf::result<reply_frame> handle(const request_frame& f) {
    auto promise = make_response_promise<reply_frame>();
    auto say = [promise, id = f.id](error e, std::string body) mutable {
      promise.deliver(reply_frame{protocol_version, id, std::move(e), {std::move(body)}});
    };
    auto reply = [&say](const auto& told) { told ? say({}, pack(*told)) : say(told.err(), {}); };
    if (f.command == command_traits<budget_request>::number) {
      auto ask = unpack<budget_request>(f.body.data);
      reply(ask ? show(ask->swarm) : result<budget_reply>{ask.err()});
      return promise;
    }
    if (f.command == command_traits<plan_request>::number) {
      auto ask = unpack<plan_request>(f.body.data);
      reply(ask ? plan(ask->spec) : result<plan_reply>{ask.err()});
      return promise;
    }
    auto ask = unpack<budget_set_request>(f.body.data);
    if (f.command != command_traits<budget_set_request>::number)
      say(make_error(errc::unknown_command, std::to_string(f.command)), {});
    else if (!ask)
      say(ask.err(), {});
    else if (auto e = check_budget(*ask))
      say(e, {});
    else
      record(
          svc_->handles->recorder(), now(), budget_set{ask->scope, ask->limit_usd},
          [this, say](std::uint64_t seq) mutable {
            say({}, pack(budget_set_reply{seq}));
            arm();
          },
          [say](const error& why) mutable { say(why, {}); });
    return promise;
  }

  result<budget_reply> show(const swarm_id& only) {
    auto at = now();
    auto state = svc_->load_spend(at);
    if (!state) return state.err();
    budget_reply out;
    for (const auto& b : shared_budgets(*state, rules(), at))
      out.budgets.push_back(line_of(b));
    for (const auto& w : state->open_swarms)
      if (only.empty() || w.swarm == only) out.budgets.push_back(line_of(budget_of(*state, w, at)));
    drop_placed(*state);
    auto all = loads_of(*state, at);
    for (const auto& [name, own] : rules().providers)
      for (auto& line : limit_lines(name, own, loads_for(all, *state, name), at))
        out.limits.push_back(std::move(line));
    for (const auto& w : line_)
      if (w.told.position > 0 && (only.empty() || w.ask.swarm == only))
        out.waiting.push_back({w.ask.swarm, w.ask.sandbox, w.ask.provider, w.told.position,
                               w.told.rule, w.told.limit, w.told.count, w.told.wait_ms,
                               w.told.setting});
    return out;
  }

  void append(chunk_ptr c, std::function<void(bool)> then) {
    auto journal = svc_->handles->journal();
    if (!journal) return then(false); // it is being restarted
    ask<std::uint64_t>(
        this, journal, record_deadline, [then](std::uint64_t) { then(true); },
        [then](caf::error&) { then(false); }, append_a::value, std::move(c));
  }

  // ---- once a second ----
  void arm() {
    if (std::exchange(ticking_, true)) return;
    this->delayed_send(me(), std::chrono::seconds{1}, tick_a::value);
  }

  void on_tick() {
    ticking_ = false;
    auto state = svc_->load_spend(now());
    if (!state) return arm();
    serve(*state);
    if (watch_.look(*state, now()) || !line_.empty()) arm();
  }

  services_ptr svc_;
  std::shared_ptr<swarm_registry> swarms_;
  budget_watch watch_;
  std::list<waiting> line_;                         ///< In order of arrival.
  std::map<sandbox_id, admission_request> granted_; ///< Their intents are not on disk yet.
  create_backoff backoff_;
  std::set<sandbox_id> claimed_;                   ///< Dead ones whose places the line waits for.
  std::map<sandbox_id, milliseconds> told_to_end_; ///< When, on the boot-time clock.
  milliseconds woken_at_{-3'600'000};
  bool looking_ = false;
  bool ticking_ = false;
};

} // namespace

admission_actor spawn_admission(caf::scheduled_actor* parent, services_ptr svc,
                                std::shared_ptr<swarm_registry> swarms) {
  return parent->spawn<admission_impl>(std::move(svc), std::move(swarms));
}

} // namespace skep::actors
