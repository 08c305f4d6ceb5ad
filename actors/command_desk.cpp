#include "actors/command_desk.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/input_fates.hpp"
#include "actors/key_book.hpp"
#include "actors/run_checks.hpp"
#include "actors/swarm.hpp"
#include "actors/swarm_results.hpp"
#include "actors/swarm_sandboxes.hpp"
#include "actors/unreadable_runs.hpp"
#include "actors/work_files.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

class command_desk_impl : public domain_actor<desk_with_mailbox> {
public:
  command_desk_impl(caf::actor_config& cfg, services_ptr svc,
                    std::function<supervisor_actor()> swarms,
                    std::shared_ptr<swarm_registry> registry, std::vector<open_run> open)
      : domain_actor(cfg), svc_(std::move(svc)), supervisor_(std::move(swarms)),
        registry_(std::move(registry)),
        unreadable_(svc_, registry_,
                    [this](const chunk_ptr& c, std::function<void(result<std::uint64_t>)> then) {
                      append(c, std::move(then));
                    }),
        keys_([svc = svc_](const std::string& key) { return known_command(*svc, key); },
              [svc = svc_](const request_frame& f, const std::string& reply) {
                return f.command == command_traits<send_request>::number
                       && !is_written(*svc, f.key, reply);
              }) {
    if (svc_->switch_is_on)
      if (auto on = svc_->switch_is_on("draining")) registry_->draining(*on);
    // Known from the start: the edge opens as soon as this desk is there.
    for (auto& run : open) {
      known_.push_back(run.record.swarm);
      if (!run.spec) {
        tell_unreadable(run.record.swarm, run.spec.err());
        unreadable_.add(run.record.swarm, unreadable(run.spec.err()));
        continue;
      }
      auto context = make_context(run.record.swarm, std::move(*run.spec));
      registry_->put(context->swarm, context);
      open_.emplace_back(std::move(context), std::move(run.record));
    }
  }

  const char* name() const override { return "command_desk"; }

  behavior_type make_behavior() override {
    this->set_down_handler([this](caf::down_msg& d) { on_down(d); });
    sweep_work_files(*svc_, std::exchange(known_, {}));
    for (auto& [context, record] : open_)
      take_up(context, std::move(record));
    open_.clear();
    watch_unreadable();
    return {[this](handle_a, const request_frame& f) { return handle(f); },
            [](done_a, const continuation& c) { c.run(); }};
  }

  void on_exit() override {
    keys_.refuse_all(make_error(errc::shutting_down));
    swarms_.clear();
    unreadable_.clear();
    registry_->clear();
    supervisor_ = nullptr;
  }

private:
  using answer = key_book::answer;

  caf::result<reply_frame> handle(const request_frame& f) {
    auto promise = make_response_promise<reply_frame>();
    auto then = keys_.admit(f, promise);
    if (!then) return promise;
    switch (f.command) {
    case command_traits<run_request>::number:
      with<run_request>(f, then, &command_desk_impl::run);
      break;
    case command_traits<send_request>::number:
      with<send_request>(f, then, &command_desk_impl::send);
      break;
    case command_traits<stop_request>::number:
      with<stop_request>(f, then, &command_desk_impl::stop);
      break;
    case command_traits<daemon_stop_request>::number:
      with<daemon_stop_request>(f, then, &command_desk_impl::end_daemon);
      break;
    default:
      then(make_error(errc::unknown_command, std::to_string(f.command)));
    }
    return promise;
  }

  template <class R>
  void with(const request_frame& f, const answer& then,
            void (command_desk_impl::*work)(const request_frame&, R, answer)) {
    auto body = unpack<R>(f.body.data);
    if (!body) return then(body.err());
    (this->*work)(f, std::move(*body), then);
  }

