// The swarms of the fake daemon: records, logs and events of a short script.
#pragma once

#include "tests/broker/fake_world.hpp"

#include <csignal>
#include <fstream>
#include <unistd.h>

namespace skep::cli_test {

using namespace broker_test;

class fake_swarms {
public:
  fake_swarms(std::shared_ptr<memory_journal> journal, std::string version, std::string state)
      : journal_(std::move(journal)), version_(std::move(version)), state_(std::move(state)) {}

  void attach(fake_edge& edge) {
    std::lock_guard guard{mutex_};
    edge_ = &edge;
  }

  reply_frame answer_request(const request_frame& r) {
    std::lock_guard guard{mutex_};
    if (ending_) {
      ::kill(::getpid(), SIGTERM);
      return answer<list_reply>(r, make_error(errc::shutting_down));
    }
    switch (r.command) {
    case command_traits<run_request>::number:
      return with<run_request>(r, [&](auto& x) { return run(r.key, x); });
    case command_traits<list_request>::number:
      return with<list_request>(r, [&](auto& x) { return list(x); });
    case command_traits<status_request>::number:
      return with<status_request>(r, [&](auto& x) { return status(x); });
    case command_traits<log_read_request>::number:
      return with<log_read_request>(r, [&](auto& x) { return log_read(x); });
    case command_traits<send_request>::number:
      return with<send_request>(r, [&](auto& x) { return send(x); });
    case command_traits<stop_request>::number:
      return with<stop_request>(r, [&](auto& x) { return stop(x); });
    case command_traits<daemon_status_request>::number:
      return with<daemon_status_request>(r, [&](auto&) { return daemon_status(); });
    case command_traits<daemon_stop_request>::number:
      return with<daemon_stop_request>(r, [&](auto& x) { return daemon_stop(x); });
    case command_traits<budget_request>::number:
      return with<budget_request>(r, [&](auto&) -> result<budget_reply> {
        budget_reply told; // as the daemon's: no run that is closed
        told.budgets.emplace_back().id = "2026-11-26";
        return told;
      });
    case command_traits<drain_request>::number:
      return with<drain_request>(r, [&](auto&) -> result<drain_reply> {
        return drain_reply{open_count(), 1};
      });
    case command_traits<freeze_request>::number:
      return with<freeze_request>(r, [&](auto&) -> result<freeze_reply> {
        freeze_reply told;
        told.sandboxes = {sandbox_id{"sb_1"}, sandbox_id{"sb_2"}};
        return told;
      });
    case command_traits<panic_request>::number:
      return with<panic_request>(r, [&](auto&) -> result<panic_reply> {
        survivors_ = 2;
        return panic_reply{2, {"local"}, 1};
      });
    case command_traits<survivors_request>::number:
      return with<survivors_request>(r, [&](auto&) -> result<survivors_reply> {
        survivors_reply left; // they go one by one
        left.listed = survivors_;
        if (survivors_ > 0) left.ids = {"i" + std::to_string(survivors_--)};
        return left;
      });
    default:
      return answer<list_reply>(r, make_error(errc::unknown_command));
    }
  }

private:
  struct pane {
    pane_record record;
    std::string log;
  };
  struct swarm {
    swarm_record record;
    std::string script;
    std::vector<sandbox_record> sandboxes;
    std::vector<pane> panes;
    std::uint32_t looks = 0; ///< How often its status was asked for.
  };

  template <message Q, class F>
  reply_frame with(const request_frame& r, F f) {
    auto x = unpack<Q>(r.body.data);
    using R = typename command_traits<Q>::reply;
    if (!x) return answer<R>(r, x.err());
    return answer<R>(r, f(*x));
  }

  utc_time now() { return at_ms(1'700'000'000'000 + ++clock_ * 10); }

  template <event E>
  std::uint64_t tell(const swarm_id& s, const sandbox_id& b, const E& e) {
    chunk c{s, b, 1, {}};
    pack_event(c.body.data, now(), e);
    auto out = journal_->append(std::move(c));
    if (edge_ != nullptr) edge_->publish(out);
    return out->first_seq;
  }

  void print(pane& p, const std::string& text) {
    auto piece = std::make_shared<actors::output_piece>(actors::output_piece{
        p.record.swarm, p.record.sandbox, p.record.pane, p.record.attempt, p.log.size(), text});
    p.log += text;
    if (edge_ != nullptr)
      caf::anon_send(edge_->publisher, actors::output_a::value, actors::output_ptr{piece});
  }

