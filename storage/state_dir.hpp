// The state directory: where it is, what is in it, who owns it.
//
//   ROOT/            0700
//     lock           exclusive OFD lock of the running skepd; holds its pid as text
//     install        skep.install: the id of this installation and what it is bound to
//     skep.db        journal and state tables (with -wal and -shm)
//     epoch          how far daemons and events were counted; never restored (epoch_file.hpp)
//     reserve        space kept for the last facts on a full disk
//     run/           sockets; a link to a short directory when ROOT is too long for one
//       control.sock events.sock replay.sock
//     logs/ backups/ secrets/ host/ looks/
#pragma once

#include "messages/error.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace skep::storage {

/// Looks up an environment variable; empty when it is not set. Default: getenv.
using environment = std::function<std::string(const char*)>;
std::string process_environment(const char* name);

/// Paths in a state directory. Building them touches nothing.
struct state_paths {
  std::filesystem::path root; ///< Absolute, canonical.
  std::filesystem::path run;  ///< Directory of the sockets, short enough for them.
  std::filesystem::path lock() const { return root / "lock"; }
  std::filesystem::path install() const { return root / "install"; }
  std::filesystem::path database() const { return root / "skep.db"; }
  std::filesystem::path control_socket() const { return run / "control.sock"; }
  std::filesystem::path events_socket() const { return run / "events.sock"; }
  std::filesystem::path replay_socket() const { return run / "replay.sock"; }
  std::filesystem::path logs() const { return root / "logs"; }
  std::filesystem::path backups() const { return root / "backups"; }
  std::filesystem::path secrets() const { return root / "secrets"; }
  std::filesystem::path host() const { return root / "host"; }
  /// Results of swarms whose own folder could not be written to (actors/results_dir.hpp).
  std::filesystem::path results() const { return root / "results"; }
  /// What `skep diff` fetches from sandboxes, for as long as it looks (transfer/swept_dir.hpp).
  std::filesystem::path looks() const { return root / "looks"; }
};

/// Longest path of a unix socket in bytes.
inline constexpr std::size_t max_socket_path_bytes = 107;

/// $SKEP_STATE, else /var/lib/skep for root, else $XDG_STATE_HOME/skep, else ~/.local/state/skep.
/// bad_config when none is known or $SKEP_STATE is not absolute.
result<std::filesystem::path> default_state_root(const environment& env = process_environment);

/// Makes the directory and its parts (0700, owned by us) where they are missing and gives its
/// paths. Daemon and CLI get the same answer. Errors: io; bad_config when a part is not a directory
/// of ours.
result<state_paths> prepare_state(const std::filesystem::path& root,
                                  const environment& env = process_environment);

/// What prepare_state() would refuse, without making anything; none where it would most likely do.
error state_refused(const std::filesystem::path& root);

/// errc::io with what to do about it where `directory` is there and this process may not enter it
/// or write to it; none in any other case, also where nothing is there.
error entry_refused(const std::filesystem::path& directory);

/// The exclusive lock of one skepd on its state directory; given up when the object ends. The
/// descriptor is close-on-exec.
class state_lock {
public:
  /// daemon_running, with the holder's pid in the message, when another process has it.
  static result<state_lock> acquire(const state_paths& paths);
  /// Takes over a lock whose descriptor was inherited from the process that acquired it.
  static result<state_lock> adopt(const state_paths& paths, int fd);
  state_lock(state_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  state_lock& operator=(state_lock&& other) noexcept;
  ~state_lock();
  int fd() const { return fd_; }

private:
  explicit state_lock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

/// Pid of the process that holds the lock; none when nobody does.
result<std::optional<std::int64_t>> lock_holder(const state_paths& paths);

/// Reads skep.install, or makes it on the first start. copied_state when the directory was copied
/// or moved from elsewhere, or restored on another machine. The caller holds the lock.
result<std::string> install_id(const state_paths& paths,
                               const std::filesystem::path& machine_id_file = "/etc/machine-id");

/// What install_id() would say of this directory, without making anything: the id, empty before the
/// first start, or copied_state.
result<std::string>
look_at_install(const state_paths& paths,
                const std::filesystem::path& machine_id_file = "/etc/machine-id");

/// The user's decision on a copied state: bind it to this place, with the id it has (the original
/// is gone) or with a new one (both live on; what the old id owns at providers is not ours).
enum class rebind : std::uint8_t { keep_id, new_id };
result<std::string>
rebind_install(const state_paths& paths, rebind how,
               const std::filesystem::path& machine_id_file = "/etc/machine-id");

} // namespace skep::storage