  // The effect is on disk; the key and its answer now are too. A daemon that dies between the two
  // is asked again with the same key: all commands but `run`, which journals both at once, may be
  // carried out twice without a second effect.
  template <message R>
  void accept(const request_frame& f, const R& reply, answer then) {
    auto body = pack(reply);
    if (f.key.empty()) return then(std::move(body));
    record(
        svc_->handles->recorder(), svc_->wall_now(),
        key_book::acceptance(f, body, svc_->wall_now()),
        [then, body](std::uint64_t) { then(body); }, [then](const error& why) { then(why); });
  }

  // An accepted run was journaled before its sequence was known.
  static std::tuple<std::string, std::string, std::string> known_command(const services& svc,
                                                                         const std::string& key) {
    auto known = svc.find_command(key);
    auto& [command, fingerprint, reply] = known;
    if (command == "run")
      if (auto body = unpack<run_reply>(reply)) {
        body->seq = svc.created_seq(body->swarm);
        reply = pack(*body);
      }
    return known;
  }

  // ---- run ----
  void run(const request_frame& f, run_request r, answer then) {
    if (auto e = check_run(r.spec)) return then(std::move(e));
    swarm_start start;
    if (auto e = fit_limit(*svc_, r.spec, start.remarks)) return then(std::move(e));
    if (!svc_->rules) return begin(f, std::move(r), std::move(start), std::move(then));
    auto admission = svc_->handles->admission();
    if (!admission) return then(make_error(errc::shutting_down, "admission is being restarted"));
    request(admission, record_deadline, check_a::value, r.spec)
        .then(
            [this, f, r, start, then] {
              // Somebody may have drained the daemon meanwhile.
              if (auto e = no_new_runs(*registry_)) return then(std::move(e));
              begin(f, r, start, then);
            },
            [then](caf::error& e) { then(from_caf(e)); });
  }

  void begin(const request_frame& f, run_request r, swarm_start start, answer then) {
    auto context = make_context(swarm_id::make(), r.spec);
    auto remarks = start.remarks;
    if (!f.key.empty())
      start.accepted =
          key_book::acceptance(f, pack(run_reply{context->swarm, 0, remarks}), svc_->wall_now());
    start_swarm(context, std::move(start), [then, context, remarks](result<std::uint64_t> seq) {
      if (!seq) return then(seq.err());
      then(pack(run_reply{context->swarm, *seq, remarks}));
    });
  }

  error check_provider(const std::string& provider) const {
    if (!svc_->knows_provider(provider)) return make_error(errc::unknown_provider, provider);
    if (auto name = svc_->key_secret ? svc_->key_secret(provider) : std::string{};
        !name.empty() && svc_->secret(name).empty())
      return make_error(errc::secret_missing, "provider " + provider + " needs " + name);
    return {};
  }

  // What can be refused before anything is made.
  error check_run(const swarm_spec& spec) {
    if (auto e = check_spec(spec)) return e;
    if (auto e = no_new_runs(*registry_)) return e;
    for (const auto& provider : {spec.provider, spec.fallback})
      if (auto e = provider.empty() ? error{} : check_provider(provider)) return e;
    for (const auto& use : make_adapter(spec.agent)->plan(spec, {}).gateway)
      if (svc_->secret(use.secret).empty()) return make_error(errc::secret_missing, use.secret);
    return {};
  }

  swarm_context_ptr make_context(swarm_id id, swarm_spec spec) {
    auto context = std::make_shared<swarm_context>();
    context->svc = svc_;
    context->spec = std::make_shared<const swarm_spec>(std::move(spec));
    context->swarm = std::move(id);
    return context;
  }

  // A newer release may know what it is.
  void tell_unreadable(const swarm_id& id, const error& why) {
    if (registry_->first_word_of(id))
      note(svc_->handles->recorder(), svc_->wall_now(),
           notice{severity::warning, "run_not_taken_up",
                  id.value
                      + " is open, and nobody goes on with it: what it was started with cannot "
                        "be read. Its files are kept; `skep kill "
                      + id.value + "` ends its sandboxes, without the results of their agents: "
                      + render(why)});
  }

  static error unreadable(const error& why) {
    auto out = why;
    out.message = "what the run was started with cannot be read"
                  + (why.message.empty() ? "" : ": " + why.message);
    return out;
  }

