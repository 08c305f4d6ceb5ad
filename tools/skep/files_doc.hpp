// What `skep files` and `skep run --dry-run` print with --json. Schemas: docs/json/.
#pragma once

#include "messages/commands.hpp"

namespace skep::cli {

struct file_line {
  std::string path;
  std::uint64_t size_bytes = 0;
  bool symlink = false;
  SKEP_FIELDS(field(1, "path", x.path), field(2, "size_bytes", x.size_bytes),
              field(3, "symlink", x.symlink))
};

struct left_out_line {
  std::string path;
  std::string reason;
  SKEP_FIELDS(field(1, "path", x.path), field(2, "reason", x.reason))
};

/// skep files list
struct files_doc {
  std::string root;
  std::vector<file_line> files;
  std::uint64_t size_bytes = 0;
  std::vector<left_out_line> left_out; ///< Known to git, or not ignored by it, and left out by us.
  std::vector<std::string> ignored;    ///< Ignored by git; a directory as one, with a '/'.
  std::vector<std::string> remarks;
  SKEP_FIELDS(field(1, "root", x.root), field(2, "files", x.files),
              field(3, "size_bytes", x.size_bytes), field(4, "left_out", x.left_out),
              field(5, "ignored", x.ignored), field(6, "remarks", x.remarks))
};

/// skep files why
struct why_doc {
  std::string path;
  bool travels = false;
  bool tracked = false;
  std::uint64_t size_bytes = 0;
  std::string reason;
  std::string rule; ///< "FILE:LINE: PATTERN" where a line of a file is the reason.
  std::vector<scan_finding> findings;
  bool exists = true; ///< False: what is said holds for a file or directory of this name.
  SKEP_FIELDS(field(1, "path", x.path), field(2, "travels", x.travels),
              field(3, "tracked", x.tracked), field(4, "size_bytes", x.size_bytes),
              field(5, "reason", x.reason), field(6, "rule", x.rule),
              field(7, "findings", x.findings), field(8, "exists", x.exists))
};

struct scan_rule_line {
  std::string name;
  std::string kind;
  finding_severity severity = finding_severity::low;
  SKEP_FIELDS(field(1, "name", x.name), field(2, "kind", x.kind), field(3, "severity", x.severity))
};

/// skep files rules
struct rules_doc {
  std::vector<std::string> always_excluded;
  std::vector<std::string> default_excludes;
  std::vector<scan_rule_line> scan_rules;
  SKEP_FIELDS(field(1, "always_excluded", x.always_excluded),
              field(2, "default_excludes", x.default_excludes),
              field(3, "scan_rules", x.scan_rules))
};

/// A limit that the run would meet.
struct bite_line {
  std::string rule;
  double limit = 0;
  double now = 0;   ///< What counts against it; 0 where nobody knows.
  double asked = 0; ///< What this run adds.
  std::string effect;
  std::string setting;
  SKEP_FIELDS(field(1, "rule", x.rule), field(2, "limit", x.limit), field(3, "now", x.now),
              field(4, "asked", x.asked), field(5, "effect", x.effect),
              field(6, "setting", x.setting))
};

/// skep run --dry-run
struct dry_run_doc {
  bool would_start = false;
  std::vector<std::string> problems; ///< Why it would not.
  std::string repo;
  std::string provider;
  agent_kind agent = agent_kind::command;
  std::uint32_t sandboxes = 0;
  std::uint32_t panes = 0; ///< In each.
  files_doc upload;
  scan_policy policy = scan_policy::block;
  scan_report scan;
  std::int64_t time_limit_ms = 0;
  double usd_per_hour = 0;     ///< Of one sandbox.
  double time_usd_at_most = 0; ///< All sandboxes up to the time limit.
  bool models_cost = false;    ///< What models cost comes on top, and only a budget bounds it.
  double budget_usd = 0;       ///< 0: none.
  /// `now` in the limits is what counts: of the skepd that runs, or as the last one left it.
  bool counts_known = false;
  std::vector<bite_line> limits; ///< Only those that the run would meet.
  std::vector<std::string> remarks;
  /// One sandbox's upload up to its panes' work trees, without a setup, as the last uploads to its
  /// provider went. It and the rate (of files before compression) are null in JSON where none was
  /// measured (dry_run_json).
  std::int64_t upload_ms_estimated = 0;
  std::uint64_t upload_bytes_per_s = 0;
  std::uint32_t uploads_measured = 0;
  SKEP_FIELDS(field(1, "would_start", x.would_start), field(2, "problems", x.problems),
              field(3, "repo", x.repo), field(4, "provider", x.provider),
              field(5, "agent", x.agent), field(6, "sandboxes", x.sandboxes),
              field(7, "panes", x.panes), field(8, "upload", x.upload),
              field(9, "policy", x.policy), field(10, "scan", x.scan),
              field(11, "time_limit_ms", x.time_limit_ms),
              field(12, "usd_per_hour", x.usd_per_hour),
              field(13, "time_usd_at_most", x.time_usd_at_most),
              field(14, "models_cost", x.models_cost), field(15, "budget_usd", x.budget_usd),
              field(16, "counts_known", x.counts_known), field(17, "limits", x.limits),
              field(18, "remarks", x.remarks),
              field(19, "upload_ms_estimated", x.upload_ms_estimated),
              field(20, "upload_bytes_per_s", x.upload_bytes_per_s),
              field(21, "uploads_measured", x.uploads_measured))
};

} // namespace skep::cli
