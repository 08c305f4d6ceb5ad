// What the journal refuses on a nearly full disk: new work, and chunks of notes alone.
//
//   log->refuse = nearly_full;
#pragma once

#include "messages/event_io.hpp"

namespace skep::test {

inline error nearly_full(const chunk& c) {
  bool facts = false, new_work = false;
  for (event_reader r{c.body.data}; !r.done();) {
    auto raw = r.next();
    if (!raw) return raw.err();
    const auto* known = find_event(raw->type);
    facts |= known != nullptr && known->kind == event_class::fact;
    new_work |= raw->type == event_traits<swarm_created>::info.type
                || raw->type == event_traits<create_intended>::info.type;
  }
  return facts && !new_work ? error{} : make_error(errc::disk_full);
}

} // namespace skep::test