  result<run_reply> run(const std::string& key, const run_request& r) {
    std::ofstream{state_ + "/fake-run", std::ios::binary} << pack(r);
    if (auto i = keys_.find(key); i != keys_.end() && !key.empty()) return i->second;
    if (r.spec.provider != "local") return make_error(errc::unknown_provider, r.spec.provider);
    swarm s;
    s.script = r.spec.name;
    auto& w = s.record;
    w.swarm = swarm_id::make();
    w.name = r.spec.name;
    w.repo = r.spec.repo;
    w.provider = r.spec.provider;
    w.agent = r.spec.agent;
    w.sandboxes = r.spec.sandboxes;
    w.panes = r.spec.panes;
    w.out_dir = r.spec.out_dir;
    w.created_at = now();
    run_reply reply{
        w.swarm,
        tell(w.swarm, {},
             swarm_created{
                 w.name, w.repo, w.provider, w.agent, w.sandboxes, w.panes, false, w.out_dir, {}})};
    keys_[key] = reply;
    w.state = swarm_phase::running;
    tell(w.swarm, {}, swarm_phase_changed{swarm_phase::running, {}});
    for (std::uint32_t i = 0; i < w.sandboxes && s.script != "later"; ++i)
      begin(s, i);
    if (s.script == "replaced") replace_first(s);
    swarms_.push_back(std::move(s));
    if (!goes_on(swarms_.back().script)) finish(swarms_.back(), outcome::completed);
    return reply;
  }

  static bool goes_on(const std::string& script) {
    return script == "runs" || script == "stubborn" || script == "replaced" || script == "later"
           || script == "collides";
  }

  /// The successor has the number of the lost one, and its panes have the names of those.
  void replace_first(swarm& s) {
    auto& lost = s.sandboxes.front();
    lost.state = phase::closed;
    lost.result = outcome::lost;
    for (auto& p : s.panes) {
      if (p.record.sandbox != lost.sandbox) continue;
      p.record.state = pane_phase::closed;
      p.record.result = outcome::lost;
      p.record.closed_at = now();
    }
    begin(s, 0);
  }

  /// One more look at a swarm of which everything comes later.
  void look(swarm& s) {
    constexpr std::uint32_t empty_looks = 2;
    auto number = s.looks++;
    if (s.record.state == swarm_phase::closed || number < empty_looks) return;
    if (number - empty_looks < s.record.sandboxes)
      begin(s, number - empty_looks);
    else
      finish(s, outcome::completed);
  }

  void begin(swarm& s, std::uint32_t index) {
    sandbox_record b;
    b.sandbox = sandbox_id::make();
    b.swarm = s.record.swarm;
    b.index = index;
    b.provider = "local";
    b.created_at = b.phase_since = now();
    tell(b.swarm, b.sandbox, sandbox_queued{index, "local"});
    for (auto to : {phase::creating, phase::verifying, phase::provisioning, phase::uploading,
                    phase::starting, phase::running})
      tell(b.swarm, b.sandbox, phase_changed{to, 10});
    b.state = phase::running;
    for (std::uint32_t k = 0; k < s.record.panes; ++k) {
      pane p;
      auto& x = p.record;
      x.pane = pane_id::make();
      x.sandbox = b.sandbox;
      x.swarm = b.swarm;
      x.index = index * s.record.panes + k;
      x.name = "p" + std::to_string(x.index);
      x.agent = s.record.agent;
      x.attempt = 1;
      x.created_at = x.started_at = now();
      x.state = pane_phase::running;
      tell(b.swarm, b.sandbox, pane_created{x.pane, x.index, x.name, x.agent, "skep/" + x.name});
      tell(b.swarm, b.sandbox, pane_start_intended{x.pane, 1});
      tell(b.swarm, b.sandbox, pane_started{x.pane, 1, 7});
      print(p, "hello from " + x.name + "\n");
      print(p, "\x1b]0;title\x07\x1b[31msecond line\x1b[0m\n");
      for (int n = 0; s.script == "long" && n < 300; ++n)
        print(p, "line " + std::to_string(n) + " " + std::string(8000, 'x') + "\n");
      s.panes.push_back(std::move(p));
    }
    s.sandboxes.push_back(std::move(b));
  }

