// What the domain actors (SWARM, SANDBOX, TRANSFER, PANE, pollers, REAPER) share: the
// services from outside, the context of a sandbox, and the small base class that brings callbacks
// home.
#pragma once

#include "actors/answered.hpp"
#include "actors/boards.hpp"
#include "actors/directory.hpp"
#include "actors/disk_room.hpp"
#include "actors/fallback.hpp"
#include "actors/follower_places.hpp"
#include "actors/interfaces.hpp"
#include "actors/limit_rules.hpp"
#include "actors/policy.hpp"
#include "actors/supervisor.hpp"
#include "actors/turnstile.hpp"
#include "actors/work_pool.hpp"
#include "sandbox/api.hpp"
#include "storage/reader.hpp"
#include "transfer/archive_form.hpp"
#include "transfer/parts.hpp"

#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace skep::actors {

/// Everything the tree needs from outside; real in skepd, fakes in tests. Filled before the tree
/// starts and constant from then on.
struct services {
  directory_ptr handles;
  /// The client of a provider entry, or unknown_provider / host_failed. May block up to 30 s (it
  /// starts the local host): called by domain_actor::at_provider() only.
  std::function<result<std::shared_ptr<sandbox::api>>(const std::string& provider)> provider;
  /// True when a provider entry of this name is configured.
  std::function<bool(const std::string& provider)> knows_provider;
  /// Configured providers that may have a sandbox of ours that no row tells of: with a key, or used
  /// before; the local one while its host may have a sandbox. Null: none. Short reads; any thread.
  std::function<std::vector<std::string>()> providers_in_use;
  /// False: what lies here shows that this provider has no sandbox, so that nobody starts it for a
  /// question (a local host that never ran, or is done). Null: each may have some. Any thread.
  std::function<bool(const std::string& provider)> may_hold;
  /// Base URL of the gateway inside sandboxes of this provider; empty where the provider applies
  /// the rules at its egress.
  std::function<std::string(const std::string& provider)> gateway_url;
  /// Name of the secret that holds the key of a provider; empty, as without it, where none is
  /// needed.
  std::function<std::string(const std::string& provider)> key_secret;
  /// A secret by name; empty when it is not set.
  std::function<std::string(const std::string& name)> secret;
  /// All secret values that output must not show, those that were replaced among them.
  std::function<std::vector<std::string>()> known_secrets;
  std::function<utc_time()> wall_now;
  /// The boot-time clock, which counts while the machine sleeps and which nobody sets; for limits.
  std::function<std::chrono::milliseconds()> boot_now = boot_clock;
  /// Rows of the state tables, for actors that are restarted. Short reads; any thread.
  std::function<result<swarm_record>(const swarm_id&)> load_swarm;
  std::function<result<std::vector<sandbox_record>>(const swarm_id&)> load_sandboxes;
  std::function<result<sandbox_record>(const sandbox_id&)> load_sandbox;
  std::function<result<std::vector<pane_record>>(const sandbox_id&)> load_panes;
  std::function<result<pane_record>(const pane_id&)> load_pane;
  /// Sandboxes that may live at a provider: open, kept, or with a kill that is not confirmed.
  std::function<result<std::vector<sandbox_record>>()> living_sandboxes;
  /// True while a switch of the daemon ("draining") is on.
  std::function<result<bool>(std::string_view)> switch_is_on;
  /// When the create intent of a sandbox was journaled. Reads the journal; any thread.
  std::function<result<utc_time>(const sandbox_id&, const std::string& intent)> intended_at;
  /// Pages of the journal, such as all of one sandbox. Short reads; any thread.
  std::function<result<storage::chunk_page>(const storage::chunk_selector&)> read_chunks;
  /// Sandboxes of a run that were lost and replaced, oldest first.
  std::function<result<std::vector<replacement_record>>(const swarm_id&)> load_replacements;
  /// The command accepted under an idempotency key: {name, fingerprint, packed reply}, or an empty
  /// name.
  std::function<std::tuple<std::string, std::string, std::string>(const std::string& key)>
      find_command;
  /// Sequence of swarm.created, 0 when that part of the journal is gone.
  std::function<std::uint64_t(const swarm_id&)> created_seq;
  /// Limits and prices of providers, and budgets. Null: nothing is limited and there is no
  /// ADMISSION (tests of single actors).
  std::shared_ptr<const limit_table> rules;
  /// What counts against them. Short reads; any thread.
  std::function<result<storage::spend_state>(utc_time now)> load_spend;
  /// How fast the last uploads to a provider were. Null: nobody knows. Short reads; any thread.
  std::function<result<storage::measured_uploads>(const std::string& provider)> load_uploads;
  /// True when the provider's gateway counts what models cost.
  std::function<bool(const std::string& provider)> counts_models;
  /// True when the price of a model of this name is known to that gateway.
  std::function<bool(const std::string& model)> knows_price;
  std::shared_ptr<ailing_board> ailing = std::make_shared<ailing_board>();
  std::shared_ptr<rest_board> rests = std::make_shared<rest_board>();
  /// Room on the disk of `state_dir`, asked before output is written there. Null: there is always
  /// enough (tests).
  std::shared_ptr<disk_room> room;
  /// Sandboxes beyond them are polled. Null: each has a stream (tests).
  std::shared_ptr<follower_places> followers;
  /// Through which sandboxes of a former daemon are looked for. Null: all at once (tests).
  std::shared_ptr<turnstile> take_ups;
  /// Asks the process to end in order.
  std::function<void()> shut_down;
  std::shared_ptr<work_pool> pool;
  /// For calls of `provider` alone: no kill and no list waits until something is packed, or behind
  /// a file system that hangs. Null: `pool` does them, too (tests).
  std::shared_ptr<work_pool> provider_pool;
  std::filesystem::path state_dir;     ///< logs/, work/ and packs/ below it are ours.
  transfer::archive_form upload_form;  ///< Of what is packed.
  std::uint64_t upload_keep_bytes = 0; ///< What packs/ may take; 0: nothing is kept.
  std::filesystem::path guest_binary;  ///< skep-guest for the sandboxes' architecture.
  std::string guest_sha256;
  std::string install_id; ///< skep.install
  std::uint64_t epoch = 0;
  policies limits;
};
using services_ptr = std::shared_ptr<const services>;