  // Its budget and the end of the daemon reach it by the registry, people by stop().
  void watch_unreadable() {
    for (const auto& id : unreadable_.ids())
      registry_->put_unreadable(id, [self = me(), this, id](stop_mode how) {
        caf::anon_send(self, done_a::value, continuation{[this, id, how] {
                         unreadable_.end(id, how, [](const auto&) {});
                       }});
      });
    look_at_unreadable();
  }

  void look_at_unreadable() {
    if (unreadable_.empty()) return;
    unreadable_.end_overdue();
    later(svc_->limits.reap_interval, [this] { look_at_unreadable(); });
  }

  void take_up(const swarm_context_ptr& context, swarm_record record) {
    swarm_start start;
    start.fresh = false;
    start.record = std::move(record);
    start_swarm(context, std::move(start), [](result<std::uint64_t>) {});
  }

  void start_swarm(const swarm_context_ptr& context, swarm_start start,
                   std::function<void(result<std::uint64_t>)> then) {
    auto child = swarm_child(context, std::move(start), [sup = supervisor_](const swarm_id& id) {
      // In the SWARM's context: its supervisor takes it (and itself) down, this desk forgets
      // it.
      if (auto s = sup()) caf::anon_send(s, del_child_a::value, id.value);
    });
    swarms_[context->swarm] = context;
    registry_->put(context->swarm, context);
    auto failed = [this, context, then](caf::error& e) {
      forget(context->swarm);
      then(from_caf(e));
    };
    request(supervisor_(), std::chrono::seconds{30}, add_child_a::value, std::move(child))
        .then(
            [this, context, then, failed](const caf::strong_actor_ptr& h) {
              watch(h, context->swarm);
              // The supervisor answers once its first children are up.
              request(caf::actor_cast<supervisor_actor>(h), std::chrono::seconds{30},
                      get_child_a::value, std::string{"swarm"})
                  .then(
                      [this, then, failed](const caf::strong_actor_ptr& keeper) {
                        // Late is not never: a run that is given up here, and stored a moment
                        // later, would have nobody who can stop it.
                        request(caf::actor_cast<swarm_actor>(keeper), fact_deadline, begin_a::value)
                            .then([then](std::uint64_t seq) { then(seq); }, failed);
                      },
                      failed);
            },
            failed);
  }

  // The swarm's supervisor is down: closed, or given up by all.
  void watch(const caf::strong_actor_ptr& supervisor, const swarm_id& id) {
    monitor(supervisor);
    watched_[supervisor->address()] = id;
  }

  void on_down(const caf::down_msg& d) {
    auto i = watched_.find(d.source);
    if (i == watched_.end()) return;
    auto id = i->second;
    watched_.erase(i);
    forget(id);
    if (gave_up(d.reason)) close_given_up(id, from_caf(d.reason));
    end_kept_of_killed(id);
  }

  // Nobody else will say so in the journal. Kill intents are the REAPER's orders. Until the end is
  // on disk the tables are read anew and the rest is tried again: a swarm without its end would run
  // for ever in every list.
  void close_given_up(const swarm_id& id, const error& why) {
    end_unled(
        svc_, [this](const chunk_ptr& c, auto then) { append(c, std::move(then)); }, id,
        outcome::failed, "supervisor gave up", why,
        [this, id, why](result<std::uint64_t> seq) {
          if (seq || is_unknown(seq.err())) return;
          later(std::chrono::seconds{1}, [this, id, why] { close_given_up(id, why); });
        });
  }

  static bool is_unknown(const error& why) {
    return why.code == errc::not_found || why.code == errc::no_such_swarm;
  }

  template <class Then>
  void append(const chunk_ptr& c, Then then) {
    request(svc_->handles->journal(), record_deadline, append_a::value, c)
        .then([then](std::uint64_t seq) { then(seq); },
              [then](caf::error& e) { then(from_caf(e)); });
  }

