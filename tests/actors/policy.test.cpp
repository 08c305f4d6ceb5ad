// The daemon's policies: what fits together, and how it is told what does not.
#include "tests/actors/domain_fixture.hpp"

using namespace skep;
using namespace skep::actors;
using namespace skep::test;

TEST_CASE("the daemon knows the deadline of a create that its client has") {
  CHECK(create_policy{}.deadline == sandbox::policy{}.of(sandbox::operation::create).deadline);
}

TEST_CASE("a wind-down that leaves nothing before the kill is refused, with both times") {
  policies p;
  p.budget_wind_down = 20s;
  CHECK_FALSE(validate(p));
  for (auto t : {19s, 5s}) {
    p.budget_wind_down = t;
    auto e = validate(p);
    CHECK(e.code == errc::out_of_range);
    CHECK(e.message.find("budget_wind_down takes at least 20 s: the kill is 5 s before")
          != std::string::npos);
  }
}

TEST_CASE("policies that make no sense are named") {
  CHECK_FALSE(validate(policies{}));
  auto refused = [](auto change) {
    policies p;
    change(p);
    auto e = validate(p);
    CHECK(e.code == errc::out_of_range);
    return e.message;
  };
  using p = policies;
  CHECK(refused([](p& x) { x.create.deadline = 0s; }).find("deadline") != std::string::npos);
  CHECK(refused([](p& x) { x.create.first_lease = 4s; }).find("first_lease") != std::string::npos);
  CHECK(refused([](p& x) { x.create_at["a"].first_lease = 2h; }).find("first_lease")
        != std::string::npos);
  CHECK(refused([](p& x) { x.create.lease_cap = 59s; }).find("lease_cap") != std::string::npos);
  CHECK(refused([](p& x) { x.supervision.backoff_max = 0s; }).find("supervision.backoff_max")
        != std::string::npos);
  CHECK(refused([](p& x) { x.ready_limit = 0s; }).find("ready_limit") != std::string::npos);
  CHECK(refused([](p& x) { x.budget_collect = 0s; }).find("budget_collect") != std::string::npos);
  CHECK(refused([](p& x) { x.idle_grace = 2h; }).find("idle_grace") != std::string::npos);
  CHECK(refused([](p& x) { x.attempt_end_limit = 0s; }).find("attempt_end") != std::string::npos);
  CHECK(refused([](p& x) { x.own_end_limit = 0s; }).find("own_end") != std::string::npos);
  CHECK(refused([](p& x) { x.quiet_interval = 2h; }).find("quiet_int") != std::string::npos);
  CHECK(refused([](p& x) { x.kill_told_most = 59s; }).find("kill_told") != std::string::npos);
  CHECK(refused([](p& x) { x.panes_out_percent = 0; }).find("panes_out") != std::string::npos);
  CHECK(refused([](p& x) { x.log_cap_bytes = 1; }).find("log_cap") != std::string::npos);
  CHECK(refused([](p& x) { x.shutdown_limit = 7s; }).find("shutdown") != std::string::npos);
  CHECK(refused([](p& x) { x.lease_grace = 0s; }).find("lease_grace") != std::string::npos);
  CHECK(refused([](p& x) { x.settle_looks = 0; }).find("settle_looks") != std::string::npos);
  CHECK(p{}.loss_time() == 65s);
  CHECK(refused([](p& x) { x.loss_looks = 0; }).find("loss_looks") != std::string::npos);
  CHECK(refused([](p& x) { x.loss_looks = 21; }).find("loss_looks") != std::string::npos);
  CHECK(refused([](p& x) { x.settle_interval = 31s; }).find("settle_int") != std::string::npos);
  CHECK(refused([](p& x) { x.upload_deadline = 0s; }).find("upload") != std::string::npos);
  CHECK(refused([](p& x) { x.upload_progress = 0s; }).find("upload_pro") != std::string::npos);
  CHECK(refused([](p& x) { x.health_failures = 0; }).find("health") != std::string::npos);
  CHECK(refused([](p& x) { x.health_interval = 1s; }).find("health_int") != std::string::npos);
  CHECK(refused([](p& x) { x.quota_wait = 601s; }).find("quota_wait") != std::string::npos);
  CHECK(refused([](p& x) { x.disk_wait = 0s; }).find("disk_wait") != std::string::npos);
  CHECK(refused([](p& x) { x.disk_wait = 2h; }).find("disk_wait") != std::string::npos);
  CHECK(refused([](p& x) { x.log_room_bytes = 1ULL << 41; }).find("log_r") != std::string::npos);
  CHECK(refused([](p& x) { x.disk_look = 61s; }).find("disk_look") != std::string::npos);
  CHECK(refused([](p& x) { x.poll_wait_first = 6s; }).find("poll_wait") != std::string::npos);
  CHECK(refused([](p& x) { x.poll_give_up = 2h; }).find("poll_give_up") != std::string::npos);
  CHECK(refused([](p& x) { x.pane_wait_first = 61s; }).find("pane_wait") != std::string::npos);
  CHECK(refused([](p& x) { x.step_attempts = 0; }).find("attempts") != std::string::npos);
  CHECK(refused([](p& x) { x.attach_idle = 10s; }).find("attach_idle") != std::string::npos);
  CHECK(refused([](p& x) { x.attach_most = 0; }).find("attach") != std::string::npos);
  CHECK(refused([](p& x) { x.poll_buffer_bytes = 1; }).find("poll_buffer") != std::string::npos);
  CHECK(refused([](p& x) { x.follow_silence = 30s; }).find("follow_sil") != std::string::npos);
  CHECK(refused([](p& x) { x.last_look = 0s; }).find("last_look") != std::string::npos);
  CHECK(refused([](p& x) { x.last_look_limit = 0s; }).find("last_look_l") != std::string::npos);
}
