#include "actors/swarm.hpp"

#include "actors/recorder.hpp"
#include "actors/sandbox.hpp"
#include "actors/swarm_results.hpp"

#include <set>

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
        [this](exited_a, const sandbox_ending& x) { on_sandbox_closed(x); },
        [this](tick_a) { on_tick(); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    for (auto& [id, sandbox] : sandboxes_)
      sandbox->clear();
    sandboxes_.clear();
    closed_ = nullptr;
    ctx_.reset();
  }

private:
  utc_time now() const { return ctx_->svc->wall_now(); }
  const swarm_spec& spec() const { return *ctx_->spec; }

  template <event E, class Next>
  void fact(const E& e, Next next) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  caf::result<std::uint64_t> begin() {
    auto promise = make_response_promise<std::uint64_t>();
    if (!start_.fresh) {
      promise.deliver(std::uint64_t{0});
      started_at_ = start_.record.created_at;
      tick_later();
      if (start_.record.state == swarm_phase::stopping) stop_ = stop_mode::graceful;
      adopt();
      return promise;
    }
    start_.fresh = false; // a restart of this actor adopts
    started_at_ = now();
    if (!start_.accepted.key.empty()) note(ctx_->recorder(), now(), start_.accepted);
    const auto& s = spec();
    record(
        ctx_->recorder(), now(),
        swarm_created{s.name,
                      s.repo,
                      s.provider,
                      s.agent,
                      s.sandboxes,
                      s.panes,
                      s.keep,
                      s.out_dir,
                      {pack(s)}},
        [this, promise](std::uint64_t seq) mutable {
          promise.deliver(seq);
          tick_later();
          fact(swarm_phase_changed{swarm_phase::running, {}}, [this] { prepare(); });
        },
        [this, promise](const error& why) mutable {
          promise.deliver(to_caf(why));
          this->quit(to_caf(why));
        });
    return promise;
  }

  // ---- starting ----
  void prepare() {
    in_pool<upload_bundle>(
        ctx_->svc,
        [svc = ctx_->svc, spec = ctx_->spec, id = ctx_->swarm] {
          return prepare_bundle(*svc, *spec, id);
        },
        [this](result<upload_bundle> r) {
          if (!r) return close(outcome::failed, r.err());
          bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
          connect([this] { start_all(); });
        });
  }

  template <class Next>
  void connect(Next next) {
    in_pool<std::shared_ptr<sandbox::api>>(
        ctx_->svc, [svc = ctx_->svc, name = spec().provider] { return svc->provider(name); },
        [this, next](result<std::shared_ptr<sandbox::api>> r) {
          if (!r) return close(outcome::failed, r.err());
          api_ = std::move(*r);
          next();
        });
  }

  void start_all() {
    if (stop_) return close(stopped_outcome(), {});
    for (std::uint32_t i = 0; i < spec().sandboxes; ++i) {
      sandbox_start start;
      start.record.sandbox = sandbox_id::make();
      start.record.swarm = ctx_->swarm;
      start.record.index = i;
      for (std::uint32_t k = 0; k < spec().panes; ++k) {
        pane_record p;
        p.pane = pane_id::make();
        p.sandbox = start.record.sandbox;
        p.swarm = ctx_->swarm;
        p.index = i * spec().panes + k;
        p.name = "p" + std::to_string(p.index);
        p.branch = "skep/" + p.name;
        p.agent = spec().agent;
        start.panes.push_back(std::move(p));
      }
      start_sandbox(std::move(start));
    }
  }

  void start_sandbox(sandbox_start start) {
    auto context = std::make_shared<sandbox_context>();
    context->svc = ctx_->svc;
    context->spec = ctx_->spec;
    context->api = api_;
    context->swarm = ctx_->swarm;
    context->sandbox = start.record.sandbox;
    context->index = start.record.index;
    start.bundle = bundle_;
    sandboxes_[context->sandbox] = context;
    open_.insert(context->sandbox);
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

  // ---- after a restart of the daemon, or of this actor ----
  void adopt() {
    auto svc = ctx_->svc;
    in_pool<std::vector<sandbox_record>>(
        svc, [svc, id = ctx_->swarm] { return svc->load_sandboxes(id); },
        [this](result<std::vector<sandbox_record>> r) {
          if (!r) return this->quit(to_caf(r.err()));
          adopt_sandboxes(std::move(*r));
        });
  }

  void adopt_sandboxes(std::vector<sandbox_record> records) {
    if (records.empty()) return prepare(); // it ended between swarm.created and its first sandbox
    auto open = std::count_if(records.begin(), records.end(),
                              [](auto& r) { return r.state != phase::closed; });
    if (open == 0) return finish();
    auto needs_bundle = std::any_of(records.begin(), records.end(), [](auto& r) {
      return r.state != phase::closed && r.base_commit.empty();
    });
    auto go = [this, records = std::move(records)] {
      connect([this, records] {
        for (const auto& r : records)
          if (r.state != phase::closed) adopt_sandbox(r);
        if (stop_) forward_stop();
      });
    };
    if (!needs_bundle) return go();
    in_pool<upload_bundle>(
        ctx_->svc,
        [svc = ctx_->svc, spec = ctx_->spec, id = ctx_->swarm] {
          return prepare_bundle(*svc, *spec, id);
        },
        [this, go](result<upload_bundle> r) {
          if (r.ok()) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
          go(); // without a bundle those sandboxes fail with their own error
        });
  }

  void adopt_sandbox(const sandbox_record& r) {
    sandbox_start start;
    start.fresh = false;
    start.record = r;
    auto panes = ctx_->svc->load_panes(r.sandbox);
    if (!panes || panes->empty())
      return on_sandbox_closed(
          {r.sandbox, outcome::failed, make_error(errc::internal, "its panes are unknown"), true});
    start.panes = std::move(*panes);
    start_sandbox(std::move(start));
  }

  // ---- while it runs ----
  void tick_later() { this->delayed_send(me(), std::chrono::seconds{1}, tick_a::value); }

  // The hard limit needs no client; wall time, so that it holds over restarts.
  void on_tick() {
    if (closing_) return;
    if (now() - started_at_ >= std::chrono::milliseconds{spec().limit_ms} && !limit_hit_) {
      limit_hit_ = true;
      stop(stop_mode::timed_out, [](std::uint64_t) {});
    }
    tick_later();
  }

  caf::result<std::uint64_t> on_stop(stop_mode how) {
    auto promise = make_response_promise<std::uint64_t>();
    stop(how, [promise](std::uint64_t seq) mutable { promise.deliver(seq); });
    return promise;
  }

  // The wish is on disk before anything is done about it: a daemon that dies now goes on stopping.
  void stop(stop_mode how, std::function<void(std::uint64_t)> then) {
    auto again = stop_.has_value();
    if (closing_ || (again && how != stop_mode::kill)) return then(ctx_->svc->handles->head_seq());
    stop_ = how;
    if (again) {
      forward_stop();
      return then(ctx_->svc->handles->head_seq());
    }
    const char* why = how == stop_mode::timed_out ? "time limit"
                      : how == stop_mode::kill    ? "kill"
                                                  : "stop";
    record(
        ctx_->recorder(), now(), swarm_phase_changed{swarm_phase::stopping, why},
        [this, then](std::uint64_t seq) {
          then(seq);
          forward_stop();
        },
        [this](const error& e) { this->quit(to_caf(e)); });
  }

  void forward_stop() {
    for (const auto& id : open_)
      if (auto keeper = sandboxes_[id]->keeper()) caf::anon_send(keeper, stop_a::value, *stop_);
  }

  caf::result<std::uint64_t> on_input(const pane_id& pane, const std::string& key,
                                      const std::string& bytes) {
    for (auto& [id, sandbox] : sandboxes_)
      if (sandbox->pane(pane)) {
        auto promise = make_response_promise<std::uint64_t>();
        request(sandbox->keeper(), record_deadline, input_a::value, pane, key, bytes)
            .then([promise](std::uint64_t seq) mutable { promise.deliver(seq); },
                  [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
        return promise;
      }
    return to_caf(make_error(errc::wrong_phase, "the pane does not run"));
  }

  // ---- the end ----
  void on_sandbox_closed(const sandbox_ending& x) {
    if (open_.count(x.sandbox) == 0 && !x.gave_up) return;
    if (x.gave_up) {
      if (std::exchange(gave_up_[x.sandbox], true)) return;
      return close_for(x);
    }
    forget(x);
  }

  void forget(const sandbox_ending& x) {
    if (open_.erase(x.sandbox) == 0) return;
    if (x.why && !first_error_) first_error_ = x.why;
    auto id = x.sandbox;
    request(ctx_->sandboxes(), std::chrono::seconds{60}, del_child_a::value, id.value)
        .then([this, id] { drop(id); }, [this, id](caf::error&) { drop(id); });
    if (open_.empty()) finish();
  }

  void drop(const sandbox_id& id) {
    if (auto i = sandboxes_.find(id); i != sandboxes_.end()) {
      i->second->clear();
      sandboxes_.erase(i);
    }
  }

  // Its supervisor gave up: nobody else will say so in the journal. The kill intent is the REAPER's
  // order.
  void close_for(const sandbox_ending& x) {
    auto c = std::make_shared<chunk>();
    c->swarm = ctx_->swarm;
    c->sandbox = x.sandbox;
    auto add = [&](const auto& e) {
      pack_event(c->body.data, now(), e);
      ++c->count;
    };
    if (auto panes = ctx_->svc->load_panes(x.sandbox); panes.ok())
      for (const auto& p : *panes)
        if (p.state != pane_phase::closed)
          add(pane_closed{p.pane, outcome::failed, x.why, p.attempt, p.final_offset});
    if (auto r = ctx_->svc->load_sandbox(x.sandbox); r.ok() && !r->remote_id.empty())
      add(kill_intended{"supervisor gave up"});
    add(sandbox_closed{outcome::failed, x.why, false});
    request(ctx_->svc->handles->journal(), record_deadline, append_a::value, c)
        .then([this, x](std::uint64_t) { forget(x); }, [this, x](caf::error&) { forget(x); });
  }

  void finish() {
    if (std::exchange(finishing_, true)) return;
    using rows = std::pair<std::vector<sandbox_record>, std::vector<pane_record>>;
    auto svc = ctx_->svc;
    in_pool<rows>(
        svc,
        [svc, spec = ctx_->spec, id = ctx_->swarm]() -> result<rows> {
          auto sandboxes = svc->load_sandboxes(id);
          if (!sandboxes) return sandboxes.err();
          rows out{*sandboxes, {}};
          for (const auto& s : *sandboxes) {
            auto panes = svc->load_panes(s.sandbox);
            if (!panes) return panes.err();
            out.second.insert(out.second.end(), panes->begin(), panes->end());
          }
          if (auto w = write_results(*svc, *spec, id, out.first, out.second); !w) return w.err();
          return out;
        },
        [this](result<rows> r) {
          if (!r) return close(outcome::failed, r.err());
          std::vector<pane_record> panes = std::move(r->second);
          auto worst = outcome::completed;
          for (const auto& s : r->first) {
            if (s.result != outcome::completed
                && (worst == outcome::completed || s.result == outcome::failed))
              worst = s.result;
            if (!first_error_ && !s.error_code.empty())
              first_error_ = error_of(s.error_code, s.error_text);
          }
          close(worst, first_error_, panes);
        });
  }

  static error error_of(const std::string& code, const std::string& text) {
    for (const auto& e : all_errors())
      if (e.name == code) return make_error(e.code, text);
    return make_error(errc::internal, text);
  }

  outcome stopped_outcome() const {
    return *stop_ == stop_mode::kill        ? outcome::killed
           : *stop_ == stop_mode::timed_out ? outcome::timed_out
                                            : outcome::cancelled;
  }

  void close(outcome result, error why, const std::vector<pane_record>& panes = {}) {
    if (std::exchange(closing_, true)) return;
    swarm_closed end;
    end.result = result;
    end.why = result == outcome::completed ? error{} : std::move(why);
    for (const auto& p : panes) {
      ++(p.result == outcome::completed ? end.panes_completed : end.panes_failed);
      end.cost_usd += p.cost_usd;
    }
    fact(end, [this] {
      remove_work_files(*ctx_->svc, ctx_->swarm);
      closed_(ctx_->swarm);
    });
  }

  swarm_context_ptr ctx_;
  swarm_start start_;
  std::function<void(const swarm_id&)> closed_;
  std::shared_ptr<const upload_bundle> bundle_;
  std::shared_ptr<sandbox::api> api_;
  std::map<sandbox_id, context_ptr> sandboxes_;
  std::set<sandbox_id> open_;
  std::map<sandbox_id, bool> gave_up_;
  error first_error_;
  std::optional<stop_mode> stop_;
  utc_time started_at_{};
  bool limit_hit_ = false;
  bool finishing_ = false;
  bool closing_ = false;
};

} // namespace

child_spec swarm_child(swarm_context_ptr context, swarm_start start,
                       std::function<void(const swarm_id&)> closed) {
  auto path = "root/work/swarms/" + context->swarm.value;
  child_spec recorder{"recorder",
                      [context](caf::scheduled_actor* parent) {
                        auto h = spawn_recorder(parent, context->swarm, {}, context->svc->handles);
                        context->recorder(h);
                        return caf::actor_cast<caf::strong_actor_ptr>(h);
                      },
                      restart_kind::permanent};
  // The first begin comes from whoever started the swarm and wants its answer; later ones from
  // here.
  auto first = std::make_shared<bool>(true);
  child_spec keeper{"swarm",
                    [context, start, closed, first](caf::scheduled_actor* parent) {
                      auto mine = start;
                      auto again = !std::exchange(*first, false);
                      if (again) {
                        mine.fresh = false;
                        if (auto r = context->svc->load_swarm(context->swarm))
                          mine.record = std::move(*r);
                      }
                      auto h = parent->spawn<swarm_impl>(context, std::move(mine), closed);
                      context->keeper(h);
                      if (again) caf::anon_send(h, begin_a::value);
                      return caf::actor_cast<caf::strong_actor_ptr>(h);
                    },
                    restart_kind::permanent};
  child_spec sandboxes{
      "sandboxes",
      [context, path](caf::scheduled_actor* parent) {
        auto options = reported(context->svc, path + "/sandboxes");
        options.stop_together = true;
        options.on_ended = [context](const std::string& id, const caf::error& why) {
          if (auto swarm = context->keeper(); swarm && gave_up(why))
            caf::anon_send(swarm, exited_a::value,
                           sandbox_ending{{id}, outcome::failed, from_caf(why), true});
        };
        auto h = spawn_supervisor(parent, options, {});
        context->sandboxes(h);
        return caf::actor_cast<caf::strong_actor_ptr>(h);
      },
      restart_kind::permanent, std::chrono::seconds{20}};
  return {context->swarm.value,
          [context, path, recorder, keeper, sandboxes](caf::scheduled_actor* parent) {
            auto options = reported(context->svc, path);
            options.plan = strategy::rest_for_one;
            auto h = spawn_supervisor(parent, options, {recorder, keeper, sandboxes});
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{30}};
}

} // namespace skep::actors
