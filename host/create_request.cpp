#include "host/create_request.hpp"

#include "host/network_request.hpp"
#include "host/web_text.hpp"

#include <algorithm>
#include <cctype>

namespace skep::host {
namespace {

/// What fits the pipe to envd with room to spare.
constexpr std::size_t max_env_bytes = 512u << 10;

error bad(std::string text) {
  return make_error(errc::bad_argument, std::move(text));
}
error unsupported(std::string text) {
  return make_error(errc::refused, std::move(text) + " is not supported by this host");
}

bool present(const json& j, const char* name) {
  auto i = j.find(name);
  return i != j.end() && !i->is_null();
}

result<void> read_env(const json& j, sandbox_order& out) {
  if (!read_string_map(j, out.env_vars)) return bad("envVars must map strings to strings");
  std::size_t total = 0;
  for (const auto& [name, value] : out.env_vars) {
    if (name.empty() || name.find('=') != name.npos || name.find('\0') != name.npos
        || value.find('\0') != value.npos)
      return bad("envVars: '" + name + "' cannot be a variable");
    total += name.size() + value.size() + 8;
  }
  if (total > max_env_bytes) return bad("envVars: more than 512 KiB");
  return {};
}

} // namespace

result<std::int64_t> lifetime_from(const json& seconds) {
  if (!seconds.is_number_integer()) return bad("timeout must be an integer");
  auto n = seconds.get<std::int64_t>();
  if (n <= 0) return bad("Timeout must be greater than 0");
  if (n > max_lifetime_ms / 1000) return bad("Timeout cannot be greater than 24 hours");
  return n * 1000;
}

result<sandbox_order> parse_create(std::string_view body, std::int64_t default_timeout_ms,
                                   const std::map<std::string, std::string>& upstreams) {
  auto j = json::parse(body, nullptr, false);
  if (!j.is_object()) return bad("the body is not a JSON object");
  sandbox_order out;
  if (!j.contains("templateID") || !j["templateID"].is_string())
    return bad("templateID is missing");
  out.template_id = j["templateID"].get<std::string>();
  std::transform(out.template_id.begin(), out.template_id.end(), out.template_id.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!valid_template_id(out.template_id)) return bad("templateID is malformed");
  out.timeout_ms = default_timeout_ms;
  if (present(j, "timeout")) {
    auto t = lifetime_from(j["timeout"]);
    if (!t) return t.err();
    out.timeout_ms = *t;
  }
  for (const char* name : {"autoPause", "secure", "allow_internet_access"})
    if (present(j, name) && !j[name].is_boolean())
      return bad(std::string{name} + " must be a boolean");
  out.auto_pause = present(j, "autoPause") && j["autoPause"] == true;
  if (present(j, "autoPauseMemory") && j["autoPauseMemory"] == false)
    return unsupported("autoPauseMemory: false");
  if (present(j, "autoResume")) {
    const auto& resume = j["autoResume"];
    if (!resume.is_object() || !resume.contains("enabled") || !resume["enabled"].is_boolean())
      return bad("autoResume");
    out.auto_resume = resume["enabled"].get<bool>();
  }
  for (const char* name : {"mcp", "iam"})
    if (present(j, name)) return unsupported(name);
  if (present(j, "volumeMounts") && !j["volumeMounts"].empty()) return unsupported("volumeMounts");
  if (present(j, "metadata") && !read_string_map(j["metadata"], out.metadata))
    return bad("metadata must map strings to strings");
  if (present(j, "envVars"))
    if (auto r = read_env(j["envVars"], out); !r) return r.err();
  if (present(j, "network")) {
    auto network = parse_network(j["network"], upstreams);
    if (!network) return network.err();
    out.network = std::move(*network);
    if (auto i = j["network"].find("allowPublicTraffic"); i != j["network"].end() && *i == false)
      out.traffic_token = "wanted"; // the caller puts a random one here
  }
  // What the user sets himself stays.
  if (has_tunnels(out.network)) out.env_vars.merge(proxy_variables());
  return out;
}

} // namespace skep::host
