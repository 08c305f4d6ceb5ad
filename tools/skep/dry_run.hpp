// skep run --dry-run: what a run would do, found out without making anything. A daemon that runs is
// asked what it would say; none is started: then the same rules are applied to what the last one
// left in its tables.
#pragma once

#include "storage/state_dir.hpp"
#include "tools/skep/app.hpp"
#include "tools/skep/files_doc.hpp"
#include "transfer/inventory.hpp"

namespace skep::cli {

struct run_plan {
  dry_run_doc doc;
  error unusable; ///< Why the state directory cannot be made or used.
  error refused;  ///< By limits, budgets, prices, a daemon that takes no runs or would not start.
};

/// Plans the run of a checked spec. `scan`: of these files.
result<run_plan> plan_run(const swarm_spec& spec, const storage::state_paths& paths,
                          const transfer::inventory& files, const scan_report& scan);

/// Shows the plan; the exit code is 0 when the run would start, else that of the first reason: a
/// state directory that cannot be used, what the scan says (`by_scan`), then what would refuse it.
int show_plan(const app& a, const run_plan& plan, const error& by_scan);

} // namespace skep::cli
