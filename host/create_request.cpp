#include "host/create_request.hpp"

#include "host/web_text.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cctype>
#include <charconv>

namespace skep::host {
namespace {

constexpr std::size_t max_rule_domains = 10;
constexpr std::size_t max_rule_headers = 20;
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

bool is_domain(const std::string& text) {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && text.front() != '-'
         && std::all_of(text.begin(), text.end(), [](unsigned char c) {
              return std::islower(c) || std::isdigit(c) || c == '.' || c == '-';
            });
}

// An address, or a range of them (address/bits).
bool is_range(const std::string& text) {
  auto slash = text.find('/');
  auto address = text.substr(0, slash);
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  bool v4 = ::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1;
  if (!v4 && ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return false;
  if (slash == text.npos) return true;
  int bits = -1;
  auto [end, ec] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), bits);
  return ec == std::errc{} && end == text.data() + text.size() && bits >= 0
         && bits <= (v4 ? 32 : 128);
}

// A list of texts; nothing at all is an empty one.
bool read_texts(const json& from, const char* name, std::vector<std::string>& out) {
  auto i = from.find(name);
  if (i == from.end() || i->is_null()) return true;
  if (!i->is_array()) return false;
  for (const auto& x : *i) {
    if (!x.is_string()) return false;
    out.push_back(x.get<std::string>());
  }
  return true;
}

bool is_header_name(const std::string& text) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !text.empty() && text.size() <= 256
         && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
              return std::isalnum(c) || others.find(static_cast<char>(c)) != others.npos;
            });
}

bool is_header_value(const std::string& text) {
  return text.size() <= 8192 && std::none_of(text.begin(), text.end(), [](unsigned char c) {
           return (c < 0x20 && c != '\t') || c == 0x7f;
         });
}

result<void> read_headers(const json& transform, network_rule& rule) {
  auto headers = transform.find("headers");
  if (headers == transform.end()) return {};
  if (!read_string_map(*headers, rule.headers)) return bad("network.rules: headers");
  if (rule.headers.size() > max_rule_headers) return bad("network.rules: at most 20 headers");
  for (const auto& [name, value] : rule.headers)
    if (!is_header_name(name) || !is_header_value(value))
      return bad("network.rules: header '" + name + "' is malformed");
  return {};
}

result<network_rule> read_rule(const std::string& domain, const json& list) {
  network_rule rule;
  rule.domain = domain;
  std::transform(rule.domain.begin(), rule.domain.end(), rule.domain.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!is_domain(rule.domain)) return bad("network.rules: '" + domain + "' is not a domain");
  if (!list.is_array() || list.size() > 1 || (!list.empty() && !list[0].is_object()))
    return bad("network.rules: one transform for each domain");
  if (list.empty()) return rule;
  if (auto i = list[0].find("transform"); i != list[0].end()) {
    if (!i->is_object()) return bad("network.rules: transform");
    if (auto r = read_headers(*i, rule); !r) return r.err();
  }
  if (auto i = list[0].find("paths"); i != list[0].end()) {
    if (!i->is_array()) return bad("network.rules: paths");
    for (const auto& p : *i) {
      if (!p.is_string() || !p.get_ref<const std::string&>().starts_with('/'))
        return bad("network.rules: a path starts with /");
      rule.paths.push_back(p.get<std::string>());
    }
  }
  return rule;
}

result<void> read_network(const json& network, const std::map<std::string, std::string>& upstreams,
                          sandbox_order& out) {
  if (!network.is_object()) return bad("network");
  for (const char* name : {"egressProxy", "maskRequestHost"})
    if (present(network, name)) return unsupported(std::string{"network."} + name);
  std::vector<std::string> allowed, denied;
  if (!read_texts(network, "allowOut", allowed)) return bad("network.allowOut is no list of texts");
  if (!read_texts(network, "denyOut", denied)) return bad("network.denyOut is no list of texts");
  bool by_name =
      std::any_of(allowed.begin(), allowed.end(), [](const auto& x) { return !is_range(x); });
  if (by_name && std::find(denied.begin(), denied.end(), "0.0.0.0/0") == denied.end())
    return bad("network.allowOut names a domain, which needs 0.0.0.0/0 in network.denyOut");
  for (const auto& x : denied)
    if (!is_range(x)) return bad("network.denyOut: '" + x + "' is no address and no range of them");
  if (!allowed.empty()) return unsupported("network.allowOut");
  if (auto i = network.find("allowPublicTraffic"); i != network.end() && *i == false)
    out.traffic_token = "wanted"; // the caller of parse_create puts a random one here
  auto rules = network.find("rules");
  if (rules == network.end() || rules->is_null()) return {};
  if (!rules->is_object()) return bad("network.rules");
  if (rules->size() > max_rule_domains) return bad("network.rules: at most 10 domains");
  for (const auto& [domain, list] : rules->items()) {
    auto rule = read_rule(domain, list);
    if (!rule) return rule.err();
    if (auto i = upstreams.find(rule->domain); i != upstreams.end()) rule->upstream = i->second;
    out.rules.push_back(std::move(*rule));
  }
  return {};
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
  if (present(j, "network"))
    if (auto r = read_network(j["network"], upstreams, out); !r) return r.err();
  return out;
}

} // namespace skep::host
