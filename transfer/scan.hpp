// The scan for credentials of what travels: a work tree before it is uploaded or while it is
// packed, and the changes that come back. It fails closed: whatever goes wrong (a file that cannot
// be read, the engine, the time limit, an allow-list with a mistake) is the report's `problem`,
// which counts as a finding. Values are never kept: not in findings, not in problems.
#pragma once

#include "transfer/content_watcher.hpp"
#include "transfer/scan_allow.hpp"
#include "transfer/scan_content.hpp"

#include <atomic>
#include <chrono>
#include <mutex>

namespace skep::transfer {

struct scan_options {
  std::chrono::milliseconds limit{120'000}; ///< Then the scan is not whole.
  const std::atomic<bool>* cancel = nullptr;
  /// Another engine than that of scan_rules(), for tests.
  std::function<result<scan_engine_ptr>()> engine = scan_engine::shared;
  /// For scan_results(), which tells what the patch alone holds.
  print_use prints{};
};

/// Scans contents as they pass by, several at a time, and adds up what was found. Thread-safe; its
/// streams must be gone before it is.
class scan_watcher : public content_watcher {
public:
  /// `root`: the work tree whose .skep-scan-allow holds; empty: nothing is allowed.
  scan_watcher(const std::string& root, scan_options options);
  std::unique_ptr<content_stream> begin(const std::string& path) override;

  /// Of the rules and of what is allowed; empty for a scan that is not whole.
  std::string rules_id() override;
  /// The report, which holds no values; empty for a scan that is not whole.
  std::string judgement() override;
  bool recall(const std::string& judgement) override;

  /// The scan is not whole; the first reason is kept.
  void problem(std::string why);
  /// True when there is no use in giving it more.
  bool broken() const { return broken_.load(); }
  /// All findings, in order; highest severity first.
  scan_report report();
  /// With print_use::keep what was met and is not allowed, of 10,000 values at most: what is beyond
  /// counts as not met. Once.
  value_prints take_prints();

private:
  class stream;
  result<void> set_up(const std::string& root);
  bool in_time();
  result<content_scanner> scanner();
  void take(stream& from);

  scan_options options_;
  std::chrono::steady_clock::time_point began_;
  scan_engine_ptr engine_;
  allow_list allowed_;
  std::string rules_id_;
  std::atomic<bool> broken_{false};
  std::mutex mutex_; ///< Guards what follows.
  std::vector<content_scanner> idle_;
  scan_report report_;
  value_prints met_;
};

/// Reads and scans these paths below `root` (a work tree).
scan_report scan_files(const std::string& root, const std::vector<std::string>& paths,
                       const scan_options& options = {});

/// Scans what came back of one tree: OUT/NAME.patch and OUT/NAME/files. `root` is the user's work
/// tree, by whose allow-list paths below files/ are judged. A value of the patch that a file holds,
/// too, or that stood in the patch before, is left out: values are compared, not their rules, so
/// that a key which a later commit took away again is told beside one that stayed. The messages and
/// names of its commits are judged each by itself (patch_text.hpp); a finding in one has the path
/// "NAME.patch commit N", N from 1 in the patch's order, and the line of the patch.
scan_report scan_results(const std::string& out_dir, const std::string& name,
                         const std::string& root, const scan_options& options = {});

/// What is alarming in a scan, on one line: "2 credentials: a.py:3 github_token, ...".
std::string alarm_text(const scan_report& r);

/// Why what was scanned must not travel under this policy; none when it may. With `prompt` it is
/// what holds where nobody can be asked, or said no.
error scan_refusal(scan_policy policy, const scan_report& r);

/// A report as an event holds it: at most max_event_findings findings, and long paths cut.
scan_report for_event(scan_report r);

} // namespace skep::transfer