  void finish(swarm& s, outcome result) {
    error why;
    for (auto& p : s.panes) {
      auto& x = p.record;
      if (x.state == pane_phase::closed) continue;
      bool bad = result == outcome::completed && x.index == 0
                 && (s.script == "fails" || s.script == "auth");
      x.exit_code = bad ? 3 : 0;
      error pane_why;
      if (bad)
        why = pane_why =
            make_error(s.script == "auth" ? errc::agent_auth : errc::agent_failed, "exit code 3");
      x.result = bad ? outcome::failed : result;
      x.error_code = pane_why ? to_string(pane_why.code) : "";
      x.error_text = pane_why ? render(pane_why) : "";
      x.final_offset = p.log.size();
      tell(x.swarm, x.sandbox, pane_exited{x.pane, 1, x.exit_code, 0, x.final_offset});
      tell(x.swarm, x.sandbox, pane_closed{x.pane, x.result, pane_why, 1, x.final_offset});
      x.state = pane_phase::closed;
      x.closed_at = now();
    }
    if (why) {
      result = outcome::failed;
      s.record.error_code = to_string(why.code);
      s.record.error_text = render(why);
    }
    if (s.script == "collides") collide(s);
    for (auto& b : s.sandboxes) {
      for (auto to : {phase::draining, phase::collecting, phase::closed})
        tell(b.swarm, b.sandbox, phase_changed{to, 10});
      b.kept = s.script == "keeps";
      b.kill_intended = s.script == "unconfirmed";
      if (b.kill_intended) b.remote_id = "i" + std::to_string(b.index);
      tell(b.swarm, b.sandbox, sandbox_closed{result, why, b.kept});
      b.state = phase::closed;
      b.result = result;
      b.error_code = s.record.error_code;
      if (why) {
        auto there = why;
        there.sandbox = b.sandbox;
        there.step = "running";
        b.error_text = render(there);
      }
      b.closed_at = now();
      b.lease_end_at = std::chrono::time_point_cast<std::chrono::milliseconds>(
          std::chrono::system_clock::now() + std::chrono::hours{1});
    }
    tell(s.record.swarm, {}, swarm_closed{result, why, 1, 0, 0.25});
    s.record.state = swarm_phase::closed;
    s.record.result = result;
    s.record.cost_usd = 0.25;
    s.record.closed_at = now();
  }

  /// What the file DIR/fake-results names as a folder becomes the results, and what collides in
  /// them is told.
  void collide(swarm& s) {
    tell(s.record.swarm, {}, collision{"a.py", {"p0", "p1"}, overlap::conflict});
    tell(s.record.swarm, {}, notice{severity::info, "pack_reused", "a step like others"});
    if (auto from = order("fake-results"); !from.empty())
      std::filesystem::copy(from, s.record.out_dir + "/" + s.record.swarm.value,
                            std::filesystem::copy_options::recursive);
  }

  result<list_reply> list(const list_request& r) {
    list_reply out;
    for (auto s = swarms_.rbegin(); s != swarms_.rend(); ++s) {
      const bool open = s->record.state != swarm_phase::closed;
      auto stayed = [](const sandbox_record& b) { return b.kept || b.kill_intended; };
      if (!r.named.empty()) {
        auto means = [&](const std::string& id) { return id.starts_with(r.named); };
        if (s->record.name == r.named || means(s->record.swarm.value))
          out.swarms.push_back(s->record);
        for (const auto& p : s->panes)
          if (means(p.record.pane.value)) out.panes.push_back(p.record);
        continue;
      }
      if (!r.repo.empty()) {
        if (s->record.repo == r.repo) out.swarms.push_back(s->record);
        continue;
      }
      if (!r.all && !open && std::none_of(s->sandboxes.begin(), s->sandboxes.end(), stayed))
        continue;
      out.swarms.push_back(s->record);
      out.sandboxes.insert(out.sandboxes.end(), s->sandboxes.begin(), s->sandboxes.end());
      for (const auto& p : s->panes)
        out.panes.push_back(p.record);
    }
    return out;
  }

  swarm* find(const swarm_id& id) {
    for (auto& s : swarms_)
      if (s.record.swarm == id) return &s;
    return nullptr;
  }

  pane* find(const pane_id& id) {
    for (auto& s : swarms_)
      for (auto& p : s.panes)
        if (p.record.pane == id) return &p;
    return nullptr;
  }

