#include "storage/disown.hpp"

#include "storage/reader.hpp"

namespace skep::storage {
namespace {

error reason() {
  return make_error(errc::copied_state,
                    "it belongs to the installation that this one was copied from");
}

/// One chunk of a sandbox or a swarm, written in a transaction of its own.
class chunk_writer {
public:
  chunk_writer(utc_time now, swarm_id swarm, sandbox_id sandbox) : now_(now) {
    chunk_.swarm = std::move(swarm);
    chunk_.sandbox = std::move(sandbox);
  }
  template <event E>
  void add(const E& e) {
    pack_event(chunk_.body.data, now_, e);
    ++chunk_.count;
  }
  result<void> write(journal& to) {
    if (auto begun = to.begin(); !begun) return begun;
    auto numbered = to.append(chunk_);
    if (auto done = to.commit(); !done) return done;
    if (!numbered) return numbered.err();
    return {};
  }

private:
  utc_time now_;
  chunk chunk_;
};

result<void> disown(journal& to, reader& tables, const sandbox_record& s, utc_time now) {
  auto panes = tables.panes(s.sandbox);
  if (!panes) return panes.err();
  chunk_writer out{now, s.swarm, s.sandbox};
  for (const auto& p : *panes)
    if (p.state != pane_phase::closed)
      out.add(pane_closed{p.pane, outcome::lost, reason(), p.attempt, p.final_offset});
  if (s.kill_intended) out.add(kill_confirmed{s.remote_id}); // the original carries it out
  out.add(sandbox_closed{outcome::lost, reason(), false});
  return out.write(to);
}

} // namespace

result<disowned> disown_open_runs(const std::filesystem::path& database, utc_time now) {
  disowned out;
  std::error_code failed;
  if (!std::filesystem::exists(database, failed)) return out;
  auto to = journal::open(database);
  if (!to) return to.err();
  auto tables = reader::open(database);
  if (!tables) return tables.err();
  auto sandboxes = tables->living_sandboxes();
  if (!sandboxes) return sandboxes.err();
  for (const auto& s : *sandboxes) {
    if (s.state != phase::closed)
      continue; // open ones come below, with those that have no remote id
    // Its lease runs where it was made; here it is out of reach of kills, intended or still to
    // come.
    chunk_writer gone{now, s.swarm, s.sandbox};
    gone.add(kill_intended{"copied_state"});
    gone.add(kill_confirmed{s.remote_id});
    if (auto done = gone.write(*to); !done) return done.err();
  }
  auto open = tables->open_sandboxes();
  if (!open) return open.err();
  for (const auto& s : *open) {
    if (auto done = disown(*to, *tables, s, now); !done) return done.err();
    ++out.sandboxes;
  }
  auto swarms = tables->open_swarms();
  if (!swarms) return swarms.err();
  for (const auto& w : *swarms) {
    swarm_closed end;
    end.result = outcome::lost;
    end.why = reason();
    chunk_writer last{now, w.record.swarm, {}};
    last.add(end);
    if (auto done = last.write(*to); !done) return done.err();
    ++out.swarms;
  }
  return out;
}

} // namespace skep::storage
