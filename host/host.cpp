#include "host/host.hpp"

#include "host/control_api.hpp"
#include "host/install.hpp"
#include "host/isolation.hpp"
#include "host/ready_file.hpp"
#include "host/registry.hpp"
#include "host/server.hpp"
#include "host/state.hpp"

#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <unistd.h>

namespace skep::host {
namespace {

/// Descriptors that one busy sandbox may need here: a watch and some streams, two each.
constexpr std::size_t descriptors_per_sandbox = 24;
constexpr std::size_t most_sandboxes = 1000;

result<std::vector<std::string>> read_keys(const host_options& options) {
  std::vector<std::string> keys;
  if (options.key_file.empty()) {
    if (!options.insecure_loopback)
      return make_error(errc::bad_argument, "give --key-file FILE or --insecure-loopback");
    return keys;
  }
  auto text = read_file(options.key_file, 65536);
  if (!text) return text.err();
  for (std::size_t at = 0; at < text->size();) {
    auto end = std::min(text->find('\n', at), text->size());
    auto line = text->substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
      line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(std::move(line));
  }
  if (keys.empty()) return make_error(errc::secret_missing, options.key_file + " holds no key");
  return keys;
}

task<void> serve(asio::io_context& io, driver& sandboxes, server& web, ready_file& ready,
                 std::chrono::seconds idle_exit, std::string url, std::string tag,
                 result<void>& outcome) {
  co_await sandboxes.adopt();
  web.set_ready();
  auto line =
      dump({{"url", url}, {"pid", ::getpid()}, {"version", SKEP_VERSION}, {"tag", tag}}) + "\n";
  if (outcome = ready.write(line); !outcome) {
    io.stop();
    co_return;
  }
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
  if (idle_exit.count() == 0) co_return;
  asio::steady_timer timer{io};
  auto since = std::chrono::steady_clock::now();
  for (;;) {
    if (web.busy() || sandboxes.occupied() > 0) since = std::chrono::steady_clock::now();
    since = std::max(since, web.last_use());
    if (std::chrono::steady_clock::now() - since >= idle_exit) break;
    error_code ec;
    timer.expires_after(std::chrono::seconds{1});
    co_await timer.async_wait(into(ec));
  }
  io.stop();
}

} // namespace

result<void> run_host(const host_options& options) {
  harden_process();
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGCHLD, SIG_IGN); // holders go into the background; nobody waits for the step between
  auto keys = read_keys(options); // may be readable by root alone: before root is given up
  if (!keys) return keys.err();
  auto ready = ready_file::prepare(options.ready_file);
  if (!ready) return ready.err();
  auto place = settle(options);
  if (!place) return place.err();
  auto state = open_state(place->state_path);
  if (!state) return state.err();
  auto lock = lock_state(*state);
  if (!lock) return lock.err();

  ::signal(SIGCHLD, SIG_DFL);
  auto isolation = check_isolation(options.service_user);
  ::signal(SIGCHLD, SIG_IGN);
  if (!isolation) std::fprintf(stderr, "skep-host: %s\n", render(isolation.err()).c_str());

  asio::io_context io{1};
  registry sandboxes{io, *state, place->holder_program, place->cgroups};
  api_settings settings;
  settings.version = SKEP_VERSION;
  settings.state_path = place->state_path;
  settings.envd_program = place->envd_program;
  settings.binds = place->binds;
  settings.tag = options.tag;
  settings.limits = options.limits;
  settings.cgroups = place->cgroups;
  settings.upstreams = options.gateway_upstreams;
  settings.max_sandboxes =
      options.max_sandboxes > 0
          ? options.max_sandboxes
          : std::clamp<std::size_t>(open_file_limit() / descriptors_per_sandbox, 1, most_sandboxes);
  if (!isolation) settings.isolation = isolation.err();
  control_api api{sandboxes, std::move(settings)};
  server_policy policy;
  policy.create_rate = options.create_rate;
  policy.control_rate = options.control_rate;
  server web{io, sandboxes, api, std::move(*keys), policy};
  auto url = web.listen(options.listen, options.key_file.empty());
  if (!url) return url.err();
  web.start();
  asio::signal_set stop{io, SIGTERM, SIGINT};
  stop.async_wait([&io](error_code, int) { io.stop(); });
  result<void> outcome;
  spawn(io, serve(io, sandboxes, web, *ready, options.idle_exit, *url, options.tag, outcome));
  io.run();
  ready->remove();
  return outcome;
}

} // namespace skep::host
