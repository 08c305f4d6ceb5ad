// What a holder remembers of its sandbox, in memory and bounded: figures over time and log lines.
#pragma once

#include "host/spec.hpp"

#include <deque>
#include <string_view>

namespace skep::host {

class history {
public:
  /// Takes envd's answer to GET /metrics (a claim of the sandbox; what makes no sense is dropped)
  /// as of `now_ms`. Limits that are enforced stand in for the machine's totals.
  void add_metrics(std::string_view envd_answer, std::int64_t now_ms, const resource_limits& held);
  /// SandboxMetric objects, oldest first.
  json metrics() const;
  std::int64_t last_metrics_ms() const { return last_metrics_ms_; }

  /// Bytes that the sandbox's main program printed, or whoever inside wrote into its output; whole
  /// lines become entries. The newest are kept, so many and so long as an answer of the holder has
  /// room for; a long one is cut, one with many fields loses them.
  void add_output(std::string_view bytes, std::int64_t now_ms);
  void add_line(std::string_view level, std::string_view message, json fields, std::int64_t now_ms);
  /// {"ts_ms","level","message","fields"}, oldest first.
  json logs() const;

private:
  std::deque<json> metrics_;
  struct log_line {
    json what;
    std::size_t bytes = 0; ///< Printed.
  };
  std::deque<log_line> lines_;
  std::size_t lines_bytes_ = 0;
  std::string partial_;
  std::int64_t last_metrics_ms_ = 0;
};

} // namespace skep::host
