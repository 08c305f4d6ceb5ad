// The simulated provider: its sandboxes, its mishaps, its record. One thread.
#pragma once

#include "host/driver.hpp"
#include "host/rehearsal.hpp"
#include "host/sim/box.hpp"
#include "host/sim/record.hpp"
#include "host/sim/scenario.hpp"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace skep::host::sim {

class world : public driver, public rehearsal {
public:
  world(asio::io_context& io, std::uint64_t seed, scenario play, record log, std::string version);
  ~world() override;

  // driver
  task<void> adopt() override; ///< Plants the foreign sandboxes.
  task<result<sandbox_info>> create(sandbox_order order) override;
  task<result<void>> kill(std::string id) override;
  task<result<sandbox_info>> set_timeout(std::string id, std::int64_t ms, bool extend) override;
  task<result<json>> usage(std::string id, std::uint64_t after) override;
  task<result<json>> set_allowance(std::string id, json most) override;
  task<result<json>> revoke_keys(std::string id) override;
  task<result<sandbox_info>> set_network(std::string id, network_access access) override;
  task<result<local_socket>> connect_envd(std::string id) override; ///< Never: see serve_envd.
  const sandbox_info* find(const std::string& id) const override;
  std::vector<const sandbox_info*> list() const override;
  task<result<sandbox_info>> pause(std::string id) override;
  task<result<json>> metrics(std::string id) override; ///< One sample, of now.
  task<result<sandbox_info>> resume(std::string id, std::int64_t ms) override;
  std::size_t occupied() const override;
  bool unknown(const std::string&) const override { return false; }

  // rehearsal
  mishap befall(const request_line& request) override;
  task<bool> serve_envd(std::string id, client_connection& client, request_reader& reader) override;

private:
  struct entry {
    std::shared_ptr<box> what;
    asio::steady_timer lease, death;
    explicit entry(asio::io_context& io) : lease(io), death(io) {}
  };
  struct former {
    sandbox_info info;
    std::int64_t ended_at_ms;
  };

  sandbox_info add(sandbox_order order, bool foreign);
  void arm_lease(const std::string& id, entry& e);
  void remove(const std::string& id, const char* why);
  void set_paused(entry& e, bool paused);
  void restart();
  /// The how manieth request of this kind about this subject.
  std::uint64_t ordinal(const std::string& kind, const std::string& subject);
  void note(const char* kind, const request_line& request, std::uint64_t n);

  asio::io_context& io_;
  scenario play_;
  record log_;
  surroundings shared_;
  std::map<std::string, entry> boxes_;
  std::deque<former> former_; ///< For lists that lag.
  std::map<std::pair<std::string, std::string>, std::uint64_t> counts_;
  std::uint64_t made_ = 0;
  std::size_t paused_ = 0; ///< Of boxes_; one that is being resumed counts until it runs.
  std::set<int> open_;     ///< Descriptors of requests to envd being served.
  std::chrono::steady_clock::time_point down_until_{};
};

} // namespace skep::host::sim
