// How well a sandbox does, by what is in the journal and by what is set.
#pragma once

#include "actors/health.hpp"
#include "tests/actors/domain_fixture.hpp"

namespace skep::test {

/// The signs of life of a sandbox, as the daemon's book has them after these events.
inline sandbox_signs signs_in(const memory_log& log, const sandbox_id& id) {
  watch_book book;
  for (const auto& c : log.committed)
    for (event_reader r{c.body.data}; !r.done();) {
      auto raw = r.next();
      REQUIRE(raw.ok());
      auto e = interpret(*raw);
      REQUIRE(e.ok());
      book.on_event({c.first_seq, c.swarm, c.sandbox, raw->at, raw->type, *e});
    }
  return book.sandbox(id);
}

/// How well a running sandbox with these signs does, by what is set.
inline health_state health_by(const sandbox_signs& signs, const policies& set, utc_time now) {
  sandbox_record running;
  running.state = phase::running;
  running.created_at = running.phase_since = now;
  return judge(running, signs, {}, now, health_policy_of(set)).state;
}

} // namespace skep::test
