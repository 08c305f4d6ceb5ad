#include "actors/health_poller.hpp"
#include "actors/output_poller.hpp"
#include "actors/pane.hpp"
#include "actors/sandbox_actor.hpp"
#include "actors/sandbox_steps.hpp"

#include <algorithm>

namespace skep::actors {

sandbox_impl::sandbox_impl(caf::actor_config& cfg, context_ptr context, sandbox_start start,
                           std::function<swarm_actor()> swarm, supervisor_actor supervisor)
    : domain_actor(cfg), ctx_(std::move(context)), rec_(std::move(start.record)),
      panes_(std::move(start.panes)), bundle_(std::move(start.bundle)), fresh_(start.fresh),
      former_stop_(start.stop), swarm_(std::move(swarm)), supervisor_(std::move(supervisor)),
      idle_(std::chrono::milliseconds{ctx_->spec->idle_limit_ms}, ctx_->svc->limits.idle_grace) {
  for (const auto& p : panes_.all())
    if (p.idle) idle_.was_warned(p.pane);
}

sandbox_impl::behavior_type sandbox_impl::make_behavior() {
  return {
      [this](begin_a) { fresh_ ? introduce() : resume(); },
      [this](stop_a, stop_mode how) { on_stop(how); },
      [this](input_a, const pane_id& pane, const std::string& key, const std::string& bytes) {
        return on_input(pane, key, bytes);
      },
      [this](attach_a, const attach_open_request& r) { return on_attach(r); },
      [this](freeze_a, bool frozen) { return on_freeze(frozen); },
      [this](ready_a, const pane_id& pane) { on_pane_ready(pane); },
      [this](exited_a, const pane_id& pane, outcome result, const error& why) {
        on_pane_closed(pane, result, why);
      },
      [this](note_a, const error& why) { on_output_lost(why); },
      [this](lost_a, const error& why) { on_lost(why); },
      [this](kill_a, const error& why) {
        if (!destroying_ && rec_.state < phase::collecting) give_up(at_step(why, "health"));
      },
      [this](exited_a, const transfer_ending& x) { on_transfer_over(x); },
      [this](tick_a) { on_tick(); },
      [](done_a, const continuation& c) { c.run(); },
  };
}

void sandbox_impl::on_exit() {
  supervisor_ = supervisor_actor{};
  swarm_ = nullptr;
  ctx_.reset();
}

void sandbox_impl::add_child(child_spec child, std::function<void(error)> failed) {
  ask<caf::strong_actor_ptr>(
      this, supervisor_, std::chrono::seconds{30}, [](const caf::strong_actor_ptr&) {},
      [failed = std::move(failed)](caf::error& e) {
        if (auto why = from_caf(e); why.code != errc::exists) failed(std::move(why));
      },
      add_child_a::value, std::move(child));
}

void sandbox_impl::remove_child(std::string id, std::function<void()> then) {
  ask<void>(
      this, supervisor_, std::chrono::seconds{30}, then, [then](caf::error&) { then(); },
      del_child_a::value, std::move(id));
}

// ---- verifying, provisioning ----------------------------------------------------------------

void sandbox_impl::verify() {
  enter(phase::verifying, [this] {
    again_or_fail<void>(
        [this](sandbox::done<void> then) { verify_inside(ctx_, rec_.intent, std::move(then)); },
        [this] { provision(); });
  });
}

void sandbox_impl::provision() {
  // Nothing of the user is inside before its network is known to be what was ordered, or the
  // configuration takes it as it is.
  auto check_network = [this] {
    again_or_fail<std::string>(
        [this](sandbox::done<std::string> then) { verify_network(ctx_, std::move(then)); },
        [this](const std::string& fails) {
          if (fails.empty()) return extend_lease();
          notice told{severity::warning, "network_not_held", ctx_->sandbox.value + ": " + fails};
          fact_or(
              told, [this] { extend_lease(); },
              [this, told] {
                tell_again(told);
                extend_lease();
              });
        });
  };
  enter(phase::provisioning, [this, check_network] {
    again_or_fail<void>(
        [this](sandbox::done<void> then) { provision_guest(ctx_, std::move(then)); },
        check_network);
  });
}

// All of this lives on the first lease (create_policy::first_lease, 120 s from the create). Half of
// it is for the attempts, half for the last one of them and for what comes until the lease is set
// anew. Of a former daemon's sandbox the moment is not known here: where its lease ends meanwhile,
// the next attempt hears `gone`.
std::optional<std::chrono::milliseconds> sandbox_impl::again_in(const error& why,
                                                                std::uint32_t failures) const {
  using std::chrono::milliseconds;
  if (destroying_ || stop_ || first_error_ || !step_may_pass(why)) return std::nullopt;
  if (failures >= limits().step_attempts) return std::nullopt;
  auto wait = std::max<milliseconds>(limits().step_wait * (1u << std::min(failures - 1, 10u)),
                                     milliseconds{why.retry_after_ms});
  milliseconds lease = limits().create_of(ctx_->spec->provider).first_lease;
  if (asked_at_ && ctx_->svc->boot_now() + wait - *asked_at_ > lease / 2) return std::nullopt;
  return wait;
}

void sandbox_impl::tell_again(const notice& what) {
  later(limits().disk_wait, [this, what] {
    if (finishing_ || rec_.state == phase::closed) return; // its end is its last event
    fact_or(
        what, [] {}, [this, what] { tell_again(what); });
  });
}

// ---- starting, running ----------------------------------------------------------------------

void sandbox_impl::start_panes() {
  ctx_->base_commit(rec_.base_commit);
  enter(phase::starting, [this] {
    give_place_back(); // of those on their way to their agents
    auto no_start = [this](error why) { fail(at_step(std::move(why), "start")); };
    std::vector<std::pair<pane_id, std::uint32_t>> known;
    for (const auto& p : panes_.all()) {
      for (std::uint32_t g = 1; g <= p.attempt; ++g)
        known.emplace_back(p.pane, g);
      add_child(pane_child(p), no_start);
    }
    // After the panes: the poller believes only panes that exist.
    add_child({"poller",
               [ctx = ctx_, known](caf::scheduled_actor* parent) {
                 return spawn_output_poller(parent, ctx, known);
               },
               restart_kind::permanent},
              no_start);
    add_child({"health",
               [ctx = ctx_, wait = fresh_ ? 0 : first_question(limits(), ctx_->sandbox)](
                   caf::scheduled_actor* parent) { return spawn_health_poller(parent, ctx, wait); },
               restart_kind::permanent},
              no_start);
    if (!std::exchange(ticking_, true)) tick_later();
    if (!stop_ && too_many_out()) return; // a former life may have died before it said so
    check_panes();
  });
}

child_spec sandbox_impl::pane_child(const pane_record& p) {
  auto first = std::make_shared<std::optional<pane_record>>(p); // the first start takes it
  return {"pane-" + p.name,
          [ctx = ctx_, id = p.pane, first,
           stop = former_stop_](caf::scheduled_actor* parent) -> caf::strong_actor_ptr {
            auto record = std::exchange(*first, std::nullopt);
            if (!record) { // a restarted actor starts from what is on disk
              auto rows = ctx->svc->load_panes(ctx->sandbox);
              if (!rows) return nullptr;
              for (auto& row : *rows)
                if (row.pane == id) record = std::move(row);
              if (!record) return nullptr;
            }
            auto may_end =
                record->state == pane_phase::exited || record->state == pane_phase::running;
            auto h = spawn_pane(parent, ctx, std::move(*record));
            ctx->pane(id, h);
            // It ended while it was being stopped, or that is told before its launch is answered:
            // it is not to judge its end as its own doing.
            if (may_end && stop) caf::anon_send(h, stop_a::value, *stop);
            caf::anon_send(h, begin_a::value);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::transient};
}

void sandbox_impl::on_pane_ready(const pane_id& pane) {
  // One that was started again has not heard of the end.
  if (auto h = ctx_->pane(pane); h && (destroying_ || stop_ || winding_down_))
    caf::anon_send(h, stop_a::value,
                   destroying_ ? stop_mode::kill : stop_.value_or(stop_mode::graceful));
  else if (h) // a former life's thaw may not have arrived either
    caf::anon_send(h, freeze_a::value, rec_.frozen);
  panes_.ready(pane);
  check_panes();
}

void sandbox_impl::on_pane_closed(const pane_id& pane, outcome result, const error& why) {
  if (!panes_.closed(pane, result, why)) return;
  if (destroying_) return finish_when_quiet();
  auto out = panes_.out();
  if (!out.empty() && !panes_.all_closed() && !stop_ && !winding_down_) {
    note(ctx_->recorder(), now(), sandbox_degraded{std::move(out)});
    if (too_many_out()) return;
  }
  check_panes();
}

void sandbox_impl::check_panes() {
  if (destroying_ || moving_ || reaching_) return;
  auto go = [this](phase to, auto next) {
    moving_ = true;
    enter(to, [this, next] {
      moving_ = false;
      next();
    });
  };
  if (rec_.state == phase::starting && panes_.all_settled())
    return go(phase::running, [this] { check_panes(); });
  if ((rec_.state == phase::running || rec_.state == phase::draining) && panes_.all_closed())
    return go(phase::collecting, [this] { collect(); });
  if (rec_.state == phase::running && (stop_ || winding_down_))
    go(phase::draining, [this] { check_panes(); });
}

void sandbox_impl::on_tick() {
  if (destroying_ || rec_.state == phase::closed) return;
  if (auto health = ctx_->health()) caf::anon_send(health, tick_a::value);
  watch_idle();
  on_spend_tick();
  watch_lease();
  tick_later();
}

// All sandboxes tick at the same moments: the clock and the workers wake once for a thousand of
// them instead of a thousand times, which is most of what an idle daemon costs.
void sandbox_impl::tick_later() {
  auto past = this->clock().now().time_since_epoch() % limits().tick;
  this->delayed_send(me(), limits().tick - past, tick_a::value);
}

caf::result<std::uint64_t> sandbox_impl::on_input(const pane_id& pane, const std::string& key,
                                                  const std::string& bytes) {
  auto h = ctx_->pane(pane);
  if (!h) return to_caf(make_error(errc::wrong_phase, "the pane has not started yet"));
  auto promise = make_response_promise<std::uint64_t>();
  ask<std::uint64_t>(
      this, h, record_deadline, [promise](std::uint64_t seq) mutable { promise.deliver(seq); },
      [promise](caf::error& e) mutable { promise.deliver(std::move(e)); }, input_a::value, key,
      bytes);
  return promise;
}

} // namespace skep::actors
