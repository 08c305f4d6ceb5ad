#include "actors/safety_desk.hpp"

#include "actors/key_book.hpp"
#include "actors/panic_places.hpp"
#include "actors/survey.hpp"
#include "actors/swarm.hpp"
#include "actors/swarm_sandboxes.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace skep::actors {
namespace {

class safety_desk_impl : public domain_actor<desk_with_mailbox> {
public:
  safety_desk_impl(caf::actor_config& cfg, services_ptr svc,
                   std::shared_ptr<swarm_registry> registry)
      : domain_actor(cfg), svc_(std::move(svc)), registry_(std::move(registry)),
        keys_([svc = svc_](const std::string& key) { return svc->find_command(key); }) {}

  const char* name() const override { return "safety_desk"; }

  behavior_type make_behavior() override {
    return {[this](handle_a, const request_frame& f) { return handle(f); },
            [](done_a, const continuation& c) { c.run(); }};
  }

  void on_exit() override {
    keys_.refuse_all(make_error(errc::shutting_down));
    registry_.reset();
    svc_.reset();
  }

private:
  using answer = key_book::answer;

  caf::result<reply_frame> handle(const request_frame& f) {
    auto promise = make_response_promise<reply_frame>();
    auto then = keys_.admit(f, promise);
    if (!then) return promise;
    switch (f.command) {
    case command_traits<drain_request>::number:
      with<drain_request>(f, then, &safety_desk_impl::drain);
      break;
    case command_traits<freeze_request>::number:
      with<freeze_request>(f, then, &safety_desk_impl::freeze);
      break;
    case command_traits<panic_request>::number:
      with<panic_request>(f, then, &safety_desk_impl::panic);
      break;
    case command_traits<survivors_request>::number:
      with<survivors_request>(f, then, &safety_desk_impl::survivors);
      break;
    default:
      then(make_error(errc::unknown_command, std::to_string(f.command)));
    }
    return promise;
  }

  template <class R>
  void with(const request_frame& f, const answer& then,
            void (safety_desk_impl::*work)(const request_frame&, R, answer)) {
    auto body = unpack<R>(f.body.data);
    if (!body) return then(body.err());
    (this->*work)(f, std::move(*body), then);
  }

  // The effect is on disk; the key and its answer now are too. A disk too full for them takes the
  // effect back from nobody: asked again, the command is carried out once more without another one.
  template <message R>
  void accept(const request_frame& f, const R& reply, answer then) {
    auto body = pack(reply);
    if (f.key.empty()) return then(std::move(body));
    record(
        svc_->handles->recorder(), svc_->wall_now(),
        key_book::acceptance(f, body, svc_->wall_now()),
        [then, body](std::uint64_t) { then(body); },
        [then, body](const error& why) { why.code == errc::disk_full ? then(body) : then(why); });
  }

  // ---- drain ----
  void drain(const request_frame& f, drain_request r, answer then) {
    auto accepted = [this, f, r, then](std::uint64_t seq) {
      registry_->draining(r.on);
      accept(f, drain_reply{static_cast<std::uint32_t>(registry_->size()), seq}, then);
    };
    if (registry_->draining() == r.on) return accepted(svc_->handles->head_seq());
    record(svc_->handles->recorder(), svc_->wall_now(), daemon_draining{r.on, "asked for"},
           accepted, [then](const error& why) { then(why); });
  }

  // ---- who is meant ----
  std::vector<swarm_context_ptr> swarms_of(const selection& s) const {
    std::vector<swarm_context_ptr> out;
    for (auto& x : registry_->all())
      if (!s.sandbox.empty() || selects(s, *x->spec, x->swarm)) out.push_back(x);
    return out;
  }

  result<std::set<std::string>> places_of(const selection& s,
                                          const std::vector<sandbox_record>& living) const {
    std::multimap<swarm_id, std::string> open;
    if (s.sandbox.empty())
      for (const auto& x : swarms_of(s))
        for (const auto& name : {x->spec->provider, x->spec->fallback})
          // By provider, it alone: what is listed there is meant, and dies, whatever its run.
          if (!name.empty() && (s.provider.empty() || name == s.provider))
            open.emplace(x->swarm, name);
    return panic_places(*svc_, s, living, open);
  }

