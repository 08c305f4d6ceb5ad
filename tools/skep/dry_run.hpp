// skep run --dry-run: what a run would do, found out without making anything. A daemon that runs is
// asked what counts against the limits; none is started.
#pragma once

#include "storage/state_dir.hpp"
#include "tools/skep/app.hpp"
#include "tools/skep/files_doc.hpp"
#include "transfer/inventory.hpp"

namespace skep::cli {

/// Plans the run of a checked spec. `scan`: of these files.
result<dry_run_doc> plan_run(const swarm_spec& spec, const storage::state_paths& paths,
                             const transfer::inventory& files, const scan_report& scan);

/// Shows the plan; the exit code is 0 when the run would start, else that of the first reason.
int show_plan(const app& a, const dry_run_doc& plan, const error& refused);

} // namespace skep::cli
