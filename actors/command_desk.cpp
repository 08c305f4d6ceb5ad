#include "actors/command_desk.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/swarm.hpp"
#include "transfer/sha256.hpp"

#include <set>

namespace skep::actors {
namespace {

class command_desk_impl : public desk_actor::base {
  using super = desk_actor::base;

public:
  command_desk_impl(caf::actor_config& cfg, services_ptr svc,
                    std::function<supervisor_actor()> swarms,
                    std::shared_ptr<swarm_registry> registry, std::vector<open_run> open)
      : super(cfg), svc_(std::move(svc)), supervisor_(std::move(swarms)),
        registry_(std::move(registry)), open_(std::move(open)) {
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
  }

  const char* name() const override { return "command_desk"; }

  behavior_type make_behavior() override {
    for (auto& run : open_)
      take_up(std::move(run));
    open_.clear();
    return {[this](handle_a, const request_frame& f) { return handle(f); }};
  }

  void on_exit() override {
    swarms_.clear();
    supervisor_ = nullptr;
  }

private:
  using answer = caf::typed_response_promise<reply_frame>;

  caf::result<reply_frame> handle(const request_frame& f) {
    auto promise = make_response_promise<reply_frame>();
    switch (f.command) {
    case command_traits<run_request>::number:
      with<run_request>(f, promise, &command_desk_impl::run);
      break;
    case command_traits<send_request>::number:
      with<send_request>(f, promise, &command_desk_impl::send);
      break;
    case command_traits<stop_request>::number:
      with<stop_request>(f, promise, &command_desk_impl::stop);
      break;
    case command_traits<daemon_stop_request>::number:
      with<daemon_stop_request>(f, promise, &command_desk_impl::end_daemon);
      break;
    default:
      refuse(f, promise, make_error(errc::unknown_command, std::to_string(f.command)));
    }
    return promise;
  }

  template <class R>
  void with(const request_frame& f, answer promise,
            void (command_desk_impl::*work)(const request_frame&, R, answer)) {
    auto body = unpack<R>(f.body.data);
    if (!body) return refuse(f, promise, body.err());
    (this->*work)(f, std::move(*body), std::move(promise));
  }

  void refuse(const request_frame& f, answer promise, error why) {
    promise.deliver(reply_frame{protocol_version, f.id, std::move(why), {}});
  }

  template <message R>
  void give(const request_frame& f, answer promise, const R& r) {
    promise.deliver(reply_frame{protocol_version, f.id, {}, {pack(r)}});
  }

  // ---- run ----
  void run(const request_frame& f, run_request r, answer promise) {
    auto fingerprint = transfer::sha256_of(f.body.data);
    if (!f.key.empty()) {
      if (f.key.size() > 64)
        return refuse(
            f, promise,
            make_error(errc::bad_argument, "an idempotency key has at most 64 characters"));
      if (auto [command, known, reply] = svc_->find_command(f.key); !command.empty()) {
        if (command != "run" || known != fingerprint)
          return refuse(f, promise, make_error(errc::key_reused, f.key));
        promise.deliver(reply_frame{protocol_version, f.id, {}, {reply}});
        return;
      }
      if (pending_.count(f.key))
        return refuse(f, promise,
                      make_error(errc::key_reused, "this command is being carried out"));
    }
    if (auto e = check_run(r.spec)) return refuse(f, promise, std::move(e));
    auto context = make_context(swarm_id::make(), r.spec);
    swarm_start start;
    if (!f.key.empty()) {
      pending_.insert(f.key);
      start.accepted = command_accepted{f.key,
                                        "run",
                                        fingerprint,
                                        {pack(run_reply{context->swarm, 0})},
                                        svc_->wall_now() + std::chrono::hours{24}};
    }
    start_swarm(context, std::move(start),
                [this, f, promise, context](result<std::uint64_t> seq) mutable {
                  pending_.erase(f.key);
                  if (!seq) return refuse(f, promise, seq.err());
                  give(f, promise, run_reply{context->swarm, *seq});
                });
  }

