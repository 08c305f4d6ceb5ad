// What one sandbox is: the order that the host hands to a holder (on a pipe, never argv,
// environment or disk: it holds real keys), and the description that the holder gives on its
// control socket.
//
//   order:  {"state":"/dir","sandboxID":"i...","templateID":"base","metadata":{},"envVars":{},
//            "accessToken":"..","timeout_ms":N,"binds":["/opt/x"],"envd":"/path","rules":
//            [{"domain":"api.x.com","headers":{"k":"v"},"paths":["/v1/"],"upstream":""}]}
//   info:   {"sandboxID","templateID","metadata","accessToken","startedAt_ms","endAt_ms","pid",
//            "domains":["api.x.com"],"ready":true}
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

struct sandbox_order {
  std::string state_dir;
  std::string sandbox_id;
  std::string template_id;
  string_map metadata;
  string_map env_vars;
  std::string access_token;
  std::int64_t timeout_ms = 0;
  std::vector<std::string> binds;
  std::string envd_path;
  std::vector<network_rule> rules;
};

struct sandbox_info {
  std::string sandbox_id;
  std::string template_id;
  string_map metadata;
  std::string access_token;
  std::int64_t started_at_ms = 0;
  std::int64_t end_at_ms = 0;
  std::int64_t pid = 0; ///< Of the holder.
  std::vector<std::string> domains;
  bool ready = false; ///< envd has answered.
};

/// Largest order and control line accepted.
inline constexpr std::size_t max_order_bytes = 4u << 20;
/// How long a sandbox may live in all.
inline constexpr std::int64_t max_lifetime_ms = 24ll * 3600 * 1000;

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