/// Options of a supervisor whose restarts and give-ups are journaled above swarms.
inline supervisor_options reported(const services_ptr& svc, std::string path) {
  supervisor_options out;
  out.path = std::move(path);
  out.policy = svc->limits.supervision;
  out.on_restarted = [svc](const child_restarted& e) {
    if (auto r = svc->handles->recorder())
      caf::anon_send(r, note_a::value, pack_now(svc->wall_now(), e));
  };
  out.on_gave_up = [svc](const supervisor_gave_up& e) {
    if (auto r = svc->handles->recorder())
      caf::anon_send(r, note_a::value, pack_now(svc->wall_now(), e));
  };
  return out;
}

/// Where things lie inside every sandbox.
namespace inside {
inline constexpr std::string_view home = "/home/user";
inline constexpr std::string_view repo = "/home/user/repo";
inline constexpr std::string_view trees = "/home/user/work";
inline constexpr std::string_view skep = "/home/user/.skep";
inline constexpr std::string_view panes = "/home/user/.skep/panes";
inline constexpr std::string_view inbox = "/home/user/.skep/in";
inline constexpr std::string_view outbox = "/home/user/.skep/out";
} // namespace inside

/// The packed work tree that all sandboxes of a swarm are given.
struct upload_bundle {
  std::filesystem::path archive;
  std::vector<transfer::file_part> archive_parts;
  std::filesystem::path head_pack; ///< Empty unless the work tree was clean.
  std::vector<transfer::file_part> head_pack_parts;
  std::string head;
  std::string manifest_sha256;
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  swarm_scanned scanned; ///< What was found while it was packed.
  error refused;         ///< Why it must not be uploaded.
};

/// What all actors of one sandbox share. The constant part is set at construction, but for
/// fall_back(); the rest is guarded.
class sandbox_context {
public:
  services_ptr svc;
  std::shared_ptr<const swarm_spec> spec; ///< As it is at the sandbox's provider.
  std::shared_ptr<sandbox::api> api;
  fallback_ptr fallback; ///< Null: it has none, or is there.
  swarm_id swarm;
  sandbox_id sandbox;
  std::uint32_t index = 0;

