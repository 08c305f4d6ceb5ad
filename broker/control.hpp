// The CONTROL: owns the two ROUTER sockets, checks every request and hands it to the desk
// concerned.
//
//   client DEALER -> ROUTER -> checks -> desk_actor(handle, request_frame) -> reply_frame -> client
//
// What a request must pass, in this order; the first failure is the answer:
//   rate of its client      errc::rate with retry_after_ms
//   a msgpack map           errc::bad_frame with id 0
//   protocol version        errc::wrong_version (whatever else the map holds)
//   frame fields            errc::bad_frame
//   known command           errc::unknown_command
//   requests in flight      errc::queue_full
//   a desk that is up       errc::shutting_down
// A request is one part. A part larger than max_request_bytes ends the connection of its sender. A
// message of several parts is errc::bad_frame once all of them are here; until then they are in
// memory, and ZeroMQ does not limit their number: only this user can connect. An answer that comes
// after its client has gone is dropped.
#pragma once

#include "actors/interfaces.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace skep::broker {

/// Bounds on what clients may ask for; all of them are per daemon or per connection.
struct control_limits {
  std::size_t max_clients = 256; ///< Connections that are remembered; an idle one makes room.
  std::size_t in_flight_per_client = 32;
  std::size_t in_flight = 512;      ///< CAF's bookkeeping of requests is quadratic.
  double requests_per_second = 200; ///< Per client, sustained.
  double burst = 400;               ///< Per client.
  int handshake_ms = 2000; ///< A connection that has not introduced itself by then is closed.
  std::chrono::milliseconds desk_deadline{30'000}; ///< Then the answer is errc::timed_out.
};

/// Who is at the other end of a connection, by the kernel's word (SO_PEERCRED).
struct peer {
  std::int64_t uid = -1; ///< -1: not known.
  std::int64_t pid = 0;  ///< 0: not known.
};

/// Reads ZeroMQ's "Peer-Address" of a local connection, "...:UID:GID:PID".
peer read_peer(const char* address);

struct control_config {
  std::string control_path; ///< Unix sockets; see endpoints.hpp.
  std::string replay_path;
  std::string version; ///< Of this skepd, for people.
  /// The desk of a command; a null handle while it is down. Called on the CONTROL's own thread for
  /// every request, so that a restarted desk is found.
  std::function<actors::desk_actor(std::uint32_t command)> desk_for;
  /// Told of every request that passed the checks, before its desk gets it; may be empty. On the
  /// CONTROL's own thread.
  std::function<void(const peer& who, const request_frame& request)> on_request;
  control_limits limits;
};

/// Starts the CONTROL on a thread of its own. Binding happens in its first step: when it fails, the
/// actor ends with the error (from_caf() reads it) as its exit reason.
actors::control_actor start_control(caf::actor_system& system, control_config config);

} // namespace skep::broker
