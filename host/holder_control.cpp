#include "host/holder_process.hpp"

#include "host/accept.hpp"
#include "host/envd_call.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace skep::host {
namespace {

constexpr std::chrono::milliseconds freeze_limit{2'000}; ///< For envd to let its clients go.
constexpr std::chrono::milliseconds stop_limit{10'000};  ///< Until no process runs.
constexpr std::chrono::milliseconds thaw_limit{5'000};
constexpr std::chrono::milliseconds sample_limit{2'000};
constexpr std::chrono::milliseconds sample_every{5'000};
/// Connections at a time. The host has one and one for each request that is under way.
constexpr std::size_t most_controls = 64;
constexpr std::int64_t fresh_sample_ms = 500; ///< Asked again sooner, the last one is the answer.

} // namespace

sandbox_info holder::describe() const {
  sandbox_info x;
  x.sandbox_id = order_.sandbox_id;
  x.template_id = order_.template_id;
  x.metadata = order_.metadata;
  x.access_token = order_.access_token;
  x.traffic_token = order_.traffic_token;
  x.started_at_ms = lease_.started_at_ms();
  x.end_at_ms = lease_.end_at_ms();
  x.pid = ::getpid();
  set_network(x, order_.network);
  x.ready = ready_;
  x.phase = phase_;
  x.auto_pause = order_.auto_pause;
  x.auto_resume = order_.auto_resume;
  x.limits = order_.limits;
  x.enforced = cgroups_.enforced();
  if (order_.limits.disk_mb > 0) x.enforced.emplace_back("disk");
  return x;
}

task<void> holder::accept_controls() {
  accept_guard guard{io_};
  while (!ending_) {
    local_socket socket{io_};
    error_code ec;
    co_await controls_.async_accept(socket, into(ec));
    if (ending_) co_return;
    if (ec) {
      co_await guard.failed(controls_, ec);
      continue;
    }
    guard.accepted();
    if (controls_open_.size() >= most_controls) continue; // closed by leaving
    // 0600 in a 0700 directory already; this also refuses descriptors passed around.
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0
        || (peer.uid != ::getuid() && peer.uid != 0))
      continue;
    set_cloexec(socket.native_handle(), true);
    controls_open_.push_front({std::move(socket), false});
    spawn(io_, serve_control(controls_open_.begin()));
  }
}

task<void> holder::serve_control(std::list<control>::iterator client) {
  std::string input;
  error_code ec;
  auto& socket = client->socket;
  while (!ending_) {
    auto size = co_await asio::async_read_until(
        socket, asio::dynamic_buffer(input, max_order_bytes), '\n', into(ec));
    if (ec || ending_) break;
    auto request = json::parse(input.substr(0, size), nullptr, false);
    input.erase(0, size);
    if (request.is_object() && request.value("op", json{}) == "kill") {
      killers_.emplace_back(::fcntl(socket.native_handle(), F_DUPFD_CLOEXEC, 0));
      controls_open_.erase(client); // before end(), which shuts down what is listed
      end();
      co_return;
    }
    auto answer = co_await obey(request, *client);
    auto line = dump(answer ? *answer : refusal(answer.err())) + "\n";
    co_await asio::async_write(socket, asio::buffer(line), into(ec));
    if (ec) break;
  }
  controls_open_.erase(client);
}

task<result<json>> holder::obey(const json& request, control& client) {
  if (!request.is_object() || !request.contains("op") || !request["op"].is_string())
    co_return make_error(errc::bad_frame, "request on the control socket");
  auto op = request["op"].get<std::string>();
  if (op == "watch") {
    client.watching = true;
    co_return json{{"ok", true}, {"info", to_json(describe())}};
  }
  if (op == "usage" || op == "allowance" || op == "revoke_keys") co_return account(op, request);
  if (op == "logs") co_return json{{"ok", true}, {"logs", history_.logs()}};
  if (op == "metrics") {
    co_await sample();
    co_return json{{"ok", true}, {"metrics", history_.metrics()}};
  }
  if (op == "network") co_return change_network(request);
  if (op == "set_timeout" || op == "extend") co_return move_lease(request, op == "extend");
  result<void> done = make_error(errc::unknown_command, op);
  if (op == "pause") {
    done = co_await pause();
  } else if (op == "resume") {
    if (!request.contains("ms") || !request["ms"].is_number_integer())
      co_return make_error(errc::bad_argument, "ms");
    done = co_await resume(request["ms"].get<std::int64_t>());
  }
  if (!done) co_return done.err();
  co_return json{{"ok", true}, {"info", to_json(describe())}};
}

result<json> holder::account(const std::string& op, const json& request) {
  if (op == "allowance") {
    auto most = allowance_from(request);
    if (!most) return most.err();
    gateway_->set_allowance(*most);
  }
  if (op == "revoke_keys") gateway_->revoke_keys();
  auto after = request.find("after");
  bool given = after != request.end() && after->is_number_unsigned();
  json answer = {{"ok", true}};
  answer.update(usage_of(*gateway_, given ? after->get<std::uint64_t>() : 0));
  return answer;
}

result<json> holder::change_network(const json& request) {
  if (phase_ != sandbox_phase::running)
    return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is not running");
  network_access access;
  try {
    access = network_from(request.at("network"));
  } catch (const json::exception&) {
    return make_error(errc::bad_argument, "network");
  }
  auto done = allow(*gateway_, access);
  forget_keys(access);
  if (!done) return done.err();
  order_.network = std::move(access);
  tell_watchers();
  return json{{"ok", true}, {"info", to_json(describe())}};
}

result<json> holder::move_lease(const json& request, bool extend) {
  if (!request.contains("ms") || !request["ms"].is_number_integer())
    return make_error(errc::bad_argument, "ms");
  auto ms = request["ms"].get<std::int64_t>();
  if (phase_ != sandbox_phase::running)
    return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is not running");
  if (lease_.exhausted()) return make_error(errc::out_of_range, "Max instance length exceeded");
  if (auto r = extend ? lease_.extend(ms) : lease_.set(ms); !r) return r.err();
  return json{{"ok", true}, {"endAt_ms", lease_.end_at_ms()}};
}

// -- pause ----------------------------------------------------------------------------------------

void holder::enter(sandbox_phase phase) {
  phase_ = phase;
  history_.add_line("info", "sandbox is " + std::string{to_string(phase)}, json::object(),
                    wall_now_ms());
  tell_watchers();
}

void holder::tell_watchers() {
  auto line = dump({{"ok", true}, {"info", to_json(describe())}}) + "\n";
  // A line fits every socket's buffer many times over; one that is full has a host that is gone.
  for (auto& client : controls_open_)
    if (client.watching)
      (void)::send(client.socket.native_handle(), line.data(), line.size(),
                   MSG_DONTWAIT | MSG_NOSIGNAL);
}

task<result<void>> holder::pause() {
  if (phase_ == sandbox_phase::paused)
    co_return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is already paused");
  if (phase_ != sandbox_phase::running)
    co_return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is changing state");
  // Before the first step: an end of the lease that came meanwhile would kill what is to be kept.
  if (auto r = lease_.suspend(); !r) co_return r.err();
  enter(sandbox_phase::pausing);
  // An envd that does not answer is stopped all the same: its clients see a connection that stands
  // still.
  auto told = co_await envd_call(io_, state_, order_.sandbox_id, order_.access_token, "POST",
                                 "/freeze", freeze_limit);
  (void)told;
  if (ending_) co_return make_error(errc::gone, "the sandbox ended");
  auto stopped = co_await pause_.stop(sandbox_, stop_limit);
  if (ending_) co_return make_error(errc::gone, "the sandbox ended");
  if (!stopped) {
    auto thawed = co_await envd_call(io_, state_, order_.sandbox_id, order_.access_token, "POST",
                                     "/unfreeze", thaw_limit);
    (void)thawed;
    if (ending_) co_return make_error(errc::gone, "the sandbox ended");
    if (auto r = lease_.go_on(); !r) end(); // without a lease it would live for ever
    enter(sandbox_phase::running);
    co_return stopped.err();
  }
  enter(sandbox_phase::paused);
  co_return result<void>{};
}

task<result<void>> holder::resume(std::int64_t ms) {
  if (phase_ == sandbox_phase::running)
    co_return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is already running");
  if (phase_ != sandbox_phase::paused)
    co_return make_error(errc::wrong_phase, "Sandbox " + order_.sandbox_id + " is changing state");
  enter(sandbox_phase::resuming);
  pause_.go();
  auto thawed = co_await envd_call(io_, state_, order_.sandbox_id, order_.access_token, "POST",
                                   "/unfreeze", thaw_limit);
  if (ending_) co_return make_error(errc::gone, "the sandbox ended");
  if (!thawed) co_return co_await pause_again(ms);
  if (auto r = lease_.restart(ms); !r) co_return r.err();
  enter(sandbox_phase::running);
  co_return result<void>{};
}

// What was swapped out may take longer than we wait. It stays what it was, for the next try: the
// question lies in envd's queue, so that one that is late has thawed by then. Where it cannot be
// stopped any more, it runs, and its lease is what ends it.
task<result<void>> holder::pause_again(std::int64_t ms) {
  auto stopped = co_await pause_.stop(sandbox_, stop_limit);
  if (ending_) co_return make_error(errc::gone, "the sandbox ended");
  if (!stopped) {
    if (auto r = lease_.restart(ms); !r) end();
    enter(sandbox_phase::running);
    co_return stopped.err();
  }
  enter(sandbox_phase::paused);
  co_return make_error(errc::capacity, "Sandbox " + order_.sandbox_id
                                           + " did not wake up in time and is paused as before. "
                                             "Try again in a moment.");
}

task<void> holder::await_lease() {
  while (!ending_) {
    error_code ec;
    co_await lease_watch_.async_wait(asio::posix::descriptor_base::wait_read, into(ec));
    if (ec || ending_) co_return;
    if (!lease_.ended()) continue;
    if (!order_.auto_pause || phase_ != sandbox_phase::running) {
      end();
    } else if (auto paused = co_await pause(); !paused) {
      end();
    }
  }
}

// -- figures --------------------------------------------------------------------------------------

task<void> holder::sample() {
  if (!ready_ || phase_ != sandbox_phase::running
      || wall_now_ms() - history_.last_metrics_ms() < fresh_sample_ms)
    co_return;
  auto answer = co_await envd_call(io_, state_, order_.sandbox_id, order_.access_token, "GET",
                                   "/metrics", sample_limit);
  if (!answer) co_return;
  resource_limits held;
  for (const auto& name : cgroups_.enforced()) {
    if (name == "cpu") held.cpus = order_.limits.cpus;
    if (name == "memory") held.memory_mb = order_.limits.memory_mb;
  }
  history_.add_metrics(*answer, wall_now_ms(), held);
}

task<void> holder::keep_sampling() {
  while (!ending_) {
    co_await sample();
    if (ending_) co_return;
    sampling_.expires_after(sample_every);
    error_code ec;
    co_await sampling_.async_wait(into(ec));
  }
}

} // namespace skep::host