  recorder_actor recorder() const { return locked(recorder_); }
  void recorder(recorder_actor x) { assign(recorder_, std::move(x)); }
  sandbox_actor keeper() const { return locked(keeper_); }
  void keeper(sandbox_actor x) { assign(keeper_, std::move(x)); }
  health_actor health() const { return locked(health_); }
  void health(health_actor x) { assign(health_, std::move(x)); }
  /// Probes of its inside that failed in a row. Kept here, so that a HEALTH POLLER that is started
  /// again counts on, and takes back what the one before it told.
  std::uint32_t probe_failures() const { return locked(probe_failures_); }
  void probe_failures(std::uint32_t n) { assign(probe_failures_, n); }
  sandbox::remote address() const { return locked(address_); }
  void address(sandbox::remote x) { assign(address_, std::move(x)); }
  /// The commit that its panes started from; empty until its work tree is there.
  std::string base_commit() const { return locked(base_commit_); }
  void base_commit(std::string x) { assign(base_commit_, std::move(x)); }
  pane_actor pane(const pane_id& id) const {
    std::lock_guard guard{mutex_};
    auto i = panes_.find(id);
    return i == panes_.end() ? pane_actor{} : i->second;
  }
  void pane(const pane_id& id, pane_actor x) {
    std::lock_guard guard{mutex_};
    panes_[id] = std::move(x);
  }
  /// A sign of life of a pane: output, or an event of its own. Any thread.
  void active(const pane_id& id) {
    auto at = svc->boot_now();
    std::lock_guard guard{mutex_};
    activity_[id] = at;
  }
  /// When there was one last, on the boot-time clock; nothing when there was none in this life of
  /// the daemon.
  std::optional<std::chrono::milliseconds> active_at(const pane_id& id) const {
    std::lock_guard guard{mutex_};
    auto i = activity_.find(id);
    if (i == activity_.end()) return std::nullopt;
    return i->second;
  }
  /// True while its output waits for room on the disk of this machine, so that nobody sees what its
  /// panes do.
  bool output_waits() const { return locked(output_waits_); }
  void output_waits(bool on) { assign(output_waits_, on); }
  /// What its SWARM last told it: one that is started again has not heard it itself.
  std::optional<stop_mode> told_to_stop() const { return locked(told_to_stop_); }
  void told_to_stop(stop_mode how) { assign(told_to_stop_, std::optional{how}); }
  /// From now on it is at the fallback, whose client `there` is. Only by its SANDBOX, before the
  /// sandbox is made: the other actors that read `spec` and `api` are started after that.
  void fall_back(std::shared_ptr<sandbox::api> there) {
    spec = std::exchange(fallback, nullptr)->spec();
    api = std::move(there);
  }
  /// Drops every handle; called when the sandbox's supervisor ends.
  void clear() {
    std::lock_guard guard{mutex_};
    recorder_ = recorder_actor{};
    keeper_ = sandbox_actor{};
    health_ = health_actor{};
    panes_.clear();
  }
  std::string guest_path() const {
    return std::string{inside::skep} + "/bin/" + svc->guest_sha256.substr(0, 16) + "/skep-guest";
  }
  std::string pane_dir(const pane_id& id, std::uint32_t generation) const {
    return std::string{inside::panes} + "/" + id.value + "/" + std::to_string(generation);
  }
  /// Where the agent of the pane called `name` works.
  std::string tree_of(const std::string& name) const {
    return spec->share_tree ? std::string{inside::repo} : std::string{inside::trees} + "/" + name;
  }
  std::filesystem::path log_path(const pane_id& id, std::uint32_t generation) const {
    return svc->state_dir / "logs" / swarm.value
           / (id.value + "." + std::to_string(generation) + ".log");
  }

private:
  template <class T>
  T locked(const T& x) const {
    std::lock_guard guard{mutex_};
    return x;
  }
  template <class T>
  void assign(T& x, T y) {
    std::lock_guard guard{mutex_};
    x = std::move(y);
  }
  mutable std::mutex mutex_;
  recorder_actor recorder_;
  sandbox_actor keeper_;
  health_actor health_;
  sandbox::remote address_;
  std::uint32_t probe_failures_ = 0;
  bool output_waits_ = false;
  std::optional<stop_mode> told_to_stop_;
  std::string base_commit_;
  std::unordered_map<pane_id, pane_actor> panes_;
  std::unordered_map<pane_id, std::chrono::milliseconds> activity_;
};
using context_ptr = std::shared_ptr<sandbox_context>;