  // Calls `then` with the SANDBOXes that are meant and have an actor at present.
  void find_keepers(const selection& s, std::function<void(open_sandboxes)> then) {
    struct gathering {
      open_sandboxes found;
      std::size_t open = 1;
    };
    auto all = std::make_shared<gathering>();
    auto one_less = [all, then] {
      if (--all->open == 0) then(std::move(all->found));
    };
    for (const auto& x : swarms_of(s)) {
      auto keeper = x->keeper();
      if (!keeper) continue; // it is being restarted
      ++all->open;
      request(keeper, record_deadline, keepers_a::value, s.sandbox)
          .then(
              [all, one_less](const open_sandboxes& found) {
                all->found.all.insert(all->found.all.end(), found.all.begin(), found.all.end());
                one_less();
              },
              [one_less](caf::error&) { one_less(); });
    }
    one_less();
  }

  // ---- freeze ----
  void freeze(const request_frame& f, freeze_request r, answer then) {
    if (auto e = check_selection(r.select)) return then(std::move(e));
    find_keepers(r.select, [this, f, r, then](const open_sandboxes& found) {
      if (found.all.empty())
        return then(make_error(errc::not_found, "no sandbox runs for " + text_of(r.select)));
      struct gathering {
        freeze_reply reply;
        error first;
        std::size_t open = 0;
      };
      auto all = std::make_shared<gathering>();
      all->open = found.all.size();
      auto one_less = [this, f, then, all] {
        if (--all->open > 0) return;
        if (all->reply.sandboxes.empty() && all->first) return then(all->first);
        accept(f, all->reply, then);
      };
      for (const auto& [id, h] : found.all)
        request(caf::actor_cast<sandbox_actor>(h), record_deadline, freeze_a::value, r.frozen)
            .then(
                [all, one_less, id = id](std::uint64_t) {
                  all->reply.sandboxes.push_back(id);
                  one_less();
                },
                [all, one_less](caf::error& e) { // it does not work yet, or no more
                  if (!all->first) all->first = from_caf(e);
                  one_less();
                });
    });
  }

  // ---- panic ----
  void panic(const request_frame& f, panic_request r, answer then) {
    if (auto e = check_selection(r.select)) return then(std::move(e));
    auto living = svc_->living_sandboxes();
    if (!living) return then(living.err());
    std::erase_if(
        *living, [&](const auto& x) { return !selects(r.select, x.provider, x.swarm, x.sandbox); });
    auto places = places_of(r.select, *living);
    if (!places) return then(places.err());
    panic_reply reply;
    reply.sandboxes = static_cast<std::uint32_t>(living->size());
    reply.providers.assign(places->begin(), places->end());
    asked_.insert(text_of(r.select));
    auto end = [this, f, r, reply, then, living = std::move(*living)](std::uint64_t seq) mutable {
      reply.seq = seq;
      end_all(r.select, living, [this, f, reply, then] { accept(f, reply, then); });
    };
    record(svc_->handles->recorder(), svc_->wall_now(),
           panic_asked{text_of(r.select), reply.sandboxes}, end,
           [this, then, end](const error& why) mutable {
             // A disk too full for notes keeps nothing alive.
             why.code == errc::disk_full ? end(svc_->handles->head_seq()) : then(why);
           });
  }

  // What is asked of a desk or an actor that does not answer is on disk as a note, and `survivors`
  // goes to the provider itself: nothing here is waited for longer than a moment.
  void end_all(const selection& s, const std::vector<sandbox_record>& living,
               std::function<void()> then) {
    for (const auto& x : living)
      if (x.state == phase::closed && !x.kill_intended) end_closed(x);
    if (!s.sandbox.empty()) {
      for (const auto& x : living)
        if (x.state != phase::closed && registry_->unreadable(x.swarm)) end_unled(x);
      return end_one(s, std::move(then));
    }
    auto open = std::make_shared<std::size_t>(1);
    auto one_less = [open, then] {
      if (--*open == 0) then();
    };
    for (const auto& swarm : open_runs_of(s, living)) {
      ++*open;
      request_frame f{protocol_version,
                      0,
                      {},
                      command_traits<stop_request>::number,
                      {pack(stop_request{swarm, true})}};
      request(svc_->handles->commands(), survivors_limit, handle_a::value, f)
          .then([one_less](const reply_frame&) { one_less(); },
                [one_less](caf::error&) { one_less(); });
    }
    one_less();
  }

