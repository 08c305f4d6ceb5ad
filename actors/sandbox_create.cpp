// How a sandbox comes to be at its provider, and how it is found again after a restart. One create
// per intent; what became of one without an answer is found out before anything else is done.
#include "actors/sandbox_actor.hpp"
#include "actors/sandbox_steps.hpp"
#include "actors/spend.hpp"
#include "actors/swarm_sandboxes.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

pane_created created_event(const pane_record& p) {
  return {p.pane, p.index, p.name, p.agent, p.branch};
}

// In create_failed `cancelled` says that the provider was never asked, and such a create counts in
// no window: one whose call was cut off must not be told as that.
error of_sent(error e) {
  if (e.code == errc::cancelled) e.code = errc::timed_out;
  return e;
}

} // namespace

// ---- queued, creating -----------------------------------------------------------------------

// At once: with some of its panes on disk and the others not, the next daemon would go on without
// those agents.
void sandbox_impl::introduce() {
  if (ctx_->svc->rules) rec_.usd_per_hour = ctx_->svc->rules->of(ctx_->spec->provider).usd_per_hour;
  rec_.provider = ctx_->spec->provider;
  packed_events all;
  all.add(now(), sandbox_queued{ctx_->index, ctx_->spec->provider, rec_.usd_per_hour});
  for (const auto& p : panes_.all())
    all.add(now(), created_event(p));
  facts(std::move(all), [this] {
    rec_.created_at = rec_.phase_since = now();
    create();
  });
}

void sandbox_impl::create() {
  if (ending()) return;
  at_its_provider([this] { wait_for_place([this] { intend_create(); }); });
}

void sandbox_impl::intend_create() {
  enter(phase::creating, [this] {
    if (ending()) return;
    auto intent = random_token(20);
    auto request = create_request(*ctx_, intent);
    if (!request) return fail(at_step(request.err(), "create"));
    rec_.intent = intent;
    auto lease = std::chrono::milliseconds{request->lease}.count();
    auto at = now();
    auto reserved = reserve_of(rec_.usd_per_hour, limits());
    fact_or(
        create_intended{intent, ctx_->spec->template_name, lease, reserved},
        [this, at, request = std::move(*request)] {
          give_place_back(); // the intent holds it now
          if (destroying_ || stop_ || first_error_) return drop_intent();
          tell_disk_wait();
          asked_at_ = ctx_->svc->boot_now();
          ctx_->api->create(request, home<sandbox::created>([this, at](result<sandbox::created> r) {
                              if (r.ok() || create_is_settled(r.err()))
                                return on_created(std::move(r));
                              create_error_ = of_sent(r.err());
                              if (ending()) return; // what came of it is the REAPER's to find out
                              search(at);
                            }));
        },
        [this] { wait_for_disk(); });
  });
}

// A nearly full disk takes no new work, and a sandbox whose turn comes then has done nothing to end
// for. Its place is another's meanwhile, and it stands in line for the next one.
void sandbox_impl::wait_for_disk() {
  rec_.intent.clear(); // it is not on disk, so nothing can come of it
  give_place_back();
  if (ending()) return;
  if (!disk_full_at_) disk_full_at_ = ctx_->svc->boot_now();
  waiting_ = true;
  later(limits().disk_wait, [this] {
    if (std::exchange(waiting_, false)) create(); // else its end came
  });
}

// Only now, since such a disk takes no notices either; `skep health` says so while it lasts.
void sandbox_impl::tell_disk_wait() {
  auto since = std::exchange(disk_full_at_, std::nullopt);
  if (!since) return;
  auto waited = std::chrono::ceil<std::chrono::seconds>(ctx_->svc->boot_now() - *since);
  note(ctx_->recorder(), now(),
       notice{severity::warning, "create_waited",
              ctx_->sandbox.value + ": its create waited " + std::to_string(waited.count())
                  + " s for room on the disk of this machine, which was nearly full"});
}

