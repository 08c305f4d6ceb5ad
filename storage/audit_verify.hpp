// Reading the whole audit log as somebody who does not trust it: against itself (numbers, hashes)
// and against the anchor in the database. Changes nothing; works beside a running skepd.
#pragma once

#include "storage/audit_log.hpp"

namespace skep::storage {

enum class audit_finding_kind : std::uint8_t { changed, removed, cut, swapped, added, unreadable };
std::string_view to_string(audit_finding_kind x); ///< "changed", "removed", ...

/// What is wrong with lines `line` .. `last`.
struct audit_finding {
  audit_finding_kind kind = audit_finding_kind::changed;
  std::uint64_t line = 0;
  std::uint64_t last = 0;
  std::string text; ///< For people, with the numbers.
};

struct audit_verdict {
  std::uint64_t lines = 0;  ///< That were read.
  std::uint64_t anchor = 0; ///< Number of the last line by the database; 0: it knows of none.
  std::vector<audit_finding> findings; ///< By line; none: the log is what was written.
};

/// Reads the log beside `database`. `settle`: how long lines that the database already knows may
/// take to be written by a running skepd. Errors: io, sql, file_not_found (no database).
result<audit_verdict> verify_audit(const std::filesystem::path& database,
                                   std::chrono::milliseconds settle = std::chrono::seconds{2});

/// The same for texts: `files` in order, each with all its lines. For tests.
audit_verdict verify_audit_text(const std::vector<std::string>& files,
                                const audit_position& anchor);

/// Which lines `audit show` gives; empty: all.
struct audit_filter {
  std::string level, category, operation, swarm;
  std::uint64_t newest = 0; ///< At most so many, the newest; 0: all.
};
/// Lines as objects, oldest first; what is no JSON is left out. Errors: io.
result<std::vector<json>> read_audit(const std::filesystem::path& directory,
                                     const audit_filter& want);

} // namespace skep::storage
