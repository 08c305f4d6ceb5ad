#include "storage/state_tables.hpp"
#include "storage/chunk_scan.hpp"
#include "storage/fold.hpp"

namespace skep::storage {

result<void> apply(connection& db, const chunk& where, std::uint64_t seq, const raw_event& e) {
  const auto* known = find_event(e.type);
  if (known == nullptr || known->kind == event_class::note) return {};
  auto event = interpret(e);
  if (!event) return event.err();
  fold::context c{db, where.swarm, where.sandbox, e.at, seq};
  return std::visit(
      [&]<class E>(const E& x) -> result<void> {
        if constexpr (event_traits<E>::info.kind == event_class::fact)
          return fold::fact(c, x);
        else
          return {};
      },
      *event);
}

result<void> can_rebuild(connection& db) {
  auto oldest = db.number("SELECT first_seq FROM chunks ORDER BY first_seq LIMIT 1", 1);
  if (!oldest) return oldest.err();
  if (*oldest != 1)
    return make_error(errc::compacted, "the journal begins at " + std::to_string(*oldest)
                                           + ": the state cannot be made from it");
  return {};
}

result<void> rebuild_state(connection& db) {
  if (auto whole = can_rebuild(db); !whole) return whole;
  auto cleared = db.execute("DELETE FROM spend_warnings; DELETE FROM budgets; "
                            "DELETE FROM spend_days; DELETE FROM creates; DELETE FROM commands; "
                            "DELETE FROM transfers; DELETE FROM panes; DELETE FROM replacements; "
                            "DELETE FROM sandboxes; DELETE FROM swarms; DELETE FROM epochs; "
                            "DELETE FROM switches;");
  if (!cleared) return cleared;
  auto q = db.prepare("SELECT c.first_seq, coalesce(w.swarm, ''), coalesce(s.sandbox, ''), c.body "
                      "FROM chunks c LEFT JOIN journal_swarms w ON w.id = c.swarm "
                      "LEFT JOIN journal_sandboxes s ON s.id = c.sandbox ORDER BY c.first_seq");
  if (!q) return q.err();
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return {};
    chunk c;
    std::uint64_t seq = 0;
    q->read(0, seq);
    q->read(1, c.swarm);
    q->read(2, c.sandbox);
    q->read(3, c.body);
    for (event_reader events{c.body.data}; !events.done(); ++seq) {
      auto e = events.next();
      if (!e) return e.err();
      if (auto done = apply(db, c, seq, *e); !done) return done;
    }
  }
}

namespace fold {
namespace {

std::string at_seq(const context& c) {
  return " (event " + std::to_string(c.seq) + ")";
}

template <named_enum E>
error wrong_phase(const context& c, std::string_view event, std::string_view what,
                  const std::string& id, std::int64_t state) {
  auto e =
      make_error(errc::wrong_phase,
                 std::string{event} + " does not fit " + std::string{what} + " " + id + " in phase "
                     + std::string{to_string(static_cast<E>(state))} + at_seq(c));
  e.sandbox = c.sandbox;
  return e;
}

} // namespace

error why_not_swarm(const context& c, std::string_view event) {
  auto state = c.db.number("SELECT state FROM swarms WHERE swarm = ?1", -1, c.swarm);
  if (!state) return state.err();
  if (*state < 0) return make_error(errc::no_such_swarm, c.swarm.value);
  return wrong_phase<swarm_phase>(c, event, "swarm", c.swarm.value, *state);
}

error why_not_sandbox(const context& c, std::string_view event) {
  auto state = c.db.number("SELECT state FROM sandboxes WHERE sandbox = ?1", -1, c.sandbox);
  if (!state) return state.err();
  if (*state < 0) return make_error(errc::not_found, "sandbox " + c.sandbox.value);
  return wrong_phase<phase>(c, event, "sandbox", c.sandbox.value, *state);
}

error why_not_pane(const context& c, const pane_id& pane, std::string_view event) {
  auto state =
      c.db.number("SELECT state FROM panes WHERE pane = ?1 AND sandbox = ?2", -1, pane, c.sandbox);
  if (!state) return state.err();
  if (*state < 0)
    return make_error(errc::no_such_pane, pane.value + " in sandbox " + c.sandbox.value);
  return wrong_phase<pane_phase>(c, event, "pane", pane.value, *state);
}

result<void> in_daemon_chunk(const context& c, std::string_view event) {
  if (c.swarm.empty() && c.sandbox.empty()) return {};
  return make_error(errc::bad_frame, std::string{event} + " stands in a swarm's chunk");
}

result<void> in_swarm_chunk(const context& c, std::string_view event) {
  if (!c.swarm.empty() && c.sandbox.empty()) return {};
  return make_error(errc::bad_frame, std::string{event} + " stands outside of a swarm's own chunk");
}

result<void> in_sandbox_chunk(const context& c, std::string_view event) {
  if (!c.sandbox.empty()) return {};
  return make_error(errc::bad_frame, std::string{event} + " stands outside of a sandbox's chunk");
}

result<void> in_range(std::string_view event, std::initializer_list<std::uint64_t> numbers,
                      double cost_usd) {
  constexpr std::uint64_t limit = 1ull << 53; // sums of a few stay below 2^63, JSON keeps it exact
  for (auto n : numbers)
    if (n > limit) return make_error(errc::out_of_range, std::string{event} + " claims too much");
  // Also false for NaN.
  if (!(cost_usd >= 0 && cost_usd <= 1e9))
    return make_error(errc::out_of_range, std::string{event} + " claims an impossible cost");
  return {};
}

} // namespace fold
} // namespace skep::storage
