#include "storage/state_dir.hpp"
#include "storage/files.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {
namespace {

namespace fs = std::filesystem;

/// FNV-1a, 64 bit: a short name for a long path, no secret.
std::string short_name(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (unsigned char c : text)
    h = (h ^ c) * 0x100000001b3ull;
  char out[17] = {};
  std::to_chars(out, out + 16, h, 16);
  return out;
}

/// A folder that others may enter and that holds other things: it was named by mistake, and closing
/// it to them (/tmp, /etc) could stop the machine.
bool is_of_others(const fs::path& root) {
  struct stat s {};
  if (::stat(root.c_str(), &s) != 0 || !S_ISDIR(s.st_mode) || (s.st_mode & 0077) == 0) return false;
  auto names = names_in(root);
  if (!names || names->empty()) return false;
  auto has = [&](const char* name) {
    return std::find(names->begin(), names->end(), name) != names->end();
  };
  return !has("skep.db") && !has("skep.toml") && !(has("secrets") && has("backups") && has("host"));
}

bool short_enough(const fs::path& run) {
  return (run / "control.sock").string().size() <= max_socket_path_bytes;
}

error open_to_others(const fs::path& root) {
  return make_error(errc::bad_config, root.string()
                                          + " holds other things and is open to others: the state "
                                            "directory is Skep's alone");
}

/// "/a/b/" means "/a/b". The directory may be reached through a link of the user's; what it leads
/// to must be ours.
fs::path plain_root(const fs::path& root) {
  auto plain = root.lexically_normal();
  if (!plain.has_filename()) plain = plain.parent_path();
  std::error_code failed;
  if (auto real = fs::canonical(plain, failed); !failed) plain = real;
  return plain;
}

bool is_usable(const fs::path& directory) {
  return ::faccessat(AT_FDCWD, directory.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

/// What make_private_directory() would refuse of one that is there.
error part_refused(const fs::path& part) {
  struct stat s {};
  if (::lstat(part.c_str(), &s) != 0)
    return errno == ENOENT ? error{} : system_error(part.string(), errno);
  if (!S_ISDIR(s.st_mode))
    return make_error(errc::bad_config, part.string() + " is not a directory");
  if (s.st_uid != ::geteuid())
    return make_error(errc::bad_config, part.string() + " belongs to another user");
  return {};
}

/// Why one that is missing cannot be made in the nearest directory that is there.
error making_refused(const fs::path& directory) {
  auto failed = [&](int number) {
    return system_error("cannot make the directory " + directory.string(), number);
  };
  auto above = directory.parent_path();
  struct stat s {};
  while (::stat(above.c_str(), &s) != 0) {
    if (errno != ENOENT || above == above.parent_path()) return failed(errno);
    above = above.parent_path();
  }
  if (!S_ISDIR(s.st_mode)) return failed(ENOTDIR);
  if (::faccessat(AT_FDCWD, above.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return failed(errno);
  return {};
}

/// Directory outside of the state directory for sockets whose path would be too long in it.
fs::path outside_run(const fs::path& root, const environment& env) {
  auto name = short_name(root.string());
  if (fs::path base{env("XDG_RUNTIME_DIR")}; base.is_absolute()) {
    if (auto run = base / ("skep-" + name); short_enough(run)) return run;
  }
  return fs::path{"/tmp"} / ("skep-" + std::to_string(::geteuid()) + "-" + name);
}

/// The directory of the sockets. Where ROOT/run would be too long it is a link, so that a program
/// with another environment finds the same place.
result<fs::path> prepare_run(const fs::path& root, const environment& env) {
  auto run = root / "run";
  if (short_enough(run)) {
    if (auto made = make_private_directory(run); !made) return made.err();
    return run;
  }
  std::error_code failed;
  auto target = fs::read_symlink(run, failed);
  if (failed || target.parent_path().empty() || !short_enough(target)) {
    target = outside_run(root, env);
    fs::remove(run, failed); // an empty directory or a link that does not serve
    // Another of our programs may be making the same link now: the one that is there counts.
    if (::symlink(target.c_str(), run.c_str()) != 0) {
      if (errno != EEXIST) return system_error("cannot make the link " + run.string(), errno);
      target = fs::read_symlink(run, failed);
      if (failed) return make_error(errc::bad_config, run.string() + " is not a link");
    }
  }
  // In /tmp anybody may have made it first: it must be a directory of ours.
  if (auto made = make_private_directory(target); !made) return made.err();
  return target;
}

} // namespace

std::string process_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

result<fs::path> default_state_root(const environment& env) {
  if (auto text = env("SKEP_STATE"); !text.empty()) {
    if (fs::path root{text}; root.is_absolute()) return root.lexically_normal();
    return make_error(errc::bad_config, "SKEP_STATE must be an absolute path: " + text);
  }
  if (::geteuid() == 0) return fs::path{"/var/lib/skep"};
  // The specification says that relative values are to be ignored.
  if (fs::path base{env("XDG_STATE_HOME")}; base.is_absolute()) return base / "skep";
  if (fs::path home{env("HOME")}; home.is_absolute()) return home / ".local/state/skep";
  return make_error(errc::bad_config,
                    "no state directory is known: set SKEP_STATE, XDG_STATE_HOME or HOME");
}

error entry_refused(const fs::path& directory) {
  struct stat s {};
  auto text = directory.string();
  if (::stat(directory.c_str(), &s) != 0)
    return errno != EACCES
               ? error{}
               : make_error(errc::io, text + " lies in a folder that this user may not enter",
                            std::strerror(EACCES));
  if (!S_ISDIR(s.st_mode) || is_usable(directory) || errno != EACCES) return {};
  text += ": this user may not enter it and write there";
  if (s.st_uid == ::geteuid())
    text += "; `chmod 700 " + directory.string() + "` allows it";
  else
    text += ", since it belongs to the user with the id " + std::to_string(s.st_uid)
            + "; `sudo chown -R " + std::to_string(::geteuid()) + " " + directory.string()
            + "` makes it yours, or give the command as that user";
  return make_error(errc::io, std::move(text), std::strerror(EACCES));
}

error state_refused(const fs::path& root) {
  if (!root.is_absolute())
    return make_error(errc::bad_config, "not an absolute path: " + root.string());
  auto plain = plain_root(root);
  if (is_of_others(plain)) return open_to_others(plain);
  if (auto e = entry_refused(plain)) return e;
  if (!path_exists(plain)) return making_refused(plain);
  if (auto e = part_refused(plain)) return e;
  if (!is_usable(plain)) return system_error(plain.string(), errno);
  for (const auto* part : {"logs", "backups", "secrets", "host"})
    if (auto e = part_refused(plain / part)) return e;
  return {};
}

result<state_paths> prepare_state(const fs::path& root, const environment& env) {
  if (!root.is_absolute())
    return make_error(errc::bad_config, "not an absolute path: " + root.string());
  auto plain = plain_root(root);
  if (is_of_others(plain)) return open_to_others(plain);
  if (auto e = entry_refused(plain)) return e;
  if (auto made = make_private_directory(plain); !made) return made.err();
  state_paths out;
  std::error_code failed;
  out.root = fs::canonical(plain, failed);
  if (failed) return make_error(errc::io, plain.string(), failed.message());
  for (const auto& part : {out.logs(), out.backups(), out.secrets(), out.host()})
    if (auto made = make_private_directory(part); !made) return made.err();
  auto run = prepare_run(out.root, env);
  if (!run) return run.err();
  out.run = *run;
  return out;
}

} // namespace skep::storage
