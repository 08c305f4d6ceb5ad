// Who we are and what we may: a host never runs sandboxes as root, and it holds keys.
#pragma once

#include "messages/error.hpp"

#include <string>
#include <string_view>
#include <sys/types.h>

namespace skep::host {

/// The user that sandboxes run as when the host was started by root.
inline constexpr std::string_view default_service_user = "skep";

struct service_account {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Looks `user` up. errc::no_isolation when it does not exist or is root itself.
result<service_account> find_service_user(std::string_view user);

/// Becomes `account` for good (groups, all three ids, no way back) and verifies it.
result<void> drop_to(service_account account);

/// Called first by every process that holds keys: no core dumps, not readable through /proc or
/// ptrace, no new privileges, umask 077, as many descriptors as allowed.
void harden_process();

/// The number of descriptors this process may have open.
unsigned long open_file_limit();

} // namespace skep::host
