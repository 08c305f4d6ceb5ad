// Facts about money: charges of sandboxes, counts of gateways, budgets and their warnings.
#include "storage/spend_fold.hpp"

#include "messages/cost.hpp"

namespace skep::storage::fold {
namespace {

constexpr std::int64_t day_ms = 86'400'000;

std::int64_t day_of(utc_time at) {
  auto ms = at.time_since_epoch().count();
  return ms - ms % day_ms;
}

result<void> on_day(const context& c, std::int64_t day, double time_usd, double model_usd) {
  return c.db.run("INSERT INTO spend_days (day_ms, time_usd, model_usd) VALUES (?1, ?2, ?3) "
                  "ON CONFLICT (day_ms) DO UPDATE SET time_usd = time_usd + ?2, "
                  "model_usd = model_usd + ?3",
                  day, time_usd, model_usd);
}

struct charge {
  double usd_per_hour = 0;
  utc_time from{};
  utc_time until{};
  double model_usd = 0;
  double agent_usd = 0;
  bool counted = false;
};

result<charge> charge_of(const context& c) {
  auto q = c.db.prepare("SELECT usd_per_hour, charged_from_ms, charged_until_ms, model_cost_usd, "
                        "agent_cost_usd, counted FROM sandboxes WHERE sandbox = ?1");
  if (!q) return q.err();
  auto row = q->bind(c.sandbox).step();
  if (!row) return row.err();
  charge out;
  if (!*row) return out;
  q->read(0, out.usd_per_hour);
  q->read(1, out.from);
  q->read(2, out.until);
  q->read(3, out.model_usd);
  q->read(4, out.agent_usd);
  q->read(5, out.counted);
  return out;
}

// The cost of a sandbox's models is another one from here on, by `more`; its swarm and the day
// change with it.
result<void> model_cost_is(const context& c, double now, double more) {
  if (auto done =
          c.db.run("UPDATE sandboxes SET model_cost_usd = ?2 WHERE sandbox = ?1", c.sandbox, now);
      !done)
    return done;
  if (more == 0) return {};
  if (auto done = c.db.run("UPDATE swarms SET cost_usd = max(cost_usd + ?2, 0.0) WHERE swarm = ?1",
                           c.swarm, more);
      !done)
    return done;
  return on_day(c, day_of(c.at), 0, more);
}

result<void> warned(const context& c, budget_scope scope, const std::string& id,
                    std::uint32_t percent, double spent, double limit) {
  if (auto fits = in_range("a budget's warning", {percent}, spent); !fits) return fits;
  if (auto fits = in_range("a budget's warning", {}, limit); !fits) return fits;
  auto key = std::string{to_string(scope)} + " " + id + " " + std::to_string(percent);
  auto done = change(c,
                     "INSERT INTO spend_warnings (warning, scope, percent, at_ms) "
                     "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (warning) DO NOTHING",
                     key, scope, percent, c.at);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "the warning " + key);
  return {};
}

result<void> of_all(budget_scope scope, std::string_view event) {
  if (scope == budget_scope::day || scope == budget_scope::month) return {};
  return make_error(errc::bad_argument, std::string{event} + " is about a day or a month");
}

} // namespace

result<void> charge_begins(const context& c, const create_intended& e) {
  if (auto fits = in_range("sandbox.create_intended", {}, e.reserved_usd); !fits) return fits;
  auto done = c.db.run("UPDATE sandboxes SET reserved_usd = ?2, charged_from_ms = CASE WHEN "
                       "charged_from_ms = 0 THEN ?3 ELSE charged_from_ms END WHERE sandbox = ?1",
                       c.sandbox, e.reserved_usd, c.at);
  if (!done) return done;
  return c.db.run("INSERT INTO creates (intent, sandbox, provider, at_ms) SELECT ?1, sandbox, "
                  "provider, ?3 FROM sandboxes WHERE sandbox = ?2 ON CONFLICT (intent) DO NOTHING",
                  e.intent, c.sandbox, c.at);
}

result<void> charge_dropped(const context& c, const create_failed& e) {
  auto done = c.db.run("UPDATE sandboxes SET charged_from_ms = 0, reserved_usd = 0 "
                       "WHERE sandbox = ?1",
                       c.sandbox);
  // What a provider that counts for itself did not take is no creation, and what was called off
  // before it was sent (`cancelled`) is none either.
  auto uncounted =
      e.why.code == errc::quota || e.why.code == errc::rate || e.why.code == errc::cancelled;
  if (!done || !uncounted) return done;
  return c.db.run("DELETE FROM creates WHERE intent = ?1 AND sandbox = ?2", e.intent, c.sandbox);
}

