#include "actors/limiter.hpp"

#include "actors/answer.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <unordered_map>

namespace skep::actors {

namespace {

class limiter_impl : public limiter_actor::base {
  using super = limiter_actor::base;

public:
  limiter_impl(caf::actor_config& cfg, limiter_options options) : super(cfg), options_(options) {
    if (options_.places == 0)
      options_.places = 2 * std::max(1u, std::thread::hardware_concurrency());
  }

  const char* name() const override { return "limiter"; }
  void on_exit() override {
    for (auto& [turn, w] : queue_)
      w.promise.deliver(to_caf(make_error(errc::shutting_down)));
    queue_.clear();
    turns_.clear();
    held_.clear();
    holders_.clear();
  }

  behavior_type make_behavior() override {
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
    set_down_handler([this](caf::down_msg& d) { died(d.source); });
    return {
        [this](admit_a, const pane_id& pane, const sandbox_id& box) -> caf::result<void> {
          return admit(pane, box);
        },
        [this](release_a, const pane_id& pane) {
          release(pane);
          advance();
        },
        [this](position_a, const pane_id& pane) -> caf::result<std::uint64_t> {
          if (held_.count(pane)) return std::uint64_t{0};
          auto i = turns_.find(pane);
          if (i == turns_.end())
            return to_caf(make_error(errc::not_found, "no start is asked for", pane.value));
          return static_cast<std::uint64_t>(
              1 + std::distance(queue_.begin(), queue_.find(i->second)));
        },
    };
  }

private:
  struct holder {
    caf::actor_addr asker;
    sandbox_id box;
  };
  struct waiting {
    pane_id pane;
    sandbox_id box;
    caf::actor_addr asker;
    caf::typed_response_promise<void> promise;
  };

  // One sandbox leaves a place to the others, so that one whose inside hangs holds up nobody.
  std::uint32_t most_of_one() const {
    return options_.places > 1 ? options_.places - std::max(1u, options_.places / 4) : 1;
  }
  bool may_have(const sandbox_id& box) const {
    if (held_.size() >= options_.places) return false;
    auto i = of_box_.find(box);
    return box.empty() || i == of_box_.end() || i->second < most_of_one();
  }
  void hold(const pane_id& pane, const caf::actor_addr& asker, const sandbox_id& box) {
    held_.emplace(pane, holder{asker, box});
    ++of_box_[box];
  }
  void let_go(const sandbox_id& box) {
    if (auto i = of_box_.find(box); i != of_box_.end() && --i->second == 0) of_box_.erase(i);
  }

  caf::result<void> admit(const pane_id& pane, const sandbox_id& box) {
    const auto asker = caf::actor_cast<caf::actor_addr>(current_sender());
    if (auto i = held_.find(pane); i != held_.end()) {
      forget(i->second.asker);
      i->second.asker = asker;
      watch(asker);
      return caf::unit;
    }
    if (auto i = turns_.find(pane); i != turns_.end()) {
      auto& w = queue_.at(i->second);
      w.promise.deliver(to_caf(make_error(errc::cancelled, "asked again by another actor")));
      forget(w.asker);
      w.asker = asker;
      w.promise = make_response_promise<void>();
      watch(asker);
      return w.promise;
    }
    if (may_have(box)) {
      hold(pane, asker, box);
      watch(asker);
      return caf::unit;
    }
    if (queue_.size() >= options_.queue)
      return to_caf(make_error(errc::queue_full, "too many agents wait for their start"));
    auto promise = make_response_promise<void>();
    queue_.emplace(next_turn_, waiting{pane, box, asker, promise});
    turns_.emplace(pane, next_turn_++);
    watch(asker);
    return promise;
  }

  void release(const pane_id& pane) {
    if (auto i = held_.find(pane); i != held_.end()) {
      forget(i->second.asker);
      let_go(i->second.box);
      held_.erase(i);
    } else if (auto t = turns_.find(pane); t != turns_.end()) {
      auto& w = queue_.at(t->second);
      w.promise.deliver(to_caf(make_error(errc::cancelled, "the start was called off")));
      forget(w.asker);
      queue_.erase(t->second);
      turns_.erase(t);
    }
  }

  void advance() {
    for (auto next = queue_.begin(); next != queue_.end() && held_.size() < options_.places;) {
      if (!may_have(next->second.box)) {
        ++next;
        continue;
      }
      auto w = std::move(next->second);
      next = queue_.erase(next);
      turns_.erase(w.pane);
      hold(w.pane, w.asker, w.box);
      answer(w.promise, result<void>{});
    }
  }

  // One monitor for each actor, however many places it asked for.
  void watch(const caf::actor_addr& asker) {
    if (asker && holders_[asker]++ == 0) monitor(asker);
  }
  void forget(const caf::actor_addr& asker) {
    auto i = holders_.find(asker);
    if (i == holders_.end() || --i->second > 0) return;
    demonitor(asker);
    holders_.erase(i);
  }

  void died(const caf::actor_addr& who) {
    if (holders_.erase(who) == 0) return;
    std::erase_if(held_, [&](const auto& x) {
      if (x.second.asker != who) return false;
      let_go(x.second.box);
      return true;
    });
    std::erase_if(queue_, [&](const auto& x) {
      if (x.second.asker != who) return false;
      turns_.erase(x.second.pane);
      return true;
    });
    advance();
  }

  limiter_options options_;
  std::map<pane_id, holder> held_;
  std::map<sandbox_id, std::uint32_t> of_box_; ///< Places that each sandbox holds.
  std::map<std::uint64_t, waiting> queue_;     ///< By turn.
  std::unordered_map<pane_id, std::uint64_t> turns_;
  std::unordered_map<caf::actor_addr, std::uint32_t> holders_; ///< Places and turns of an actor.
  std::uint64_t next_turn_ = 1;
};

} // namespace

limiter_actor spawn_limiter(caf::actor_system& sys, limiter_options options) {
  return sys.spawn<limiter_impl>(options);
}

limiter_actor spawn_limiter(caf::scheduled_actor* parent, limiter_options options) {
  return parent->spawn<limiter_impl>(options);
}

} // namespace skep::actors
