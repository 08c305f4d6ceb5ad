#include "actors/directory.hpp"

#include <chrono>
#include <ctime>

namespace skep::actors {

std::chrono::milliseconds boot_clock() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return std::chrono::seconds{t.tv_sec}
         + std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::nanoseconds{t.tv_nsec});
}

utc_time directory::wall_now() const {
  if (wall_) return wall_();
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

void directory::put(const std::string& name, caf::strong_actor_ptr h) {
  std::lock_guard lock{mutex_};
  std::swap(named_[name], h);
}

caf::strong_actor_ptr directory::find(const std::string& name) const {
  std::lock_guard lock{mutex_};
  auto i = named_.find(name);
  return i == named_.end() ? nullptr : i->second;
}

void directory::wake_reaper() const {
  if (auto reaper = find("reaper"))
    caf::anon_send(caf::actor_cast<reaper_actor>(reaper), kill_a::value);
}

desk_actor directory::desk_for(std::uint32_t command) const {
  switch (command) {
  case command_traits<list_request>::number:
  case command_traits<status_request>::number:
  case command_traits<log_read_request>::number:
  case command_traits<daemon_status_request>::number:
  case command_traits<replay_request>::number:
  case command_traits<health_request>::number:
    return queries();
  case command_traits<attach_open_request>::number:
  case command_traits<shell_open_request>::number:
  case command_traits<attach_read_request>::number:
  case command_traits<attach_write_request>::number:
  case command_traits<attach_close_request>::number:
    return attachments();
  case command_traits<budget_request>::number:
  case command_traits<budget_set_request>::number:
  case command_traits<plan_request>::number:
    return admission();
  case command_traits<drain_request>::number:
  case command_traits<freeze_request>::number:
  case command_traits<panic_request>::number:
  case command_traits<survivors_request>::number:
    if (auto h = find("safety")) return caf::actor_cast<desk_actor>(h);
    return {};
  default:
    return commands();
  }
}

void directory::clear() {
  // Handles are dropped after the lock: a destructor of the last one must not find it taken.
  journal_actor journal;
  publisher_actor publisher;
  control_actor control;
  limiter_actor limiter;
  admission_actor admission;
  desk_actor commands;
  desk_actor queries;
  desk_actor attachments;
  recorder_actor recorder;
  std::map<std::string, caf::strong_actor_ptr> named;
  std::lock_guard lock{mutex_};
  std::swap(journal, journal_);
  std::swap(publisher, publisher_);
  std::swap(control, control_);
  std::swap(limiter, limiter_);
  std::swap(admission, admission_);
  std::swap(commands, commands_);
  std::swap(queries, queries_);
  std::swap(attachments, attachments_);
  std::swap(recorder, recorder_);
  std::swap(named, named_);
}

} // namespace skep::actors