result<void> charge_ends(const context& c) {
  auto known = charge_of(c);
  if (!known) return known.err();
  if (known->from == utc_time{} || known->until != utc_time{}) return {};
  auto until = std::max(c.at, known->from); // a wall clock that was set back charges nothing
  auto done = c.db.run("UPDATE sandboxes SET charged_until_ms = ?2, reserved_usd = 0 "
                       "WHERE sandbox = ?1",
                       c.sandbox, until);
  if (!done) return done;
  auto usd = time_cost_usd(known->usd_per_hour, until - known->from);
  done = c.db.run("UPDATE swarms SET cost_usd = cost_usd + ?2, time_cost_usd = time_cost_usd + ?2 "
                  "WHERE swarm = ?1",
                  c.swarm, usd);
  if (!done || usd == 0) return done;
  for (auto day = day_of(known->from); day <= day_of(until); day += day_ms) {
    auto from = std::max(day, known->from.time_since_epoch().count());
    auto to = std::min(day + day_ms, until.time_since_epoch().count());
    done =
        on_day(c, day, time_cost_usd(known->usd_per_hour, std::chrono::milliseconds{to - from}), 0);
    if (!done) return done;
  }
  return {};
}

result<void> agents_spent(const context& c, double usd) {
  auto known = charge_of(c);
  if (!known) return known.err();
  auto done = c.db.run("UPDATE sandboxes SET agent_cost_usd = agent_cost_usd + ?2 "
                       "WHERE sandbox = ?1",
                       c.sandbox, usd);
  if (!done || known->counted) return done;
  return model_cost_is(c, known->model_usd + usd, usd);
}

// Also after the end: the last look may come home late. Totals never fall.
result<void> fact(const context& c, const model_spend& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.model_spend"); !placed) return placed;
  auto fits = in_range("sandbox.model_spend",
                       {e.calls, e.unpriced_calls, e.input_tokens, e.output_tokens}, e.cost_usd);
  if (!fits) return fits;
  auto done = change(c,
                     "UPDATE sandboxes SET unpriced_calls = max(unpriced_calls, ?2) "
                     "WHERE sandbox = ?1",
                     c.sandbox, e.unpriced_calls);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.model_spend");
  auto known = charge_of(c);
  if (!known) return known.err();
  if (!known->counted)
    for (const char* sql : {"UPDATE sandboxes SET counted = 1 WHERE sandbox = ?1",
                            "UPDATE panes SET counted = 1 WHERE sandbox = ?1"})
      if (auto set = c.db.run(sql, c.sandbox); !set) return set;
  auto now = known->counted ? std::max(known->model_usd, e.cost_usd) : e.cost_usd;
  return model_cost_is(c, now, now - known->model_usd);
}

result<void> fact(const context& c, const budget_set& e) {
  if (auto placed = in_daemon_chunk(c, "budget.set"); !placed) return placed;
  if (auto fits = of_all(e.scope, "budget.set"); !fits) return fits;
  if (auto fits = in_range("budget.set", {}, std::max(e.limit_usd, 0.0)); !fits) return fits;
  return c.db.run("INSERT INTO budgets (scope, limit_usd) VALUES (?1, ?2) "
                  "ON CONFLICT (scope) DO UPDATE SET limit_usd = ?2",
                  e.scope, e.limit_usd);
}

result<void> fact(const context& c, const budget_warned& e) {
  if (auto placed = in_daemon_chunk(c, "budget.warned"); !placed) return placed;
  if (auto fits = of_all(e.scope, "budget.warned"); !fits) return fits;
  return warned(c, e.scope, e.period, e.percent, e.spent_usd, e.limit_usd);
}

result<void> fact(const context& c, const swarm_budget_warned& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.budget_warned"); !placed) return placed;
  return warned(c, budget_scope::swarm, c.swarm.value, e.percent, e.spent_usd, e.limit_usd);
}

result<void> fact(const context& c, const pane_budget_warned& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.budget_warned"); !placed) return placed;
  return warned(c, budget_scope::pane, e.pane.value, e.percent, e.spent_usd, e.limit_usd);
}

} // namespace skep::storage::fold
