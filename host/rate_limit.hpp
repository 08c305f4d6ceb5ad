// Token buckets, one for each key and kind of request. A limited answer carries RateLimit-Limit,
// -Remaining and -Reset; a denied one also Retry-After, in whole seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace skep::host {

/// COUNT requests in SECONDS; a count of 0 is no limit.
struct rate {
  std::uint32_t count = 0;
  std::uint32_t seconds = 1;
};

class rate_limiter {
public:
  using clock = std::chrono::steady_clock;
  struct verdict {
    bool allowed = true;
    std::vector<std::pair<std::string, std::string>> headers;
  };

  explicit rate_limiter(rate limit) : limit_(limit) {}
  /// Takes one request of `key` at `now`.
  verdict take(const std::string& key, clock::time_point now);

private:
  struct bucket {
    double tokens = 0;
    clock::time_point at;
  };
  rate limit_;
  std::map<std::string, bucket> buckets_; // one a key of the key file: few
};

} // namespace skep::host
