#include "host/privileges.hpp"

#include "host/posix.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace skep::host {

result<service_account> find_service_user(std::string_view user) {
  std::string name{user};
  std::vector<char> buffer(65536);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found)
    return make_error(errc::no_isolation, "started as root, and the user '" + name
                                              + "' that sandboxes run as does not exist; run "
                                                "tools/setup, or name another with --service-user");
  if (entry.pw_uid == 0 || entry.pw_gid == 0)
    return make_error(errc::no_isolation,
                      "the user '" + name + "' is root: sandboxes never run as root");
  return service_account{entry.pw_uid, entry.pw_gid};
}

result<void> drop_to(service_account account) {
  if (account.uid == 0 || account.gid == 0)
    return make_error(errc::no_isolation, "sandboxes never run as root");
  if (::setgroups(0, nullptr) != 0) return system_error("setgroups");
  if (::setresgid(account.gid, account.gid, account.gid) != 0) return system_error("setresgid");
  if (::setresuid(account.uid, account.uid, account.uid) != 0) return system_error("setresuid");
  uid_t uids[3];
  gid_t gids[3];
  ::getresuid(&uids[0], &uids[1], &uids[2]);
  ::getresgid(&gids[0], &gids[1], &gids[2]);
  for (int i = 0; i < 3; ++i)
    if (uids[i] != account.uid || gids[i] != account.gid)
      return make_error(errc::no_isolation, "could not give up root");
  if (::setuid(0) == 0) return make_error(errc::no_isolation, "could not give up root");
  return {};
}

void harden_process() {
  ::umask(077);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

unsigned long open_file_limit() {
  rlimit files{};
  return ::getrlimit(RLIMIT_NOFILE, &files) == 0 ? static_cast<unsigned long>(files.rlim_cur)
                                                 : 1024;
}

} // namespace skep::host
