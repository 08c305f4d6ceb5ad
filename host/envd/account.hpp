// The one Linux user of the sandbox (the one that skep-envd runs as), its environment, and how
// paths in requests are resolved. Reads /etc/passwd and /etc/group itself: the program is static,
// and a static glibc must not call getpwnam.
#pragma once

#include "host/envd/config.hpp"

#include <map>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace skep::envd {

class account {
public:
  /// Takes name and home from `c`, HOME and PATH from the process's environment.
  explicit account(const config& c);

  /// Takes another configuration (POST /init).
  void reset(const config& c);

  const std::string& user() const { return user_; }
  const std::string& home() const { return home_; }
  /// True when requests may name `user`: the configured name, or the name of our uid.
  bool known(std::string_view user) const;
  /// Absolute path for a path of a request: empty is the default work directory, `~` the home
  /// directory, a relative path lies under the home directory. False for `~other` and for NULs.
  bool resolve(std::string_view path, std::string& out) const;
  /// Environment of a process, as NAME=VALUE: PATH, HOME, USER, LOGNAME, then the sandbox's own,
  /// then `extra`; a later one replaces an earlier one.
  std::vector<std::string>
  environment(const std::vector<std::pair<std::string, std::string>>& extra) const;
  /// The sandbox's default environment (GET /envs).
  const std::vector<std::pair<std::string, std::string>>& defaults() const { return defaults_; }

  /// Name of a uid or gid, or its number as text.
  std::string user_name(uid_t uid);
  std::string group_name(gid_t gid);

private:
  std::string user_;
  std::string own_name_;
  std::string home_;
  std::string path_;
  std::string workdir_;
  std::vector<std::pair<std::string, std::string>> defaults_;
  std::map<unsigned, std::string> users_;
  std::map<unsigned, std::string> groups_;
};

} // namespace skep::envd
