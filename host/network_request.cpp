#include "host/network_request.hpp"

#include "messages/hosts.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cctype>
#include <charconv>

namespace skep::host {
namespace {

constexpr std::size_t max_rule_domains = 10;
constexpr std::size_t max_rule_headers = 20;
constexpr std::size_t max_allowed = 500; ///< Entries of allowOut.
constexpr std::string_view everything = "0.0.0.0/0";

error wrong(std::string text) {
  return make_error(errc::bad_argument, std::move(text));
}
error no_support(std::string text) {
  return make_error(errc::refused, std::move(text) + " is not supported by this host");
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
  if (!read_string_map(*headers, rule.headers)) return wrong("network.rules: headers");
  if (rule.headers.size() > max_rule_headers) return wrong("network.rules: at most 20 headers");
  for (const auto& [name, value] : rule.headers)
    if (!is_header_name(name) || !is_header_value(value))
      return wrong("network.rules: header '" + name + "' is malformed");
  return {};
}

result<network_rule> read_rule(const std::string& domain, const json& list) {
  network_rule rule;
  rule.domain = lower_ascii(domain);
  if (rule.domain.starts_with("*."))
    return no_support("a wildcard in network.rules"); // its key would go to hosts nobody has seen
  if (!is_host_name(rule.domain)) return wrong("network.rules: '" + domain + "' is not a domain");
  if (!list.is_array() || list.size() > 1 || (!list.empty() && !list[0].is_object()))
    return wrong("network.rules: one transform for each domain");
  if (list.empty()) return rule;
  if (auto i = list[0].find("transform"); i != list[0].end()) {
    if (!i->is_object()) return wrong("network.rules: transform");
    if (auto r = read_headers(*i, rule); !r) return r.err();
  }
  if (auto i = list[0].find("paths"); i != list[0].end()) {
    if (!i->is_array()) return wrong("network.rules: paths");
    for (const auto& p : *i) {
      if (!p.is_string() || !p.get_ref<const std::string&>().starts_with('/'))
        return wrong("network.rules: a path starts with /");
      rule.paths.push_back(p.get<std::string>());
    }
  }
  return rule;
}

result<std::vector<std::string>> read_allowed(const json& network) {
  std::vector<std::string> allowed, denied;
  if (!read_texts(network, "allowOut", allowed))
    return wrong("network.allowOut is no list of texts");
  if (!read_texts(network, "denyOut", denied)) return wrong("network.denyOut is no list of texts");
  if (allowed.size() > max_allowed)
    return wrong("network.allowOut has more than " + std::to_string(max_allowed) + " entries");
  bool by_name = false;
  for (auto& x : allowed) {
    if (is_range(x)) continue;
    x = lower_ascii(x);
    if (!is_host_pattern(x))
      return wrong("network.allowOut: '" + x + "' is no address, no range of them and no domain");
    by_name = true;
  }
  auto has_all = [](const auto& list) {
    return std::find(list.begin(), list.end(), everything) != list.end();
  };
  if (by_name && !has_all(denied))
    return wrong("network.allowOut names a domain, which needs 0.0.0.0/0 in network.denyOut");
  for (const auto& x : denied)
    if (!is_range(x))
      return wrong("network.denyOut: '" + x + "' is no address and no range of them");
  return allowed;
}

} // namespace

result<network_access> parse_network(const json& network,
                                     const std::map<std::string, std::string>& upstreams) {
  if (!network.is_object()) return wrong("network");
  for (const char* name : {"egressProxy", "maskRequestHost"})
    if (auto i = network.find(name); i != network.end() && !i->is_null())
      return no_support(std::string{"network."} + name);
  network_access out;
  auto allowed = read_allowed(network);
  if (!allowed) return allowed.err();
  out.allow = std::move(*allowed);
  if (!out.allow.empty()) out.upstreams = upstreams;
  auto rules = network.find("rules");
  if (rules == network.end() || rules->is_null()) return out;
  if (!rules->is_object()) return wrong("network.rules");
  if (rules->size() > max_rule_domains) return wrong("network.rules: at most 10 domains");
  for (const auto& [domain, list] : rules->items()) {
    auto rule = read_rule(domain, list);
    if (!rule) return rule.err();
    if (auto i = upstreams.find(rule->domain); i != upstreams.end()) rule->upstream = i->second;
    out.rules.push_back(std::move(*rule));
  }
  return out;
}

bool has_tunnels(const network_access& access) {
  return std::any_of(access.allow.begin(), access.allow.end(), [&access](const auto& host) {
    return std::none_of(access.rules.begin(), access.rules.end(),
                        [&host](const auto& rule) { return rule.domain == host; });
  });
}

string_map proxy_variables() {
  auto url = "http://127.0.0.1:" + std::to_string(gateway_port);
  string_map out;
  for (const char* name : {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                           "npm_config_proxy", "npm_config_https_proxy"})
    out[name] = url;
  for (const char* name : {"NO_PROXY", "no_proxy"})
    out[name] = "localhost,127.0.0.1,::1"; // programs of the sandbox among themselves
  out["NODE_USE_ENV_PROXY"] = "1";         // node's own fetch looks at none of them otherwise
  return out;
}

} // namespace skep::host
