// Where the sockets of a state directory lie, and the rules for binding and reaching them.
//
//   STATE/run/            0700
//     control.sock        ROUTER, every command but replay     0600
//     replay.sock         ROUTER, the replay command           0600
//     events.sock         XPUB, the event stream               0600
#pragma once

#include "messages/error.hpp"

#include <chrono>
#include <string>

namespace skep::broker {

struct endpoints {
  std::string control; ///< Paths, not URLs.
  std::string replay;
  std::string events;
};

/// The sockets in a directory made for them.
endpoints endpoints_in(const std::string& run_dir);
/// The same for STATE/run.
endpoints endpoints_of(const std::string& state_dir);

/// Longest path a unix socket can have, in bytes.
inline constexpr std::size_t max_socket_path = 107;
/// errc::bad_argument with the limit and the path when it is too long, relative or holds a NUL.
error check_socket_path(const std::string& path);

/// Readies the place of a socket: makes its directory 0700 (its parent must exist), refuses one
/// that others may write or that belongs to somebody else, and removes the socket of a dead daemon.
/// The caller holds the lock of the state directory, so whatever lies there is dead.
error prepare_socket_path(const std::string& path);

/// True when a process accepts connections at `path` now, whoever's it is. Takes microseconds.
bool somebody_listens(const std::string& path);

/// Why nothing may be said to whoever listens at `path` now; to be asked before every exchange, and
/// before a connection that is kept. errc::no_daemon: nobody does. errc::io: the socket lies where
/// another user may put one, or is another user's; so is root's for others, and others' for root,
/// since a daemon serves its own user alone. errc::bad_argument as check_socket_path(). Takes
/// microseconds.
error listener_refused(const std::string& path);

} // namespace skep::broker