  void forget(const swarm_id& id) {
    if (auto i = swarms_.find(id); i != swarms_.end()) {
      i->second->clear();
      swarms_.erase(i);
    }
    registry_->drop(id);
  }

  // ---- the others ----
  void send(const request_frame& f, send_request r, answer then) {
    auto before = sent_before(f.key);
    if (before != 0) then = names_former(before, std::move(then));
    auto pane = svc_->load_pane(r.pane);
    if (!pane) return then(pane.err());
    auto i = swarms_.find(pane->swarm);
    if (i == swarms_.end()) return then(make_error(errc::wrong_phase, why_not_live(pane->swarm)));
    if (!takes_input(i->second->spec->agent))
      return then(make_error(errc::cannot_send, r.pane.value));
    // The key goes along: input is honoured once inside the sandbox, whatever dies on the way.
    keyed_input x{r.pane, f.key.empty() ? random_token(20) : f.key, std::move(r.data.data)};
    input(pane->swarm, std::move(x), most_tries,
          [this, f, then, before](result<std::uint64_t> seq) {
            if (!seq) return then(seq.err());
            before != 0 ? then(pack(send_reply{*seq})) : accept(f, send_reply{*seq}, then);
          });
  }

  // Input that is accepted is on its way, and a daemon that dies takes it along: `reply` was an
  // answer, and no fulfilment. Where the journal says nothing any more, it counts as one.
  static bool is_written(const services& svc, const std::string& key, const std::string& reply) {
    auto body = unpack<send_reply>(reply);
    auto fate = body ? input_fate(svc, body->seq, key) : std::nullopt;
    return !fate || (*fate != receipt::accepted && *fate != receipt::expired);
  }

  // The event as which the input of this key was accepted earlier, 0 for none. Its acceptance stays
  // the one that is kept.
  std::uint64_t sent_before(const std::string& key) const {
    if (key.empty()) return 0;
    auto [command, fingerprint, reply] = svc_->find_command(key);
    if (command.empty()) return 0;
    auto body = unpack<send_reply>(reply);
    return body ? body->seq : 0;
  }

  static answer names_former(std::uint64_t seq, answer then) {
    return [seq, then = std::move(then)](result<std::string> r) {
      if (r) return then(std::move(r));
      auto why = r.err();
      why.message = "the input was accepted as event " + std::to_string(seq)
                    + " and is not known to have been written; now it cannot be"
                    + (why.message.empty() ? "" : ": " + why.message);
      then(std::move(why));
    };
  }

  /// Input for a pane, on its way.
  struct keyed_input {
    pane_id pane;
    std::string key;
    std::string data;
  };

  // A pane that runs while its actors are being restarted, or taken up by a new daemon, is waited
  // for.
  void input(const swarm_id& swarm, keyed_input x, std::uint32_t tries,
             std::function<void(result<std::uint64_t>)> then) {
    auto again = [this, swarm, x, tries, then](error why) {
      if (tries == 0 || !may_pass(why) || !runs(swarm, x.pane)) return then(std::move(why));
      later(try_wait, [this, swarm, x, tries, then] { input(swarm, x, tries - 1, then); });
    };
    auto i = swarms_.find(swarm);
    if (i == swarms_.end()) return then(make_error(errc::wrong_phase, "the swarm is closed"));
    auto keeper = i->second->keeper();
    if (!keeper) return again(make_error(errc::shutting_down, swarm.value + " is being restarted"));
    request(keeper, record_deadline, input_a::value, x.pane, x.key, x.data)
        .then([then](std::uint64_t seq) { then(seq); },
              [again](caf::error& e) { again(from_caf(e)); });
  }

  static bool may_pass(const error& why) {
    return why.code == errc::wrong_phase || why.code == errc::shutting_down;
  }

  // What the tables say, which know more than actors that are just coming up.
  bool runs(const swarm_id& swarm, const pane_id& pane) const {
    auto sandboxes = svc_->load_sandboxes(swarm);
    if (!sandboxes) return false;
    for (const auto& s : *sandboxes) {
      if (s.state == phase::closed) continue;
      auto panes = svc_->load_panes(s.sandbox);
      if (!panes) continue;
      for (const auto& p : *panes)
        if (p.pane == pane) return p.state == pane_phase::running;
    }
    return false;
  }

