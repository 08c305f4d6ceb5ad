// Which requests of the control protocol change nothing: one list for whoever repeats requests
// (broker/client.cpp) and whoever writes down what was asked for (actors/asked.cpp).
#pragma once

#include "messages/commands.hpp"

namespace skep {

/// True for requests that change no run; `body` is the packed request. Not for those about the
/// daemon itself or about attachments, which end with it.
inline bool only_reads(std::uint32_t command, std::string_view body) {
  switch (command) {
  case command_traits<survivors_request>::number: {
    auto r = unpack<survivors_request>(body);
    return r && !r->end;
  }
  case command_traits<list_request>::number:
  case command_traits<status_request>::number:
  case command_traits<log_read_request>::number:
  case command_traits<budget_request>::number:
  case command_traits<replay_request>::number:
  case command_traits<health_request>::number:
  case command_traits<plan_request>::number:
    return true;
  default:
    return false;
  }
}

/// True for requests that a client may ask again of the next daemon without a key: those that only
/// read, and survivors, which at most kills again what is to be dead.
inline bool may_repeat(std::uint32_t command, std::string_view body) {
  return command == command_traits<survivors_request>::number || only_reads(command, body);
}

} // namespace skep
