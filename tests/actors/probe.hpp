// A child that a supervisor can start and a test can crash.
#pragma once

#include "actors/supervisor.hpp"

#include <string>
#include <vector>

namespace skep::test {

/// What happened to the probes of one test, in order: "+a" started, "-a" ended.
struct diary {
  std::vector<std::string> lines;
  std::vector<caf::timespan> starts; ///< Clock at each start.
  std::string text() const {
    std::string out;
    for (const auto& l : lines)
      out += (out.empty() ? "" : " ") + l;
    return out;
  }
};

using crash_a = caf::atom_constant<caf::atom("crash")>;
using end_a = caf::atom_constant<caf::atom("end")>;

struct probe_state {
  diary* log = nullptr;
  std::string id;
  static inline const char* name = "probe";
  ~probe_state() {
    if (log) log->lines.push_back("-" + id);
  }
};

/// `stubborn` probes ignore exit messages; only a kill ends them.
inline caf::behavior probe(caf::stateful_actor<probe_state>* self, diary* log, std::string id,
                           bool stubborn) {
  self->state.log = log;
  self->state.id = id;
  log->lines.push_back("+" + id);
  log->starts.push_back(self->clock().now().time_since_epoch());
  self->set_error_handler([](caf::error&) {});
  if (stubborn) self->set_exit_handler([](caf::exit_msg&) {});
  return {
      [self](crash_a) { self->quit(caf::make_error(caf::sec::runtime_error, "crash")); },
      [self](end_a) { self->quit(); },
  };
}

inline actors::child_spec probe_spec(diary& log, std::string id,
                                     actors::restart_kind kind = actors::restart_kind::permanent,
                                     bool stubborn = false) {
  actors::child_spec s;
  s.id = id;
  s.restart = kind;
  s.start = [&log, id, stubborn](caf::scheduled_actor* parent) {
    return caf::actor_cast<caf::strong_actor_ptr>(parent->spawn(probe, &log, id, stubborn));
  };
  return s;
}

} // namespace skep::test
