#include "host/rate_limit.hpp"

#include <algorithm>
#include <cmath>

namespace skep::host {

rate_limiter::verdict rate_limiter::take(const std::string& key, clock::time_point now) {
  verdict out;
  if (limit_.count == 0) return out;
  auto most = static_cast<double>(limit_.count);
  auto per_second = most / static_cast<double>(limit_.seconds);
  auto [i, fresh] = buckets_.try_emplace(key, bucket{most, now});
  auto& b = i->second;
  b.tokens =
      std::min(most, b.tokens + per_second * std::chrono::duration<double>(now - b.at).count());
  b.at = now;
  out.allowed = b.tokens >= 1;
  if (out.allowed) b.tokens -= 1;
  auto seconds_until = [&](double tokens) {
    return std::to_string(
        static_cast<long>(std::ceil(std::max(0.0, tokens - b.tokens) / per_second)));
  };
  out.headers = {{"RateLimit-Limit", std::to_string(limit_.count)},
                 {"RateLimit-Remaining", std::to_string(static_cast<long>(b.tokens))},
                 {"RateLimit-Reset", seconds_until(most)}};
  // At least 1: the time until one token is there is more than nothing.
  if (!out.allowed) out.headers.emplace_back("Retry-After", seconds_until(1));
  return out;
}

} // namespace skep::host
