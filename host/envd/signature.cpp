#include "host/envd/signature.hpp"

#include "host/envd/failure.hpp"
#include "messages/json.hpp"

#include <openssl/sha.h>

#include <array>
#include <charconv>
#include <ctime>

namespace skep::envd {

std::string file_signature(std::string_view path, std::string_view operation, std::string_view user,
                           std::string_view token, std::string_view expiration) {
  std::string text;
  text.append(path).append(":").append(operation).append(":").append(user).append(":").append(
      token);
  if (!expiration.empty()) text.append(":").append(expiration);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  auto out = base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
  while (out.ends_with('='))
    out.pop_back();
  return "v1_" + out;
}

bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

void check_signature(const exchange& x, std::string_view operation, std::string_view token,
                     std::int64_t now_s) {
  auto given = x.query("signature");
  if (!given) fail(401, "missing signature query parameter");
  auto expiration = x.query("signature_expiration").value_or("");
  auto expected = file_signature(x.query("path").value_or(""), operation,
                                 x.query("username").value_or(""), token, expiration);
  if (!same_secret(*given, expected)) fail(401, "invalid signature");
  if (expiration.empty()) return;
  std::int64_t end = 0;
  auto [stop, ec] = std::from_chars(expiration.data(), expiration.data() + expiration.size(), end);
  if (ec != std::errc{} || stop != expiration.data() + expiration.size())
    fail(401, "invalid signature expiration");
  if (end < now_s) fail(401, "signature is already expired");
}

void authorize(const exchange& x, std::string_view token) {
  const auto& path = x.path();
  if (token.empty() || path == "/health" || path == "/init") return;
  auto given = x.header("X-Access-Token");
  bool reading = x.method() == "GET" || x.method() == "HEAD";
  if (path == "/files" && (reading || x.method() == "POST")) {
    if (given.empty())
      check_signature(x, reading ? "read" : "write", token, std::time(nullptr));
    else if (!same_secret(given, token))
      fail(401, "access token present in header but does not match");
  } else if (!same_secret(given, token)) {
    fail(401, "unauthorized access, please provide a valid access token or method signing if "
              "supported");
  }
}

} // namespace skep::envd