  // Also those that nobody leads, of which the rows of `living` say where they are.
  std::vector<swarm_id> open_runs_of(const selection& s,
                                     const std::vector<sandbox_record>& living) const {
    std::vector<swarm_id> out;
    for (const auto& x : swarms_of(s))
      out.push_back(x->swarm);
    for (auto& id : registry_->unreadable()) {
      auto there = [&](const auto& x) { return x.swarm == id; };
      if (s.all || s.swarm == id || std::any_of(living.begin(), living.end(), there))
        out.push_back(std::move(id));
    }
    return out;
  }

  // One sandbox of a run that nobody leads: the rest of that run is not meant.
  void end_unled(const sandbox_record& x) {
    auto why = make_error(errc::wrong_phase, "nobody leads its run");
    auto c = abandonment(*svc_, x.sandbox, why, outcome::killed, "panic");
    if (!c) return; // closed meanwhile, or unread: `survivors` asks its provider
    request(svc_->handles->journal(), record_deadline, append_a::value, *c)
        .then([this](std::uint64_t) { svc_->handles->wake_reaper(); }, [](caf::error&) {});
  }

  void end_one(const selection& s, std::function<void()> then) {
    find_keepers(s, [then](const open_sandboxes& found) {
      for (const auto& [id, h] : found.all)
        caf::anon_send(caf::actor_cast<sandbox_actor>(h), stop_a::value, stop_mode::kill);
      then();
    });
  }

  // Its swarm is closed and it was kept, or forgotten: the intent is journaled, the REAPER does it.
  void end_closed(const sandbox_record& x) {
    auto c = std::make_shared<chunk>();
    c->swarm = x.swarm;
    c->sandbox = x.sandbox;
    c->count = 1;
    pack_event(c->body.data, svc_->wall_now(), kill_intended{"panic"});
    request(svc_->handles->journal(), record_deadline, append_a::value, c)
        .then([this](std::uint64_t) { svc_->handles->wake_reaper(); }, [](caf::error&) {});
  }

  // ---- survivors ----
  void survivors(const request_frame&, survivors_request r, answer then) {
    if (auto e = check_selection(r.select)) return then(std::move(e));
    const bool panicked = asked_.count(text_of(r.select)) > 0;
    if (r.end && !panicked)
      return then(make_error(errc::wrong_phase, "no panic was asked for " + text_of(r.select)));
    auto living = svc_->living_sandboxes();
    if (!living) return then(living.err());
    std::erase_if(
        *living, [&](const auto& x) { return !selects(r.select, x.provider, x.swarm, x.sandbox); });
    auto places = places_of(r.select, *living);
    if (!places && !panicked) return then(places.err()); // else it was here, and is over
    auto providers = places ? std::move(*places) : std::set<std::string>{};
    for (const auto& name : r.providers)
      if (may_hold(*svc_, name)) providers.insert(name);
    auto end = r.end ? ender_of(*living) : ender{};
    auto count = std::make_shared<survey>(r.select, std::move(*living));
    auto over = [count, then, once = std::make_shared<bool>(false)] {
      if (!std::exchange(*once, true)) then(pack(count->reply()));
    };
    for (const auto& name : providers)
      count->expect(name);
    for (const auto& name : providers)
      if (svc_->knows_provider(name))
        ask(name, count, end, over);
      else // nobody can say that nothing lives there
        count->unanswered(name, make_error(errc::unknown_provider));
    if (count->complete()) return over();
    later(survivors_limit, over);
  }

  /// Ends what lives at a provider, by its name and the remote id; empty: it is only counted.
  using ender = std::function<void(const std::shared_ptr<sandbox::api>&, const std::string&,
                                   const std::string&)>;