// Its end came while the intent was on its way to the disk: the provider never hears of it, nothing
// is left to be looked for, and it counts in no window of creations.
void sandbox_impl::drop_intent() {
  auto why = make_error(errc::cancelled, "its end came before the provider was asked");
  fact(create_failed{rec_.intent, why}, [this] {
    give_place_back();
    ending();
  });
}

void sandbox_impl::on_created(result<sandbox::created> r) {
  if (r.ok()) return born(std::move(*r));
  fact(create_failed{rec_.intent, r.err()}, [this, e = r.err()] {
    give_place_back(e);
    if (!ending() && !fall_back(e) && !wait_for_provider(e)) fail(at_step(e, "create"));
  });
}

void sandbox_impl::born(sandbox::created made) {
  search_.reset();
  rec_.remote_id = made.address.remote_id;
  ctx_->address(made.address);
  fact(sandbox_created{rec_.intent, rec_.remote_id, made.envd_version}, [this, late = destroying_] {
    if (late) return fact(kill_intended{"its answer came too late"}, [this] { kill(); });
    if (!ending()) verify();
  });
}

// ---- a create without an answer -------------------------------------------------------------

void sandbox_impl::search(utc_time intended_at) {
  search_.emplace(intended_at, ctx_->spec->provider, limits());
  // Of a former daemon's create: one that lives is no older than what settles it.
  using std::chrono::milliseconds;
  milliseconds most = limits().create_of(ctx_->spec->provider).settle_after();
  auto ago = std::clamp(now() - intended_at, milliseconds{0}, most);
  if (!asked_at_) asked_at_ = ctx_->svc->boot_now() - ago;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "create_unresolved",
              ctx_->sandbox.value + ": the provider did not answer the create; it is looked for by "
                  + "its label: " + render(create_error_)});
  look();
}

void sandbox_impl::look() {
  if (!search_ || destroying_) return;
  find_by_intent(ctx_->api, ctx_->svc->install_id, rec_.intent,
                 home<sandbox::created>([this, asked_at = now()](result<sandbox::created> r) {
                   on_look(asked_at, std::move(r));
                 }));
}

void sandbox_impl::on_look(utc_time asked_at, result<sandbox::created> r) {
  if (!search_ || destroying_) return;
  if (r.ok()) return born(std::move(*r));
  // Neither its answer to the create nor its list makes sense: that is no provider.
  if (r.err().code == errc::protocol && create_error_.code == errc::protocol) {
    search_.reset();
    return fact(create_failed{rec_.intent, create_error_},
                [this] { fail(at_step(create_error_, "create")); });
  }
  using verdict = create_search::verdict;
  auto now_known =
      r.err().code == errc::not_found ? search_->missed(asked_at) : search_->failed(asked_at);
  switch (now_known) {
  case verdict::go_on:
    return later(search_->wait(now()), [this] { look(); });
  case verdict::settled:
    return no_sandbox_came();
  case verdict::blind: // it stays unresolved in the tables, and the REAPER goes on
    return fail(at_step(create_error_, "create"));
  }
}

// Only now may another create be tried, with an intent of its own.
void sandbox_impl::no_sandbox_came() {
  search_.reset();
  fact(create_failed{rec_.intent, create_error_}, [this] {
    if (++creates_ >= limits().step_attempts) return fail(at_step(create_error_, "create"));
    create();
  });
}

// ---- re-adoption ----------------------------------------------------------------------------

void sandbox_impl::resume() {
  if (rec_.state == phase::closed) return report(rec_.result, first_error(rec_));
  first_error_ = first_error(rec_); // a former life was failing
  if (auto how = ctx_->told_to_stop()) former_stop_ = how;
  untold_ = rec_.state == phase::collecting;
  complete_panes([this] {
    if (!destroying_) take_up();
  });
}

