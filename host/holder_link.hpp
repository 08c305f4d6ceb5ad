// The host's side of a holder's sockets: connect, ask one question, watch. Protocol: holder.hpp.
#pragma once

#include "host/async.hpp"
#include "host/spec.hpp"
#include "host/state.hpp"

#include <chrono>
#include <string_view>

namespace skep::host {

/// Connects to the socket `name` in the holder's directory. errc::gone when nobody listens there,
/// errc::timed_out when its queue stays full.
task<result<local_socket>> connect_holder(asio::io_context& io, const state_dir& state,
                                          const std::string& id, std::string_view name,
                                          std::chrono::milliseconds limit);

/// Sends one request line and returns the answer, which has "ok": true. errc::gone when the holder
/// ends, errc::timed_out, errc::refused when it says no.
task<result<json>> ask(local_socket& socket, const json& request, std::chrono::milliseconds limit);

/// Connects to ctl.sock, asks, and closes.
task<result<json>> ask_holder(asio::io_context& io, const state_dir& state, const std::string& id,
                              const json& request, std::chrono::milliseconds limit);

/// Answers when the peer has closed the connection.
task<void> await_end(local_socket& socket);

} // namespace skep::host
