#include "actors/journal_events.hpp"

namespace skep::actors {

void each_event(const services& svc, const swarm_id& swarm, const sandbox_id& sandbox,
                const std::function<bool(const any_event& what, utc_time at)>& take) {
  if (!svc.read_chunks) return;
  storage::chunk_selector want;
  want.swarm = swarm;
  want.sandbox = sandbox;
  for (;;) {
    auto page = svc.read_chunks(want);
    if (!page) return;
    for (const auto& c : page->chunks)
      for (event_reader events{c.body.data}; !events.done();) {
        auto raw = events.next();
        if (!raw) return;
        if (auto e = interpret(*raw); e && !take(*e, raw->at)) return;
      }
    if (page->next > page->head) return;
    want.from = page->next;
  }
}

} // namespace skep::actors
