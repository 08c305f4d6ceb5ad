// The sandboxes of this host as its holders tell them. The host keeps no state of its own: at start
// it asks every holder it finds, and from then on each holder's open `watch` connection is the
// truth - when that ends, the sandbox is over.
#pragma once

#include "host/async.hpp"
#include "host/driver.hpp"
#include "host/spec.hpp"
#include "host/state.hpp"

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace skep::host {

/// How long the host waits for its holders.
struct holder_policy {
  std::chrono::milliseconds adopt{5'000};   ///< For the first answer after a restart.
  std::chrono::milliseconds create{30'000}; ///< Spawn to ready; the holder's own limit is shorter.
  std::chrono::milliseconds answer{5'000};  ///< For an ordinary question.
  std::chrono::milliseconds pause{20'000};  ///< Until no process of it runs; or all run again.
  std::chrono::milliseconds kill{60'000};   ///< Until no process and no file is left.
  std::chrono::milliseconds busy{1'000};    ///< For a holder that takes no further connection.
  std::chrono::milliseconds retry{100}; ///< Between attempts to sweep or to reach a slow holder.
  int sweep_attempts = 100;
};

class registry : public driver {
public:
  /// `cgroups`: where groups of sandboxes lie (cgroups.hpp).
  registry(asio::io_context& io, state_dir& state, std::string holder_program,
           string_map cgroups = {}, holder_policy policy = {});
  ~registry() override;

  /// Connects to all holders found. Answers when every one has answered, is known to be dead or had
  /// its time; a holder that is late is still adopted when it comes. What dead ones left is removed
  /// behind, one after the other, each under its claim (state.hpp) from the start on.
  task<void> adopt() override;

  /// Starts a holder and waits until the sandbox inside has answered. Failure leaves nothing
  /// behind: one that cannot be reached any more is ended, however long that takes, and counts as
  /// occupied until then.
  task<result<sandbox_info>> create(sandbox_order order) override;
  /// Answers when no process and no file of it is left. errc::not_found when there is none;
  /// errc::capacity when its holder lives and has no room for the question: it stays listed.
  task<result<void>> kill(std::string id) override;
  /// Ends the lease `ms` from now, or (extend) not before that.
  task<result<sandbox_info>> set_timeout(std::string id, std::int64_t ms, bool extend) override;
  /// The holder's answer to `usage`.
  task<result<json>> usage(std::string id, std::uint64_t after) override;
  task<result<json>> set_allowance(std::string id, json most) override;
  task<result<json>> revoke_keys(std::string id) override;
  task<result<sandbox_info>> pause(std::string id) override;
  task<result<sandbox_info>> resume(std::string id, std::int64_t ms) override;
  task<result<sandbox_info>> set_network(std::string id, network_access access) override;
  task<result<json>> metrics(std::string id) override;
  task<result<json>> logs(std::string id) override;
  /// A connection to envd in the sandbox. errc::gone, also when it is paused.
  task<result<local_socket>> connect_envd(std::string id) override;

  /// nullptr when there is none or it is being killed. Valid until the next co_await.
  const sandbox_info* find(const std::string& id) const override;
  std::vector<const sandbox_info*> list() const override;
  /// Sandboxes that run, are being started or could not be asked yet: what counts against the
  /// limit.
  std::size_t occupied() const override;
  /// True for a holder that lives but has not answered since the host started.
  bool unknown(const std::string& id) const override { return unknown_.contains(id); }

  /// For tests: called with the id before the files of a dead one are removed, on the thread that
  /// does it. Set it before anything else is called.
  std::function<void(const std::string&)> before_removal;

private:
  struct entry {
    sandbox_info info;
    bool dying = false;
  };
  using entry_ptr = std::shared_ptr<entry>;

  task<void> adopt_one(std::string id, std::shared_ptr<std::size_t> open,
                       std::shared_ptr<notifier> done);
  task<bool> try_adopt(const std::string& id, std::chrono::milliseconds limit);
  task<void> keep_asking(std::string id);
  task<void> watch(std::string id, entry_ptr what, std::shared_ptr<local_socket> socket,
                   std::string early);
  /// Asks the holder of a sandbox that is there; errc::not_found otherwise or when it ends,
  /// errc::capacity when it lives and takes no further connection.
  task<result<json>> put_question(std::string id, json question, std::chrono::milliseconds limit);
  task<result<sandbox_info>> change(std::string id, json question);
  struct removal;
  using removal_ptr = std::shared_ptr<removal>;
  /// nullptr: its holder lives, or nobody can tell at present.
  removal_ptr claim_removal(const std::string& id);
  void begin_removal(const std::string& id, removal_ptr what);
  bool remove_if_dead(const std::string& id);
  task<void> remove_behind();
  /// Removes what a dead one left, or waits for whoever does it already; `alive` comes at once.
  task<sweep_outcome> sweep(std::string id);
  task<result<void>> end_holder(std::string id);
  void discard(std::string id);
  task<void> keep_ending(std::string id);

  struct workers;
  asio::io_context& io_;
  state_dir& state_;
  std::string program_;
  string_map cgroups_;
  holder_policy policy_;
  std::map<std::string, entry_ptr> entries_;
  std::map<std::string, bool> unknown_;
  /// Shared with creates in progress, which may outlive us by a moment when the host ends.
  std::shared_ptr<std::size_t> starting_ = std::make_shared<std::size_t>(0);
  std::map<std::string, removal_ptr> removals_;            ///< Claimed and not over yet.
  std::deque<std::pair<std::string, removal_ptr>> behind_; ///< Of them what waits its turn.
  bool removing_behind_ = false;
  std::atomic<bool> stop_removing_ = false;
  std::unique_ptr<workers> workers_; // removes files, which may take long
};

} // namespace skep::host
