#include "transfer/exclude.hpp"

#include <algorithm>

namespace skep::transfer {
namespace {

/// Calls f(component) for every component until it answers true.
template <class F>
bool any_component(std::string_view path, F f) {
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    if (f(path.substr(at, end - at))) return true;
    at = end + 1;
  }
  return false;
}

/// '*' stands for any bytes, as in fnmatch(3); the patterns have no other sign. This is asked for
/// every component of every path and every pattern: nothing is allocated.
bool glob(std::string_view pattern, std::string_view text) {
  auto star = pattern.find('*');
  if (star == pattern.npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  auto rest = pattern.substr(star + 1);
  text.remove_prefix(star);
  if (rest.find('*') == rest.npos) return text.ends_with(rest);
  for (std::size_t at = 0; at <= text.size(); ++at)
    if (glob(rest, text.substr(at))) return true;
  return false;
}

bool matches(std::string_view pattern, std::string_view path) {
  auto slash = pattern.find('/');
  if (slash == pattern.npos)
    return any_component(path, [&](std::string_view part) { return glob(pattern, part); });
  if (pattern.ends_with("/**")) {
    auto dir = pattern.substr(0, pattern.size() - 3);
    return any_component(path, [&](std::string_view part) { return part == dir; });
  }
  return path == pattern
         || (path.size() > pattern.size() && path.ends_with(pattern)
             && path[path.size() - pattern.size() - 1] == '/');
}

} // namespace

const std::vector<std::string_view>& always_excluded() {
  static const std::vector<std::string_view> list{".git",
                                                  "skep-out/**",
                                                  ".env",
                                                  ".env.*",
                                                  ".envrc",
                                                  "*.pem",
                                                  "*.key",
                                                  "*.p12",
                                                  "*.pfx",
                                                  "*.jks",
                                                  "*.keystore",
                                                  "credentials.json",
                                                  "service-account.json",
                                                  "id_rsa*",
                                                  "id_dsa*",
                                                  "id_ecdsa*",
                                                  "id_ed25519*",
                                                  ".npmrc",
                                                  ".netrc",
                                                  ".pypirc",
                                                  ".git-credentials",
                                                  ".aws/credentials",
                                                  ".docker/config.json",
                                                  ".kube/config",
                                                  ".ssh/**",
                                                  ".gnupg/**"};
  return list;
}

std::string_view excluded_reason(std::string_view path) {
  for (auto pattern : always_excluded())
    if (matches(pattern, path)) return pattern;
  return {};
}

} // namespace skep::transfer
