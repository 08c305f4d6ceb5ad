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

/// What a run may cost and how it goes on, as it was asked for.
struct asked_run {
  std::chrono::milliseconds limit{0};
  double budget_usd = 0, pane_budget_usd = 0; ///< 0: none.
  std::uint32_t panes = 1;                    ///< Per sandbox.
  std::uint32_t replace_lost = 0;
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
  void told_run(const swarm_id& id, const asked_run& asked, std::chrono::milliseconds now) {
    auto& s = swarms_[id.value];
    s.acknowledged = true;
    s.limit_at = now + asked.limit;
    s.asked = asked;
    s.misfortunes_before = misfortunes_;
  }
  /// Whether a run like this is to be taken now, or the error that it is to be refused with.
  errc would_take(const asked_run& asked, utc_time wall) const;
  /// What a sandbox's hour costs from now on.
  void told_price(double usd_per_hour) { usd_per_hour_ = usd_per_hour; }
  void told_stop(const swarm_id& id, bool kill) {
    (kill ? swarms_[id.value].kill_asked : swarms_[id.value].stop_asked) = true;
  }
  void told_agent_failed(const sandbox_id& id) { sandboxes_[id.value].agent_failed = true; }
  void told_agents_done(const sandbox_id& id) { sandboxes_[id.value].agents_done = true; }
  void told_lost(const std::string& remote_id) { lost_.insert(remote_id); }
  /// A call will fail, an actor was killed or the daemon was restarted: things may fail from now
  /// on.
  void told_misfortune(utc_time wall = {}) {
    ++misfortunes_;
    calm_since_ = std::max(calm_since_, wall);
  }

  // -- what there is ------------------------------------------------------------------------------
  /// Chunks that were not seen yet, in order of the journal.
  broken look(const std::vector<chunk>& committed);
  /// After look(): rows and events tell the same.
  broken compare(const seen_tables& rows) const;
  /// After look(): what lives at the provider and what the journal says of it.
  broken compare(const std::vector<seen_box>& boxes, const std::vector<seen_kill>& kills,
                 std::chrono::milliseconds now);
  /// After look(): nothing that budgets demand is overdue, and no cap was passed.
  broken money(utc_time wall);
  /// What all sandboxes have cost on the day of this moment.
  double day_cost(utc_time wall) const;
  /// At the very end, when all was killed and time has passed.
  broken rest(const std::vector<seen_box>& boxes) const;

  std::size_t events_seen() const { return next_seq_ - 1; }

private:
  struct swarm_state {
    bool acknowledged = false, created = false, stop_asked = false, kill_asked = false;
    std::chrono::milliseconds limit_at{0};
    std::optional<swarm_closed> end;
    std::uint32_t completed = 0, failed = 0, replaced = 0;
    asked_run asked;
    std::set<std::uint32_t> warned; ///< Of its budget, in percent.
    bool stopping = false, out_of_money = false;
    utc_time ended_until{}; ///< Its budget had ended until a create failed, of which nothing came.
    std::size_t misfortunes_before = 0; ///< When it was asked for.
    bool cap_checked = false;
  };
  struct sandbox_state {
    std::string swarm;
    bool queued = false, agent_failed = false, agents_done = false, gave_up = false;
    phase at = phase::queued;
    std::string intent, remote;
    bool unresolved = false, kill_intended = false, kill_confirmed = false;
    std::optional<sandbox_closed> end;
    bool ended_before = false; ///< At the last compare().
    std::optional<error> failing;
    double usd_per_hour = 0, reserved = 0;
    bool out_of_money = false;                ///< A budget had ended when it was killed or closed.
    utc_time charged_from{}, charged_until{}; ///< 0: not yet.

    bool charged() const { return charged_from != utc_time{} && charged_until == utc_time{}; }
  };
  struct pane_state {
    std::string sandbox;
    std::uint32_t attempt = 0;
    std::optional<pane_closed> end;
    std::set<std::uint32_t> warned;
  };
  /// A budget and what counts against it.
  struct purse {
    double limit = -1; ///< Below 0: none.
    double spent = 0, reserved = 0, burn_per_second = 0;
    bool in_force() const { return limit >= 0; }
  };

  broken read(const chunk& c);
  broken take(const chunk& c, const any_event& e, utc_time at);
  template <class E>
  broken in_swarm(const std::string& id, swarm_state& s, const E& e, utc_time at);
  template <class E>
  broken in_sandbox(const chunk& c, sandbox_state& s, const E& e, utc_time at);
  template <class E>
  broken in_pane(const chunk& c, const E& e, utc_time at);

  // -- money (model_money.cpp) --------------------------------------------------------------------
  purse purse_of(const std::string& swarm, utc_time at) const;
  purse purse_of_day(utc_time at) const;
  static double cost(const sandbox_state& s, utc_time at);
  static bool has_room(const purse& p, double need);
  double need() const;
  broken warned(const purse& p, std::set<std::uint32_t>& before, std::uint32_t percent,
                double spent, double limit) const;
  broken pane_warned(const pane_budget_warned& e, utc_time at);
  broken admitted(const chunk& c, const create_intended& e, utc_time at) const;
  bool budget_ends(const std::string& swarm, utc_time at) const;
  bool pane_budget_ends(const std::string& pane, utc_time at) const;
  broken overdue(const std::string& id, const swarm_state& s, utc_time wall) const;
  broken cap_of(const std::string& id, swarm_state& s) const;
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
  utc_time calm_since_{};
  double usd_per_hour_ = 0;
  double day_limit_ = -1;
  utc_time day_limit_since_{};
  std::map<std::string, std::set<std::uint32_t>> day_warned_; ///< By day.
  std::map<std::string, std::string> successors_;             ///< Successor -> lost one.
};

} // namespace skep::test