  result<status_reply> status(const status_request& r) {
    auto* s = find(r.swarm);
    if (s == nullptr && order("fake-closed") == r.swarm.value) {
      status_reply closed;
      closed.swarm.swarm = r.swarm;
      closed.swarm.state = swarm_phase::closed;
      return closed;
    }
    if (s == nullptr) return make_error(errc::no_such_swarm, r.swarm.value);
    if (s->script == "later") look(*s);
    status_reply out{s->record, s->sandboxes, {}, {}, journal_->head()};
    for (const auto& p : s->panes)
      out.panes.push_back(p.record);
    return out;
  }

  result<log_read_reply> log_read(const log_read_request& r) {
    auto* p = find(r.pane);
    if (p == nullptr) return make_error(errc::no_such_pane, r.pane.value);
    auto size = static_cast<std::int64_t>(p->log.size());
    auto at = std::clamp<std::int64_t>(r.offset < 0 ? size + r.offset : r.offset, 0, size);
    return log_read_reply{p->record.attempt,
                          static_cast<std::uint64_t>(at),
                          {p->log.substr(static_cast<std::size_t>(at), r.max_bytes)},
                          p->log.size(),
                          p->record.state == pane_phase::closed};
  }

  result<send_reply> send(const send_request& r) {
    auto* p = find(r.pane);
    if (p == nullptr) return make_error(errc::no_such_pane, r.pane.value);
    print(*p, "got: " + r.data.data);
    return send_reply{tell(p->record.swarm, p->record.sandbox,
                           input_receipt{r.pane, "k", r.data.data.size(), receipt::accepted})};
  }

  /// What a file of the state directory holds that tells the fake what to do; empty without it.
  std::string order(const std::string& name) const {
    std::ifstream in{state_ + "/" + name, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  result<stop_reply> stop(const stop_request& r) {
    stop_reply out;
    if (std::filesystem::exists(state_ + "/fake-refuses-stop"))
      return make_error(errc::queue_full, "as it was told");
    if (!r.swarm.empty() && find(r.swarm) == nullptr)
      return make_error(errc::no_such_swarm, r.swarm.value);
    if (auto* s = r.swarm.empty() ? nullptr : find(r.swarm); s && s->script == "keeps") {
      if (!r.kill) return make_error(errc::wrong_phase, r.swarm.value + " is closed");
      for (auto& b : s->sandboxes)
        b.kept = false;
      out.swarms.push_back(r.swarm);
    }
    for (auto& s : swarms_) {
      if (s.record.state == swarm_phase::closed || (!r.swarm.empty() && s.record.swarm != r.swarm))
        continue;
      out.swarms.push_back(s.record.swarm);
      out.seq = tell(s.record.swarm, {}, swarm_phase_changed{swarm_phase::stopping, "asked to"});
      s.record.state = swarm_phase::stopping;
      if (s.script == "stubborn" && !r.kill) continue;
      finish(s, r.kill ? outcome::killed : outcome::cancelled);
    }
    return out;
  }

  std::uint32_t open_count() const {
    std::uint32_t n = 0;
    for (const auto& s : swarms_)
      n += s.record.state != swarm_phase::closed;
    return n;
  }

  result<daemon_status_reply> daemon_status() {
    return daemon_status_reply{version_,
                               ::getpid(),
                               1,
                               journal_->stream_id,
                               journal_->head(),
                               state_,
                               open_count(),
                               at_ms(1'700'000'000'000)};
  }

  result<daemon_stop_reply> daemon_stop(const daemon_stop_request& r) {
    if (!r.force && open_count() > 0) return daemon_stop_reply{open_count()};
    ending_ = std::filesystem::exists(state_ + "/fake-lingers");
    if (ending_)
      std::ofstream{state_ + "/fake-ending"} << "it was asked\n";
    else
      ::kill(::getpid(), SIGUSR1);
    return daemon_stop_reply{open_count()};
  }

  std::mutex mutex_;
  std::shared_ptr<memory_journal> journal_;
  std::string version_;
  std::string state_;
  fake_edge* edge_ = nullptr;
  std::vector<swarm> swarms_;
  std::uint32_t survivors_ = 0;
  bool ending_ = false;
  std::map<std::string, run_reply> keys_;
  std::int64_t clock_ = 0;
};

} // namespace skep::cli_test
