// The SWARM's class, for the files that define it and nobody else:
//
//   swarm.cpp             its messages, its beginning, its clock, its end
//   swarm_adopt.cpp       taking up what a former life left
//   swarm_replace.cpp     successors of lost sandboxes
//   swarm_collisions.cpp  panes that changed the same paths
#pragma once

#include "actors/cost_so_far.hpp"
#include "actors/replacement.hpp"
#include "actors/soft_limits.hpp"
#include "actors/swarm.hpp"
#include "actors/swarm_results.hpp"
#include "actors/swarm_sandboxes.hpp"
#include "actors/told_collisions.hpp"

#include <map>
#include <set>

namespace skep::actors {

class swarm_impl : public domain_actor<swarm_actor> {
public:
  swarm_impl(caf::actor_config& cfg, swarm_context_ptr context, swarm_start start,
             std::function<void(const swarm_id&)> closed);

  const char* name() const override { return "swarm"; }
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  using answer = caf::typed_response_promise<std::uint64_t>;
  struct known_boxes {
    std::vector<sandbox_record> sandboxes;
    std::vector<replacement_record> replacements;
  };
  struct packed_tree {
    prepared_bundle tree;
    bool told; ///< What its scan found is on record.
  };
  struct known_loss {
    std::uint32_t index;
    sandbox_replaced event;
  };

  utc_time now() const { return ctx_->svc->wall_now(); }
  const swarm_spec& spec() const { return *ctx_->spec; }

  // A callback of this life.
  template <class F>
  auto mine(F f) {
    return [this, life = life_, f = std::move(f)](auto&&... xs) mutable {
      if (life == life_) f(std::forward<decltype(xs)>(xs)...);
    };
  }

  template <event E, class Next>
  void fact(const E& e, Next next) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  // ---- swarm.cpp: the beginning ----
  caf::result<std::uint64_t> begin();
  void create(answer promise);
  void warn_if_open();
  void take_up();
  void limit_from(utc_time began);
  void went_on();
  void prepare();
  void prepared(result<packed_tree> r);
  void tell_scan(bool told, std::function<void()> next);
  void pack_tree(std::function<void(result<upload_bundle>)> next);
  void tell_of_packing(const std::vector<notice>& what);
  /// Asks for the client of a provider, which is then in clients_.
  void connect(const std::string& provider, std::function<void(const error&)> next);
  void start_all();
  void start_sandbox(sandbox_start start);

  // ---- swarm.cpp: while it runs ----
  std::chrono::milliseconds boot_now() const;
  void tick_later();
  void on_tick();
  std::chrono::milliseconds elapsed() const;
  run_cost cost() const;
  caf::result<std::uint64_t> on_stop(stop_mode how);
  void stop(stop_mode how, answer promise);
  void stop(stop_mode how, std::function<void(result<std::uint64_t>)> then);
  caf::result<std::uint64_t> on_input(const pane_id& pane, const std::string& key,
                                      const std::string& bytes);
  caf::result<caf::strong_actor_ptr, std::uint32_t> on_attach(const attach_open_request& r);

  // ---- swarm.cpp: the end ----
  void on_sandbox_closed(const sandbox_ending& x);
  void forget(const sandbox_ending& x);
  void abandon(const sandbox_ending& x);
  void finish();
  void write_end();
  outcome stopped_outcome() const;
  void close(outcome result, error why);
  void close(swarm_closed end);

  // ---- swarm_adopt.cpp ----
  void adopt();
  /// Each provider by itself: what is at one that answers does not wait for another.
  void reach_all(std::vector<sandbox_record> open);
  void reach(const std::string& provider, std::vector<sandbox_record> open);
  void unreachable(const std::string& provider, const std::vector<sandbox_record>& open,
                   const error& why);
  /// Once in the life of this actor for each.
  void tell_unreachable(const std::string& provider, const error& why);
  void with_bundle(const std::string& provider, std::vector<sandbox_record> open);
  void adopt_all(const std::string& provider, const std::vector<sandbox_record>& open);

  // ---- swarm_replace.cpp ----
  bool may_replace() const;
  void replace(const sandbox_id& lost);
  void start_successor(std::uint32_t index, const sandbox_id& id);
  /// At the run's provider, which may not have been asked for since the daemon is back.
  void reach_for_successor(std::uint32_t index, const sandbox_id& id);
  void finish_when_empty();

  // ---- swarm_collisions.cpp ----
  void compare_with(const sandbox_id& id);
  void compare();
  void tell(const std::vector<collision>& met);

  swarm_context_ptr ctx_;
  swarm_start start_;
  std::function<void(const swarm_id&)> closed_;
  std::vector<std::pair<stop_mode, answer>> early_; ///< From before swarm.created was on disk.
  std::shared_ptr<const upload_bundle> bundle_;
  std::map<std::string, std::shared_ptr<sandbox::api>> clients_; ///< By provider.
  fallback_ptr fallback_;                                        ///< Null: it has none.
  sandbox_set sandboxes_;
  std::vector<std::uint32_t> missing_; ///< Sandboxes of the run that a former life did not begin.
  std::vector<owed_successor> owed_;   ///< As above, of successors.
  std::uint32_t replaced_ = 0;         ///< Lost sandboxes whose successor has its number.
  std::uint32_t unnumbered_ = 0;       ///< Lost ones that were promised one.
  std::uint32_t replacing_ = 0;        ///< On their way to one that has begun.
  error first_error_;
  std::optional<soft_limits> soft_;
  std::optional<stop_mode> stop_;
  std::vector<sandbox_id> uncompared_; ///< With results that were not looked at yet.
  told_collisions told_;
  std::uint64_t life_ = 0; ///< Grows with every take_up(); what an older one began is dropped.
  bool on_disk_ = false;
  bool ticking_ = false;
  bool comparing_ = false;
  bool finishing_ = false;
  bool closing_ = false;
  std::set<std::string> told_unreachable_; ///< Providers.
  std::uint32_t unreached_ = 0;            ///< Providers whose sandboxes are not taken up yet.
  error unmade_; ///< Why sandboxes of the run that a former life did not begin are not made.
  std::vector<std::function<void()>> waiting_for_tree_; ///< What goes on once it is packed.
};

} // namespace skep::actors
