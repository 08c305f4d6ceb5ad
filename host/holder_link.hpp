// The host's side of a holder's sockets: connect, ask one question, watch. Protocol: holder.hpp.
#pragma once

#include "host/async.hpp"
#include "host/spec.hpp"
#include "host/state.hpp"

#include <chrono>
#include <string_view>

namespace skep::host {

/// Connects to the socket `name` in the holder's directory. errc::gone when there is no directory
/// or nobody listens there, errc::timed_out when its queue stays full, errc::capacity for what says
/// nothing of the holder, such as no descriptor left on this side.
task<result<local_socket>> connect_holder(asio::io_context& io, const state_dir& state,
                                          const std::string& id, std::string_view name,
                                          std::chrono::milliseconds limit);

/// Sends one request line and returns the answer, which has "ok": true. errc::gone when the holder
/// ends or has no room for one more connection (state.hpp tells whether it lives), errc::timed_out,
/// or the code with which the holder says no. What came behind the answer is put in `rest`.
task<result<json>> ask(local_socket& socket, const json& request, std::chrono::milliseconds limit,
                       std::string* rest = nullptr);

/// Connects to ctl.sock, asks, and closes.
task<result<json>> ask_holder(asio::io_context& io, const state_dir& state, const std::string& id,
                              const json& request, std::chrono::milliseconds limit);

/// The error of a refusal {"error":"wrong_phase","message":"..","cause":".."}; host_failed where it
/// names none.
error refusal_from(const json& j);

} // namespace skep::host