  // What can be refused before anything is made.
  error check_run(const swarm_spec& spec) {
    if (auto e = check_spec(spec)) return e;
    if (!svc_->knows_provider(spec.provider))
      return make_error(errc::unknown_provider, spec.provider);
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

  void take_up(open_run run) {
    auto context = make_context(run.record.swarm, std::move(run.spec));
    swarm_start start;
    start.fresh = false;
    start.record = std::move(run.record);
    start_swarm(context, std::move(start), [](result<std::uint64_t>) {});
  }

  void start_swarm(const swarm_context_ptr& context, swarm_start start,
                   std::function<void(result<std::uint64_t>)> then) {
    auto me = caf::actor_cast<caf::actor_addr>(this);
    auto child =
        swarm_child(context, std::move(start), [me, sup = supervisor_](const swarm_id& id) {
          // In the SWARM's context: its supervisor takes it (and itself) down, this desk forgets
          // it.
          if (auto s = sup()) caf::anon_send(s, del_child_a::value, id.value);
        });
    swarms_[context->swarm] = context;
    registry_->size(swarms_.size());
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
                        request(caf::actor_cast<swarm_actor>(keeper), std::chrono::seconds{30},
                                begin_a::value)
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
    set_down_handler([this](caf::down_msg& d) {
      auto i = watched_.find(d.source);
      if (i == watched_.end()) return;
      forget(i->second);
      watched_.erase(i);
    });
  }

  void forget(const swarm_id& id) {
    if (auto i = swarms_.find(id); i != swarms_.end()) {
      i->second->clear();
      swarms_.erase(i);
    }
    registry_->size(swarms_.size());
  }

  // ---- the others ----
  void send(const request_frame& f, send_request r, answer promise) {
    auto swarm = svc_->swarm_of_pane(r.pane);
    if (!swarm) return refuse(f, promise, swarm.err());
    auto i = swarms_.find(*swarm);
    if (i == swarms_.end())
      return refuse(f, promise, make_error(errc::wrong_phase, "the swarm is closed"));
    if (!takes_input(i->second->spec->agent))
      return refuse(f, promise, make_error(errc::cannot_send, r.pane.value));
    auto key = f.key.empty() ? random_token(20) : f.key;
    request(i->second->keeper(), std::chrono::seconds{30}, input_a::value, r.pane, key, r.data.data)
        .then([this, f, promise](std::uint64_t seq) mutable { give(f, promise, send_reply{seq}); },
              [this, f, promise](caf::error& e) mutable { refuse(f, promise, from_caf(e)); });
  }

  // Answers when every wish is on disk.
  void stop(const request_frame& f, stop_request r, answer promise) {
    struct gathering {
      stop_reply reply;
      std::size_t open = 1;
    };
    auto all = std::make_shared<gathering>();
    all->reply.seq = svc_->handles->head_seq();
    auto one_less = [this, f, promise, all](std::uint64_t seq) mutable {
      all->reply.seq = std::max(all->reply.seq, seq);
      if (--all->open == 0) give(f, promise, all->reply);
    };
    for (auto& [id, context] : swarms_) {
      if (!r.swarm.empty() && r.swarm != id) continue;
      all->reply.swarms.push_back(id);
      ++all->open;
      request(context->keeper(), std::chrono::seconds{30}, stop_a::value,
              r.kill ? stop_mode::kill : stop_mode::graceful)
          .then(one_less, [one_less](caf::error&) mutable { one_less(0); });
    }
    if (!r.swarm.empty() && swarms_.count(r.swarm) == 0) {
      auto known = svc_->load_swarm(r.swarm);
      if (!known) return refuse(f, promise, known.err());
      auto kept = r.kill ? kept_sandboxes(r.swarm) : std::vector<sandbox_record>{};
      if (kept.empty())
        return refuse(f, promise, make_error(errc::wrong_phase, r.swarm.value + " is closed"));
      all->reply.swarms.push_back(r.swarm);
      for (const auto& x : kept) {
        ++all->open;
        end_kept(x, one_less);
      }
    }
    one_less(0);
  }

  std::vector<sandbox_record> kept_sandboxes(const swarm_id& swarm) {
    auto rows = svc_->load_sandboxes(swarm);
    if (!rows) return {};
    std::erase_if(*rows, [](const auto& x) { return !x.kept || x.kill_intended; });
    return std::move(*rows);
  }

  // Its swarm is closed: the intent is journaled here, the REAPER carries it out.
  void end_kept(const sandbox_record& x, std::function<void(std::uint64_t)> then) {
    auto c = std::make_shared<chunk>();
    c->swarm = x.swarm;
    c->sandbox = x.sandbox;
    c->count = 1;
    pack_event(c->body.data, svc_->wall_now(), kill_intended{"asked for"});
    request(svc_->handles->journal(), std::chrono::seconds{30}, append_a::value, c)
        .then(
            [this, then](std::uint64_t seq) {
              if (auto reaper = svc_->handles->find("reaper"))
                caf::anon_send(caf::actor_cast<reaper_actor>(reaper), kill_a::value);
              then(seq);
            },
            [then](caf::error&) { then(0); });
  }

  void end_daemon(const request_frame& f, daemon_stop_request r, answer promise) {
    auto open = static_cast<std::uint32_t>(swarms_.size());
    if (open > 0 && !r.force)
      return refuse(
          f, promise,
          make_error(errc::wrong_phase, std::to_string(open)
                                            + " swarms run; stop them first, or use --force"
                                              " (they go on and are taken up by the next daemon)"));
    give(f, promise, daemon_stop_reply{open});
    svc_->shut_down();
  }

  services_ptr svc_;
  std::function<supervisor_actor()> supervisor_;
  std::shared_ptr<swarm_registry> registry_;
  std::vector<open_run> open_;
  std::map<swarm_id, swarm_context_ptr> swarms_;
  std::map<caf::actor_addr, swarm_id> watched_;
  std::set<std::string> pending_;
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
