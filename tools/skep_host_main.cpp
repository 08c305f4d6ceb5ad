// skep-host: the local sandbox host. `skep-host hold ID` is the holder of one sandbox and is
// started by the host alone.
#include "host/gateway/prices.hpp"
#include "host/holder.hpp"
#include "host/host.hpp"
#include "host/sim/sim.hpp"
#include "host/spec.hpp"
#include "messages/release.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstring>

#ifdef SKEP_SANITIZED
// Both processes forbid tracing, which is how the leak checker works.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif

namespace {
bool read_rate(const std::string& text, skep::host::rate& out) {
  int used = 0;
  return std::sscanf(text.c_str(), "%9u/%9u%n", &out.count, &out.seconds, &used) == 2
         && static_cast<std::size_t>(used) == text.size() && out.count > 0 && out.seconds > 0;
}
} // namespace

int main(int argc, char** argv) {
  // Before anything else: the holder is single-threaded and starts clean.
  if (argc == 3 && std::strcmp(argv[1], "hold") == 0 && skep::host::valid_sandbox_id(argv[2]))
    return skep::host::hold(argv[2]);

  skep::host::host_options options;
  std::vector<std::string> upstreams, prices;
  skep::host::sim::sim_options sim;
  std::string driver = "bwrap";
  unsigned idle_seconds = 0;
  std::string create_rate, control_rate;
  CLI::App app{"Local sandbox host that speaks E2B's protocol"};
  app.set_version_flag("--version", "skep-host " + std::string{skep::release_version});
  app.add_option("--listen", options.listen, "ADDRESS:PORT; port 0 takes a free one")->take_last();
  app.add_option("--state", options.state_path, "State directory")->required();
  app.add_option("--key-file", options.key_file, "Accepted API keys, one a line");
  app.add_flag("--insecure-loopback", options.insecure_loopback,
               "No API key needed; loopback addresses only");
  app.add_option("--bind", options.binds, "Show PATH read-only inside every sandbox (repeatable)");
  app.add_option("--gateway-upstream", upstreams,
                 "DOMAIN=URL: what the gateway calls instead of https://DOMAIN (repeatable)");
  app.add_option("--price", prices,
                 "MODEL=IN,OUT,CACHE_WRITE,CACHE_READ: dollars for a million tokens (repeatable)");
  app.add_option("--service-user", options.service_user,
                 "User to become when started by root (default: skep)");
  app.add_option("--ready-file", options.ready_file,
                 "Written when serving: {url, pid, version, tag}");
  app.add_option("--tag", options.tag, "Text that the ready file and /skep/v1/info repeat");
  app.add_option("--envd", options.envd_path,
                 "The program inside (default: skep-envd beside this one)");
  app.add_option("--max-sandboxes", options.max_sandboxes,
                 "Limit (default: from the open-file limit)");
  app.add_option("--cpus", options.limits.cpus, "Cores that a sandbox may use (default: all)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--memory-mb", options.limits.memory_mb,
                 "Memory that a sandbox may use (default: no limit)")
      ->check(CLI::Range(16, 1 << 30));
  app.add_option("--pids", options.limits.pids,
                 "Processes and threads that a sandbox may have (default: no limit)")
      ->check(CLI::Range(8, 1 << 22));
  app.add_option("--disk-mb", options.limits.disk_mb,
                 "Size of a sandbox's home, which then lies in memory (default: on disk, no limit)")
      ->check(CLI::Range(16, 1 << 30));
  app.add_option("--create-rate", create_rate, "COUNT/SECONDS of creations, for each key");
  app.add_option("--control-rate", control_rate,
                 "COUNT/SECONDS of other control requests, for each key");
  app.add_option("--idle-exit", idle_seconds,
                 "End after SECONDS without a sandbox and without a request (default: never)");
  app.add_option("--driver", driver, "bwrap: real sandboxes; sim: simulated ones, in memory")
      ->check(CLI::IsMember({"bwrap", "sim"}));
  app.add_option("--seed", sim.seed,
                 "sim: what happens is the same for the same seed (default: 0)");
  app.add_option("--faults", sim.faults_file,
                 "sim: JSON file of what agents do and what goes wrong");
  app.add_option("--record", sim.record_file,
                 "sim: where every create and kill is written (default: STATE/record.jsonl)");
  app.add_subcommand("hold", "ID: the holder of one sandbox (internal: started by the host)");
  CLI11_PARSE(app, argc, argv);
  options.idle_exit = std::chrono::seconds{idle_seconds};
  for (auto [text, to] :
       {std::pair{&create_rate, &options.create_rate}, {&control_rate, &options.control_rate}})
    if (!text->empty() && !read_rate(*text, *to)) {
      std::fprintf(stderr, "skep-host: %s: expected COUNT/SECONDS\n", text->c_str());
      return skep::info(skep::errc::bad_argument).exit_code;
    }
  for (const auto& text : upstreams) {
    auto equals = text.find('=');
    if (equals == 0 || equals == text.npos) {
      std::fprintf(stderr, "skep-host: --gateway-upstream %s: expected DOMAIN=URL\n", text.c_str());
      return skep::info(skep::errc::bad_argument).exit_code;
    }
    options.gateway_upstreams[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& text : prices) {
    auto equals = text.find('=');
    if (equals == 0 || equals == text.npos
        || !skep::host::parse_price(std::string_view{text}.substr(equals + 1))) {
      std::fprintf(stderr, "skep-host: --price %s: expected MODEL=IN,OUT,CACHE_WRITE,CACHE_READ\n",
                   text.c_str());
      return skep::info(skep::errc::bad_argument).exit_code;
    }
    options.prices[text.substr(0, equals)] = text.substr(equals + 1);
  }
  auto r = driver == "sim" ? skep::host::sim::run_sim(options, sim) : skep::host::run_host(options);
  if (r) return 0;
  std::fprintf(stderr, "skep-host: %s\n", skep::render(r.err()).c_str());
  return skep::info(r.err().code).exit_code;
}
