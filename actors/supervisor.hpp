// One generic supervisor, as in OTP.
//
//   supervision   the rules, without an actor: an actor that supervises and does something else too
//                 owns one of these (swarm, sandbox supervisor)
//   supervisor    the ready actor around it: root, work, edge, swarms
//
// Life of a child:
//
//   waiting --start--> running --asked to stop--> stopping --DOWN--> (gone)
//      ^                  |                           |
//      |                 DOWN                      grace over: kill; kill_wait over: abandoned
//      +----backoff-------+
//
// A child that ends in error (permanent: or at all) is started again after a backoff, alone
// (one_for_one), with all (one_for_all) or with those that were started after it (rest_for_one); a
// group is stopped right to left and started left to right. More than `max_restarts` within
// `period` ends the supervisor with errc::gave_up: its parent sees an ordinary failure.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/restart_policy.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace skep::actors {

enum class strategy : std::uint8_t { one_for_one, one_for_all, rest_for_one };

/// always / only when it ended in error / never.
enum class restart_kind : std::uint8_t { permanent, transient, temporary };

struct child_spec {
  /// Unique within the supervisor; part of the child's path in events.
  std::string id;
  /// Spawns the child through the given actor (its clock, its scheduler) and returns the handle.
  /// A null handle or an exception counts as a child that failed at once.
  std::function<caf::strong_actor_ptr(caf::scheduled_actor*)> start;
  restart_kind restart = restart_kind::permanent;
  /// Time between the request to stop and the kill.
  caf::timespan grace = std::chrono::seconds{5};
  /// Life of the child from the moment it was added, restarts included; then it is stopped and
  /// removed. 0: no limit. The child cannot move it.
  caf::timespan deadline{0};
};

struct supervisor_options {
  /// Place in the tree, such as "root/work".
  std::string path;
  strategy plan = strategy::one_for_one;
  restart_policy policy;
  /// Ask all children to stop at once instead of one after the other from the right. For many
  /// children of one kind.
  bool stop_together = false;
  /// After the kill: how long a DOWN is awaited before the child is given up as lost (a detached
  /// actor that hangs in a handler cannot be interrupted).
  caf::timespan kill_wait = std::chrono::seconds{5};
  /// Seed of the jitter; 0 draws one from the system.
  std::uint64_t seed = 0;

  // Reports, called in the supervisor's own context; each may be empty.
  /// A restart was decided (its start comes after delay_ms).
  std::function<void(const child_restarted&)> on_restarted;
  /// The intensity was exceeded; the supervisor stops its children now and then itself.
  std::function<void(const supervisor_gave_up&)> on_gave_up;
  /// A child ended and was removed: temporary, transient and orderly, removed, or past its
  /// deadline. Not called while the supervisor itself stops.
  std::function<void(const std::string& id, const caf::error& why)> on_ended;
  /// A child did not stop within its grace and was killed (`lost`: not even then).
  std::function<void(const std::string& path, bool lost)> on_refused;
};

/// True for the error a supervisor ends with when it gave up.
bool gave_up(const caf::error& why);
/// One line for people and for the `reason` of events.
std::string describe(const caf::error& why);

/// The rules of supervision. Belongs to one actor and is used in its handlers only. The owner
/// forwards: down messages to on_down(), its timer to on_timer(), exit messages to stop(), and
/// calls kill_all() in its on_exit().
class supervision {
public:
  struct host {
    /// The owner; children are spawned and monitored through it.
    caf::scheduled_actor* self = nullptr;
    /// Calls on_timer(token) after the delay. Tokens are never reused; late ones are harmless.
    std::function<void(caf::timespan, std::uint64_t token)> set_timer;
    /// All children are down after stop() or giving up; the owner ends with this reason.
    std::function<void(caf::error)> finished;
  };
  /// Answer to somebody who waits for a start: the handle, or the error.
  using start_waiter = std::function<void(result<caf::strong_actor_ptr>)>;
  using stop_waiter = std::function<void(result<void>)>;

  supervision(host h, supervisor_options o);

  /// Adds a child at the right end and starts it; while its group is being restarted the start
  /// comes with the group. errc::exists for an id in use, errc::shutting_down while stopping. When
  /// the first start fails, a child that somebody waits for is not kept; without a waiter it is
  /// retried like any that failed.
  void add(child_spec s, start_waiter done = {});
  /// Stops a child and forgets it; answers when it is down. errc::not_found.
  void remove(const std::string& id, stop_waiter done = {});
  /// The running child's handle, null while it waits for its restart or when there is none.
  caf::strong_actor_ptr find(const std::string& id) const;
  bool contains(const std::string& id) const { return by_id_.count(id) != 0; }
  std::vector<std::string> ids() const; ///< In order of their start.
  std::size_t size() const { return kids_.size(); }
  bool stopping() const { return stopping_; }

