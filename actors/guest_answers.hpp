// What skep-guest answers, read by type. All of it was written inside, where a setup or an agent
// may have put another program in its place: any bytes come, and nothing here throws. No CAF.
#pragma once

#include "messages/json.hpp"
#include "sandbox/api.hpp"

#include <map>
#include <string>
#include <utility>

namespace skep::actors {

/// What skep-guest answered, or why there is no answer: its own {"error": ..., "message": ...}
/// becomes remote_command_failed (stale_epoch for exit code 3), an unreadable answer
/// errc::protocol, whose text tells one that was cut off. What is returned is an object. Everything
/// in it is a claim of the sandbox.
result<json> read_guest_answer(const result<sandbox::command_result>& r);

/// What `skep-guest unpack` says it has written.
struct guest_arrived {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::string manifest_sha256;
};
/// errc::protocol when a field is missing or of another type.
result<guest_arrived> read_arrived(const json& answer);

/// What `skep-guest base` and `settle` say of the base: a commit (4 to 64 hex digits) that is HEAD
/// itself, and whether it is another one than before.
struct guest_base {
  std::string commit;
  bool is_head = false;
  bool changed = false;
};
/// errc::protocol when the commit is missing or none, or another field has another type.
result<guest_base> read_guest_base(const json& answer);

/// Whether `skep-guest changed` says that a work tree differs from its base. errc::protocol when it
/// says neither.
result<bool> read_changed(const json& answer);

/// The process that `skep-guest pane` says it has started; 0 where it names none, for the agent
/// ended before it was asked again. errc::timed_out while its holder still starts it: ask again.
/// errc::protocol for what is no process.
result<std::int64_t> read_launched(const json& answer);

/// Whether `skep-guest input` says that the agent has the input, now or from an earlier call.
bool read_input_arrived(const json& answer);

/// By its name inside: size and hash of each part that `skep-guest parts` shows. What has another
/// shape is left out.
std::map<std::string, std::pair<std::uint64_t, std::string>> read_parts(const json& answer);

} // namespace skep::actors
