// What an answer of the provider, of its proxy or of envd means. Decided by status, by the body's
// code fields and by headers, never by words: messages change.
//
//   status and evidence                                              errc
//   401, 403                                                         auth
//   403 with the Connect code permission_denied                      refused (a file, not a key)
//   404 with a code in the body                                      not_found
//   404 without                                                      protocol (not such a service)
//   408, 499; Connect deadline_exceeded, canceled                    timed_out
//   409 / 409 already_exists                                         wrong_phase / exists
//   429 with Retry-After, or with the proxy's connectionLimit        rate (retry_after_ms)
//   429 without                                                      quota
//   502 with sandboxId and no port                                   gone
//   503, 504 with a placement error_code                             capacity
//   503 with the error_code no_isolation (skep-host)                 no_isolation
//   other 5xx                                                        network
//   Connect codes of a call that itself failed (internal, unknown,
//   ...), 507, other 4xx                                             refused
//   a body that should be JSON and is not, 1xx, 3xx                  protocol
#pragma once

#include "messages/error.hpp"

#include <map>
#include <string>
#include <string_view>

namespace skep::sandbox {

/// Most bytes of the provider's words that an error's `cause` keeps.
inline constexpr std::size_t cause_cap_bytes = 500;

/// The meaning of an HTTP answer that is not 2xx. `headers` by lower-case name.
error classify(int status, const std::map<std::string, std::string>& headers,
               std::string_view body);

/// The meaning of a Connect error, as in the last envelope of a stream.
error classify_connect(std::string_view code, std::string_view message);

/// Text of a foreign service made fit for a terminal and a log: at most `cause_cap_bytes`, control
/// characters become spaces, no cut inside a UTF-8 sequence. What looks like a secret is removed.
std::string foreign_text(std::string_view text);

} // namespace skep::sandbox
