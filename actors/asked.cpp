#include "actors/asked.hpp"

#include "messages/reading.hpp"

namespace skep::actors {
namespace {

std::string command_name(std::uint32_t number) {
#define SKEP_NAMED(nr, Request, Reply, text)                                                       \
  if (number == nr) return text;
  SKEP_COMMANDS(SKEP_NAMED)
#undef SKEP_NAMED
  return "unknown." + std::to_string(number);
}

// What an attachment does after it was opened is as frequent as questions are.
bool is_question(const request_frame& f) {
  switch (f.command) {
  case command_traits<daemon_status_request>::number:
  case command_traits<attach_read_request>::number:
  case command_traits<attach_write_request>::number:
  case command_traits<attach_close_request>::number:
    return true;
  default:
    return only_reads(f.command, f.body.data);
  }
}

std::string subject_of(const selection& s) {
  return s.sandbox.empty() ? s.swarm.value : s.sandbox.value;
}

/// Of a request for a terminal: its pane or its sandbox.
template <message T>
std::string place_in(const request_frame& f) {
  auto r = unpack<T>(f.body.data);
  if (!r) return {};
  return r->pane.empty() ? r->sandbox.value : r->pane.value;
}

std::string subject_of(const request_frame& f) {
  switch (f.command) {
  case command_traits<send_request>::number:
    if (auto r = unpack<send_request>(f.body.data)) return r->pane.value;
    break;
  case command_traits<stop_request>::number:
    if (auto r = unpack<stop_request>(f.body.data)) return r->swarm.value;
    break;
  case command_traits<freeze_request>::number:
    if (auto r = unpack<freeze_request>(f.body.data)) return subject_of(r->select);
    break;
  case command_traits<panic_request>::number:
    if (auto r = unpack<panic_request>(f.body.data)) return subject_of(r->select);
    break;
  case command_traits<survivors_request>::number:
    if (auto r = unpack<survivors_request>(f.body.data)) return subject_of(r->select);
    break;
  case command_traits<attach_open_request>::number:
    return place_in<attach_open_request>(f);
  case command_traits<shell_open_request>::number:
    return place_in<shell_open_request>(f);
  default:
    break;
  }
  return {};
}

} // namespace

std::optional<command_asked> asked(const request_frame& f, std::int64_t uid, std::int64_t pid) {
  if (is_question(f)) return {};
  return command_asked{command_name(f.command), f.key, subject_of(f), uid, pid};
}

} // namespace skep::actors
