// What a sandbox does about limits and money: it waits for its place, counts what its models cost,
// bounds them, and ends panes whose budget is spent. What is decided is decided by ADMISSION; here
// it is asked for and carried out.
#include "actors/agents/adapter.hpp"
#include "actors/sandbox_actor.hpp"
#include "actors/spend.hpp"
#include "messages/warnings.hpp"

namespace skep::actors {

// ---- its place ------------------------------------------------------------------------------

void sandbox_impl::wait_for_place(std::function<void()> next) {
  if (!ctx_->svc->rules) return next();
  auto admission = ctx_->svc->handles->admission();
  if (!admission) // it is being restarted
    return later(limits().kill_retry, [this, next] {
      if (!ending()) wait_for_place(next);
    });
  waiting_ = true;
  admission_request ask;
  ask.swarm = ctx_->swarm;
  ask.sandbox = ctx_->sandbox;
  ask.provider = ctx_->spec->provider;
  ask.repo = ctx_->spec->repo;
  ask.reserved_usd = reserve_of(rec_.usd_per_hour, limits());
  ask.longest = std::chrono::milliseconds{ctx_->spec->limit_ms} + limits().lease_grace;
  ask.no_queue = ctx_->spec->no_queue && !disk_full_at_; // its place was given away
  ask.falls_back = ctx_->fallback != nullptr && !ask.no_queue;
  ask.asker = caf::actor_cast<caf::strong_actor_ptr>(me());
  ask.then = home<void>([this, next, falls_back = ask.falls_back](const result<void>& r) {
    if (!std::exchange(waiting_, false)) return; // called off meanwhile
    if (r.ok()) return ending() ? give_place_back() : next();
    if (r.err().code == errc::shutting_down) return wait_for_place(next);
    if (!ending() && !(falls_back && fall_back(r.err()))) fail(at_step(r.err(), "create"));
  });
  ask.waiting = [self = me(), this](const sandbox_waits& w) {
    caf::anon_send(self, done_a::value, continuation{[this, w] {
                     if (waiting_) note(ctx_->recorder(), now(), w);
                   }});
  };
  caf::anon_send(admission, admit_a::value, std::move(ask));
}

// Out of the line; or the intent is on disk; or a place is free: ADMISSION looks again. That the
// provider has no room it hears before it does.
void sandbox_impl::give_place_back(const error& answer) {
  waiting_ = false;
  if (!ctx_->svc->rules) return;
  if (auto admission = ctx_->svc->handles->admission())
    caf::anon_send(admission, release_a::value,
                   place_given_back{ctx_->sandbox, ctx_->spec->provider,
                                    lacks_room(answer) ? answer : error{}});
}

// The provider's own limit is one more to wait for, and so is its want of room; ADMISSION knows
// when it is asked again.
bool sandbox_impl::wait_for_provider(const error& why) {
  if (!ctx_->svc->rules || ctx_->spec->no_queue || !lacks_room(why)) return false;
  create();
  return true;
}

// ---- its models -----------------------------------------------------------------------------

// Asked for on the tick, one question at a time; a provider that counts nothing is asked once. One
// that has counted before knows the question: where it then denies the sandbox, that passes or is
// the sandbox's end, which others notice. Nothing else would bound the models again.
void sandbox_impl::count_models(std::function<void()> then) {
  auto go_on = [then] {
    if (then) then();
  };
  if (!counting_ || asking_spend_ || rec_.remote_id.empty() || !may_spend()) return go_on();
  asking_spend_ = true;
  ctx_->api->get_model_usage(
      rec_.remote_id, home<sandbox::model_usage>([this, go_on](result<sandbox::model_usage> r) {
        asking_spend_ = false;
        if (r.ok()) {
          counts_ = true;
          counted(*r);
        } else if (!counts_ && (r.err().code == errc::not_found || r.err().code == errc::refused)) {
          counting_ = false;
        }
        go_on();
      }));
}

// Without rules nothing is bounded; an agent without a model costs nothing there.
bool sandbox_impl::may_spend() {
  if (!may_spend_)
    may_spend_ =
        ctx_->svc->rules && !make_adapter(ctx_->spec->agent)->plan(*ctx_->spec, {}).gateway.empty();
  return *may_spend_;
}

void sandbox_impl::counted(const sandbox::model_usage& u) {
  const auto before = std::exchange(counted_micro_, u.micro_usd);
  if (u.cut_calls > std::exchange(counted_cut_, u.cut_calls))
    note(ctx_->recorder(), now(),
         notice{severity::warning, "model_count_incomplete",
                ctx_->sandbox.value + ": " + std::to_string(u.cut_calls)
                    + " answers of its models were cut before their end, or told no figures; what "
                      "they cost is "
                      "estimated from what was seen"});
  // That nothing was called is told, too: from then on the words of agents count for nothing.
  if (std::exchange(told_count_, true) && u.calls == counted_calls_ && u.micro_usd == before
      && u.unpriced_calls == counted_unpriced_)
    return;
  counted_calls_ = u.calls;
  counted_unpriced_ = u.unpriced_calls;
  note(ctx_->recorder(), now(),
       model_spend{u.calls, static_cast<double>(u.micro_usd) / 1e6, u.unpriced_calls,
                   u.input_tokens, u.output_tokens});
}

// What its models may cost in all is set at the gateway, which refuses calls beyond it (402). What
// a former life has set there is not known: it is set once more, also to no cap, but that not
// before ADMISSION has told which budgets are in force.
void sandbox_impl::bound_models(std::function<void()> then) {
  auto go_on = [then] {
    if (then) then();
  };
  const auto first = !fresh_ && !told_allowance_;
  if (first && !ctx_->svc->rests->known() && ctx_->spec->pane_budget_usd <= 0) return go_on();
  auto most = allowance();
  auto told = most == allowed_micro_ && !first;
  if (!counting_ || told || rec_.remote_id.empty() || !may_spend()) return go_on();
  ctx_->api->set_allowance(rec_.remote_id, most, home<void>([this, most, go_on](result<void> r) {
                             if (r.ok()) {
                               counts_ = told_allowance_ = true;
                               allowed_micro_ = most;
                             }
                             go_on();
                           }));
}

// They may cost in all what they have cost. Where the count has no answer, that is the last one, or
// nothing at all, which forbids them as well.
void sandbox_impl::forbid_models(std::function<void()> then) {
  count_models([this, then] {
    if (!leaving_) return;
    if (!counting_ || !may_spend()) return then();
    ctx_->api->set_allowance(rec_.remote_id, counted_micro_,
                             home<void>([this, then](const result<void>&) {
                               if (leaving_) then();
                             }));
  });
}

std::optional<std::uint64_t> sandbox_impl::allowance() const {
  auto micro = [](double usd) {
    return static_cast<std::uint64_t>(std::max(usd, 0.0) * 1e6 + 0.5);
  };
  std::optional<std::uint64_t> most;
  if (auto usd = ctx_->svc->rests->models_of(ctx_->swarm, ctx_->sandbox)) most = micro(*usd);
  if (ctx_->spec->pane_budget_usd > 0) {
    auto panes = ctx_->spec->pane_budget_usd * static_cast<double>(panes_.all().size());
    auto of_panes = micro(panes - time_cost_usd(charged_record(), now()));
    most = std::min(most.value_or(of_panes), of_panes);
  }
  return most;
}

sandbox_record sandbox_impl::charged_record() const {
  auto row = ctx_->svc->load_sandbox(ctx_->sandbox);
  return row.ok() ? *row : rec_;
}

// ---- its panes ------------------------------------------------------------------------------

void sandbox_impl::judge_panes() {
  auto limit = ctx_->spec->pane_budget_usd;
  if (limit <= 0 || !ctx_->svc->rules) return;
  auto rows = ctx_->svc->load_panes(ctx_->sandbox);
  if (!rows) return;
  auto box = charged_record();
  for (const auto& p : *rows) {
    if (p.state == pane_phase::closed) continue;
    budget_view b;
    b.scope = budget_scope::pane;
    b.id = p.pane.value;
    b.limit_usd = limit;
    b.spent_usd = pane_cost_usd(p, *rows, box, now());
    b.usd_per_hour = box.usd_per_hour / static_cast<double>(rows->size());
    b.unpriced_calls = counted_unpriced_; // whose they were, the gateway does not know
    auto ends = judge(b, limits()) != budget_step::none;
    // One that is being stopped may say its last word at any moment.
    for (auto percent : {50u, 80u})
      if (!panes_out_of_money_.count(p.pane) && warning_level(b) >= percent
          && warned_.insert(warning_key(b.scope, b.id, percent)).second)
        note(ctx_->recorder(), now(),
             pane_budget_warned{
                 p.pane, percent, b.spent_usd, limit,
                 budget_text(percent, budget_owner(b.scope, p.name), limit, {b.spent_usd, true})});
    if (!ends) continue;
    panes_out_of_money_.insert(p.pane);
    if (auto h = ctx_->pane(p.pane)) caf::anon_send(h, stop_a::value, stop_mode::budget);
  }
}

bool sandbox_impl::panes_spent_all() const {
  const auto most = ctx_->spec->pane_budget_usd * static_cast<double>(panes_.all().size());
  if (most <= 0 || !ctx_->svc->rules) return false;
  const auto models = static_cast<double>(counted_micro_) / 1e6;
  return time_cost_usd(charged_record(), now()) + models >= most;
}

void sandbox_impl::on_spend_tick() {
  if (!ctx_->svc->rules) return;
  count_models([this] {
    if (!destroying_) bound_models({});
  });
  judge_panes();
}

} // namespace skep::actors
