// How a request fails: thrown inside a handler, turned into an answer at one place (server.cpp).
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace skep::envd {

/// Codes of the Connect protocol that we use.
enum class rpc_code {
  canceled,
  unknown,
  invalid_argument,
  deadline_exceeded,
  not_found,
  already_exists,
  permission_denied,
  resource_exhausted,
  failed_precondition,
  unimplemented,
  internal,
  unavailable,
  unauthenticated
};

std::string_view to_string(rpc_code code);
/// HTTP status of a unary call that fails with `code`.
unsigned http_status(rpc_code code);

/// A failed RPC: unary `{"code":"not_found","message":...}`, or the error of an end-of-stream
/// envelope.
struct rpc_failure {
  rpc_code code;
  std::string message;
};

/// A failed REST call: `{"code":404,"message":...}` with that status.
struct rest_failure {
  unsigned status;
  std::string message;
};

/// The peer went away; nothing can be answered.
struct peer_gone {};

[[noreturn]] inline void fail(rpc_code code, std::string message) {
  throw rpc_failure{code, std::move(message)};
}
[[noreturn]] inline void fail(unsigned status, std::string message) {
  throw rest_failure{status, std::move(message)};
}

} // namespace skep::envd
