// Signed URLs of /files: who has the URL may read or write that one path, without the token.
//
//   S = path ":" read|write ":" user ":" token [":" expiration]      signature = "v1_"
//   base64(SHA-256(S)), no padding
#pragma once

#include "host/envd/exchange.hpp"

#include <string>
#include <string_view>

namespace skep::envd {

/// The signature that E2B's SDKs compute; `expiration` as it stands in the URL, or empty.
std::string file_signature(std::string_view path, std::string_view operation, std::string_view user,
                           std::string_view token, std::string_view expiration);

/// True when `a` and `b` are equal; takes the same time wherever they differ.
bool same_secret(std::string_view a, std::string_view b);

/// Lets `x` pass by its X-Access-Token, or by a signature where /files is read or written.
/// Everybody passes where `token` is empty, and to /health and /init (which looks at the token
/// itself: it may bring the first one). Throws rest_failure{401} with E2B's words.
void authorize(const exchange& x, std::string_view token);

/// Throws rest_failure{401} with E2B's words unless the query of `x` is signed with `token` and not
/// expired at `now_s` (Unix time).
void check_signature(const exchange& x, std::string_view operation, std::string_view token,
                     std::int64_t now_s);

} // namespace skep::envd
