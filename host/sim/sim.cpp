#include "host/sim/sim.hpp"

#include "host/control_api.hpp"
#include "host/privileges.hpp"
#include "host/ready_file.hpp"
#include "host/server.hpp"
#include "host/serving.hpp"
#include "host/sim/world.hpp"
#include "messages/release.hpp"
#include "transfer/posix.hpp"

#include <csignal>
#include <filesystem>
#include <unistd.h>

namespace skep::host::sim {

namespace {
constexpr std::size_t most_sandboxes = 100'000;
constexpr std::size_t largest_scenario_bytes = 1u << 20;
} // namespace

result<void> run_sim(const host_options& options, const sim_options& sim) {
  harden_process();
  ::signal(SIGPIPE, SIG_IGN);
  auto keys = read_keys(options);
  if (!keys) return keys.err();
  scenario play;
  if (!sim.faults_file.empty()) {
    auto text = transfer::read_file(sim.faults_file, largest_scenario_bytes);
    if (!text) return text.err();
    auto parsed = parse_scenario(*text);
    if (!parsed) return parsed.err();
    play = std::move(*parsed);
  }
  auto ready = ready_file::prepare(options.ready_file);
  if (!ready) return ready.err();
  if (auto cleared = ready->clear(); !cleared) return cleared;
  std::error_code failed;
  auto state = std::filesystem::absolute(options.state_path, failed).string();
  if (auto made = transfer::make_dirs(state); !made) return made;
  auto record_path = sim.record_file.empty() ? state + "/record.jsonl" : sim.record_file;
  auto log = record::open(record_path);
  if (!log) return log.err();

  asio::io_context io{1};
  world everything{io, sim.seed, std::move(play), std::move(*log), std::string{release_version}};
  api_settings settings;
  settings.version = std::string{release_version};
  settings.state_path = state;
  settings.max_sandboxes = options.max_sandboxes > 0 ? options.max_sandboxes : most_sandboxes;
  control_api api{everything, std::move(settings)};
  server_policy policy;
  policy.files_each = 1; // nothing is relayed
  server web{io, everything, api, std::move(*keys), policy};
  web.rehearse(everything);
  auto url = web.listen(options.listen, options.key_file.empty());
  if (!url) return url.err();
  json announcement = {
      {"url", *url},     {"pid", ::getpid()}, {"version", std::string{release_version}},
      {"driver", "sim"}, {"seed", sim.seed},  {"record", record_path}};
  return serve_until_told(io, everything, web, *ready, options.idle_exit, announcement);
}

} // namespace skep::host::sim
