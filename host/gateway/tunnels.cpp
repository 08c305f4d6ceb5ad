#include "host/gateway/tunnels.hpp"

#include "messages/hosts.hpp"

#include <algorithm>
#include <charconv>

namespace skep::host::gate {
namespace {

using boost::asio::ip::make_address_v4;
using boost::asio::ip::make_address_v6;

constexpr refusal port_closed{403, "permission_error", "gateway: this port is not allowed"};
constexpr refusal host_closed{403, "permission_error", "gateway: this host is not allowed"};
constexpr refusal has_rule{403, "permission_error",
                           "gateway: this host is reached as http://127.0.0.1:PORT/<host>/ alone"};

std::optional<std::uint16_t> parse_port(std::string_view text) {
  unsigned n = 0;
  if (text.empty() || text.front() == '0') return std::nullopt;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc{} || end != text.data() + text.size() || n > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(n);
}

bool opens_all(const tunnel_rules& rules) {
  return std::find(rules.ranges.begin(), rules.ranges.end(), all_addresses) != rules.ranges.end();
}

bool listed(const tunnel_rules& rules, const authority& to) {
  return !to.is_address
         && std::any_of(rules.hosts.begin(), rules.hosts.end(),
                        [&to](const auto& pattern) { return matches_host(pattern, to.host); });
}

std::vector<address_range> ranges_of(const tunnel_rules& rules) {
  std::vector<address_range> out;
  for (const auto& text : rules.ranges)
    if (auto range = parse_range(text)) out.push_back(*range);
  return out;
}

std::string shown(const authority& to) {
  auto host = to.host.find(':') == std::string::npos ? to.host : "[" + to.host + "]";
  return to.port == 80 ? host : host + ":" + std::to_string(to.port);
}

} // namespace

std::optional<authority> parse_authority(std::string_view text, std::uint16_t default_port) {
  authority out;
  std::string_view host, port;
  if (text.starts_with('[')) {
    auto end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    boost::system::error_code ec;
    auto address = make_address_v6(std::string{host}, ec);
    if (ec || host.find('%') != std::string_view::npos) return std::nullopt;
    out.host = address.to_string();
    out.is_address = true;
  } else {
    auto colon = text.find(':');
    host = text.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
    out.host = lower_ascii(host.ends_with('.') ? host.substr(0, host.size() - 1) : host);
    boost::system::error_code ec;
    make_address_v4(out.host, ec);
    out.is_address = !ec && !host.ends_with('.');
    if (!out.is_address && !is_host_name(out.host)) return std::nullopt;
  }
  if (port.empty() && default_port != 0) {
    out.port = default_port;
    return out;
  }
  if (!port.starts_with(':')) return std::nullopt;
  auto number = parse_port(port.substr(1));
  if (!number) return std::nullopt;
  out.port = *number;
  return out;
}

std::string fault_of(const tunnel_rules& rules) {
  for (const auto& host : rules.hosts)
    if (!is_host_name(host.starts_with("*.") ? std::string_view{host}.substr(2) : host))
      return "a host to allow is no lower-case host name";
  for (const auto& range : rules.ranges)
    if (!parse_range(range)) return "a range to allow is malformed";
  for (const auto& [host, url] : rules.upstreams) {
    endpoint e;
    if (!upstream_of({host, {}, {}, url}, e))
      return "the upstream of " + host + " is no http(s) URL";
  }
  return {};
}

std::optional<refusal> find_tunnel(const authority& to, const gateway_access& access,
                                   endpoint& out) {
  const auto& rules = access.tunnels;
  if (std::find(rules.ports.begin(), rules.ports.end(), to.port) == rules.ports.end())
    return port_closed;
  if (std::any_of(access.rules.begin(), access.rules.end(),
                  [&to](const auto& rule) { return rule.domain == to.host; }))
    return has_rule;
  bool by_name = listed(rules, to);
  bool by_range = !rules.ranges.empty();
  if (!by_name && !by_range) return host_closed;
  out = {};
  out.tls = false;
  out.host = to.host;
  out.port = std::to_string(to.port);
  if (auto i = rules.upstreams.find(to.host);
      i != rules.upstreams.end() && (by_name || opens_all(rules))) {
    if (!upstream_of({to.host, {}, {}, i->second}, out)) return host_closed;
    out.base_path.clear();
  } else if (!by_name) {
    out.only = ranges_of(rules);
    if (to.is_address) {
      boost::system::error_code ec;
      auto address = boost::asio::ip::make_address(to.host, ec);
      if (ec || !in_ranges(out.only, address)) return host_closed;
    }
  }
  out.host_header = shown(to);
  return std::nullopt;
}

bool split_absolute(std::string_view target, authority& to, std::string& path) {
  constexpr std::string_view scheme = "http://";
  if (!same_name(target.substr(0, scheme.size()), scheme)) return false;
  target.remove_prefix(scheme.size());
  auto end = target.find_first_of("/?#");
  auto rest = end == std::string_view::npos ? std::string_view{} : target.substr(end);
  if (std::any_of(rest.begin(), rest.end(), [](char c) {
        return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '#';
      }))
    return false;
  auto parsed = parse_authority(target.substr(0, end), 80);
  if (!parsed) return false;
  to = *parsed;
  path = rest.starts_with('/') ? std::string{rest} : "/" + std::string{rest};
  return true;
}

} // namespace skep::host::gate
