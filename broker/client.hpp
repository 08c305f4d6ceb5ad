// The control protocol from the client's side. No CAF: other programs link skep_broker_client
// alone.
//
//   skep::broker::control_client daemon{endpoints_of(state_dir).control};
//   auto status = daemon.call(skep::daemon_status_request{}, 2s);
//   if (!status) return report(status.err());
//
// One object is used by one thread.
#pragma once

#include "broker/endpoints.hpp"
#include "messages/commands.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace skep::broker {

class control_client {
public:
  /// Connects at the first call.
  explicit control_client(std::string socket_path);
  control_client(control_client&&) noexcept;
  control_client& operator=(control_client&&) noexcept;
  ~control_client();

  /// What to do when a request found no daemon or lost it before the answer, or met one that ends:
  /// when it returns no error, the request is sent once more, with its whole deadline. Only for
  /// requests whose repeat is harmless: those with a `key`, and those that change nothing.
  void on_absent(std::function<error()> revive);

  /// Sends one request and waits for its answer.
  /// errc::no_daemon: nobody listens, or skepd ended before it answered. errc::timed_out: no answer
  /// within `deadline`; whether the command took effect is unknown, ask again with the same `key`.
  /// errc::wrong_version: the other side is of another release. errc::too_large: nothing was sent.
  /// errc::io: nothing was sent either, since the socket is not one of this user's alone; see
  /// listener_refused().
  /// Anything else is the daemon's own answer.
  template <message R>
  result<typename command_traits<R>::reply>
  call(const R& request, std::chrono::milliseconds deadline, const std::string& key = {}) {
    auto reply = exchange(command_traits<R>::number, pack(request), deadline, key);
    if (!reply) return reply.err();
    return unpack<typename command_traits<R>::reply>(*reply);
  }

  /// As call(); where the daemon says errc::rate, it waits as long as the answer asks for and asks
  /// again, as often as `deadline`, which is that of all of it, has room for. Then errc::rate is
  /// the answer. For questions that follow one another without end, such as pages of history.
  template <message R>
  result<typename command_traits<R>::reply> call_paced(const R& request,
                                                       std::chrono::milliseconds deadline) {
    auto reply = exchange_paced(command_traits<R>::number, pack(request), deadline);
    if (!reply) return reply.err();
    return unpack<typename command_traits<R>::reply>(*reply);
  }

  /// The same for packed bodies.
  result<std::string> exchange_paced(std::uint32_t command, std::string body,
                                     std::chrono::milliseconds deadline);
  result<std::string> exchange(std::uint32_t command, std::string body,
                               std::chrono::milliseconds deadline, const std::string& key = {});

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace skep::broker
