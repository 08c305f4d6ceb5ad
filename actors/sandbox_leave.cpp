// How agents are known to be over: before their results are collected, as far as that can be had,
// and without fail where a sandbox is left alone at its end (docs/decisions/0062): not before
// nothing in it can spend any more. Its agents are known to be over, and its gateway takes no
// further call of a model. Until then the sandbox is open, so that the limits of its run hold.
#include "actors/guest_call.hpp"
#include "actors/pane_launch.hpp"
#include "actors/sandbox_actor.hpp"

#include <algorithm>
#include <array>
#include <ctime>

namespace skep::actors {
namespace {

/// "2026-03-01 12:00:05 UTC".
std::string utc_text(utc_time at) {
  const auto epoch_seconds = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  ::gmtime_r(&epoch_seconds, &parts);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

/// Nothing that was started for this pane works on, as far as its row knows.
bool is_over(const pane_record& p) {
  if (p.attempt == 0 || p.state == pane_phase::exited) return true;
  return p.state == pane_phase::closed && (p.exit_code != -1 || p.signal != 0);
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names)
    out += (out.empty() ? "" : ", ") + name;
  return out;
}

} // namespace

// People may look at what they stopped, and what could not be fetched is nowhere else. No limit is
// outlived, and no daemon that ends everything, nor was one before this life whose stop came too
// late for the agents.
bool sandbox_impl::stays() const {
  const auto end_of = stop_.value_or(former_stop_.value_or(stop_mode::graceful));
  if (rec_.remote_id.empty() || lost_ || rec_.kill_intended || end_of != stop_mode::graceful)
    return false;
  if (!unfetched_.empty()) return !past_limit_ && first_error_.code != errc::budget_spent;
  // A former life may have failed to fetch what is here now.
  const bool well = !first_error_ || (failed_collecting() && first_error_.code != errc::gone);
  return ctx_->spec->keep && well && !bounded_;
}

void sandbox_impl::unfetched_from(std::size_t first) {
  const std::size_t all = ctx_->spec->share_tree ? 1 : panes_.all().size();
  for (auto i = first; i < all; ++i)
    unfetched_.push_back(panes_.all()[i].name);
}

std::string sandbox_impl::about_unfetched() const {
  const auto& sandbox = ctx_->sandbox.value;
  return "what " + listed(unfetched_) + " did could not be fetched and is still in " + sandbox
         + ", which costs on and lives until " + utc_text(rec_.lease_end_at) + ": `skep diff "
         + ctx_->swarm.value + "/" + unfetched_.front() + " --patch` fetches it, `skep panic "
         + sandbox + "` ends it alone";
}

// ---- before its results ---------------------------------------------------------------------

// A pane is closed when its agent was told to end for long enough, whoever has heard it, and what
// is read beside an agent at work is no state that ever was. One call has no longer than an agent
// is given, so that a lost one is repeated.
void sandbox_impl::still_agents() {
  if (destroying_) return;
  look_for_agents();
  if (at_work_)
    std::erase_if(*at_work_, [this](const auto& p) {
      return stored_.contains(ctx_->spec->share_tree ? pane_id{} : p.pane);
    });
  if (!at_work_ || at_work_->empty()) return agents_still();
  stilling_ = true;
  std::chrono::milliseconds most = limits().guest_command;
  if (stop_ == stop_mode::shutdown) most = limits().shutdown_grace;
  later(most, [this] {
    if (!stilling_ || destroying_) return;
    tell_not_still();
    agents_still();
  });
  kill_agents();
}

void sandbox_impl::agents_still() {
  stilling_ = false;
  at_work_.reset(); // looked up anew where it is left
  still_rounds_ = 0;
  next_download();
}

void sandbox_impl::tell_not_still() {
  note(ctx_->recorder(), now(),
       notice{severity::warning, "collected_at_work",
              ctx_->sandbox.value + ": the results of " + names_at_work()
                  + " may be from the middle of its work, for nothing inside has answered the kill "
                    "of its agent, and they are collected all the same"});
}

// ---- its agents -----------------------------------------------------------------------------

void sandbox_impl::leave() {
  stilling_ = false;
  leaving_ = true;
  look_for_agents();
  if (at_work_ && at_work_->empty()) return left();
  forbid_models([this] { end_agents(); });
}

// Where nothing is on disk, nothing was started. Tables that cannot be read tell nothing.
void sandbox_impl::look_for_agents() {
  auto rows = ctx_->svc->load_panes(ctx_->sandbox);
  if (!rows && rows.err().code != errc::not_found) return;
  at_work_.emplace();
  if (!rows) return;
  for (auto& p : *rows)
    if (!is_over(p)) at_work_->push_back(std::move(p));
}

// Their kill is repeated until a holder inside has answered it. What bounds that comes by
// on_stop(): the run's time limit or budget, somebody who kills it, a daemon that ends everything.
// The rest is known here alone.
void sandbox_impl::end_agents() {
  if (lease_over() || lease_stop_due() || panes_spent_all())
    return leave_no_longer("its time or its panes' budget was over");
  if (!at_work_) look_for_agents();
  if (!at_work_) return end_agents_later();
  if (at_work_->empty()) return left();
  reaching_ ? reach_agents() : kill_agents();
}

// A former daemon's, whose address this one has not heard yet.
void sandbox_impl::reach_agents() {
  ctx_->api->get(rec_.remote_id, home<sandbox::detail>([this](result<sandbox::detail> r) {
                   if (!leaving_) return;
                   const auto no = !r && r.err().code == errc::not_found;
                   if (no && !maybe_lost()) return leave_no_longer("the sandbox was gone");
                   if (!no) denials_ = 0;
                   if (!r) return end_agents_later();
                   found_again();
                   reaching_ = false;
                   ctx_->address(r->address);
                   kill_agents();
                 }));
}

void sandbox_impl::kill_agents() {
  unanswered_ = at_work_->size();
  for (const auto& p : *at_work_) {
    auto kill = signal_command(*ctx_, p.pane, p.attempt, "KILL");
    if (stilling_)
      kill.limit = std::min<std::chrono::milliseconds>(kill.limit, limits().stop_grace);
    ctx_->api->run(ctx_->address(), std::move(kill),
                   home<sandbox::command_result>([this, pane = p.pane, stilling = stilling_](
                                                     result<sandbox::command_result> r) {
                     // That of a round before: leaving has its own.
                     if (stilling ? stilling_ && !destroying_ : leaving_)
                       on_agent_killed(pane, read_guest_answer(r));
                   }));
  }
}

void sandbox_impl::on_agent_killed(const pane_id& pane, const result<json>& answer) {
  if (!answer && answer.err().code == errc::gone)
    return stilling_ ? agents_still() : leave_no_longer("the sandbox was gone");
  if (answer) std::erase_if(*at_work_, [&](const auto& p) { return p.pane == pane; });
  if (--unanswered_ > 0) return;
  if (stilling_) return at_work_->empty() ? agents_still() : still_agents_later();
  at_work_->empty() ? left() : end_agents_later();
}

void sandbox_impl::still_agents_later() {
  later(signal_wait(limits(), still_rounds_++), [this] {
    if (stilling_ && !destroying_) kill_agents();
  });
}

void sandbox_impl::end_agents_later() {
  if (kill_rounds_ == 0)
    note(ctx_->recorder(), now(),
         notice{severity::warning, "agents_may_work",
                ctx_->sandbox.value + ": " + names_at_work()
                    + " may still be at work, for nothing inside has answered the kill; it is "
                      "repeated until the run's time limit, and then the sandbox is killed with "
                      "all that is in it. `skep kill "
                    + ctx_->swarm.value + "` does that at once"});
  later(signal_wait(limits(), kill_rounds_++), [this] {
    if (leaving_) end_agents();
  });
}

std::string sandbox_impl::names_at_work() const {
  std::vector<std::string> names;
  for (const auto& p : at_work_ ? *at_work_ : panes_.all())
    names.push_back(p.name);
  return listed(names);
}

// ---- the last word --------------------------------------------------------------------------

void sandbox_impl::left() {
  forbid_models([this] {
    leaving_ = false;
    if (!unfetched_.empty())
      note(ctx_->recorder(), now(),
           notice{severity::warning, "results_left_inside",
                  ctx_->sandbox.value + ": " + about_unfetched()});
    gone_ = true;
    finish_when_quiet();
  });
}

void sandbox_impl::leave_no_longer(const std::string& why, std::optional<stop_mode> how) {
  leaving_ = kept_ = false;
  if (how && (!stop_ || at_once(*how))) stop_ = how;
  if (!unfetched_.empty()) {
    const auto names = names_at_work();
    note(ctx_->recorder(), now(),
         notice{severity::warning, "results_incomplete",
                ctx_->sandbox.value + ": what " + listed(unfetched_)
                    + " did could not be fetched, and its sandbox was not left up with it: " + why
                    + (names.empty() ? "" : " before " + names + " was known to have ended")});
  }
  intend_kill();
}

} // namespace skep::actors
