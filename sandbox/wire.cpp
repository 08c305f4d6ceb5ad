// Sandboxes: create, list, get, network.
#include "sandbox/wire_control.hpp"
#include "sandbox/wire_json.hpp"

#include <algorithm>

namespace skep::sandbox::wire {
namespace {

value network_value(const network_rules& rules) {
  value out = value::object();
  auto deny = rules.deny_out;
  if (!rules.allow_out.empty()) {
    out["allowOut"] = rules.allow_out;
    // A list of what may be reached means nothing without the refusal of everything else.
    auto has_all = [](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), everywhere) != list.end();
    };
    if (!has_all(deny) && !has_all(rules.allow_out)) deny.emplace_back(everywhere);
  }
  if (!deny.empty()) out["denyOut"] = deny;
  if (rules.proxy) {
    value& proxy = out["egressProxy"] = {{"address", rules.proxy->address}};
    if (!rules.proxy->username.empty()) proxy["username"] = rules.proxy->username;
    if (!rules.proxy->password.empty()) proxy["password"] = rules.proxy->password;
  }
  if (!rules.inject.empty()) {
    value& by_domain = out["rules"] = value::object();
    for (const auto& [domain, headers] : rules.inject) {
      value rule = {{"transform", {{"headers", headers}}}};
      if (auto i = rules.paths.find(domain); i != rules.paths.end()) rule["paths"] = i->second;
      by_domain[domain] = value::array({std::move(rule)});
    }
  }
  return out;
}

result<value> create_value(const create_params& params, generation paths) {
  if (params.auto_resume && !params.auto_pause)
    return make_error(errc::bad_argument, "auto_resume needs auto_pause");
  value out{
      {"templateID", params.template_name}, {"timeout", params.lease.count()},
      {"autoPause", params.auto_pause},     {"allow_internet_access", params.network.internet},
      {"metadata", params.metadata},        {"envVars", params.env}};
  if (paths == generation::v1) out["secure"] = params.secure; // v2 always gives a token
  if (params.auto_resume) out["autoResume"] = {{"enabled", true}};
  if (auto network = network_value(params.network); !network.empty()) out["network"] = network;
  return out;
}

bool fill_listed(const value& x, listed& out) {
  reader r{x};
  out.remote_id = r.text("sandboxID");
  auto state = r.text("state");
  if (state == "paused")
    out.state = remote_state::paused;
  else if (state != "running" && !state.empty())
    return false;
  out.metadata = r.text_map("metadata");
  out.started_at = r.time("startedAt").value_or(out.started_at);
  out.end_at = r.time("endAt").value_or(out.end_at);
  out.template_id = r.text("templateID");
  out.alias = r.text("alias");
  out.cpu_count = r.integer<std::uint32_t>("cpuCount");
  out.memory_mb = r.integer<std::uint64_t>("memoryMB");
  out.disk_mb = r.integer<std::uint64_t>("diskSizeMB");
  return r.good() && valid_remote_id(out.remote_id);
}

} // namespace

result<std::string> create_body(const create_params& params, generation paths) {
  auto out = create_value(params, paths);
  if (!out) return out.err();
  return dump(*out);
}

result<std::string> create_all_body(const create_all_params& params, generation paths) {
  auto made = create_value(params, paths);
  if (!made) return made.err();
  value& out = *made;
  if (!params.auto_pause_memory) {
    if (!params.auto_pause || params.auto_resume)
      return make_error(errc::bad_argument,
                        "auto_pause_memory = false goes with auto_pause and without auto_resume");
    out["autoPauseMemory"] = false;
  }
  if (!params.allow_public_traffic) {
    if (paths == generation::v1 && !params.secure)
      return make_error(errc::bad_argument, "a sandbox without public traffic must be secure");
    out["network"]["allowPublicTraffic"] = false;
  }
  if (!params.mask_request_host.empty())
    out["network"]["maskRequestHost"] = params.mask_request_host;
  if (!params.mcp_json.empty()) {
    auto mcp = parse(params.mcp_json);
    if (!mcp.is_object()) return make_error(errc::bad_argument, "mcp_json is no JSON object");
    out["mcp"] = std::move(mcp);
  }
  for (const auto& [name, token] : params.identity)
    out["iam"]["tokens"][name] = {{"audience", token.audience}, {"tokenType", token.type}};
  for (const auto& volume : params.volumes)
    out["volumeMounts"].push_back({{"name", volume.name}, {"path", volume.path}});
  return dump(out);
}

result<std::string> network_body(const network_rules& rules) {
  value out = network_value(rules);
  out["allow_internet_access"] = rules.internet;
  return dump(out);
}

std::string metadata_query(const std::map<std::string, std::string>& metadata) {
  // The value is a query string of its own whose keys and values the server unescapes twice more.
  std::string pairs;
  for (const auto& [key, text] : metadata) {
    if (!pairs.empty()) pairs += '&';
    pairs += url_encode(url_encode(key)) + "=" + url_encode(url_encode(text));
  }
  return pairs.empty() ? pairs : "metadata=" + url_encode(pairs);
}

std::string list_query(const list_filter& filter, std::string_view token, std::uint32_t limit) {
  std::string states;
  if (filter.running) states = "running";
  if (filter.paused) states += states.empty() ? "paused" : ",paused";
  std::string out = "?limit=" + std::to_string(limit) + "&state=" + states;
  if (auto metadata = metadata_query(filter.metadata); !metadata.empty()) out += "&" + metadata;
  if (!filter.template_name.empty()) out += "&template=" + url_encode(filter.template_name);
  if (filter.started_after) out += "&startedAfter=" + url_encode(write_time(*filter.started_after));
  if (filter.oldest_first) out += "&order=asc";
  if (!token.empty()) out += "&nextToken=" + url_encode(token);
  return out;
}

result<created> read_created(std::string_view body) {
  auto out = created_of(parse(body));
  if (!out) return make_error(errc::protocol, "the answer to create names no sandbox");
  return std::move(*out);
}

std::optional<created> created_of(const value& x) {
  reader r{x};
  created out;
  out.address = {r.text("sandboxID"), r.text("envdAccessToken"), r.text("domain")};
  out.envd_version = r.text("envdVersion");
  out.template_id = r.text("templateID");
  out.alias = r.text("alias");
  out.traffic_token = r.text("trafficAccessToken");
  if (!r.good() || !valid_remote_id(out.address.remote_id)) return {};
  return out;
}

result<detail> read_detail(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  detail out;
  const error bad = make_error(errc::protocol, "the answer is not understood");
  if (!fill_listed(parsed, out)) return bad;
  out.address = {out.remote_id, r.text("envdAccessToken"), r.text("domain")};
  out.envd_version = r.text("envdVersion");
  if (r.member("allowInternetAccess")) out.internet = r.boolean("allowInternetAccess");
  if (auto* x = r.member("lifecycle")) {
    reader lifecycle{*x};
    out.auto_resume = lifecycle.boolean("autoResume");
    out.pause_at_end = lifecycle.text("onTimeout") == "pause";
    if (!lifecycle.good()) return bad;
  }
  if (!r.good()) return bad;
  return out;
}

result<std::vector<listed>> read_list(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<listed> out;
  for (const auto& x : parsed)
    if (!fill_listed(x, out.emplace_back())) return not_understood(x.dump(-1, ' ', true));
  return out;
}

} // namespace skep::sandbox::wire
