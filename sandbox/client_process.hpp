// One process stream of envd, process.Process/Start or Connect. Internal to sandbox/; engine
// thread.
#pragma once

#include "sandbox/connect_stream.hpp"
#include "sandbox/wire.hpp"

namespace skep::sandbox {

class process_stream : public connect_stream {
public:
  struct callbacks {
    std::function<void(std::uint32_t pid)> on_start; ///< Before any output.
    std::function<void(std::uint32_t pid)> on_ready; ///< stdin_data is written, stdin closed.
    std::function<bool(wire::output&)> on_output;    ///< false: pause.
    std::function<void(command_result)> on_end; ///< The call is settled. Errors go to its fail.
  };

  /// `op` gives the deadline of the start event.
  process_stream(client_core& core, call_id id, operation op, remote where, command what,
                 callbacks then);

  /// Sends Start. `whole`: how long the stream may take at most, if limited.
  void start(std::optional<std::chrono::milliseconds> whole);
  /// Sends Connect with the body that names the process; `what` holds no more than its limit.
  void attach(std::string_view selector_body, std::optional<std::chrono::milliseconds> whole);

protected:
  void message(std::string_view payload) override;
  void ended_well() override;
  void explain(error& why) override;

private:
  void write_stdin(std::size_t from);
  std::shared_ptr<process_stream> self() {
    return std::static_pointer_cast<process_stream>(shared_from_this());
  }

  const remote where_;
  command what_;
  callbacks then_;
  std::uint32_t pid_ = 0;
  std::optional<command_result> result_;
};

/// What a stream's handlers want of a process_stream.
process_stream::callbacks callbacks_of(std::shared_ptr<stream_handlers> handlers);

/// The RPCs about one process; `subject` is its selector, {"process":...} with more members.
exchange input_rpc(const remote& where, std::string subject);
exchange close_rpc(const remote& where, std::string subject);
/// {} is a good answer.
std::function<result<void>(http_answer&, const error&)> empty_answer();

} // namespace skep::sandbox