  // `living`: what the tables know of.
  ender ender_of(const std::vector<sandbox_record>& living) {
    auto rows = std::make_shared<std::map<std::pair<std::string, std::string>, sandbox_record>>();
    for (const auto& x : living)
      (*rows)[{x.provider, x.remote_id}] = x;
    return [this, rows](const std::shared_ptr<sandbox::api>& api, const std::string& provider,
                        const std::string& id) {
      auto row = rows->find({provider, id});
      end_survivor(api, provider, id, row == rows->end() ? nullptr : &row->second);
    };
  }

  // The intent is on disk before the call (row X-02), once: as that of its sandbox, or as a notice
  // where the tables know of none. A disk too full for notices keeps nothing alive.
  void end_survivor(const std::shared_ptr<sandbox::api>& api, const std::string& provider,
                    const std::string& id, const sandbox_record* row) {
    auto kill = [api, id] { api->kill(id, [](const result<bool>&) {}); };
    if (row != nullptr && row->kill_intended) return kill();
    auto key = provider + " " + id;
    auto [known, fresh] = intents_.emplace(key, false);
    if (!fresh) {
      if (known->second) kill(); // else it follows once the intent is on disk
      return;
    }
    request(svc_->handles->journal(), record_deadline, append_a::value,
            survivor_intent(provider, id, row))
        .then(
            [this, key, kill](std::uint64_t) {
              intents_[key] = true;
              kill();
            },
            [this, key, kill](caf::error& e) {
              intents_.erase(key); // the next question tries again
              if (from_caf(e).code == errc::disk_full) kill();
            });
  }

  chunk_ptr survivor_intent(const std::string& provider, const std::string& id,
                            const sandbox_record* row) const {
    auto c = std::make_shared<chunk>();
    c->count = 1;
    auto at = svc_->wall_now();
    if (row == nullptr) {
      c->body.data =
          pack_now(at, notice{severity::warning, "survivor_kill_intended",
                              id + " at " + provider
                                  + " outlived a panic and nobody knows it: it is ended"})
              .bytes;
      return c;
    }
    c->swarm = row->swarm;
    c->sandbox = row->sandbox;
    c->body.data = pack_now(at, kill_intended{"panic"}).bytes;
    return c;
  }

  void ask(const std::string& name, const std::shared_ptr<survey>& count, const ender& end,
           std::function<void()> over) {
    at_provider(svc_, name,
                [this, name, count, end, over](result<std::shared_ptr<sandbox::api>> api) {
                  if (!api) {
                    count->unanswered(name, api.err());
                    if (count->complete()) over();
                    return;
                  }
                  (*api)->list(count->filter(svc_->install_id),
                               home<std::vector<sandbox::listed>>(
                                   [this, name, count, end, over,
                                    api = *api](result<std::vector<sandbox::listed>> r) {
                                     on_list(name, count, end, over, api, r);
                                   }));
                });
  }

  void on_list(const std::string& name, const std::shared_ptr<survey>& count, const ender& end,
               const std::function<void()>& over, const std::shared_ptr<sandbox::api>& api,
               const result<std::vector<sandbox::listed>>& r) {
    auto found = r.ok() ? count->listed(name, *r) : strings_{};
    if (!r) count->unanswered(name, r.err());
    if (end)
      for (const auto& id : found)
        end(api, name, id);
    for (const auto& id : count->in_no_list(name)) {
      count->expect(id);
      api->get(id,
               home<sandbox::detail>([name, count, id, end, over, api](result<sandbox::detail> d) {
                 if (d.ok() && end) end(api, name, id);
                 count->looked_at(id, d.ok(), d.ok() ? error{} : d.err());
                 if (count->complete()) over();
               }));
    }
    if (count->complete()) over();
  }

  using strings_ = std::vector<std::string>;

  services_ptr svc_;
  std::shared_ptr<swarm_registry> registry_;
  key_book keys_;
  std::set<std::string> asked_; ///< Selectors of panics in this life of the desk.
  /// Survivors that it ends, by provider and remote id: whether the intent is on disk already.
  std::map<std::string, bool> intents_;
};

} // namespace

desk_actor spawn_safety_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry) {
  return caf::actor_cast<desk_actor>(
      parent->spawn<safety_desk_impl>(std::move(svc), std::move(registry)));
}

} // namespace skep::actors
