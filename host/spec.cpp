#include "host/spec.hpp"

#include "messages/ids.hpp"

#include <chrono>

namespace skep::host {

std::int64_t wall_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string dump(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool valid_sandbox_id(std::string_view id) {
  return valid_id(id, "");
}

bool read_string_map(const json& j, string_map& out) {
  out.clear();
  if (j.is_null()) return true;
  if (!j.is_object()) return false;
  for (const auto& [key, value] : j.items()) {
    if (!value.is_string()) return false;
    out[key] = value.get<std::string>();
  }
  return true;
}

namespace {
constexpr std::string_view phases[] = {"running", "pausing", "paused", "resuming"};

json to_json(const resource_limits& x) {
  return {{"cpus", x.cpus}, {"memory_mb", x.memory_mb}, {"pids", x.pids}, {"disk_mb", x.disk_mb}};
}

resource_limits limits_from(const json& j) {
  return {j.at("cpus").get<std::int64_t>(), j.at("memory_mb").get<std::int64_t>(),
          j.at("pids").get<std::int64_t>(),
          j.value("disk_mb", std::int64_t{0})}; // a holder of an older release has none
}
} // namespace

std::string_view to_string(sandbox_phase phase) {
  return phases[static_cast<std::size_t>(phase)];
}

json to_json(const network_access& x) {
  json rules = json::array();
  for (const auto& r : x.rules)
    rules.push_back({{"domain", r.domain},
                     {"headers", r.headers},
                     {"paths", r.paths},
                     {"upstream", r.upstream}});
  return {{"rules", rules}, {"allow", x.allow}, {"upstreams", x.upstreams}};
}

network_access network_from(const json& j) {
  network_access x;
  for (const auto& r : j.at("rules"))
    x.rules.push_back({r.at("domain").get<std::string>(), r.at("headers").get<string_map>(),
                       r.at("paths").get<std::vector<std::string>>(),
                       r.at("upstream").get<std::string>()});
  x.allow = j.at("allow").get<std::vector<std::string>>();
  x.upstreams = j.at("upstreams").get<string_map>();
  return x;
}

json to_json(const sandbox_order& x) {
  return {{"state", x.state_dir},        {"sandboxID", x.sandbox_id},
          {"templateID", x.template_id}, {"metadata", x.metadata},
          {"envVars", x.env_vars},       {"accessToken", x.access_token},
          {"timeout_ms", x.timeout_ms},  {"binds", x.binds},
          {"envd", x.envd_path},         {"network", to_json(x.network)},
          {"prices", x.prices},          {"trafficToken", x.traffic_token},
          {"autoPause", x.auto_pause},   {"autoResume", x.auto_resume},
          {"limits", to_json(x.limits)}, {"cgroups", x.cgroups}};
}

result<sandbox_order> order_from_json(std::string_view text) {
  try {
    auto j = json::parse(text);
    sandbox_order x;
    x.state_dir = j.at("state").get<std::string>();
    x.sandbox_id = j.at("sandboxID").get<std::string>();
    x.template_id = j.at("templateID").get<std::string>();
    x.metadata = j.at("metadata").get<string_map>();
    x.env_vars = j.at("envVars").get<string_map>();
    x.access_token = j.at("accessToken").get<std::string>();
    x.timeout_ms = j.at("timeout_ms").get<std::int64_t>();
    x.binds = j.at("binds").get<std::vector<std::string>>();
    x.envd_path = j.at("envd").get<std::string>();
    x.traffic_token = j.at("trafficToken").get<std::string>();
    x.auto_pause = j.at("autoPause").get<bool>();
    x.auto_resume = j.at("autoResume").get<bool>();
    x.limits = limits_from(j.at("limits"));
    x.cgroups = j.at("cgroups").get<string_map>();
    x.network = network_from(j.at("network"));
    x.prices = j.at("prices").get<string_map>();
    if (!valid_sandbox_id(x.sandbox_id)) return make_error(errc::bad_argument, "sandbox id");
    return x;
  } catch (const json::exception& e) {
    // Without the text of the exception's value: the order holds keys.
    return make_error(errc::bad_frame, "the order of a sandbox",
                      "JSON error " + std::to_string(e.id));
  }
}

void set_network(sandbox_info& info, const network_access& access) {
  info.domains.clear();
  for (const auto& rule : access.rules)
    info.domains.push_back(rule.domain);
  info.allow = access.allow;
}

json to_json(const sandbox_info& x) {
  return {{"sandboxID", x.sandbox_id},
          {"templateID", x.template_id},
          {"metadata", x.metadata},
          {"accessToken", x.access_token},
          {"startedAt_ms", x.started_at_ms},
          {"endAt_ms", x.end_at_ms},
          {"pid", x.pid},
          {"domains", x.domains},
          {"allow", x.allow},
          {"ready", x.ready},
          {"trafficToken", x.traffic_token},
          {"phase", std::string{to_string(x.phase)}},
          {"autoPause", x.auto_pause},
          {"autoResume", x.auto_resume},
          {"limits", to_json(x.limits)},
          {"enforced", x.enforced}};
}

result<sandbox_info> info_from_json(const json& j) {
  try {
    sandbox_info x;
    x.sandbox_id = j.at("sandboxID").get<std::string>();
    x.template_id = j.at("templateID").get<std::string>();
    x.metadata = j.at("metadata").get<string_map>();
    x.access_token = j.at("accessToken").get<std::string>();
    x.started_at_ms = j.at("startedAt_ms").get<std::int64_t>();
    x.end_at_ms = j.at("endAt_ms").get<std::int64_t>();
    x.pid = j.at("pid").get<std::int64_t>();
    x.domains = j.at("domains").get<std::vector<std::string>>();
    x.allow = j.at("allow").get<std::vector<std::string>>();
    x.ready = j.at("ready").get<bool>();
    x.traffic_token = j.at("trafficToken").get<std::string>();
    auto phase = j.at("phase").get<std::string>();
    for (std::size_t i = 0; i < std::size(phases); ++i)
      if (phases[i] == phase) x.phase = static_cast<sandbox_phase>(i);
    x.auto_pause = j.at("autoPause").get<bool>();
    x.auto_resume = j.at("autoResume").get<bool>();
    x.limits = limits_from(j.at("limits"));
    x.enforced = j.at("enforced").get<std::vector<std::string>>();
    return x;
  } catch (const json::exception& e) {
    return make_error(errc::bad_frame, "a holder's description",
                      "JSON error " + std::to_string(e.id));
  }
}

} // namespace skep::host
