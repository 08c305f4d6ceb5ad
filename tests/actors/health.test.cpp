// Health, figures and signs of life: pure judgements, each state reproduced.
#include "actors/health.hpp"
#include "actors/asked.hpp"
#include "actors/metrics_book.hpp"
#include "actors/usage_watch.hpp"
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

using namespace skep;
using namespace skep::actors;

namespace {

constexpr utc_time at(std::int64_t s) {
  return utc_time{std::chrono::milliseconds{s * 1000}};
}

const swarm_id a_swarm{"sw_h"};
const sandbox_id a_box{"sb_h"};
const pane_id a_pane{"pn_h"};

/// A pane that runs since 1000 s.
pane_record running_pane() {
  pane_record p;
  p.pane = a_pane;
  p.sandbox = a_box;
  p.swarm = a_swarm;
  p.name = "p0";
  p.state = pane_phase::running;
  p.attempt = 1;
  p.created_at = at(990);
  p.started_at = at(1000);
  return p;
}

sandbox_record running_box() {
  sandbox_record s;
  s.sandbox = a_box;
  s.swarm = a_swarm;
  s.state = phase::running;
  s.created_at = at(900);
  s.phase_since = at(1000);
  return s;
}

/// Tells an observer one event of the sandbox.
template <class Observer, event E>
void tell(Observer& o, std::int64_t s, const E& e, bool of_daemon = false) {
  any_event what{e};
  static const swarm_id none_w;
  static const sandbox_id none_s;
  o.on_event({1, of_daemon ? none_w : a_swarm, of_daemon ? none_s : a_box, at(s),
              event_traits<E>::info.type, what});
}

struct seen {
  activity what;
  std::string source;
};

seen doing(const pane_record& p, const pane_signs& signs, const log_signs& log, std::int64_t now) {
  auto h = judge(p, signs, log, false, at(now));
  return {h.doing, h.source};
}

} // namespace

TEST_CASE("an agent is working, idle, waiting, blocked or dead, and the source is told") {
  auto p = running_pane();
  auto is = [](const seen& x, activity what, const std::string& source) {
    CHECK(to_string(x.what) == to_string(what));
    CHECK(x.source == source);
  };
  is(doing(p, {}, {}, 1010), activity::working, "started");
  is(doing(p, {}, {}, 1100), activity::idle, "no output yet");
  is(doing(p, {}, {at(1090), false}, 1100), activity::working, "output");
  is(doing(p, {}, {at(1010), false}, 1100), activity::idle, "output");
  is(doing(p, {}, {at(1090), true}, 1093), activity::working, "output");
  is(doing(p, {}, {at(1090), true}, 1100), activity::waiting, "an unfinished line");

  pane_signs signs;
  signs.input_at = at(1095); // it was answered
  is(doing(p, signs, {at(1090), true}, 1101), activity::working, "input");
  signs = {at(1090), true, block_kind::tool_use, "Bash", false, {}};
  is(doing(p, signs, {at(1090), false}, 1500), activity::working, "tool Bash");
  signs.name = "AskUserQuestion";
  is(doing(p, signs, {at(1090), false}, 1500), activity::waiting, "tool AskUserQuestion");
  signs = {at(1090), true, block_kind::retry, "overloaded", true, {}};
  is(doing(p, signs, {at(1090), false}, 1100), activity::blocked,
     "its model is asked again: overloaded");
  signs = {at(1090), true, block_kind::text, "", true, {}};
  is(doing(p, signs, {at(1090), false}, 1100), activity::blocked, "its model refused");
  signs = {at(1090), true, block_kind::tool_result, "", false, {}};
  is(doing(p, signs, {at(1080), false}, 1100), activity::working, "tool_result");

  p.state = pane_phase::closed;
  p.result = outcome::failed;
  p.exit_code = 3;
  p.closed_at = at(1100);
  is(doing(p, {}, {}, 1200), activity::dead, "exit code 3");
  p.signal = 9;
  is(doing(p, {}, {}, 1200), activity::dead, "signal 9");
  p.state = pane_phase::queued;
  is(doing(p, {}, {}, 1200), activity::idle, "queued");
}

