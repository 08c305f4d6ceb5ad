// Which panes give no sign of life: no output and no event. Plain data, no actor, no timer: the
// SANDBOX looks on its tick, so times are met within one tick.
//
//   last sign ---- limit ----> warned ---- grace ----> stopped
//                                 '-- a sign of life: all anew
//
// The grace counts from the warning, so that agents which slept with their machine get it whole.
#pragma once

#include "messages/ids.hpp"

#include <chrono>
#include <map>
#include <optional>

namespace skep::actors {

class idle_watch {
public:
  using milliseconds = std::chrono::milliseconds;
  enum class word {
    none,
    warn,   ///< Idle for the limit; said once.
    active, ///< A sign of life after the warning.
    stop    ///< Idle for the grace as well; said once.
  };

  /// A limit of 0 watches nothing.
  idle_watch(milliseconds limit, milliseconds grace) : limit_(limit), grace_(grace) {}

  bool on() const { return limit_ > milliseconds{0}; }
  /// It was warned of in a former life of the daemon.
  void was_warned(const pane_id& id) { known_before_[id] = true; }
  /// What is due for a pane that runs. `last`: its last sign of life, if there was one; `now` on
  /// the same clock.
  word look(const pane_id& id, std::optional<milliseconds> last, milliseconds now);
  /// How long it has been idle, as of the last look.
  milliseconds idle(const pane_id& id, milliseconds now) const;
  /// Everything counts from its next look: agents were frozen.
  void forget() { panes_.clear(); }

private:
  struct state {
    milliseconds since;
    std::optional<milliseconds> warned_at;
    bool stopped = false;
  };
  milliseconds limit_, grace_;
  std::map<pane_id, state> panes_;
  std::map<pane_id, bool> known_before_;
};

} // namespace skep::actors