// Known to panes_ before they are on disk, so that an end that comes meanwhile closes them too.
void sandbox_impl::complete_panes(std::function<void()> next) {
  auto missing = missing_panes(*ctx_->spec, rec_, panes_.all());
  if (missing.empty() || first_error_ || rec_.kill_intended) return next();
  if (rec_.state >= phase::starting) {
    note(ctx_->recorder(), now(),
         notice{severity::warning, "panes_missing",
                ctx_->sandbox.value + ": a former daemon died before it had written down "
                    + std::to_string(missing.size()) + " of its "
                    + std::to_string(ctx_->spec->panes) + " panes, and started without them"});
    return next();
  }
  packed_events all;
  for (const auto& p : missing) {
    all.add(now(), created_event(p));
    panes_.add(p);
  }
  facts(std::move(all), std::move(next));
}

void sandbox_impl::take_up() {
  if (rec_.remote_id.empty())
    return first_error_ ? destroy() : rec_.unresolved ? resume_search() : create();
  if (rec_.kill_intended) { // whether it is still there or not
    if (former_stop_ && panes_.stopped_by(outcome_of(*former_stop_))) stop_ = former_stop_;
    stopped_first_ = stop_ && failed_collecting();
    return destroy();
  }
  reach();
}

// A daemon that is back looks for all of its sandboxes: some at a time, with their leases.
void sandbox_impl::reach() {
  if (destroying_) return;
  reaching_ = true;
  auto go = home<turnstile::pass>([this](const result<turnstile::pass>& pass) {
    look_for_it(std::make_shared<turnstile::pass>(*pass));
  });
  turnstile::enter(ctx_->svc->take_ups, [go](turnstile::pass pass) { go(std::move(pass)); });
}

// GET, never connect: connect would resume and extend. Its place goes to the next one with the
// answer to the last request, or after a while: others may have another provider.
void sandbox_impl::look_for_it(const turnstile::shared_pass& pass) {
  if (destroying_) return;
  if (*pass)
    later(limits().take_up_hold, [weak = std::weak_ptr<turnstile::pass>{pass}] {
      if (auto held = weak.lock()) held->reset();
    });
  ctx_->api->get(rec_.remote_id, home<sandbox::detail>([this, pass](result<sandbox::detail> r) {
                   if (destroying_) return; // a kill did not wait for it
                   if (r.ok()) return reached(*r, pass);
                   if (r.err().code == errc::not_found) return denied(r.err());
                   denials_ = 0;
                   retriable(r.err()) || mendable(r.err()) ? out_of_reach(r.err())
                                                           : refused(r.err());
                 }));
}

void sandbox_impl::reached(const sandbox::detail& seen, const turnstile::shared_pass& pass) {
  reaching_ = false;
  found_again();
  if (away_looks_ > 0)
    note(ctx_->recorder(), now(),
         notice{severity::info, "provider_reached",
                ctx_->sandbox.value + ": " + ctx_->spec->provider
                    + " answers again, and the sandbox is taken up"});
  ctx_->address(seen.address);
  if (first_error_ && rec_.state < phase::starting) return destroy();
  renew_lease(seen, pass);
  resume_phase();
}

// A stop waits meanwhile as it does for a provider out of reach.
void sandbox_impl::denied(const error& why) {
  if (!maybe_lost()) return lost(why, "adopt");
  if (former_stop_ && !stop_) on_stop(*former_stop_);
  if (destroying_) return;
  if (stop_ && stopped_in_vain()) return give_up_unreached(at_step(why, "adopt"));
  later(limits().look_wait(denials_ - 1), [this] { reach(); });
}

// A daemon may be back long before the network is, or before somebody has set the right key, and
// agents work in there all the time: it is asked for until the SWARM ends the run at its time
// limit, or its lease is over.
void sandbox_impl::out_of_reach(const error& why) {
  if (former_stop_ && !stop_) on_stop(*former_stop_);
  if (destroying_) return;
  if (lease_over()) return give_up(at_step(why, "adopt"));
  if (stop_ && stopped_in_vain()) return give_up_unreached(at_step(why, "adopt"));
  if (away_looks_ == 0)
    note(ctx_->recorder(), now(),
         notice{severity::warning, "provider_unreachable",
                ctx_->sandbox.value + ": " + ctx_->spec->provider
                    + " cannot be asked since the daemon is back, which is tried again until the "
                      "run's time limit: "
                    + render(why)});
  later(limits().look_wait(away_looks_++), [this] { reach(); });
}

