// Calls of skep-guest inside a sandbox: argv in, one line of JSON out.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// What skep-guest answered, or why there is no answer: its own {"error": ..., "message": ...}
/// becomes remote_command_failed (stale_epoch for exit code 3), an unreadable answer
/// errc::protocol. Everything in it is a claim of the sandbox.
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

/// argv of a guest call; `args` follow the program.
sandbox::command guest_command(const sandbox_context& ctx, std::vector<std::string> args,
                               std::chrono::milliseconds limit);

} // namespace skep::actors
