#include "host/host.hpp"

#include "host/control_api.hpp"
#include "host/install.hpp"
#include "host/isolation.hpp"
#include "host/isolation_state.hpp"
#include "host/ready_file.hpp"
#include "host/registry.hpp"
#include "host/server.hpp"
#include "host/serving.hpp"
#include "host/state.hpp"
#include "messages/release.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <unistd.h>

namespace skep::host {
namespace {

/// Descriptors that one busy sandbox may need here: a watch and some streams, two each.
constexpr std::size_t descriptors_per_sandbox = 24;
constexpr std::size_t most_sandboxes = 1000;

// The look waits for a child of its own. Nobody else has one meanwhile: holders are started only
// once a look has found nothing missing, and then there is none any more.
result<void> look_at_isolation(const std::string& service_user) {
  ::signal(SIGCHLD, SIG_DFL);
  auto found = check_isolation(service_user);
  ::signal(SIGCHLD, SIG_IGN);
  return found;
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
  if (auto cleared = ready->clear(); !cleared) return cleared; // a living host's is not touched

  auto isolation = look_at_isolation(options.service_user);
  if (!isolation) std::fprintf(stderr, "skep-host: %s\n", render(isolation.err()).c_str());

  asio::io_context io{1};
  isolation_state isolated{io, isolation ? error{} : isolation.err(),
                           [user = options.service_user] { return look_at_isolation(user); }};
  registry sandboxes{io, *state, place->holder_program, place->cgroups};
  api_settings settings;
  settings.version = std::string{release_version};
  settings.state_path = place->state_path;
  settings.envd_program = place->envd_program;
  settings.binds = place->binds;
  settings.tag = options.tag;
  settings.limits = options.limits;
  settings.cgroups = place->cgroups;
  settings.upstreams = options.gateway_upstreams;
  settings.prices = options.prices;
  settings.max_sandboxes =
      options.max_sandboxes > 0
          ? options.max_sandboxes
          : std::clamp<std::size_t>(open_file_limit() / descriptors_per_sandbox, 1, most_sandboxes);
  settings.isolation = &isolated;
  control_api api{sandboxes, std::move(settings)};
  server_policy policy;
  policy.create_rate = options.create_rate;
  policy.control_rate = options.control_rate;
  server web{io, sandboxes, api, std::move(*keys), policy};
  auto url = web.listen(options.listen, options.key_file.empty());
  if (!url) return url.err();
  return serve_until_told(io, sandboxes, web, *ready, options.idle_exit,
                          {{"url", *url},
                           {"pid", ::getpid()},
                           {"version", std::string{release_version}},
                           {"tag", options.tag}});
}

} // namespace skep::host
