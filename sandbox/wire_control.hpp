// The JSON of the control API beyond wire.hpp: metrics, logs, snapshots, forks. Same rules.
#pragma once

#include "sandbox/control.hpp"
#include "sandbox/wire.hpp"

namespace skep::sandbox::wire {

/// errc::bad_argument for fields that exclude each other.
result<std::string> create_all_body(const create_all_params& params, generation paths);
std::string log_query_text(const log_query& what);

result<std::vector<usage_sample>> read_metrics(std::string_view body);
/// {"sandboxes":{ID:sample}}
result<std::map<std::string, usage_sample>> read_metrics_of(std::string_view body);
/// envd's GET /metrics.
result<usage_sample> read_usage(std::string_view body);
/// Of skep-host's /skep/v1/sandboxes/{id}/usage.
result<model_usage> read_model_usage(std::string_view body);
/// {"logs":[entry]}, or the old form with "logEntries" beside lines.
result<std::vector<log_entry>> read_logs(std::string_view body);
result<snapshot> read_snapshot(std::string_view body);
result<std::vector<snapshot>> read_snapshots(std::string_view body);
result<std::vector<result<created>>> read_forks(std::string_view body);

std::string_view to_string(log_level level);

} // namespace skep::sandbox::wire
