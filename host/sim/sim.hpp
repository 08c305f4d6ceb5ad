// `skep-host --driver sim`: the program of the simulator without its command line.
#pragma once

#include "host/host.hpp"

#include <cstdint>
#include <string>

namespace skep::host::sim {

struct sim_options {
  std::uint64_t seed = 0;
  std::string faults_file; ///< scenario.hpp; empty: nothing goes wrong.
  std::string record_file; ///< record.hpp; empty: STATE/record.jsonl.
};

/// As run_host(), with sandboxes in memory that end with this process. Of `host` it uses listen,
/// state_path (made when missing), keys, ready_file, idle_exit and max_sandboxes (default 100,000).
/// Prints {"url","pid","version","driver":"sim","seed","record"}.
result<void> run_sim(const host_options& host, const sim_options& sim);

} // namespace skep::host::sim