  // Answers when every wish is on disk; a wish that could not be recorded is an error. A kill means
  // what was kept, too: of this swarm, or of all.
  void stop(const request_frame& f, stop_request r, answer then) {
    std::vector<swarm_id> live, unled;
    auto meant = [&r](const swarm_id& id) { return r.swarm.empty() || r.swarm == id; };
    for (auto& [id, context] : swarms_)
      if (meant(id)) live.push_back(id);
    if (r.kill)
      for (auto& id : unreadable_.ids())
        if (meant(id)) unled.push_back(std::move(id));
    result<std::vector<sandbox_record>> kept = std::vector<sandbox_record>{};
    if (r.kill) kept = kept_sandboxes(r.swarm);
    if (!r.swarm.empty() && live.empty() && unled.empty()) {
      auto known = svc_->load_swarm(r.swarm);
      if (!known) return then(known.err());
      if (!kept) return then(kept.err());
      if (kept->empty()) return then(make_error(errc::wrong_phase, why_not_live(r.swarm)));
    }
    auto all = std::make_shared<gathering>();
    all->reply.seq = svc_->handles->head_seq();
    auto one_less = [this, f, then, all](result<std::uint64_t> seq) {
      if (seq)
        all->reply.seq = std::max(all->reply.seq, *seq);
      else if (!all->first)
        all->first = seq.err();
      if (--all->open > 0) return;
      if (all->first) return then(all->first);
      accept(f, all->reply, then);
    };
    all->reply.swarms = live;
    all->reply.swarms.insert(all->reply.swarms.end(), unled.begin(), unled.end());
    if (kept)
      for (const auto& x : *kept)
        if (auto& out = all->reply.swarms; std::find(out.begin(), out.end(), x.swarm) == out.end())
          out.push_back(x.swarm);
    all->open += live.size() + unled.size() + (kept ? kept->size() : 0);
    for (const auto& id : live)
      stop_one(id, r.kill ? stop_mode::kill : stop_mode::graceful, most_tries, one_less);
    for (const auto& id : unled)
      unreadable_.end(id, stop_mode::kill, one_less);
    if (kept)
      for (const auto& x : *kept)
        end_kept(x, one_less);
    if (!kept) all->first = kept.err();
    one_less(std::uint64_t{0});
  }

  // Of a swarm that has no actors: nothing of it can be stopped, or told anything.
  std::string why_not_live(const swarm_id& id) const {
    if (unreadable_.has(id))
      return "nobody goes on with " + id.value
             + ", for what it was started with cannot be read; `skep kill " + id.value
             + "` ends its sandboxes, without the results of their agents";
    auto row = svc_->load_swarm(id);
    return id.value
           + (row && row->state != swarm_phase::closed ? " is being closed" : " is closed");
  }

  // A SWARM that is being started or restarted is waited for: a wish is recorded or refused, never
  // lost.
  void stop_one(const swarm_id& id, stop_mode how, std::uint32_t tries,
                std::function<void(result<std::uint64_t>)> then) {
    auto i = swarms_.find(id);
    if (i == swarms_.end()) return then(svc_->handles->head_seq()); // it closed meanwhile
    auto again = [this, id, how, tries, then](error why) {
      if (tries == 0) return then(std::move(why));
      later(try_wait, [this, id, how, tries, then] { stop_one(id, how, tries - 1, then); });
    };
    auto keeper = i->second->keeper();
    if (!keeper) return again(make_error(errc::shutting_down, id.value + " is being restarted"));
    request(keeper, record_deadline, stop_a::value, how)
        .then([then](std::uint64_t seq) { then(seq); },
              [again](caf::error& e) { again(from_caf(e)); });
  }

