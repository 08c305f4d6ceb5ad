// What the gateway lets through: pure functions on text and addresses.
#pragma once

#include "host/gateway/gateway.hpp"

#include <boost/asio/ip/address.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace skep::host::gate {

/// Empty when the rule is sound, else what is wrong with it (no header value in it).
std::string fault_of(const gateway_rule& rule);

/// A refusal: HTTP status, error type and words for the client.
struct refusal {
  unsigned status = 0;
  const char* type = "";
  const char* message = "";
  unsigned retry_after_s = 0; ///< 0: repeating the request is of no use.
};

/// False for addresses that no public service has: private, loopback, link-local (cloud metadata),
/// shared, multicast, reserved, and IPv6 forms that carry such an IPv4 address.
bool is_public(const boost::asio::ip::address& address);

/// Every address, as E2B writes it: both families.
inline constexpr std::string_view all_addresses = "0.0.0.0/0";

/// Addresses that begin with the same bits.
struct address_range {
  boost::asio::ip::address base;
  unsigned bits = 0; ///< Of the base that count.
};
/// An address, or "address/bits". Nothing: it is none.
std::optional<address_range> parse_range(std::string_view text);
/// True when one of them holds `address`; all_addresses holds those of both families, a range of
/// IPv4 also the IPv6 form of its addresses.
bool in_ranges(const std::vector<address_range>& ranges, const boost::asio::ip::address& address);

/// A server to connect to.
struct endpoint {
  bool tls = true;
  std::string host;
  std::string port = "443";
  std::string host_header;
  std::string base_path; ///< Put before the path; empty or without a trailing slash.
  bool any_address = false;
  std::vector<address_range> only = {}; ///< Addresses that may be connected to; empty: any public.
};
/// The rule's upstream. False: the override is malformed.
bool upstream_of(const gateway_rule& rule, endpoint& out);

/// Where a request goes.
struct route {
  const gateway_rule* rule = nullptr;
  std::string target; ///< Path and query, as the client sent them, without the domain.
  endpoint to;
};

/// Matches a request target `/<domain>/rest?query` with the rules. Refuses absolute-form, dot
/// segments, encoded slashes, backslashes, percent signs and control characters, unlisted domains
/// and paths.
std::optional<refusal> find_route(std::string_view target, const std::vector<gateway_rule>& rules,
                                  route& out);

bool same_name(std::string_view a,
               std::string_view b); ///< Header names: ASCII case does not count.
std::string lower(std::string_view text);
/// Headers that concern one connection only (RFC 9110, 7.6.1).
bool is_hop_by_hop(std::string_view name);
/// True when `name` is one of the comma-separated tokens of a Connection header.
bool in_tokens(std::string_view list, std::string_view name);
/// True for the client's headers that must not go on under `rule`.
bool is_replaced(const gateway_rule& rule, std::string_view name);

} // namespace skep::host::gate
