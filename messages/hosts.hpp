// Names of hosts, and patterns of them as E2B's network rules have them.
#pragma once

#include <string>
#include <string_view>

namespace skep {

/// A DNS name as it is written down: lower-case letters, digits, hyphens and dots, labels of 1 to
/// 63 that neither begin nor end with a hyphen, 253 in all, no dot at the end. An address is none.
bool is_host_name(std::string_view text);

/// A host name with at least one dot in it, or "*." before a host name: every host below it at any
/// depth, but not the name itself.
bool is_host_pattern(std::string_view text);

/// `host` as a client wrote it: ASCII case and one dot at its end do not count. `pattern` is one.
bool matches_host(std::string_view pattern, std::string_view host);

/// ASCII capitals become small.
std::string lower_ascii(std::string_view text);

} // namespace skep
