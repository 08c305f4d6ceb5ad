// Which dead sandboxes make room for who waits for a place: as many as places are missing, and no
// more. Plain data; ADMISSION ends what is named here.
//
//   one whose end is on its way   closed and its kill not confirmed, a kill that was intended, or
//                                 one that was told to end a moment ago: its place is waited for
//   one that was kept             and whose lease is over: the REAPER asks whether it is gone
//   one that is ailing            only when no such place is left: the one that has been so for
//                                 longest is to be ended
//
// Each of them makes room for one who waits.
#pragma once

#include "actors/boards.hpp"
#include "actors/run_rules.hpp"

#include <set>
#include <vector>

namespace skep::actors {

class dead_places {
public:
  /// `told`: those that were told to end a moment ago. `claimed`: those whose places others wait
  /// for. `s` outlives it.
  dead_places(const storage::spend_state& s, std::map<sandbox_id, ailing_sandbox> ailing,
              std::set<sandbox_id> told, std::set<sandbox_id> claimed = {})
      : state_(s), ailing_(std::move(ailing)), told_(std::move(told)),
        claimed_(std::move(claimed)) {}

  /// True when a dead sandbox holds the place that `h` misses for one of `repo` at `provider`: it
  /// is kept for this one.
  bool claim(const hold& h, const std::string& provider, const std::string& repo);

  /// All whose places are waited for.
  const std::set<sandbox_id>& claimed() const { return claimed_; }
  /// Those claimed here that nobody ends yet, in order of their claims.
  const std::vector<sandbox_id>& to_end() const { return to_end_; }
  /// Ends one of them.
  void end(const sandbox_id& id) const;
  /// One of those claimed here is closed: its kill, or the look whether it is gone, is the
  /// REAPER's.
  bool reaper_is_needed() const { return reaper_is_needed_; }

private:
  bool on_its_way(const storage::placed_sandbox& x) const;

  const storage::spend_state& state_;
  std::map<sandbox_id, ailing_sandbox> ailing_;
  std::set<sandbox_id> told_;
  std::set<sandbox_id> claimed_;
  std::vector<sandbox_id> to_end_;
  bool reaper_is_needed_ = false;
};

} // namespace skep::actors
