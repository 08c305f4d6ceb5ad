#include "actors/policy.hpp"

#include "messages/commands.hpp"

namespace skep::actors {

namespace {

error bad(const std::string& what) {
  return make_error(errc::out_of_range, std::string{"policy "} + what);
}

std::string in_seconds(std::chrono::seconds t) {
  return std::to_string(t.count()) + " s";
}

} // namespace

std::chrono::milliseconds policies::loss_time() const {
  std::chrono::milliseconds out{0};
  for (std::uint32_t i = 0; i + 1 < loss_looks; ++i)
    out += look_wait(i);
  return out;
}

error validate(const create_policy& p) {
  using namespace std::chrono_literals;
  if (p.deadline < 1s || p.deadline > 10min) return bad("create.deadline takes 1 s to 600 s");
  if (p.first_lease < 5s || p.first_lease > 1h)
    return bad("create.first_lease takes 5 s to 3600 s");
  if (p.lease_cap != 0s && (p.lease_cap < 60s || p.lease_cap > 24h * 30))
    return bad("create.lease_cap takes 60 s to 30 days, or 0");
  return {};
}

error validate(const note_policy& p) {
  if (p.burst < 1 || p.burst > 100'000) return bad("pane_notes.burst takes 1 to 100000");
  if (p.per_second < 1 || p.per_second > 10'000)
    return bad("pane_notes.per_second takes 1 to 10000");
  return {};
}

error validate(const policies& p) {
  using namespace std::chrono_literals;
  if (auto e = p.supervision.validate()) return bad("supervision." + e.message);
  if (auto e = validate(p.create)) return e;
  if (auto e = validate(p.pane_notes)) return e;
  for (const auto& [provider, create] : p.create_at)
    if (auto e = validate(create)) return e;
  if (p.lease_grace < 1s) return bad("lease_grace must be positive");
  if (p.ready_limit < 1s || p.ready_limit > 1h) return bad("ready_limit takes 1 s to 3600 s");
  if (p.attempt_end_limit < 1s || p.attempt_end_limit > 1h)
    return bad("attempt_end_limit takes 1 s to 3600 s");
  if (p.own_end_limit < 1s || p.own_end_limit > 1h) return bad("own_end_limit takes 1 s to 3600 s");
  if (p.kill_told_first < 1s || p.kill_told_first > p.kill_told_most || p.kill_told_most > 24h)
    return bad("kill_told_first and kill_told_most take 1 s to 86400 s, in this order");
  if (p.quiet_interval < 1s || p.quiet_interval > 1h)
    return bad("quiet_interval takes 1 s to 3600 s");
  if (p.upload_part_bytes < 64 * 1024 || p.upload_part_bytes > 1ull << 30)
    return bad("upload_part_bytes takes 64 KiB to 1 GiB");
  if (p.upload_tries < 1 || p.upload_tries > 20) return bad("upload_tries takes 1 to 20");
  if (p.upload_progress < 1s || p.upload_progress > 60s)
    return bad("upload_progress takes 1 s to 60 s");
  if (p.download_tries < 1 || p.download_tries > 20) return bad("download_tries takes 1 to 20");
  if (p.idle_grace < 0s || p.idle_grace > 1h) return bad("idle_grace takes 0 s to 3600 s");
  if (p.panes_out_percent < 1 || p.panes_out_percent > 100)
    return bad("panes_out_percent takes 1 to 100");
  if (p.log_cap_bytes < 1024 * 1024 || p.log_cap_bytes > 1ull << 40)
    return bad("log_cap_bytes takes 1 MiB to 1 TiB");
  if (p.stop_grace < 1s || p.shutdown_interrupt < 1s || p.shutdown_grace < 1s
      || p.shutdown_limit <= p.shutdown_interrupt + p.shutdown_grace)
    return bad("stop_grace, shutdown_interrupt and shutdown_grace must be positive, "
               "shutdown_limit above the sum of the last two");
  if (p.settle_looks < 1 || p.settle_interval < 1s || p.settle_failures < 1)
    return bad("settle_looks, settle_interval and settle_failures must be positive");
  if (p.loss_looks < 1 || p.loss_looks > 20) return bad("loss_looks takes 1 to 20");
  if (p.take_ups < 1 || p.take_ups > 100'000) return bad("take_ups takes 1 to 100000");
  if (p.take_up_hold < 1s || p.take_up_hold > 60s) return bad("take_up_hold takes 1 s to 60 s");
  if (p.settle_interval > p.settle_interval_most)
    return bad("settle_interval must not exceed settle_interval_most");
  if (p.upload_deadline < 1s || p.download_deadline < 1s || p.clean_up < 1s || p.setup < 1s)
    return bad("upload_deadline, download_deadline, clean_up and setup must be positive");
  if (p.tick < 1s || p.health_deadline < 1s || p.health_failures < 1)
    return bad("tick, health_deadline and health_failures must be positive");
  if (p.health_interval < p.health_deadline)
    return bad("health_interval must not be below health_deadline");
  if (p.poll_failures < 1 || p.poll_wait_first > p.poll_wait_most)
    return bad("poll_wait_first must not exceed poll_wait_most");
  if (p.poll_give_up < 0s || p.poll_give_up > 1h) return bad("poll_give_up takes 0 s to 3600 s");
  if (p.pane_wait_first > p.pane_wait_most)
    return bad("pane_wait_first must not exceed pane_wait_most");
  if (p.step_attempts < 1 || p.kill_attempts < 1) return bad("attempts must be positive");
  if (p.poll_life < 1s || p.poll_interval_first < 1ms
      || p.poll_interval_first > p.poll_interval_most)
    return bad("poll_life must be at least 1 s, poll_interval_first at most poll_interval_most");
  if (p.follow_silence < 60s || p.follow_silence > 1h)
    return bad("follow_silence takes 60 s to 3600 s");
  if (p.last_look < 1s || p.last_look > 60s) return bad("last_look takes 1 s to 60 s");
  if (p.last_look_limit < 1s || p.last_look_limit > 600s)
    return bad("last_look_limit takes 1 s to 600 s");
  if (p.poll_buffer_bytes < 64 * 1024) return bad("poll_buffer_bytes must be at least 64 KiB");
  if (p.attach_idle <= std::chrono::milliseconds{max_attach_wait_ms} || p.attach_life < 1s)
    return bad("attach_idle must be above the longest wait, attach_life positive");
  if (p.attach_buffer_bytes < max_attach_bytes || p.attach_input_bytes < 4096 || p.attach_most < 1)
    return bad("attach_buffer_bytes must be at least 64 KiB, attach_input_bytes 4 KiB");
  if (p.budget_kill < 1s || p.budget_collect < 1s)
    return bad("budget_kill and budget_collect must be positive");
  if (p.budget_wind_down < least_wind_down(p))
    return bad("budget_wind_down takes at least " + in_seconds(least_wind_down(p))
               + ": the kill is " + in_seconds(p.budget_kill)
               + " before the end, and until then work is collected");
  if (p.reclaim < 1s || p.quota_wait < 1s) return bad("reclaim and quota_wait must be positive");
  if (p.quota_wait > p.quota_wait_most) return bad("quota_wait must not exceed quota_wait_most");
  if (p.disk_wait < 1s || p.disk_wait > 1h) return bad("disk_wait takes 1 s to 3600 s");
  if (p.log_room_bytes > 1ull << 40) return bad("log_room_bytes takes at most 1 TiB");
  if (p.disk_look < 0s || p.disk_look > 60s) return bad("disk_look takes 0 s to 60 s");
  return {};
}

} // namespace skep::actors
