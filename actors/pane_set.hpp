// How far the panes of one sandbox are, as its SANDBOX sees them. Plain data, no actor.
#pragma once

#include "messages/records.hpp"

#include <vector>

namespace skep::actors {

class pane_set {
public:
  /// As fresh ones, or as the tables have them.
  explicit pane_set(std::vector<pane_record> panes);

  const std::vector<pane_record>& all() const { return panes_; }
  /// One more, a fresh one.
  void add(pane_record pane);
  bool contains(const pane_id& id) const { return find(id) < panes_.size(); }
  /// The agent runs (again).
  void ready(const pane_id& id);
  bool is_ready(const pane_id& id) const {
    auto i = find(id);
    return i < panes_.size() && ready_[i];
  }
  /// False when it was closed before or is not ours.
  bool closed(const pane_id& id, outcome result, const error& why);
  /// Every pane runs or is over.
  bool all_settled() const;
  bool all_closed() const;
  /// Panes that are out without success.
  std::vector<pane_id> out() const;
  /// Panes whose agent failed, did not start, or was stopped by a limit of its own. One that only
  /// lacks evidence of success is none of them.
  std::vector<pane_id> failed() const;
  /// Panes that are not closed.
  std::vector<pane_id> open() const;
  /// Some pane ended like this, or has not ended: a stop with this outcome reached them.
  bool stopped_by(outcome how) const;
  /// completed when all are; else the worst of them, with the first one's error.
  outcome verdict(error& why) const;

private:
  std::size_t find(const pane_id& id) const;
  std::vector<pane_record> panes_;
  std::vector<bool> ready_;
  error first_error_;
};

} // namespace skep::actors
