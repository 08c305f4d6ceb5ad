// What a SANDBOX watches while its agents work: panes without a sign of life, too many panes that
// are out; and agents that are stopped where they are.
#include "actors/cost_so_far.hpp"
#include "actors/sandbox_actor.hpp"

#include <algorithm>

namespace skep::actors {

// ---- panes that are out ---------------------------------------------------------------------

bool sandbox_impl::too_many_out() {
  if (destroying_ || winding_down_ || panes_.all_closed()) return false;
  auto failed = panes_.failed();
  auto percent = ctx_->spec->panes_out_percent > 0 ? ctx_->spec->panes_out_percent
                                                   : limits().panes_out_percent;
  if (failed.size() * 100 <= std::size_t{percent} * panes_.all().size()) return false;
  std::string names;
  for (const auto& p : panes_.all())
    if (std::find(failed.begin(), failed.end(), p.pane) != failed.end())
      names += (names.empty() ? "" : ", ") + p.name;
  auto e =
      make_error(errc::agent_failed,
                 std::to_string(failed.size()) + " of " + std::to_string(panes_.all().size())
                     + " panes are out, more than " + std::to_string(percent) + " %: " + names);
  fail(at_step(std::move(e), to_string(rec_.state)));
  return true;
}

// ---- idle panes -----------------------------------------------------------------------------

void sandbox_impl::watch_idle() {
  if (!idle_.on() || stop_ || winding_down_ || rec_.frozen) return;
  const auto unseen = ctx_->output_waits();
  for (const auto& p : panes_.all()) {
    if (p.state == pane_phase::closed || !panes_.is_ready(p.pane)) continue;
    if (unseen) ctx_->active(p.pane); // it may well write
    on_idle_word(p, idle_.look(p.pane, ctx_->active_at(p.pane), ctx_->svc->boot_now()));
  }
}

pane_idle sandbox_impl::idle_warning(const pane_record& p) const {
  auto cost = cost_so_far(*ctx_->svc, ctx_->swarm);
  pane_idle e;
  e.pane = p.pane;
  e.idle_ms = idle_.idle(p.pane, ctx_->svc->boot_now()).count();
  e.limit_ms = ctx_->spec->idle_limit_ms;
  e.grace_ms = std::chrono::milliseconds{limits().idle_grace}.count();
  e.cost_usd = cost.usd;
  e.cost_whole = cost.whole;
  e.text = idle_text(p.name, e.idle_ms, e.grace_ms, cost);
  return e;
}

// The pane may be closing at this moment: a fact that comes too late is refused, and is no harm.
void sandbox_impl::on_idle_word(const pane_record& p, idle_watch::word word) {
  auto tell = [this](const auto& e) {
    record(
        ctx_->recorder(), now(), e, [](std::uint64_t) {}, [](const error&) {});
  };
  switch (word) {
  case idle_watch::word::none:
    return;
  case idle_watch::word::warn:
    return tell(idle_warning(p));
  case idle_watch::word::active:
    return tell(pane_active{p.pane});
  case idle_watch::word::stop:
    if (auto h = ctx_->pane(p.pane)) caf::anon_send(h, stop_a::value, stop_mode::idle);
  }
}

// ---- freezing -------------------------------------------------------------------------------

// The intent is on disk before an agent is touched, and is carried out again after a restart. While
// another one is on its way there, what the row says is no answer: the last one asked for holds.
caf::result<std::uint64_t> sandbox_impl::on_freeze(bool frozen) {
  if (destroying_ || stop_ || winding_down_ || rec_.state < phase::starting
      || rec_.state > phase::running)
    return to_caf(make_error(errc::wrong_phase,
                             ctx_->sandbox.value + " is " + std::string{to_string(rec_.state)}));
  auto promise = make_response_promise<std::uint64_t>();
  auto carry_out = [this, frozen, promise](std::uint64_t seq) mutable {
    rec_.frozen = frozen;
    idle_.forget();
    for (const auto& p : panes_.all())
      if (auto h = ctx_->pane(p.pane); h && p.state != pane_phase::closed)
        caf::anon_send(h, freeze_a::value, frozen);
    promise.deliver(seq);
  };
  if (rec_.frozen == frozen && freezing_ == 0) {
    carry_out(ctx_->svc->handles->head_seq());
    return promise;
  }
  ++freezing_;
  record(
      ctx_->recorder(), now(), sandbox_frozen{frozen, "asked for"},
      [this, carry_out](std::uint64_t seq) mutable {
        --freezing_;
        carry_out(seq);
      },
      [this, promise](const error& e) mutable {
        --freezing_;
        promise.deliver(to_caf(e));
      });
  return promise;
}

} // namespace skep::actors
