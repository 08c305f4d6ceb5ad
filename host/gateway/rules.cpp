#include "host/gateway/rules.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace skep::host::gate {

namespace {

using boost::asio::ip::address;
using boost::asio::ip::address_v4;
using boost::asio::ip::address_v6;

bool is_token(std::string_view text) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || others.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool is_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; });
}

bool is_domain(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && text.back() != '.'
         && text.find("..") == std::string_view::npos
         && std::all_of(text.begin(), text.end(), [](char c) {
              return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.';
            });
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path as a server will read it. False: it could be read in two ways, or leads out of its
// place.
bool decode_path(std::string_view path, std::string& out) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    auto c = static_cast<unsigned char>(path[i]);
    bool encoded = c == '%';
    if (encoded) {
      if (i + 2 >= path.size()) return false;
      int high = hex_digit(path[i + 1]);
      int low = hex_digit(path[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<unsigned char>(high << 4 | low);
      i += 2;
      if (c == '/' || c == '%') return false;
    }
    if (c == '\\' || c < 0x20 || c == 0x7f || (!encoded && (c == ' ' || c == '#'))) return false;
    out += static_cast<char>(c);
  }
  std::string_view rest = out;
  while (!rest.empty()) {
    auto end = rest.find('/');
    auto segment = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    segment = segment.substr(0, segment.find(';')); // some servers drop ";parameters" first
    if (segment == "." || segment == "..") return false;
  }
  return true;
}

bool allows(std::string_view prefix, std::string_view path) {
  if (prefix.ends_with('$')) return path == prefix.substr(0, prefix.size() - 1);
  if (!path.starts_with(prefix)) return false;
  return prefix.ends_with('/') || path.size() == prefix.size() || path[prefix.size()] == '/';
}

bool is_public_v4(address_v4 a) {
  struct block {
    std::uint32_t begin;
    int bits;
  };
  constexpr auto at = [](unsigned p, unsigned q, unsigned r, unsigned s) -> std::uint32_t {
    return p << 24 | q << 16 | r << 8 | s;
  };
  constexpr block closed[] = {
      {at(0, 0, 0, 0), 8},       {at(10, 0, 0, 0), 8},     {at(100, 64, 0, 0), 10},
      {at(127, 0, 0, 0), 8},     {at(169, 254, 0, 0), 16}, {at(172, 16, 0, 0), 12},
      {at(192, 0, 0, 0), 24},    {at(192, 0, 2, 0), 24},   {at(192, 88, 99, 0), 24},
      {at(192, 168, 0, 0), 16},  {at(198, 18, 0, 0), 15},  {at(198, 51, 100, 0), 24},
      {at(203, 0, 113, 0), 24},  {at(224, 0, 0, 0), 4},    {at(240, 0, 0, 0), 4},
      {at(168, 63, 129, 16), 32} // Azure's platform endpoint
  };
  auto n = a.to_uint();
  return std::none_of(std::begin(closed), std::end(closed), [n](const block& b) {
    return (n >> (32 - b.bits)) == (b.begin >> (32 - b.bits));
  });
}

bool is_public_v6(const address_v6& a) {
  auto b = a.to_bytes();
  auto v4_at = [&b](std::size_t i) {
    return address_v4(address_v4::bytes_type{{b[i], b[i + 1], b[i + 2], b[i + 3]}});
  };
  auto starts = [&b](std::initializer_list<unsigned char> bytes) {
    return std::equal(bytes.begin(), bytes.end(), b.begin());
  };
  if (a.is_v4_mapped()) return is_public_v4(v4_at(12));
  // NAT64 (64:ff9b::/96) and 6to4 (2002::/16) carry an IPv4 address.
  if (starts({0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return is_public_v4(v4_at(12));
  if (starts({0x20, 0x02})) return is_public_v4(v4_at(2));
  if (starts({0x20, 0x01, 0x00, 0x00}) || starts({0x20, 0x01, 0x0d, 0xb8})) return false;
  return (b[0] & 0xe0) == 0x20; // 2000::/3 is the whole of global unicast
}

} // namespace

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && lower(a) == lower(b);
}

std::string fault_of(const gateway_rule& rule) {
  if (!is_domain(rule.domain)) return "a domain is not a lower-case host name";
  for (const auto& [name, value] : rule.headers) {
    if (!is_token(name)) return "a header name of " + rule.domain + " is malformed";
    if (!is_value(value)) return "the value of header " + name + " has control characters";
    if (is_hop_by_hop(name) || same_name(name, "host") || same_name(name, "content-length"))
      return "header " + name + " cannot be set by a rule";
  }
  for (const auto& path : rule.paths) {
    std::string decoded;
    if (!path.starts_with('/') || !decode_path(path, decoded) || decoded != path)
      return "a path of " + rule.domain + " is malformed";
  }
  endpoint e;
  if (!upstream_of(rule, e)) return "the upstream of " + rule.domain + " is no http(s) URL";
  return {};
}

std::optional<refusal> find_route(std::string_view target, const std::vector<gateway_rule>& rules,
                                  route& out) {
  constexpr refusal malformed{400, "invalid_request_error",
                              "gateway: the request target must be /<domain>/<path>, without dot "
                              "segments or encoded separators"};
  if (!target.starts_with('/')) return malformed;
  auto mark = target.find('?');
  auto path = target.substr(0, mark);
  auto query = mark == std::string_view::npos ? std::string_view{} : target.substr(mark);
  for (unsigned char c : query)
    if (c <= 0x20 || c == 0x7f || c == '#') return malformed;
  std::string decoded;
  if (!decode_path(path, decoded)) return malformed;
  auto slash = path.find('/', 1);
  auto domain = lower(path.substr(1, slash == std::string_view::npos ? slash : slash - 1));
  auto rule = std::find_if(rules.begin(), rules.end(),
                           [&domain](const auto& r) { return r.domain == domain; });
  if (rule == rules.end())
    return refusal{403, "permission_error", "gateway: this domain is not allowed"};
  // The domain has no escapes, so the rest of the decoded path begins at the same place.
  std::string rest = slash == std::string_view::npos ? "/" : decoded.substr(slash);
  if (!rule->paths.empty()
      && std::none_of(rule->paths.begin(), rule->paths.end(),
                      [&rest](const auto& prefix) { return allows(prefix, rest); }))
    return refusal{403, "permission_error", "gateway: this path is not allowed"};
  out.rule = &*rule;
  out.target = slash == std::string_view::npos ? "/" : path.substr(slash);
  out.target += query;
  if (!upstream_of(*rule, out.to)) return malformed; // fault_of() has seen to it
  return std::nullopt;
}

bool is_public(const address& a) {
  return a.is_v4() ? is_public_v4(a.to_v4()) : is_public_v6(a.to_v6());
}

std::optional<address_range> parse_range(std::string_view text) {
  auto slash = text.find('/');
  boost::system::error_code ec;
  auto base = boost::asio::ip::make_address(std::string{text.substr(0, slash)}, ec);
  if (ec || text.find('%') != std::string_view::npos) return std::nullopt;
  unsigned most = base.is_v4() ? 32 : 128;
  address_range out{base, most};
  if (slash == std::string_view::npos) return out;
  auto bits = text.substr(slash + 1);
  auto [end, failed] = std::from_chars(bits.data(), bits.data() + bits.size(), out.bits);
  if (failed != std::errc{} || end != bits.data() + bits.size() || out.bits > most)
    return std::nullopt;
  return out;
}

bool in_ranges(const std::vector<address_range>& ranges, const address& a) {
  auto bytes_of = [](const address& x) {
    if (x.is_v4()) {
      auto b = x.to_v4().to_bytes();
      return std::vector<unsigned char>(b.begin(), b.end());
    }
    auto b = x.to_v6().to_bytes();
    return std::vector<unsigned char>(b.begin(), b.end());
  };
  address plain = a;
  if (a.is_v6() && a.to_v6().is_v4_mapped())
    plain = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.to_v6());
  auto wanted = bytes_of(plain);
  return std::any_of(ranges.begin(), ranges.end(), [&](const address_range& range) {
    if (range.bits == 0 && range.base.is_v4()) return true;
    auto base = bytes_of(range.base);
    if (base.size() != wanted.size()) return false;
    auto whole = range.bits / 8;
    if (!std::equal(base.begin(), base.begin() + whole, wanted.begin())) return false;
    auto rest = range.bits % 8;
    return rest == 0 || (base[whole] >> (8 - rest)) == (wanted[whole] >> (8 - rest));
  });
}

bool upstream_of(const gateway_rule& rule, endpoint& out) {
  if (rule.upstream_override.empty()) {
    out = {true, rule.domain, "443", rule.domain, {}, false, {}};
    return true;
  }
  std::string_view text = rule.upstream_override;
  out = {};
  out.any_address = true;
  if (text.starts_with("http://")) {
    out.tls = false;
    out.port = "80";
    text.remove_prefix(7);
  } else if (text.starts_with("https://")) {
    text.remove_prefix(8);
  } else {
    return false;
  }
  auto slash = text.find('/');
  auto authority = text.substr(0, slash);
  if (slash != std::string_view::npos) out.base_path = text.substr(slash);
  while (out.base_path.ends_with('/'))
    out.base_path.pop_back();
  out.host_header = authority;
  auto colon = authority.rfind(':');
  if (authority.starts_with('[')) { // IPv6 literal
    auto end = authority.find(']');
    if (end == std::string_view::npos) return false;
    out.host = authority.substr(1, end - 1);
    if (colon < end) colon = std::string_view::npos;
  } else {
    out.host = authority.substr(0, colon);
  }
  if (colon != std::string_view::npos) out.port = authority.substr(colon + 1);
  bool digits =
      !out.port.empty() && out.port.size() <= 5
      && std::all_of(out.port.begin(), out.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  std::string decoded;
  return digits && !out.host.empty() && authority.find('@') == std::string_view::npos
         && is_value(authority) && decode_path(out.base_path, decoded)
         && out.base_path.find('?') == std::string::npos;
}

bool is_hop_by_hop(std::string_view name) {
  constexpr std::string_view names[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "http2-settings"};
  auto key = lower(name);
  return std::find(std::begin(names), std::end(names), key) != std::end(names);
}

bool in_tokens(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    auto end = list.find(',');
    auto token = list.substr(0, end);
    list = end == std::string_view::npos ? std::string_view{} : list.substr(end + 1);
    while (!token.empty() && (token.front() == ' ' || token.front() == '\t'))
      token.remove_prefix(1);
    while (!token.empty() && (token.back() == ' ' || token.back() == '\t'))
      token.remove_suffix(1);
    if (same_name(token, name)) return true;
  }
  return false;
}

bool is_replaced(const gateway_rule& rule, std::string_view name) {
  if (rule.headers.empty()) return false;
  // Under a rule that brings a key no other credential goes on, whatever header it is in.
  constexpr std::string_view credentials[] = {"authorization", "x-api-key", "x-goog-api-key",
                                              "api-key", "cookie"};
  auto key = lower(name);
  if (std::find(std::begin(credentials), std::end(credentials), key) != std::end(credentials))
    return true;
  return std::any_of(rule.headers.begin(), rule.headers.end(),
                     [name](const auto& h) { return same_name(h.first, name); });
}

} // namespace skep::host::gate
