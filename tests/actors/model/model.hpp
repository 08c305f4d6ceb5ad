// What docs/operations.md and docs/protocol.md promise, as a model that is told only what was asked
// and what befell, and that reads only the journal, the state tables and the provider. It shares no
// code with the daemon but the codec.
//
//   told(...)    a command was answered, a misfortune was arranged
//   look(...)    reads what is new and answers the first promise that is broken, or nothing
#pragma once

#include "messages/event_io.hpp"
#include "messages/records.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace skep::test {

/// A sandbox at the provider, as a list shows it.
struct seen_box {
  std::string remote_id;
  std::string intent; ///< Label skep.intent; empty on a stranger's.
};

/// A kill request as it reached the provider.
struct seen_kill {
  std::string remote_id;
};

/// The rows of the state tables.
struct seen_tables {
  std::vector<swarm_record> swarms;
  std::vector<sandbox_record> sandboxes;
  std::vector<pane_record> panes;
};

class model {
public:
  using broken = std::optional<std::string>;

  // -- what was asked and what befell -------------------------------------------------------------
  void told_run(const swarm_id& id, std::chrono::milliseconds limit,
                std::chrono::milliseconds now) {
    auto& s = swarms_[id.value];
    s.acknowledged = true;
    s.limit_at = now + limit;
  }
  void told_stop(const swarm_id& id, bool kill) {
    (kill ? swarms_[id.value].kill_asked : swarms_[id.value].stop_asked) = true;
  }
  void told_agent_failed(const sandbox_id& id) { sandboxes_[id.value].agent_failed = true; }
  void told_agents_done(const sandbox_id& id) { sandboxes_[id.value].agents_done = true; }
  void told_lost(const std::string& remote_id) { lost_.insert(remote_id); }
  /// A call will fail, an actor was killed or the daemon was restarted: things may fail from now
  /// on.
  void told_misfortune() { ++misfortunes_; }

  // -- what there is ------------------------------------------------------------------------------
  /// Chunks that were not seen yet, in order of the journal.
  broken look(const std::vector<chunk>& committed);
  /// After look(): rows and events tell the same.
  broken compare(const seen_tables& rows) const;
  /// After look(): what lives at the provider and what the journal says of it.
  broken compare(const std::vector<seen_box>& boxes, const std::vector<seen_kill>& kills,
                 std::chrono::milliseconds now);
  /// At the very end, when all was killed and time has passed.
  broken rest(const std::vector<seen_box>& boxes) const;

  std::size_t events_seen() const { return next_seq_ - 1; }

private:
  struct swarm_state {
    bool acknowledged = false, created = false, stop_asked = false, kill_asked = false;
    std::chrono::milliseconds limit_at{0};
    std::optional<swarm_closed> end;
    std::uint32_t completed = 0, failed = 0;
  };
  struct sandbox_state {
    std::string swarm;
    bool queued = false, agent_failed = false, agents_done = false, gave_up = false;
    phase at = phase::queued;
    std::string intent, remote;
    bool unresolved = false, kill_intended = false, kill_confirmed = false;
    std::optional<sandbox_closed> end;
    bool ended_before = false; ///< At the last compare().
  };
  struct pane_state {
    std::string sandbox;
    std::uint32_t attempt = 0;
    std::optional<pane_closed> end;
  };

  broken read(const chunk& c);
  broken take(const chunk& c, const any_event& e);
  template <class E>
  broken in_swarm(swarm_state& s, const E& e);
  template <class E>
  broken in_sandbox(const chunk& c, sandbox_state& s, const E& e);
  template <class E>
  broken in_pane(const chunk& c, const E& e);
  broken justified(const std::string& id, const sandbox_state& s,
                   std::chrono::milliseconds now) const;

  std::map<std::string, swarm_state> swarms_;
  std::map<std::string, sandbox_state> sandboxes_;
  std::map<std::string, pane_state> panes_;
  std::map<std::string, std::string> intents_; ///< Intent -> sandbox.
  std::set<std::string> lost_;
  std::map<std::string, std::size_t> kills_; ///< By remote id.
  std::size_t chunks_seen_ = 0;
  std::uint64_t next_seq_ = 1;
  std::size_t misfortunes_ = 0;
};

} // namespace skep::test
