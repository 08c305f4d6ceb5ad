#include "tools/skepd/watchdog.hpp"

#include "tools/skepd/json_log.hpp"

namespace skep::tools {
namespace {

using beat_a = caf::atom_constant<caf::atom("beat")>;

caf::behavior heart(caf::event_based_actor* self,
                    std::shared_ptr<std::atomic<std::uint64_t>> beats) {
  self->set_default_handler(caf::drop);
  self->delayed_send(self, std::chrono::seconds{1}, beat_a::value);
  return {[self, beats](beat_a) {
    ++*beats;
    self->delayed_send(self, std::chrono::seconds{1}, beat_a::value);
  }};
}

} // namespace

watchdog::watchdog(caf::actor_system& sys, std::chrono::seconds patience)
    : beats_(std::make_shared<std::atomic<std::uint64_t>>(0)),
      heart_(sys.spawn<caf::hidden>(heart, beats_)),
      thread_([this, patience] { watch(patience); }) {}

watchdog::~watchdog() {
  {
    std::lock_guard guard{mutex_};
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  caf::anon_send_exit(heart_, caf::exit_reason::user_shutdown);
}

void watchdog::watch(std::chrono::seconds patience) {
  std::unique_lock lock{mutex_};
  for (auto last = beats_->load();;) {
    if (wake_.wait_for(lock, patience, [this] { return stopping_; })) return;
    auto now = beats_->load();
    if (now == last) {
      log_line(log_level::error, "watchdog", "watchdog.ending",
               {{"why", "no timer fired"}, {"patience_s", patience.count()}});
      std::_Exit(info(errc::internal).exit_code);
    }
    last = now;
  }
}

} // namespace skep::tools
