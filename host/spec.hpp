// What one sandbox is: the order that the host hands to a holder (on a pipe, never argv,
// environment or disk: it holds real keys), and the description that the holder gives on its
// control socket.
//
//   order:  {"state":"/dir","sandboxID":"i...","templateID":"base","metadata":{},"envVars":{},
//            "accessToken":"..","trafficToken":"","timeout_ms":N,"autoPause":false,"autoResume":false,
//            "binds":["/opt/x"],"envd":"/path","limits":{"cpus":0,"memory_mb":0,"pids":0,
//            "disk_mb":0},"cgroups":{"memory":"/sys/fs/cgroup/memory/skep"},"network":
//            {"rules":[{"domain":"api.x.com","headers":{"k":"v"},"paths":["/v1/"],"upstream":""}],
//             "allow":["a.x.com"],"upstreams":{}},"prices":{"model-x":"3,15,3.75,0.3"}}
//   info:   {"sandboxID","templateID","metadata","accessToken","trafficToken","startedAt_ms",
//            "endAt_ms","pid","domains":["api.x.com"],"allow":["a.x.com"],"ready":true,"phase":"running",
//            "autoPause","autoResume","limits":{..},"enforced":["memory"]}
#pragma once

#include "messages/error.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace skep::host {

using json = nlohmann::ordered_json;
using string_map = std::map<std::string, std::string>;

/// Times are integer milliseconds since 1970, UTC.
std::int64_t wall_now_ms();

/// Header injection for one domain; the values are real keys.
struct network_rule {
  std::string domain;
  string_map headers;
  std::vector<std::string> paths; ///< Allowed path prefixes; empty: all.
  std::string upstream;           ///< URL to use instead of https://domain, or empty.
};

/// What a sandbox may reach, all of it through its gateway.
struct network_access {
  std::vector<network_rule> rules;
  /// Where tunnels may lead: domains, "*." before one, addresses, ranges.
  std::vector<std::string> allow;
  string_map upstreams; ///< Domain to the URL that a tunnel goes to instead; for those in `allow`.
};

/// The port of 127.0.0.1 inside on which programs find the gateway.
inline constexpr std::uint16_t gateway_port = 49984;

/// What a sandbox may use; 0 is no limit.
struct resource_limits {
  std::int64_t cpus = 0; ///< Whole cores.
  std::int64_t memory_mb = 0;
  std::int64_t pids = 0;    ///< Processes and threads.
  std::int64_t disk_mb = 0; ///< Of the home, which then lies in memory.
};

/// The life of a sandbox as its holder sees it. Between running and paused there is a moment in
/// which nothing else may be asked of it.
enum class sandbox_phase : std::uint8_t { running, pausing, paused, resuming };
std::string_view to_string(sandbox_phase phase);

struct sandbox_order {
  std::string state_dir;
  std::string sandbox_id;
  std::string template_id;
  string_map metadata;
  string_map env_vars;
  std::string access_token;
  std::string traffic_token; ///< Needed for ports of programs inside; empty: none is.
  std::int64_t timeout_ms = 0;
  bool auto_pause = false;  ///< At the end of the lease: pause instead of kill.
  bool auto_resume = false; ///< A request for a paused sandbox resumes it.
  resource_limits limits;
  string_map cgroups; ///< Controller to a directory in which the holder may make groups.
  std::vector<std::string> binds;
  std::string envd_path;
  network_access network;
  string_map prices; ///< Model to its price (gateway/prices.hpp), in place of the known one.
};

struct sandbox_info {
  std::string sandbox_id;
  std::string template_id;
  string_map metadata;
  std::string access_token;
  std::string traffic_token;
  std::int64_t started_at_ms = 0;
  std::int64_t end_at_ms = 0;
  std::int64_t pid = 0;             ///< Of the holder.
  std::vector<std::string> domains; ///< That have a rule.
  std::vector<std::string> allow;   ///< network_access::allow
  bool ready = false;               ///< envd has answered.
  sandbox_phase phase = sandbox_phase::running;
  bool auto_pause = false;
  bool auto_resume = false;
  resource_limits limits;
  /// Which of the limits hold here: "cpu", "memory", "pids", "disk".
  std::vector<std::string> enforced;
};

/// The network part of a description: no key in it.
void set_network(sandbox_info& info, const network_access& access);

/// Largest order and control line accepted.
inline constexpr std::size_t max_order_bytes = 4u << 20;
/// How long a sandbox may live in all.
inline constexpr std::int64_t max_lifetime_ms = 24ll * 3600 * 1000;

json to_json(const network_access& x);
/// Throws json::exception.
network_access network_from(const json& j);
json to_json(const sandbox_order& x);
result<sandbox_order> order_from_json(std::string_view text);
json to_json(const sandbox_info& x);
result<sandbox_info> info_from_json(const json& j);

/// An object whose values are all strings; false otherwise. null counts as empty.
bool read_string_map(const json& j, string_map& out);
/// One line, bytes that are not UTF-8 replaced.
std::string dump(const json& j);

/// True for what may be a sandbox id in a path or header: 1 to 40 of [a-z0-9].
bool valid_sandbox_id(std::string_view id);

} // namespace skep::host
