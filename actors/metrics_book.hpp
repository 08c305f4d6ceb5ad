// Figures of a running daemon, counted from what passes through the JOURNAL and from the calls to
// providers; as text in the format of Prometheus (docs/operations.md lists every name).
//
// Counters begin at 0 with the daemon. Durations of phases come from the events themselves, so that
// those of a sandbox that failed are counted as well, under result="failed", up to the phase it
// failed in. What a sandbox of a former daemon was in, its row says: take_up() before the first
// event. Thread-safe.
#pragma once

#include "actors/observed_journal.hpp"

#include <array>
#include <map>
#include <mutex>
#include <unordered_map>

namespace skep::actors {

/// Counts of durations in buckets; bounds in seconds.
class duration_histogram {
public:
  static constexpr std::array<double, 14> bounds = {0.01, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                                    5,    10,   30,  60,   120, 300, 600};
  void add(double seconds);
  /// "NAME_bucket{LABELS,le=".."} n" lines, then _sum and _count.
  void write(std::string& out, const std::string& name, const std::string& labels) const;
  std::uint64_t count() const { return count_; }

private:
  std::array<std::uint64_t, bounds.size()> buckets_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

/// What is true at the moment of asking.
struct present_figures {
  std::map<std::string, std::uint64_t> sandboxes; ///< Open ones, by phase.
  std::map<std::string, std::uint64_t> panes;     ///< Open ones, by phase.
  std::uint64_t open_swarms = 0;
  std::uint64_t journal_waiting_bytes = 0;
  std::uint64_t publisher_lag = 0;
  std::uint64_t head_seq = 0;
  double uptime_s = 0;
  std::uint64_t resident_bytes = 0;
  double cpu_s = 0; ///< Of this process since its start.
};

class metrics_book : public journal_observer {
public:
  /// The sandboxes that a former daemon left open; closed ones are left out. Counts nothing.
  void take_up(const std::vector<sandbox_record>& rows);
  void on_event(const committed_event& e) override;
  void on_commit(std::uint64_t events, utc_time oldest, utc_time now) override;
  /// A call to a provider or to the inside of a sandbox ended.
  void on_call(std::string_view operation, std::chrono::milliseconds took, errc how);

  std::string text(const present_figures& now) const;

private:
  using counters = std::map<std::string, double>; ///< By labels, written as they are.
  struct open_sandbox {
    utc_time created_at{};
    utc_time phase_since{};
    phase in = phase::queued;
    bool was_running = false;
    usage_sampled usage;
    bool sampled = false;
  };
  void count(const std::string& name, const std::string& labels = {}, double by = 1);
  void on_phase(const committed_event& e, const phase_changed& x);
  void on_closed(const committed_event& e, const sandbox_closed& x);

  mutable std::mutex mutex_;
  std::map<std::string, counters> counters_;
  std::map<std::string, duration_histogram> phases_; ///< By labels.
  std::map<std::string, duration_histogram> starts_; ///< By labels.
  std::map<std::string, duration_histogram> calls_;  ///< By labels.
  std::unordered_map<std::string, open_sandbox> open_;
  double lag_s_ = 0;
};

} // namespace skep::actors