  /// True when the message was about a child of this supervisor.
  bool on_down(const caf::down_msg& d);
  void on_timer(std::uint64_t token);
  /// Orderly stop, right to left; host.finished(why) is called when the last one is down (at once
  /// when there is none). A second call does nothing.
  void stop(caf::error why);
  /// Kills what still runs without waiting and forgets everything. Never throws.
  void kill_all() noexcept;

private:
  enum class state : std::uint8_t { waiting, running, stopping, killed };
  struct child {
    child_spec spec;
    state at = state::waiting;
    caf::strong_actor_ptr handle;
    std::uint32_t fails = 0;
    bool removed = false; ///< Forget it when it is down.
    caf::actor_clock::time_point started{};
    std::uint64_t timer = 0; ///< Token of its restart, grace or kill timer; 0: none.
    std::uint64_t deadline_timer = 0;
    caf::error end_reason;                ///< Why it was removed, when we did it.
    std::vector<start_waiter> on_started; ///< Waiting for a start that comes with the group.
    std::vector<stop_waiter> on_stopped;
  };
  enum class timer_kind : std::uint8_t { restart, grace, lost, deadline, group };
  struct timer {
    timer_kind kind;
    std::uint64_t child;
  };
  using children = std::map<std::uint64_t, child>; ///< By order of start.

  caf::actor_clock::time_point now() const;
  std::string path_of(const child& k) const;
  std::uint64_t arm(timer_kind kind, std::uint64_t child_key, caf::timespan delay);
  void disarm(std::uint64_t& token);
  caf::error start_child(std::uint64_t key, child& k);
  void stop_child(std::uint64_t key, child& k);
  void gone(std::uint64_t key, const caf::error& why);
  void failed(std::uint64_t key, const caf::error& why);
  void forget(std::uint64_t key, const caf::error& why);
  void join_group(std::uint64_t first, caf::timespan delay);
  void advance_group();
  void start_group();
  void advance_stop();
  caf::timespan delay_for(child& k);

  host host_;
  supervisor_options options_;
  std::minstd_rand random_; ///< For the jitter: one word of state, there is one in every sandbox.
  children kids_;
  std::unordered_map<std::string, std::uint64_t> by_id_;
  std::unordered_map<caf::actor_addr, std::uint64_t> by_address_;
  std::map<std::uint64_t, timer> timers_;
  std::vector<caf::actor_clock::time_point> restarts_; ///< At most max_restarts + 1, oldest first.
  std::uint64_t next_key_ = 1;
  std::uint64_t next_token_ = 1;
  // A group restart under way: children with key >= group_first_ are stopped, then started.
  bool group_ = false;
  std::uint64_t group_first_ = 0;
  caf::timespan group_delay_{0};
  std::uint64_t group_timer_ = 0;
  bool stopping_ = false;
  bool all_asked_ = false;
  bool finished_ = false;
  caf::error why_;
};

// ---- the ready actor ------------------------------------------------------------------------

using add_child_a = caf::atom_constant<caf::atom("supAdd")>;
using del_child_a = caf::atom_constant<caf::atom("supRemove")>;
using get_child_a = caf::atom_constant<caf::atom("supFind")>;
using ids_a = caf::atom_constant<caf::atom("supIds")>;

using supervisor_actor = caf::typed_actor<
    // Starts a dynamic child and answers its handle.
    caf::replies_to<add_child_a, child_spec>::with<caf::strong_actor_ptr>,
    // Stops a child and forgets it; answers when it is down.
    caf::replies_to<del_child_a, std::string>::with<void>,
    // The running child's handle; errc::not_found when unknown or waiting for its restart.
    caf::replies_to<get_child_a, std::string>::with<caf::strong_actor_ptr>,
    // Ids of all children in order of their start.
    caf::replies_to<ids_a>::with<std::vector<std::string>>,
    // INTERNAL: a timer is due.
    caf::reacts_to<tick_a, std::uint64_t>>;

/// Spawns a supervisor with its first children, started left to right. An exit message stops it in
/// order. An invalid policy ends it at once with that error.
supervisor_actor spawn_supervisor(caf::actor_system& sys, supervisor_options options,
                                  std::vector<child_spec> children);
/// The same as child of another actor: for use in child_spec::start.
supervisor_actor spawn_supervisor(caf::scheduled_actor* parent, supervisor_options options,
                                  std::vector<child_spec> children);

} // namespace skep::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::child_spec)
