// The progress of one swarm, folded from its events and shown on stderr: one block that is drawn
// anew on a terminal, a line for each step elsewhere.
#pragma once

#include "broker/events_client.hpp"

#include <chrono>
#include <map>
#include <string>

namespace skep::cli {

/// What one event tells people.
struct told_step {
  std::string line;   ///< Empty: nothing.
  bool stays = false; ///< A warning: still to be read when the run is over.
};

/// What the events told so far.
struct run_progress {
  struct box {
    std::uint32_t index = 0;
    phase state = phase::queued;
    outcome result = outcome::none;
  };
  struct pane {
    sandbox_id sandbox;
    std::uint32_t index = 0;
    std::string name;
    pane_phase state = pane_phase::queued;
    outcome result = outcome::none;
    std::uint32_t attempt = 0;
    double cost_usd = 0;
  };
  std::map<sandbox_id, box> boxes;
  std::map<pane_id, pane> panes;
  swarm_phase state = swarm_phase::queued;
  bool closed = false;
  outcome result = outcome::none;
  error why;
  std::string last; ///< The newest thing worth reading that does not stay anyway.

  /// Takes one event; gives what it tells.
  told_step apply(const broker::received_event& e);

private:
  std::string box_name(const sandbox_id& id) const;
  std::string pane_name(const pane_id& id) const;
  template <class E>
  std::string on(const broker::received_event& e, const E& x);
};

/// Draws run_progress.
class run_view {
public:
  /// `quiet`: shows nothing (JSON mode).
  explicit run_view(bool quiet);
  ~run_view() {
    if (drawn_lines_ > 0) clear();
  }
  run_view(const run_view&) = delete;
  run_view& operator=(const run_view&) = delete;
  /// Tells a step: as a line, and on a terminal, where the block shows how far all is, only one
  /// that stays, above the block.
  void step(const told_step& s);
  /// Draws the block anew when that is due.
  void draw(const run_progress& p);
  /// Removes the block, and what the terminal echoed below it (the `^C` of Ctrl+C), so that other
  /// text can follow.
  void clear();

private:
  bool quiet_;
  bool block_;
  std::size_t drawn_lines_ = 0;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point next_draw_{};
};

} // namespace skep::cli