  /// Those whose end nobody has asked for yet: of this swarm, or of all for an empty id.
  result<std::vector<sandbox_record>> kept_sandboxes(const swarm_id& swarm) {
    auto rows = swarm.empty() ? svc_->living_sandboxes() : svc_->load_sandboxes(swarm);
    if (rows) std::erase_if(*rows, [](const auto& x) { return !x.kept || x.kill_intended; });
    return rows;
  }

  // A sandbox that was just being closed as kept when its swarm was killed is in no list of then.
  // The kill is on disk as the swarm's reason, so that this holds for the next daemon, too.
  void end_kept_of_killed(const swarm_id& id) {
    auto again = [this, id] {
      later(std::chrono::seconds{1}, [this, id] { end_kept_of_killed(id); });
    };
    auto row = svc_->load_swarm(id);
    if (!row && is_unknown(row.err())) return;
    if (!row) return again();
    if (row->stop_reason != reason_of(stop_mode::kill)) return;
    auto kept = kept_sandboxes(id);
    if (!kept) return again();
    auto refused = std::make_shared<bool>(false);
    for (const auto& x : *kept)
      end_kept(x, [refused, again](const result<std::uint64_t>& seq) {
        if (!seq && !std::exchange(*refused, true)) again();
      });
  }

  // Its SANDBOX has ended: the intent is journaled here, the REAPER carries it out.
  void end_kept(const sandbox_record& x, std::function<void(result<std::uint64_t>)> then) {
    auto c = std::make_shared<chunk>();
    c->swarm = x.swarm;
    c->sandbox = x.sandbox;
    c->count = 1;
    pack_event(c->body.data, svc_->wall_now(), kill_intended{"asked for"});
    append(c, [this, then](result<std::uint64_t> seq) {
      if (seq) svc_->handles->wake_reaper();
      then(std::move(seq));
    });
  }

  // By the tables: a client that saw swarm.closed finds it closed, while its SWARM still ends.
  std::uint32_t open_swarms() const {
    std::uint32_t open = 0;
    for (const auto& [id, context] : swarms_) {
      auto row = svc_->load_swarm(id);
      if (!row || row->state != swarm_phase::closed) ++open;
    }
    return open;
  }

  void end_daemon(const request_frame& f, daemon_stop_request r, answer then) {
    auto open = open_swarms();
    if (open > 0 && !r.force)
      return then(
          make_error(errc::wrong_phase, std::to_string(open)
                                            + " swarms run; stop them first, or use --force"
                                              " (they go on and are taken up by the next daemon)"));
    registry_->ending(true); // a run that arrives from here on would have nobody
    accept(f, daemon_stop_reply{open}, [this, then](result<std::string> r2) {
      then(r2);
      r2 ? svc_->shut_down() : registry_->ending(false);
    });
  }

  /// The answers to one `stop` that are still awaited.
  struct gathering {
    stop_reply reply;
    error first;
    std::size_t open = 1;
  };
  /// Longer than the first restarts of a SWARM, shorter than the edge waits for an answer.
  static constexpr std::uint32_t most_tries = 100;
  static constexpr auto try_wait = std::chrono::milliseconds{200};

  services_ptr svc_;
  std::function<supervisor_actor()> supervisor_;
  std::shared_ptr<swarm_registry> registry_;
  std::vector<std::pair<swarm_context_ptr, swarm_record>> open_; ///< Until they are taken up.
  std::vector<swarm_id> known_; ///< All that the tables have open; until the sweep.
  std::map<swarm_id, swarm_context_ptr> swarms_;
  std::map<caf::actor_addr, swarm_id> watched_;
  unreadable_runs unreadable_; ///< Open, and in neither of the two above.
  key_book keys_;
};

} // namespace

desk_actor spawn_command_desk(caf::scheduled_actor* parent, services_ptr svc,
                              std::function<supervisor_actor()> swarms,
                              std::shared_ptr<swarm_registry> registry,
                              std::vector<open_run> open) {
  return parent->spawn<command_desk_impl>(std::move(svc), std::move(swarms), std::move(registry),
                                          std::move(open));
}

} // namespace skep::actors