TEST_CASE("the health of a pane has its reasons, and ages") {
  auto p = running_pane();
  auto h = judge(p, {}, {at(1090), false}, false, at(1100));
  CHECK(h.state == health_state::healthy);
  CHECK(h.reasons.empty());
  CHECK(h.uptime_ms == 100'000);
  CHECK(h.last_output_at == at(1090));
  CHECK(h.since == at(1090));
  h = judge(p, {}, {at(1090), false}, true, at(1100));
  CHECK(h.state == health_state::degraded);
  CHECK(h.doing == activity::blocked);
  h = judge(p, {}, {at(1090), false}, false, at(1800));
  CHECK(h.state == health_state::degraded);
  CHECK(h.reasons == std::vector<std::string>{"no sign of life for 11 min"});
  p.state = pane_phase::restarting;
  CHECK(judge(p, {}, {}, false, at(1100)).state == health_state::degraded);
  p.state = pane_phase::closed;
  p.result = outcome::suspect;
  p.error_code = "suspect_result";
  h = judge(p, {}, {}, false, at(1100));
  CHECK(h.state == health_state::unhealthy);
  CHECK(h.reasons == std::vector<std::string>{"suspect: suspect_result"});
  p.result = outcome::completed;
  CHECK(judge(p, {}, {}, false, at(1100)).state == health_state::healthy);
}

TEST_CASE("a sandbox is healthy, degraded or unhealthy, each for its reason") {
  auto s = running_box();
  pane_health good, bad;
  good.name = "p0";
  bad.name = "p1";
  bad.state = health_state::unhealthy;
  bad.reasons = {"failed: agent_failed"};
  auto state = [&](const sandbox_signs& signs, const std::vector<pane_health>& panes) {
    return judge(s, signs, panes, at(1100));
  };
  CHECK(state({}, {good}).state == health_state::healthy);
  CHECK(state({}, {good}).uptime_ms == 200'000);
  auto h = state({}, {good, bad});
  CHECK(h.state == health_state::degraded);
  CHECK(h.reasons == std::vector<std::string>{"p1: failed: agent_failed"});
  CHECK(state({}, {good, bad, bad}).state == health_state::unhealthy);
  sandbox_signs signs;
  signs.probe_failures = 1;
  CHECK(state(signs, {good}).state == health_state::degraded);
  signs.probe_failures = 3;
  CHECK(state(signs, {good}).state == health_state::unhealthy);
  signs = {};
  signs.poll_failures = 2;
  CHECK(state(signs, {good}).state == health_state::degraded);
  signs = {};
  signs.output_lost = true;
  CHECK(state(signs, {good}).state == health_state::unhealthy);
  signs = {};
  signs.usage = {50, 2, 95, 100, 10, 100};
  h = state(signs, {good});
  CHECK(h.state == health_state::degraded);
  CHECK(h.reasons == std::vector<std::string>{"memory is 95 % full"});
  s.state = phase::uploading;
  CHECK(judge(s, {}, {}, at(1100)).state == health_state::healthy);
  CHECK(judge(s, {}, {}, at(3000)).reasons == std::vector<std::string>{"uploading for 33 min"});
  s.state = phase::closed;
  s.result = outcome::lost;
  s.error_code = "gone";
  CHECK(judge(s, {}, {}, at(1100)).state == health_state::unhealthy);
  s.result = outcome::completed;
  s.remote_id = "r";
  s.kill_intended = true;
  CHECK(judge(s, {}, {}, at(1100)).state == health_state::degraded);
  s.kill_confirmed = true;
  CHECK(judge(s, {}, {}, at(1100)).state == health_state::healthy);
}

TEST_CASE("as many failed probes as are set make a sandbox unhealthy, and fewer do not") {
  for (auto most : {1u, 2u, 3u, 100u}) {
    INFO(most);
    policies p;
    p.health_failures = most;
    auto when = health_policy_of(p);
    sandbox_signs signs;
    signs.probe_failures = most;
    CHECK(judge(running_box(), signs, {}, at(1100), when).state == health_state::unhealthy);
    signs.probe_failures = most - 1;
    CHECK(judge(running_box(), signs, {}, at(1100), when).state
          == (most == 1 ? health_state::healthy : health_state::degraded));
  }
}

TEST_CASE("a sandbox that is being made is not sick, and one that starts or runs without answering "
          "is") {
  auto s = running_box();
  for (auto state : {phase::queued, phase::creating, phase::verifying, phase::provisioning,
                     phase::uploading, phase::starting, phase::running}) {
    INFO(to_string(state));
    s.state = state;
    CHECK(judge(s, {}, {}, at(1100)).state == health_state::healthy);
  }
  sandbox_signs silent; // it is asked from `starting` on
  silent.probe_failures = 3;
  for (auto state : {phase::starting, phase::running}) {
    s.state = state;
    auto h = judge(s, silent, {}, at(1100));
    CHECK(h.state == health_state::unhealthy);
    CHECK(h.reasons == std::vector<std::string>{"did not answer, 3 in a row"});
  }
}

TEST_CASE("a swarm is as its sandboxes are") {
  swarm_record w;
  w.swarm = a_swarm;
  w.repo = "/repo";
  w.state = swarm_phase::running;
  w.created_at = at(900);
  w.cost_usd = 1.5;
  sandbox_health good, bad;
  good.sandbox = {"sb_1"};
  bad.sandbox = {"sb_2"};
  bad.state = health_state::unhealthy;
  bad.reasons = {"lost: gone"};
  sandbox_record paid;
  paid.swarm = a_swarm;
  paid.usd_per_hour = 4;
  paid.charged_from = at(1000) - std::chrono::minutes{30};
  auto h = judge(w, {paid}, 60'000, {good}, at(1000));
  CHECK(h.state == health_state::healthy);
  CHECK(h.worktree == "/repo");
  CHECK(h.limit_ms == 60'000);
  CHECK(h.uptime_ms == 100'000);
  CHECK(h.cost_usd == 1.5 + 2); // half an hour of the one that runs
  CHECK(judge(w, {}, 0, {good, bad}, at(1000)).state == health_state::degraded);
  CHECK(judge(w, {}, 0, {good, bad}, at(1000)).reasons
        == std::vector<std::string>{"sb_2: lost: gone"});
  CHECK(judge(w, {}, 0, {bad, bad}, at(1000)).state == health_state::unhealthy);
  w.state = swarm_phase::closed;
  w.result = outcome::timed_out;
  CHECK(judge(w, {}, 0, {}, at(1000)).state == health_state::unhealthy);
}

TEST_CASE("a closed swarm is degraded by what its provider has not confirmed, not by its own end") {
  swarm_record w;
  w.swarm = a_swarm;
  w.state = swarm_phase::closed;
  w.result = outcome::failed;
  sandbox_record gone, left;
  gone.sandbox = {"sb_1"};
  gone.state = phase::closed;
  gone.result = outcome::failed;
  gone.remote_id = "i1";
  gone.kill_intended = gone.kill_confirmed = true;
  left = gone;
  left.sandbox = {"sb_2"};
  left.kill_confirmed = false;
  CHECK_FALSE(is_unconfirmed(gone));
  CHECK(is_unconfirmed(left));
  CHECK(judge_unconfirmed(w, {gone}, 0, at(1000)).state == health_state::healthy);
  auto h = judge_unconfirmed(w, {gone, left}, 60'000, at(1000));
  CHECK(h.state == health_state::degraded);
  CHECK(h.swarm == a_swarm);
  CHECK(h.limit_ms == 60'000);
  CHECK(h.reasons
        == std::vector<std::string>{"sb_2: its provider has not confirmed that it is gone"});
}

TEST_CASE("the daemon is unhealthy without a part, degraded when it limps") {
  daemon_parts d;
  CHECK(judge(d).state == health_state::healthy);
  d.down = {"the publisher"};
  CHECK(judge(d).state == health_state::unhealthy);
  CHECK(judge(d).reasons == std::vector<std::string>{"the publisher is down"});
  d = {};
  d.signs.restarts = 3;
  CHECK(judge(d).state == health_state::degraded);
  d = {};
  d.signs.given_up = {"root/edge"};
  CHECK(judge(d).state == health_state::degraded);
  d = {};
  d.signs.journal_lag_ms = 6000;
  CHECK(judge(d).state == health_state::degraded);
  d = {};
  d.publisher_lag = 20'000;
  CHECK(judge(d).state == health_state::degraded);
  d = {};
  d.free_disk_bytes = 100 * 1024 * 1024;
  CHECK(judge(d).state == health_state::degraded);
  d.free_disk_bytes = 1024;
  CHECK(judge(d).state == health_state::unhealthy);
}

TEST_CASE("signs of life are those of the present attempt, and go with their sandbox") {
  watch_book b;
  tell(b, 1, pane_created{a_pane, 0, "p0", agent_kind::claude, "skep/p0"});
  tell(b, 2, agent_block{a_pane, block_kind::tool_use, "Bash", "ls", false});
  CHECK(b.pane(a_pane).event_at == at(2));
  CHECK(b.pane(a_pane).name == "Bash");
  tell(b, 3, input_receipt{a_pane, "k", 3, receipt::accepted});
  CHECK(b.pane(a_pane).input_at == at(3));
  tell(b, 4, pane_start_intended{a_pane, 2});
  CHECK_FALSE(b.pane(a_pane).has_block);
  tell(b, 5, notice{severity::warning, "unhealthy", "1/3"});
  tell(b, 6, notice{severity::warning, "unhealthy", "2/3"});
  tell(b, 7, poll_failed{2, 5, make_error(errc::network)});
  CHECK(b.sandbox(a_box).probe_failures == 2);
  CHECK(b.sandbox(a_box).poll_failures == 2);
  tell(b, 8, notice{severity::info, "healthy", ""});
  tell(b, 9, usage_sampled{12, 2, 1, 2, 3, 4});
  CHECK(b.sandbox(a_box).probe_failures == 0);
  CHECK(b.sandbox(a_box).usage.cpu_percent == 12);
  CHECK(b.sandbox(a_box).sampled_at == at(9));
  tell(b, 10, notice{severity::error, "output_incomplete", ""});
  CHECK(b.sandbox(a_box).output_lost);
  tell(b, 11, sandbox_closed{outcome::completed, {}, false});
  CHECK_FALSE(b.sandbox(a_box).output_lost);
  CHECK(b.pane(a_pane).event_at == utc_time{});

  tell(b, 100, child_restarted{"root/x", "died", 1, 1000}, true);
  tell(b, 200, supervisor_gave_up{"root/edge", "control", "x"}, true);
  CHECK(b.daemon(at(300)).restarts == 1);
  CHECK(b.daemon(at(300)).given_up == std::vector<std::string>{"root/edge"});
  CHECK(b.daemon(at(2000)).restarts == 0);
  b.on_commit(3, at(10), utc_time{std::chrono::milliseconds{10'250}});
  CHECK(b.daemon(at(300)).journal_lag_ms == 250);
}

TEST_CASE("a sample of resources is an answer, and takes back what failed probes told") {
  watch_book b;
  tell(b, 1, notice{severity::warning, "unhealthy", "1/3"});
  tell(b, 2, notice{severity::warning, "unhealthy", "2/3"});
  tell(b, 3, usage_sampled{12, 2, 1, 2, 3, 4});
  CHECK(b.sandbox(a_box).probe_failures == 0);
  tell(b, 4, notice{severity::warning, "unhealthy", "1/3"});
  CHECK(b.sandbox(a_box).probe_failures == 1);
}

TEST_CASE("a log file tells when it was written and whether its line is open") {
  auto file = std::filesystem::temp_directory_path()
              / ("skep-health-" + std::to_string(::getpid()) + ".log");
  CHECK(look_at_log(file).written_at == utc_time{});
  std::ofstream{file} << "a line\n";
  CHECK(look_at_log(file).written_at > at(1'000'000'000));
  CHECK_FALSE(look_at_log(file).open_line);
  std::ofstream{file, std::ios::app} << "Really? ";
  CHECK(look_at_log(file).open_line);
  std::filesystem::remove(file);
}

TEST_CASE("the head of a prompt is 80 or 200 whole characters on one line") {
  CHECK(head_of("short\nand more", head_in_list) == "short and more");
  std::string umlauts;
  for (int i = 0; i < 100; ++i)
    umlauts += "\xc3\xa4";
  CHECK(head_of(umlauts, head_in_list) == umlauts.substr(0, 160));
  CHECK(head_of(umlauts, head_of_one) == umlauts);
  CHECK(head_of(umlauts + umlauts + umlauts, head_of_one) == umlauts + umlauts);
}

TEST_CASE("a sample is an event where it differs or grows old, and each limit warns once") {
  usage_watch w;
  usage_sampled x{10, 2, 50, 100, 10, 100};
  CHECK(w.take(x, at(0)).worth_an_event);
  CHECK_FALSE(w.take(x, at(30)).worth_an_event);
  x.cpu_percent = 14;
  CHECK_FALSE(w.take(x, at(60)).worth_an_event);
  x.cpu_percent = 16;
  CHECK(w.take(x, at(90)).worth_an_event);
  CHECK_FALSE(w.take(x, at(389)).worth_an_event);
  CHECK(w.take(x, at(390)).worth_an_event);
  x.memory_bytes = 91;
  auto v = w.take(x, at(400));
  REQUIRE(v.notices.size() == 1);
  CHECK(v.notices[0].code == "near_limit");
  CHECK(v.notices[0].level == severity::warning);
  CHECK(v.notices[0].text == "memory in use: 91 %");
  x.memory_bytes = 95;
  CHECK(w.take(x, at(430)).notices.empty());
  x.memory_bytes = 85; // not yet at ease
  CHECK(w.take(x, at(460)).notices.empty());
  x.memory_bytes = 70;
  CHECK(w.take(x, at(490)).notices.front().code == "limit_relaxed");
  x.disk_bytes = 99;
  CHECK(w.take(x, at(520)).notices.front().text == "disk in use: 99 %");
  x.disk_total_bytes = 0; // not told: nothing to compare with
  CHECK(usage_watch{}.take(x, at(0)).notices.empty());
}

TEST_CASE("figures: times of phases also of what failed, and not of its clean-up") {
  metrics_book m;
  tell(m, 100, sandbox_queued{0, "sim"});
  tell(m, 101, phase_changed{phase::creating, 1000});
  tell(m, 103, sandbox_created{"i", "r", "v"});
  tell(m, 104, phase_changed{phase::verifying, 3000});
  tell(m, 105, phase_changed{phase::uploading, 1000});
  tell(m, 110, phase_changed{phase::running, 5000});
  tell(m, 500, phase_changed{phase::collecting, 390'000});
  tell(m, 501, sandbox_closed{outcome::completed, {}, false});
  const std::string ok = "skep_phase_seconds_sum{phase=\"creating\",result=\"ok\"} 3\n";
  auto text = m.text({});
  CHECK(text.find(ok) != std::string::npos);
  CHECK(text.find("skep_phase_seconds_sum{phase=\"uploading\",result=\"ok\"} 5\n")
        != std::string::npos);
  CHECK(text.find("skep_start_seconds_sum{result=\"ok\"} 10\n") != std::string::npos);
  CHECK(text.find("skep_sandboxes_closed_total{result=\"completed\"} 1\n") != std::string::npos);

  tell(m, 600, sandbox_queued{1, "sim"});
  tell(m, 601, phase_changed{phase::creating, 1000});
  tell(m, 607, sandbox_closed{outcome::failed, make_error(errc::quota), false});
  m.on_call("create", std::chrono::milliseconds{250}, errc::none);
  m.on_call("create", std::chrono::milliseconds{6000}, errc::quota);
  present_figures now;
  now.sandboxes = {{"queued", 4}, {"running", 2}};
  now.head_seq = 77;
  text = m.text(now);
  CHECK(text.find("skep_phase_seconds_sum{phase=\"creating\",result=\"failed\"} 6\n")
        != std::string::npos);
  CHECK(text.find("skep_start_seconds_count{result=\"failed\"} 1\n") != std::string::npos);
  CHECK(text.find("skep_start_seconds_sum{result=\"ok\"} 10\n") != std::string::npos);
  CHECK(text.find("skep_commands_total{operation=\"create\",result=\"failed\",error=\"quota\"} 1\n")
        != std::string::npos);
  CHECK(text.find("skep_command_seconds_bucket{operation=\"create\",le=\"0.25\"} 1\n")
        != std::string::npos);
  CHECK(text.find("skep_queue_length 4\n") != std::string::npos);
  CHECK(text.find("skep_head_seq 77\n") != std::string::npos);
}

TEST_CASE("a sandbox that a former daemon left is measured in the phase that it is in") {
  sandbox_record row;
  row.sandbox = a_box;
  row.created_at = at(100);
  row.phase_since = at(200);
  row.state = phase::running;
  auto has = [](const metrics_book& m, const std::string& line) {
    return m.text({}).find(line + "\n") != std::string::npos;
  };
  metrics_book m;
  m.take_up({row});
  tell(m, 18'200, phase_changed{phase::draining, 18'000'000});
  CHECK(has(m, "skep_phase_seconds_sum{phase=\"running\",result=\"ok\"} 18000"));
  CHECK(m.text({}).find("phase=\"queued\"") == std::string::npos);
  tell(m, 18'201, sandbox_closed{outcome::failed, {}, false});
  CHECK(has(m, "skep_phase_seconds_sum{phase=\"draining\",result=\"failed\"} 1"));
  CHECK(m.text({}).find("skep_start_seconds_count") == std::string::npos); // it had begun long ago

  metrics_book failed; // in the phase that it was found in, before its agents ran
  row.state = phase::uploading;
  failed.take_up({row});
  tell(failed, 230, sandbox_closed{outcome::failed, make_error(errc::quota), false});
  CHECK(has(failed, "skep_phase_seconds_sum{phase=\"uploading\",result=\"failed\"} 30"));
  CHECK(has(failed, "skep_start_seconds_sum{result=\"failed\"} 130"));

  metrics_book kept; // closed, and its provider still has it: not measured
  row.state = phase::closed;
  kept.take_up({row});
  tell(kept, 300, usage_sampled{33, 2, 10, 20, 30, 40});
  tell(kept, 301, phase_changed{phase::draining, 1000});
  CHECK(kept.text({}).find("skep_phase_seconds_sum") == std::string::npos);
  CHECK(kept.text({}).find("sb_h") == std::string::npos);
}

TEST_CASE("figures from inside that make no sense are written as they are, and warn at most") {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  auto v = usage_watch{}.take(usage_sampled{10, 2, most, 1, 10, 100}, at(0));
  REQUIRE(v.notices.size() == 1);
  CHECK(v.notices[0].text == "memory in use: 999 %");
  metrics_book m;
  tell(m, 1, sandbox_queued{0, "sim"});
  tell(m, 2, usage_sampled{1e300, 2, most, 1, 30, 40});
  auto text = m.text({});
  CHECK(text.find("skep_sandbox_memory_bytes{sandbox=\"sb_h\"} 1.84467e+19\n")
        != std::string::npos);
  CHECK(text.find("skep_sandbox_cpu_percent{sandbox=\"sb_h\"} 1e+300\n") != std::string::npos);
}

TEST_CASE("the text of figures has a type before every name, and samples of open sandboxes alone") {
  metrics_book m;
  tell(m, 1, sandbox_queued{0, "sim"});
  tell(m, 2, usage_sampled{33, 2, 10, 20, 30, 40});
  auto text = m.text({});
  CHECK(text.find("skep_sandbox_cpu_percent{sandbox=\"sb_h\"} 33\n") != std::string::npos);
  std::string typed;
  for (std::size_t i = 0; i < text.size();) {
    auto end = text.find('\n', i);
    auto line = text.substr(i, end - i);
    i = end + 1;
    if (line.starts_with("# TYPE ")) typed = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("#")) continue;
    INFO(line);
    CHECK(line.starts_with(typed));
  }
  tell(m, 3, sandbox_closed{outcome::completed, {}, false});
  CHECK(m.text({}).find("sb_h") == std::string::npos);
}

TEST_CASE("who asked for what is a fact of every command that changes something", "[owasp-a09]") {
  request_frame f;
  f.key = "k1";
  f.command = command_traits<stop_request>::number;
  f.body.data = pack(stop_request{a_swarm, true});
  auto fact = asked(f, 1000, 4242);
  REQUIRE(fact);
  CHECK(fact->command == "stop");
  CHECK(fact->subject == a_swarm.value);
  CHECK(fact->key == "k1");
  CHECK(fact->uid == 1000);
  CHECK(fact->pid == 4242);
  f.command = command_traits<status_request>::number;
  CHECK_FALSE(asked(f, 1, 2));
  f.command = command_traits<send_request>::number;
  f.body.data = "not a message";
  CHECK(asked(f, 1, 2)->subject.empty());
}

TEST_CASE("who counts survivors asks a question, and who ends them is on record") {
  request_frame f;
  f.command = command_traits<survivors_request>::number;
  survivors_request r;
  r.select.swarm = a_swarm;
  f.body.data = pack(r);
  CHECK_FALSE(asked(f, 1000, 4242));
  r.end = true;
  f.body.data = pack(r);
  auto fact = asked(f, 1000, 4242);
  REQUIRE(fact);
  CHECK(fact->command == "survivors");
  CHECK(fact->subject == a_swarm.value);
  f.body.data = "not a message";
  CHECK(asked(f, 1, 2));
}
