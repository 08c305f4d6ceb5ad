// The Connect protocol with its JSON codec, as E2B uses it: envelopes, errors, lenient field
// access.
//
//   byte 0     flags: 0x01 = compressed (never used), 0x02 = end of stream
//   bytes 1-4  payload length, unsigned, big endian
//   bytes 5..  payload (JSON)
#pragma once

#include "host/envd/failure.hpp"
#include "messages/json.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skep::envd {

inline constexpr std::uint8_t flag_compressed = 0x01;
inline constexpr std::uint8_t flag_end_of_stream = 0x02;

std::string envelope(std::uint8_t flags, std::string_view payload);
/// Text of `j`; bytes that are no UTF-8 (file names may be anything) become U+FFFD.
std::string dump(const json& j);
/// `{"error":{...}}` in an end-of-stream envelope.
std::string end_of_stream(const rpc_failure& f);
/// `{}` in an end-of-stream envelope.
std::string end_of_stream();
std::string error_json(const rpc_failure& f);

/// The message of a unary request. Throws rpc_failure{invalid_argument}.
json parse_message(std::string_view body);
/// The one message of a streaming request. Throws rpc_failure{invalid_argument}.
json parse_enveloped(std::string_view body);

/// The Linux user that an RPC's header `Authorization: Basic base64("user:")` names, for those
/// paths that look at it. Throws rpc_failure{unauthenticated}.
std::optional<std::string> requested_user(std::string_view path, std::string_view authorization);

/// The number of a request's `signal`. Throws rpc_failure: invalid_argument for what is no signal
/// of the protocol, unimplemented for the one that is none.
int requested_signal(const json& request);

/// Fields with protobuf's JSON rules: absent or null is the default; another type throws
/// rpc_failure{invalid_argument}. Names are given in camelCase; snake_case is accepted too.
const json* find(const json& j, std::string_view name);
std::string get_string(const json& j, std::string_view name);
std::optional<std::string> get_optional_string(const json& j, std::string_view name);
std::int64_t get_int(const json& j, std::string_view name);
bool get_bool(const json& j, std::string_view name, bool otherwise);
std::string get_bytes(const json& j, std::string_view name);

} // namespace skep::envd
