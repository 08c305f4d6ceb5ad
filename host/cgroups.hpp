// Limits of one sandbox by control groups, where the machine lets us: version 1 controllers, whose
// directory root gives away (chown) before it gives its privileges up.
//
//   BASE/            made and given away by delegate_cgroups(), one a controller; holds no process
//   BASE/ID/         made by the holder; bubblewrap joins it between fork and exec
//
// What cannot be had is not enforced, and enforced() says so.
#pragma once

#include "host/posix.hpp"
#include "host/spec.hpp"

#include <string>
#include <sys/types.h>
#include <vector>

namespace skep::host {

/// Called by root before it becomes `uid`: makes the base directories below our own groups and
/// gives them to that user. Called by anybody else it finds those that are there already.
/// Controller
/// ("memory", "cpu", "pids") to directory; what cannot be had is absent.
string_map delegate_cgroups(uid_t uid, gid_t gid);

class sandbox_cgroups {
public:
  sandbox_cgroups() = default;
  sandbox_cgroups(sandbox_cgroups&&) = default;
  sandbox_cgroups& operator=(sandbox_cgroups&&) = default;

  /// Makes the groups that `limits` needs. A limit that cannot be set is left out.
  static sandbox_cgroups make(const string_map& bases, const std::string& id,
                              const resource_limits& limits);
  /// Open `cgroup.procs` files: a process that writes "0" to each is in the groups. Closed with us.
  std::vector<int> joins() const;
  const std::vector<std::string>& enforced() const { return enforced_; }
  /// Removes the groups, once no process is in them.
  void remove();

private:
  std::vector<std::string> directories_;
  std::vector<unique_fd> joins_;
  std::vector<std::string> enforced_;
};

/// Removes the groups of a sandbox whose holder died.
void sweep_cgroups(const string_map& bases, const std::string& id);

} // namespace skep::host
