// reader::spend: one read transaction over what counts against limits and budgets.
#include "storage/reader.hpp"
#include "storage/rows.hpp"
#include "storage/spend_state.hpp"

#include <algorithm>
#include <cstdio>

namespace skep::storage {
namespace {

using std::chrono::days;
using std::chrono::floor;

// When the newest daemon began, by its clock; `now` where there was none, or where that is later.
result<utc_time> newest_start(connection& db, utc_time now) {
  auto ms = db.number("SELECT started_at_ms FROM epochs ORDER BY epoch DESC LIMIT 1",
                      now.time_since_epoch().count());
  if (!ms) return ms.err();
  return std::min(utc_time{std::chrono::milliseconds{*ms}}, now);
}

std::chrono::year_month_day date_of(utc_time at) {
  return std::chrono::year_month_day{floor<days>(at)};
}

// What `take(query)` makes of each row.
template <class Take, class... Ts>
result<void> each_row(connection& db, std::string_view sql, Take take, const Ts&... xs) {
  auto q = db.prepare(sql);
  if (!q) return q.err();
  if constexpr (sizeof...(Ts) > 0) q->bind(xs...);
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return {};
    take(*q);
  }
}

constexpr std::string_view select_placed =
    "SELECT s.sandbox, s.swarm, s.provider, w.repo, s.state, s.unresolved, s.kill_intended, "
    "s.kept, s.usd_per_hour, s.charged_from_ms, s.model_cost_usd, s.reserved_usd, "
    "s.unpriced_calls, s.lease_end_at_ms FROM sandboxes s JOIN swarms w ON w.swarm = s.swarm "
    "WHERE s.charged_from_ms <> 0 AND s.charged_until_ms = 0 ORDER BY s.created_at_ms, s.rowid";

placed_sandbox read_placed(const query& q, utc_time now) {
  placed_sandbox x;
  q.read(0, x.sandbox);
  q.read(1, x.swarm);
  q.read(2, x.provider);
  q.read(3, x.repo);
  q.read(4, x.state);
  q.read(5, x.unresolved);
  q.read(6, x.kill_intended);
  q.read(7, x.kept);
  q.read(8, x.usd_per_hour);
  q.read(9, x.charged_from);
  q.read(10, x.model_cost_usd);
  q.read(11, x.reserved_usd);
  q.read(12, x.unpriced_calls);
  q.read(13, x.lease_end);
  x.lease_over = x.kept && x.lease_end != utc_time{} && x.lease_end <= now;
  return x;
}

} // namespace

utc_time day_begin(utc_time at) {
  return floor<days>(at);
}

utc_time month_begin(utc_time at) {
  auto d = date_of(at);
  return std::chrono::sys_days{d.year() / d.month() / 1};
}

std::string month_name(utc_time at) {
  auto d = date_of(at);
  char out[16];
  std::snprintf(out, sizeof out, "%04d-%02u", static_cast<int>(d.year()),
                static_cast<unsigned>(d.month()));
  return out;
}

std::string day_name(utc_time at) {
  char out[8];
  std::snprintf(out, sizeof out, "-%02u", static_cast<unsigned>(date_of(at).day()));
  return month_name(at) + out;
}

result<spend_state> reader::spend(utc_time now) {
  auto t = transaction::begin(db_, transaction::kind::read);
  if (!t) return t.err();
  spend_state out;
  auto done = each_row(db_, select_placed,
                       [&](const query& q) { out.placed.push_back(read_placed(q, now)); });
  if (!done) return done.err();
  auto open = swarms(false);
  if (!open) return open.err();
  out.open_swarms = std::move(*open);
  // A daemon's clock never goes back: what lies in the future is of a former one whose clock was
  // ahead, and was before the newest one began. So no window is full for longer than its length.
  auto began = newest_start(db_, now);
  if (!began) return began.err();
  done = each_row(
      db_, "SELECT provider, at_ms FROM creates WHERE at_ms > ?1",
      [&](const query& q) {
        utc_time at;
        q.read(1, at);
        out.creates[q.text(0)].push_back(at > now ? *began : at);
      },
      now - std::chrono::hours{24});
  if (!done) return done.err();
  for (auto& [provider, times] : out.creates)
    std::sort(times.begin(), times.end());
  done = each_row(
      db_, "SELECT day_ms, time_usd, model_usd FROM spend_days WHERE day_ms >= ?1",
      [&](const query& q) {
        utc_time day;
        q.read(0, day);
        out.month_time_usd += q.real(1);
        out.month_model_usd += q.real(2);
        if (day < day_begin(now)) return;
        out.day_time_usd += q.real(1);
        out.day_model_usd += q.real(2);
      },
      month_begin(now));
  if (!done) return done.err();
  done = each_row(db_, "SELECT scope, limit_usd FROM budgets", [&](const query& q) {
    budget_scope scope{};
    q.read(0, scope);
    out.set_limits[scope] = q.real(1);
  });
  if (!done) return done.err();
  // Those of panes are their sandboxes' business, and old ones are nobody's.
  done = each_row(
      db_, "SELECT warning FROM spend_warnings WHERE scope < 3 AND at_ms > ?1",
      [&](const query& q) { out.warnings.insert(q.text(0)); }, now - std::chrono::days{62});
  if (!done) return done.err();
  return out;
}

} // namespace skep::storage
