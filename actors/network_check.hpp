// Does the network of a new sandbox hold what was ordered? skep-guest tries from inside; what its
// answers prove is judged on this side. Pure; docs/decisions/0057 says why these questions.
#pragma once

#include "actors/policy.hpp"
#include "messages/commands.hpp"
#include "messages/json.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace skep::actors {

/// Where providers answer guests about themselves, and on many give out credentials of their own.
struct metadata_place {
  std::string_view target; ///< As skep-guest takes it: ADDRESS@PORT/PATH.
  std::string_view whose;
};
inline constexpr metadata_place metadata_places[] = {
    // AWS, "Access instance metadata for an EC2 instance"; OpenStack and many others follow it.
    {"169.254.169.254@80/latest/meta-data/", "EC2 and those like it"},
    {"fd00:ec2::254@80/latest/meta-data/", "EC2, by IPv6"},
    // Google Cloud, "About VM metadata": metadata.google.internal is this address.
    {"169.254.169.254@80/computeMetadata/v1/", "Google Cloud"},
    // Azure Instance Metadata Service; the oldest version that every region has.
    {"169.254.169.254@80/metadata/instance?api-version=2021-02-01", "Azure"},
    // Alibaba Cloud ECS, "View instance metadata".
    {"100.100.100.200@80/latest/meta-data/", "Alibaba Cloud"},
};

/// Public addresses that answer TLS everywhere in the world: anycast addresses of public resolvers,
/// whose operators document DNS over HTTPS at them. Not Google's 8.8.8.8: E2B allows it by itself
/// as soon as a domain is allowed.
struct public_place {
  std::string_view target; ///< As skep-guest takes it: ADDRESS@PORT.
  std::string_view host;   ///< The operator's name for it: who allows that one, allows this.
  std::string_view whose;
};
inline constexpr public_place public_places[] = {
    // developers.cloudflare.com/1.1.1.1/ip-addresses
    {"1.1.1.1@443", "one.one.one.one", "Cloudflare's resolver"},
    {"2606:4700:4700::1111@443", "one.one.one.one", "Cloudflare's resolver, by IPv6"},
    // quad9.net/service/service-addresses-and-features
    {"9.9.9.9@443", "dns.quad9.net", "Quad9's resolver"},
    {"2620:fe::fe@443", "dns.quad9.net", "Quad9's resolver, by IPv6"},
};

/// The arguments of skep-guest that ask what `spec` needs to know: all of metadata_places, and
/// under every policy but `open` those of public_places that it does not allow. Answers within
/// `limit`.
std::vector<std::string> network_question(const swarm_spec& spec, std::chrono::milliseconds limit);

/// What the answer to network_question proves. Empty: the network holds. errc::no_isolation when a
/// metadata service was read (status 200), when a public address that the policy does not allow
/// answered, or when the answer leaves one of them open. Under network_check::warn only the last is
/// an error; of the others a sentence says all that answered, and which setting keeps the sandbox.
result<std::string> judge_network(const json& answer, const swarm_spec& spec, network_check how);

} // namespace skep::actors
