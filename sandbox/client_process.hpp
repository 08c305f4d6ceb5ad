// One process stream of envd (process.Process/Start) from its first byte to its last envelope.
// Internal to sandbox/client*.cpp; engine thread.
#pragma once

#include "sandbox/client_core.hpp"
#include "sandbox/envelope.hpp"
#include "sandbox/wire.hpp"

namespace skep::sandbox {

class process_stream : public std::enable_shared_from_this<process_stream> {
public:
  struct callbacks {
    std::function<void(std::uint32_t pid)> on_start; ///< Before any output.
    std::function<void(std::uint32_t pid)> on_ready; ///< stdin_data is written, stdin closed.
    std::function<bool(wire::output&)> on_output;    ///< false: pause.
    std::function<void(command_result)> on_end; ///< The call is settled. Errors go to its fail.
  };

  process_stream(client_core& core, call_id id, remote where, command what, callbacks then);

  /// Sends Start. `whole`: how long the stream may take at most, if limited.
  void start(std::optional<std::chrono::milliseconds> whole);
  /// Goes on after a pause; true when the network may be read again.
  bool resume();
  /// The last envelope was read: what remains of the exchange needs nobody.
  bool at_end() const { return reader_.ended(); }

private:
  flow take(std::string_view bytes);
  /// Handles whole envelopes until one pauses or the call ends.
  void pump();
  void handle(const envelope& x);
  void finish(std::string_view end_of_stream);
  void exchange_over(const error& failure);
  void write_stdin(std::size_t from);
  void broken(error why);
  bool alive() const { return core_.alive(id_); }

  client_core& core_;
  const call_id id_;
  const remote where_;
  command what_;
  callbacks then_;

  envelope_reader reader_;
  std::uint32_t pid_ = 0;
  bool started_ = false;
  bool paused_ = false;
  std::optional<command_result> result_;
  std::optional<error> over_; ///< The exchange has ended while we were paused.
};

} // namespace skep::sandbox
