// What an answer of the provider, of its proxy or of envd means. Decided by status, by the body's
// code fields and by headers, never by words: messages change.
//
//   status and evidence                                              errc
//   401, 403                                                         auth
//   403 with the Connect code permission_denied                      refused (a file, not a key)
//   404 with a number or not_found as code in the body               not_found
//   404 without                                                      protocol (not such a service)
//   408, 499; Connect deadline_exceeded, canceled                    timed_out
//   409 / 409 already_exists                                         wrong_phase / exists
//   429 with Retry-After, or with the proxy's connectionLimit        rate (retry_after_ms)
//   429 without                                                      quota; from envd: rate
//   Connect resource_exhausted of the control API                    quota
//   the same of envd (no process can be forked, too many watchers)   remote_command_failed
//   502 with sandboxId and no port                                   gone
//   503, 504 with a placement error_code                             capacity
//   503 with the error_code no_isolation (skep-host)                 no_isolation
//   other 5xx                                                        network
//   Connect codes of a call that itself failed (internal, unknown,
//   ...), 507, other 4xx                                             refused
//   a code in the body that is no word of Connect                    what the status says
//   a body that should be JSON and is not, 1xx, 3xx                  protocol
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace skep::sandbox {

/// Most bytes of the provider's words that an error's `cause` keeps.
inline constexpr std::size_t cause_cap_bytes = 500;

/// Who gave an answer: only the control API has a quota.
enum class answerer : std::uint8_t { control, envd };

/// The meaning of an HTTP answer that is not 2xx. `headers` by lower-case name. envd's are those
/// that came by a sandbox's address, its proxy's among them.
error classify(int status, const std::map<std::string, std::string>& headers, std::string_view body,
               answerer who = answerer::control);

/// The meaning of a Connect error of envd, as in the last envelope of a stream. A word that is none
/// of Connect's counts as `refused`.
error classify_connect(std::string_view code, std::string_view message);

/// Text of a foreign service made fit for a terminal and a log: at most `cap_bytes`, control
/// characters become spaces, no cut inside a UTF-8 sequence. What looks like a secret is removed,
/// before the cut.
std::string foreign_text(std::string_view text, std::size_t cap_bytes = cause_cap_bytes);

} // namespace skep::sandbox
