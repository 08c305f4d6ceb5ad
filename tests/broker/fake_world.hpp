// What the broker needs around it: a journal in memory, desks that answer from a function, and a
// scratch state directory.
#pragma once

#include "actors/interfaces.hpp"
#include "broker/control.hpp"
#include "broker/endpoints.hpp"
#include "broker/publisher.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stdlib.h>

namespace skep::broker_test {

using namespace std::chrono_literals;

/// A directory that goes away with its scope.
struct scratch_dir {
  std::string path;
  scratch_dir() {
    char name[] = "/tmp/skep-test-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  scratch_dir(const scratch_dir&) = delete;
  scratch_dir& operator=(const scratch_dir&) = delete;
  ~scratch_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

inline utc_time at_ms(std::int64_t ms) {
  return utc_time{std::chrono::milliseconds{ms}};
}

/// Numbers chunks as the JOURNAL does and answers replays. Thread-safe.
class memory_journal {
public:
  std::string stream_id = "st_test";
  /// Called before each replay; an error of it is the answer. Set it before anybody asks.
  std::function<error(const replay_request&)> before_replay = {};

  /// A chunk of notices with the given texts.
  actors::chunk_ptr append(const swarm_id& swarm, const sandbox_id& sandbox,
                           const std::vector<std::string>& texts) {
    chunk c{swarm, sandbox, 0, {}};
    for (const auto& t : texts) {
      pack_event(c.body.data, at_ms(1000 + ++clock_), notice{severity::info, "test", t});
      ++c.count;
    }
    return append(std::move(c));
  }

  /// A chunk that was packed by the caller.
  actors::chunk_ptr append(chunk c) {
    std::lock_guard guard{mutex_};
    c.first_seq = head_ + 1;
    head_ += c.count;
    c.previous_in_sandbox = c.sandbox.empty() ? 0 : last_in_sandbox_[c.sandbox.value];
    c.previous_in_swarm = c.swarm.empty() ? 0 : last_in_swarm_[c.swarm.value];
    if (!c.sandbox.empty()) last_in_sandbox_[c.sandbox.value] = head_;
    if (!c.swarm.empty()) last_in_swarm_[c.swarm.value] = head_;
    chunks_.push_back(c);
    return std::make_shared<chunk>(std::move(c));
  }

  result<replay_reply> replay(const replay_request& r) {
    if (before_replay)
      if (auto e = before_replay(r)) return e;
    std::lock_guard guard{mutex_};
    ++replays_;
    if (r.from < oldest_) return make_error(errc::compacted, "oldest=" + std::to_string(oldest_));
    replay_reply out{stream_id, oldest_, head_, {}, head_ + 1};
    for (const auto& c : chunks_) {
      if (c.last_seq() < r.from || (!r.swarm.empty() && c.swarm != r.swarm)
          || (!r.sandbox.empty() && c.sandbox != r.sandbox))
        continue;
      if (out.chunks.size() == r.max_chunks) {
        out.next = out.chunks.back().last_seq() + 1;
        break;
      }
      out.chunks.push_back(c);
    }
    return out;
  }

  std::uint64_t head() {
    std::lock_guard guard{mutex_};
    return head_;
  }
  std::uint64_t replays() {
    std::lock_guard guard{mutex_};
    return replays_;
  }
  void trim(std::uint64_t oldest) {
    std::lock_guard guard{mutex_};
    oldest_ = oldest;
  }

private:
  std::mutex mutex_;
  std::vector<chunk> chunks_;
  std::map<std::string, std::uint64_t> last_in_swarm_, last_in_sandbox_;
  std::uint64_t head_ = 0, oldest_ = 1, replays_ = 0;
  std::int64_t clock_ = 0;
};

/// Packs a reply or an error.
template <message R>
reply_frame answer(const request_frame& r, result<R> x) {
  if (!x) return {protocol_version, r.id, x.err(), {}};
  return {protocol_version, r.id, {}, {pack(*x)}};
}

using desk_function = std::function<reply_frame(const request_frame&)>;

struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", 2);
  }
};

inline actors::desk_actor spawn_desk(caf::actor_system& system, desk_function f) {
  return system.spawn([f](actors::desk_actor::pointer) -> actors::desk_actor::behavior_type {
    return {[f](actors::handle_a, const request_frame& r) -> reply_frame { return f(r); }};
  });
}

/// Publisher, control and one desk over a journal in memory. Everything ends with its scope.
class fake_edge {
public:
  fake_edge(std::string state, std::shared_ptr<memory_journal> journal, desk_function desk = {},
            broker::control_limits limits = {}, int send_high_water = 1000)
      : where(broker::endpoints_of(state)), journal_(std::move(journal)) {
    desk_ = spawn_desk(system, [j = journal_, desk](const request_frame& r) {
      if (r.command == command_traits<replay_request>::number) {
        auto ask = unpack<replay_request>(r.body.data);
        if (!ask) return answer<replay_reply>(r, ask.err());
        return answer(r, j->replay(*ask));
      }
      return desk ? desk(r)
                  : answer<list_reply>(r, make_error(errc::not_found, "no desk in this test"));
    });
    broker::publisher_config p;
    p.path = where.events;
    p.stream_id = journal_->stream_id;
    p.head_seq = journal_->head();
    p.send_high_water = send_high_water;
    p.beacon_interval = 50ms;
    p.idle_beacon_interval = 200ms;
    publisher = broker::start_publisher(system, p);
    broker::control_config c;
    c.control_path = where.control;
    c.replay_path = where.replay;
    c.version = "0.0-test";
    c.desk_for = [d = desk_](std::uint32_t) { return d; };
    c.limits = limits;
    control = broker::start_control(system, c);
    wait_bound();
  }
  ~fake_edge() { stop(); }

  void stop() {
    for (auto h : {caf::actor_cast<caf::actor>(publisher), caf::actor_cast<caf::actor>(control),
                   caf::actor_cast<caf::actor>(desk_)})
      if (h) caf::anon_send_exit(h, caf::exit_reason::user_shutdown);
    caf::scoped_actor self{system};
    publisher = nullptr;
    control = nullptr;
    desk_ = nullptr;
    self->await_all_other_actors_done();
  }

  void publish(const actors::chunk_ptr& c) {
    caf::anon_send(publisher, actors::publish_a::value, c);
  }
  /// Appends to the journal and publishes.
  void emit(const swarm_id& swarm, const sandbox_id& sandbox,
            const std::vector<std::string>& texts) {
    publish(journal_->append(swarm, sandbox, texts));
  }

  broker::endpoints where;
  system_config config;
  caf::actor_system system{config};
  actors::publisher_actor publisher;
  actors::control_actor control;

private:
  /// The sockets are bound in the actors' first step; a listening socket is the evidence.
  void wait_bound() {
    auto end = std::chrono::steady_clock::now() + 10s;
    while (!(broker::somebody_listens(where.events) && broker::somebody_listens(where.control)
             && broker::somebody_listens(where.replay))) {
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("edge did not bind");
      std::this_thread::yield();
    }
  }
  std::shared_ptr<memory_journal> journal_;
  actors::desk_actor desk_;
};

} // namespace skep::broker_test
