#include "transfer/exclude.hpp"

#include <algorithm>

namespace skep::transfer {
namespace {

/// One pattern, taken apart: this is asked for every path of a tree.
struct exclusion {
  enum class kind { component, folder, tail };
  std::string_view pattern{}; ///< As it is printed.
  kind what = kind::component;
  std::string_view head{}; ///< All of it, or what stands before its '*'.
  bool star = false;
  std::string_view rest{}; ///< Behind the '*'.

  /// '*' stands for any bytes, as in fnmatch(3); no pattern has more than one.
  bool fits(std::string_view part) const {
    if (!star) return part == head;
    return part.size() >= head.size() + rest.size() && part.starts_with(head)
           && part.ends_with(rest);
  }
};

exclusion taken_apart(std::string_view pattern) {
  constexpr std::string_view below = "/**";
  if (pattern.ends_with(below))
    return {pattern, exclusion::kind::folder, pattern.substr(0, pattern.size() - below.size())};
  if (pattern.find('/') != pattern.npos) return {pattern, exclusion::kind::tail, pattern};
  auto star = pattern.find('*');
  if (star == pattern.npos) return {pattern, exclusion::kind::component, pattern};
  return {pattern, exclusion::kind::component, pattern.substr(0, star), true,
          pattern.substr(star + 1)};
}

const std::vector<exclusion>& exclusions() {
  static const auto list = [] {
    std::vector<exclusion> out;
    for (auto pattern : always_excluded())
      out.push_back(taken_apart(pattern));
    return out;
  }();
  return list;
}

void split(std::string_view path, std::vector<std::string_view>& out) {
  out.clear();
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    out.push_back(path.substr(at, end - at));
    at = end + 1;
  }
}

bool matches(const exclusion& e, std::string_view path,
             const std::vector<std::string_view>& parts) {
  if (e.what == exclusion::kind::tail)
    return path.ends_with(e.head)
           && (path.size() == e.head.size() || path[path.size() - e.head.size() - 1] == '/');
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return e.fits(part); });
}

} // namespace

const std::vector<std::string_view>& always_excluded() {
  static const std::vector<std::string_view> list{".git",
                                                  "skep-out/**",
                                                  ".skep-download-*", // swept_dir.hpp
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
  thread_local std::vector<std::string_view> parts;
  split(path, parts);
  for (const auto& e : exclusions())
    if (matches(e, path, parts)) return e.pattern;
  return {};
}

} // namespace skep::transfer
