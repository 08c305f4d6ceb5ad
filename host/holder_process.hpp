// The holder process from the inside: one object that owns the sandbox, its lease, its pause and
// its gateway. holder.cpp holds its birth and death, holder_control.cpp what it is asked meanwhile.
#pragma once

#include "host/async.hpp"
#include "host/cgroups.hpp"
#include "host/history.hpp"
#include "host/holder_gateway.hpp"
#include "host/lease.hpp"
#include "host/pause.hpp"
#include "host/state.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>

#include <list>
#include <optional>
#include <vector>

namespace skep::host {

/// A refusal on the control socket or in the report: {"ok":false,"error","message","cause"}.
json refusal(const error& e);

class holder {
  struct control {
    local_socket socket;
    bool watching = false; ///< Is told of every change.
  };

public:
  holder(sandbox_order order, state_dir state, unique_fd claim, unique_fd report, lease time)
      : order_(std::move(order)), state_(std::move(state)), claim_(std::move(claim)),
        report_(std::move(report)), lease_(std::move(time)) {}

  int run();

private:
  result<void> start();
  void drop_secrets();
  sandbox_info describe() const;
  task<void> accept_controls();
  task<void> serve_control(std::list<control>::iterator client);
  task<result<json>> obey(const json& request, control& client);
  result<json> move_lease(const json& request, bool extend);
  result<json> change_network(const json& request);
  result<json> account(const std::string& op, const json& request);
  task<result<void>> pause();
  task<result<void>> resume(std::int64_t ms);
  task<result<void>> pause_again(std::int64_t ms);
  void enter(sandbox_phase phase);
  void tell_watchers();
  task<void> sample();
  task<void> keep_sampling();
  task<void> await_lease();
  task<void> await_signals();
  task<void> keep_errors();
  task<void> await_envd();
  void reap();
  void end();
  static void kill_children();
  void finish();
  void report(const json& j);

  sandbox_order order_;
  state_dir state_;
  unique_fd claim_; // keeps the lock on holders/ID
  unique_fd report_;
  lease lease_;
  asio::io_context io_{1};
  asio::signal_set signals_{io_};
  local_acceptor controls_{io_};
  asio::posix::stream_descriptor lease_watch_{io_};
  asio::posix::stream_descriptor errors_{io_};
  std::list<control> controls_open_;
  std::vector<unique_fd> killers_; // connections that wait for our end
  std::unique_ptr<gateway> gateway_;
  std::string error_text_;
  pid_t sandbox_ = -1;
  bool ready_ = false;
  sandbox_phase phase_ = sandbox_phase::running;
  sandbox_pause pause_{io_};
  history history_;
  asio::steady_timer sampling_{io_};
  sandbox_cgroups cgroups_;
  bool ending_ = false;
  std::optional<error> failure_;
};

} // namespace skep::host
