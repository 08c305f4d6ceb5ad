// What a scan for credentials found: where and of which kind, never the value itself.
#pragma once

#include "messages/enums.hpp"
#include "messages/fields.hpp"

#include <string>
#include <vector>

namespace skep {

/// How surely a finding is a credential, and how much harm it would do. Only `high` blocks.
enum class finding_severity : std::uint8_t {
  low,    ///< A word such as "token", or a value that looks made up.
  medium, ///< Likely one of little reach: a key for tests, a token that ends soon.
  high    ///< A credential.
};
SKEP_ENUM_NAMES(finding_severity, "low", "medium", "high");

/// What a finding of high severity, or a scan that failed, means for a run.
enum class scan_policy : std::uint8_t {
  block, ///< Nothing is made.
  warn,  ///< It is told and recorded, and the run goes on.
  prompt ///< Somebody is asked; where nobody can be, as `block`.
};
SKEP_ENUM_NAMES(scan_policy, "block", "warn", "prompt");

/// At most so many findings are named in one event; the highest severities come first.
inline constexpr std::size_t max_event_findings = 100;

struct scan_finding {
  std::string path;       ///< Relative to the root of what was scanned.
  std::uint64_t line = 0; ///< From 1; the first place in this file.
  std::string rule;       ///< Stable name, such as "github_token".
  std::string kind;       ///< What it opens: "cloud", "git", "model", ...
  finding_severity severity = finding_severity::low;
  friend bool operator==(const scan_finding&, const scan_finding&) = default;
  SKEP_FIELDS(field(1, "path", x.path), field(2, "line", x.line), field(3, "rule", x.rule),
              field(4, "kind", x.kind), field(5, "severity", x.severity))
};

/// What one scan found.
struct scan_report {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::vector<scan_finding> findings; ///< By severity, highest first, then by path and line.
  std::uint64_t high = 0;             ///< How many of each there are, those not named included.
  std::uint64_t medium = 0;
  std::uint64_t low = 0;
  std::uint64_t allowed = 0; ///< Left out, since .skep-scan-allow names them.
  std::string problem;       ///< Why the scan is not whole; empty when it is.
  std::int64_t took_ms = 0;
  SKEP_FIELDS(field(1, "files", x.files), field(2, "size_bytes", x.size_bytes),
              field(3, "findings", x.findings), field(4, "high", x.high),
              field(5, "medium", x.medium), field(6, "low", x.low), field(7, "allowed", x.allowed),
              field(8, "problem", x.problem), field(9, "took_ms", x.took_ms))
  /// True when a policy has something to decide: a credential, or a scan that is not whole.
  bool alarming() const { return high > 0 || !problem.empty(); }
  /// True when there is anything to tell.
  bool telling() const { return high + medium + low + allowed > 0 || !problem.empty(); }
};

} // namespace skep