/// What `work` answers; internal, with its words, where it throws (no memory, no thread to be had).
template <class T>
result<T> answer_of(const std::function<result<T>()>& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    return make_error(errc::internal, e.what());
  } catch (...) {
    return make_error(errc::internal, "an exception without words");
  }
}

/// Base of the domain actors. `Interface` reacts to <done_a, continuation>.
template <class Interface>
class domain_actor : public Interface::base {
  using super = typename Interface::base;

public:
  explicit domain_actor(caf::actor_config& cfg) : super(cfg) {
    this->set_default_handler(caf::drop);
    this->set_error_handler([](caf::error&) {});
    this->set_down_handler([](caf::down_msg&) {});
  }

protected:
  Interface me() { return caf::actor_cast<Interface>(this); }

  /// Wraps `k` so that it runs in this actor's mailbox with the result of a call of another thread.
  template <class T, class F>
  std::function<void(result<T>)> home(F k) {
    return [self = me(), k = std::move(k)](result<T> r) {
      auto shared = std::make_shared<result<T>>(std::move(r));
      caf::anon_send(self, done_a::value,
                     continuation{[k, shared]() mutable { k(std::move(*shared)); }});
    };
  }

  /// Runs `work` in the pool and `k` with its result in this actor; with `internal` where it threw.
  template <class T, class F>
  void in_pool(const services_ptr& svc, std::function<result<T>()> work, F k) {
    run_in<T>(*svc->pool, std::move(work), std::move(k));
  }

  /// Asks for the client of a provider, in the pool that does nothing else, and runs `k` with it,
  /// or with why there is none, in this actor.
  template <class F>
  void at_provider(const services_ptr& svc, const std::string& name, F k) {
    run_in<std::shared_ptr<sandbox::api>>(
        svc->provider_pool ? *svc->provider_pool : *svc->pool,
        [svc, name] { return svc->provider(name); }, std::move(k));
  }

  /// Runs `k` after `delay`, unless the actor ended.
  template <class F>
  void later(caf::timespan delay, F k) {
    this->delayed_send(me(), delay, done_a::value, continuation{std::move(k)});
  }

  /// Puts an event on disk, then runs `ok(seq)`; `fail(error)` when it could not be.
  template <event E, class Ok, class Fail>
  void record(const recorder_actor& to, utc_time at, const E& e, Ok ok, Fail fail) {
    ask<std::uint64_t>(
        this, to, fact_deadline, std::move(ok),
        [fail = std::move(fail)](caf::error& why) mutable { fail(from_caf(why)); }, record_a::value,
        pack_now(at, e));
  }

  /// Puts several events on disk, all or none, then runs `ok(seq)` with the sequence of the last
  /// one; `fail(error)` when they could not be.
  template <class Ok, class Fail>
  void record_all(const recorder_actor& to, packed_events all, Ok ok, Fail fail) {
    ask<std::uint64_t>(
        this, to, fact_deadline, std::move(ok),
        [fail = std::move(fail)](caf::error& why) mutable { fail(from_caf(why)); }, record_a::value,
        std::move(all));
  }

  template <event E>
  void note(const recorder_actor& to, utc_time at, const E& e) {
    caf::anon_send(to, note_a::value, pack_now(at, e));
  }

  /// Actors and the JOURNAL answer within milliseconds; past this the daemon is in trouble anyway.
  static constexpr auto record_deadline = std::chrono::seconds{30};
  /// For a fact the RECORDER's own word decides (chunk_limits::append_timeout), which comes sooner.
  static constexpr auto fact_deadline = std::chrono::minutes{11};

private:
  template <class T, class F>
  void run_in(work_pool& pool, std::function<result<T>()> work, F k) {
    pool.submit([work = std::move(work), then = home<T>(std::move(k))] { then(answer_of(work)); });
  }
};

} // namespace skep::actors
