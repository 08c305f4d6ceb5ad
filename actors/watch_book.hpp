// What the daemon remembers of the signs of life that pass through the JOURNAL: the newest of each
// sandbox and pane that is open, and recent trouble of its own. Filled by an observer, read by
// whoever answers `health`. In memory alone: after a restart the state tables and the ages of log
// files speak until new signs come.
//
// Thread-safe.
#pragma once

#include "actors/observed_journal.hpp"

#include <deque>
#include <mutex>
#include <unordered_map>

namespace skep::actors {

struct pane_signs {
  utc_time event_at{}; ///< Of the newest block or input; 0: none.
  bool has_block = false;
  block_kind kind = block_kind::other; ///< Of the newest block.
  std::string name;                    ///< Its tool, or what is retried.
  bool is_error = false;
  utc_time input_at{}; ///< Somebody sent input.
};

struct sandbox_signs {
  std::uint32_t probe_failures = 0; ///< In a row, as far as told.
  std::uint32_t poll_failures = 0;  ///< In a row, as far as told.
  bool output_lost = false;         ///< Output is incomplete from some point on.
  usage_sampled usage;
  utc_time sampled_at{}; ///< 0: no sample yet.
};

struct daemon_signs {
  std::uint32_t restarts = 0;        ///< Of actors, in the last 10 min.
  std::vector<std::string> given_up; ///< Supervisors, in the last 10 min.
  std::int64_t journal_lag_ms = 0;   ///< From the oldest event of the newest commit to its commit.
};

class watch_book : public journal_observer {
public:
  void on_event(const committed_event& e) override;
  void on_commit(std::uint64_t events, utc_time oldest, utc_time now) override;

  pane_signs pane(const pane_id& id) const;
  sandbox_signs sandbox(const sandbox_id& id) const;
  daemon_signs daemon(utc_time now) const;

  /// How long trouble counts as recent.
  static constexpr std::chrono::minutes recent{10};

private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, pane_signs> panes_;
  std::unordered_map<std::string, sandbox_signs> sandboxes_;
  std::unordered_map<std::string, std::vector<std::string>> panes_of_; ///< By sandbox.
  std::deque<utc_time> restarts_;
  std::deque<std::pair<utc_time, std::string>> given_up_;
  std::int64_t lag_ms_ = 0;
};

} // namespace skep::actors
