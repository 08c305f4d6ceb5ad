// Journaled events as lines of the daemon's log: what happened to which swarm, sandbox and pane, by
// the event's own name. Texts of agents, prompts and packed bodies stay out at every level.
#pragma once

#include "actors/observed_journal.hpp"
#include "tools/skepd/json_log.hpp"

namespace skep::tools {

/// The level of an event: errors and warnings as they say, what happens often is debug.
log_level level_of(const any_event& e);
/// What a line says besides level and name: ids, and the event's fields.
json fields_of(const actors::committed_event& e);

/// Writes them to the log of this process.
class event_log : public actors::journal_observer {
public:
  void on_event(const actors::committed_event& e) override;
};

} // namespace skep::tools
