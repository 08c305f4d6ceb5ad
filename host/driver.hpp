// What makes sandboxes: the seam between the host's HTTP side (server, control_api), which is the
// same for all, and the two drivers.
//
//   registry          real ones: a holder process with bubblewrap each        --driver bwrap
//   sim::world        in memory, scripted, with seeded faults                 --driver sim
//
// One thread: the io_context's. A task that was not co_awaited has done nothing.
#pragma once

#include "host/async.hpp"
#include "host/spec.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace skep::host {

class driver {
public:
  virtual ~driver() = default;

  /// Finds the sandboxes that outlived the last host. The server answers 503 until it is over.
  virtual task<void> adopt() = 0;

  /// Makes a sandbox and waits until its envd answers. Failure leaves nothing behind.
  virtual task<result<sandbox_info>> create(sandbox_order order) = 0;
  /// Answers when nothing of it is left. errc::not_found when there is none.
  virtual task<result<void>> kill(std::string id) = 0;
  /// Ends the lease `ms` from now, or (extend) not before that. errc::not_found.
  virtual task<result<sandbox_info>> set_timeout(std::string id, std::int64_t ms, bool extend) = 0;
  /// What the sandbox used: {"gateway":{..},"calls":[..],"cursor":N,"oldest":N}, with the calls
  /// after number `after`. errc::not_found.
  virtual task<result<json>> usage(std::string id, std::uint64_t after) = 0;
  /// Sets how much it may spend, {"microUsd":N|null,"tokens":N|null}. errc::bad_argument.
  virtual task<result<json>> set_allowance(std::string id, json most) {
    (void)id, (void)most;
    co_return make_error(errc::refused, "an allowance is not supported by this host");
  }
  /// Takes its keys away at once.
  virtual task<result<json>> revoke_keys(std::string id) {
    (void)id;
    co_return make_error(errc::refused, "revoking keys is not supported by this host");
  }
  /// A connection that speaks HTTP/1.1 with envd of the sandbox. errc::gone; errc::capacity,
  /// errc::timed_out: not at present.
  virtual task<result<local_socket>> connect_envd(std::string id) = 0;

  /// Stops every process of the sandbox, memory kept. errc::not_found; errc::wrong_phase when it is
  /// paused already or about to change.
  virtual task<result<sandbox_info>> pause(std::string id) {
    (void)id;
    co_return make_error(errc::refused, "pause is not supported by this host");
  }
  /// Continues a paused one with a new lease of `ms`. errc::wrong_phase when it is not paused,
  /// errc::capacity when it does not wake up in time and stays paused.
  virtual task<result<sandbox_info>> resume(std::string id, std::int64_t ms) {
    (void)id, (void)ms;
    co_return make_error(errc::refused, "resume is not supported by this host");
  }
  /// Replaces what it may reach: connections from now on, and tunnels to what is not allowed any
  /// more are closed. errc::not_found; errc::wrong_phase when it is not running.
  virtual task<result<sandbox_info>> set_network(std::string id, network_access access) = 0;
  /// What the sandbox used over time, oldest first: a list of E2B's SandboxMetric.
  virtual task<result<json>> metrics(std::string id) {
    (void)id;
    co_return json::array();
  }
  /// Its log, oldest first: a list of {"ts_ms":N,"level":"info","message":"..","fields":{}}.
  virtual task<result<json>> logs(std::string id) {
    (void)id;
    co_return json::array();
  }

  /// nullptr when there is none or it is being killed. Valid until the next co_await.
  virtual const sandbox_info* find(const std::string& id) const = 0;
  /// All that lives, in no order. Valid until the next co_await: a page of thousands copies
  /// nothing.
  virtual std::vector<const sandbox_info*> list() const = 0;
  /// Sandboxes that live, are being started or could not be asked yet: what counts against the
  /// limit.
  virtual std::size_t occupied() const = 0;
  /// True for one that may live but has not answered since the host started.
  virtual bool unknown(const std::string& id) const = 0;
};

} // namespace skep::host