// Agents cannot be told to stop, nor can their work be fetched: that is waited for as long as the
// end after a failure may take. By the clock of the looks: a machine that sleeps takes none of it.
bool sandbox_impl::stopped_in_vain() {
  auto at = clock().now();
  if (!stop_seen_at_) stop_seen_at_ = at;
  if (at - *stop_seen_at_ < limits().end_within()) return false;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "results_incomplete",
              ctx_->sandbox.value
                  + ": it was stopped while its provider did not answer, and its "
                    "results could not be collected"});
  return true;
}

// An answer that waiting does not change.
void sandbox_impl::refused(const error& why) {
  if (++adopt_failures_ < limits().step_attempts * 4)
    return later(limits().settle_interval, [this] { reach(); });
  reaching_ = false;
  fail(at_step(why, "adopt"));
}

// The time counts from the intent; when the journal cannot tell, from now, which is never too soon.
void sandbox_impl::resume_search() {
  create_error_ = make_error(errc::timed_out, "the daemon ended before the answer");
  in_pool<utc_time>(
      ctx_->svc,
      [svc = ctx_->svc, id = ctx_->sandbox, intent = rec_.intent]() -> result<utc_time> {
        if (!svc->intended_at) return make_error(errc::not_found);
        return svc->intended_at(id, intent);
      },
      [this](result<utc_time> at) {
        if (!ending()) search(at.ok() ? *at : now());
      });
}

// What a former daemon began inside may still run, an unpacking for instance: what follows removes
// and makes the same folders, so it waits until a look finds none of it, however a kill was
// answered. A look that failed is repeated as one that found something.
void sandbox_impl::end_leftovers(std::function<void()> next) {
  kill_leftovers(ctx_, home<bool>([this, next](result<bool> found) {
                   if (ending()) return;
                   if (found.ok() && !*found) return next();
                   if (!found.ok() && found.err().code == errc::gone) return fail(found.err());
                   auto looks = ++leftover_looks_;
                   if (looks > limits().kill_attempts)
                     return leftovers_stay(
                         found.ok() ? make_error(errc::timed_out,
                                                 "what a former daemon began inside does not end")
                                    : found.err(),
                         next);
                   auto again = [this, next] {
                     if (!ending()) end_leftovers(next);
                   };
                   found.ok() && looks == 1 ? again() : later(limits().kill_retry, again);
                 }));
}

// Nothing is unpacked beside an unpacking. What agents did is not given up for that: each result
// is checked where it arrives, and the sandbox goes right after.
void sandbox_impl::leftovers_stay(const error& why, const std::function<void()>& next) {
  if (rec_.state != phase::collecting) return fail(at_step(why, "adopt"));
  note(ctx_->recorder(), now(),
       notice{severity::warning, "leftovers_stay",
              ctx_->sandbox.value
                  + ": whether what a former daemon began inside has ended is not known, and its "
                    "results are collected all the same: "
                  + render(why)});
  next();
}

void sandbox_impl::resume_phase() {
  switch (rec_.state) {
  case phase::draining:
    if (!former_stop_ && !first_error_) former_stop_ = stop_mode::graceful;
    [[fallthrough]];
  case phase::starting:
  case phase::running:
    start_panes();
    if (first_error_) wind_down();
    if (former_stop_) on_stop(*former_stop_);
    return;
  case phase::collecting:
    untold_ = false; // what is not on record as stored and told is collected once more
    if (former_stop_ && panes_.stopped_by(outcome_of(*former_stop_))) on_stop(*former_stop_);
    return end_leftovers([this] { collect_rest(); });
  default:
    // Its tree arrived and is on record: what follows is the start of its agents.
    if (!rec_.base_commit.empty()) return start_panes();
    return end_leftovers([this] { verify(); });
  }
}

} // namespace skep::actors
