// What of the journal is worth a line of the audit log, and what that line says: the one table.
// Pure functions of an event; docs/operations.md has the list for people.
#pragma once

#include "messages/event_io.hpp"

#include <optional>

namespace skep::storage {

/// What an operation is about (row S1-10).
enum class audit_category : std::uint8_t { security, cost, resource, data };
enum class audit_level : std::uint8_t { info, warn, error };
std::string_view to_string(audit_category x); ///< "SECURITY", ...
std::string_view to_string(audit_level x);    ///< "INFO", ...

/// What a line says besides its place in the log.
struct audit_entry {
  audit_level level = audit_level::info;
  audit_category category = audit_category::resource;
  std::string operation; ///< Stable name, such as "SANDBOX_CREATED".
  json metadata = json::object();
};

/// What the line of a created sandbox tells that its event does not.
struct audit_terms {
  std::int64_t limit_ms = 0; ///< Hard limit of its life.
  double rate_usd_per_hour = 0;
};

/// True when events of this type may have a line; cheap, for every event of the journal.
bool audited(std::uint32_t type);
/// None when this one has no line.
std::optional<audit_entry> audit_entry_of(const any_event& e, const audit_terms& terms);

} // namespace skep::storage
