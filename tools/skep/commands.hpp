// One function per family of commands: each adds its commands to the parser. The bodies stand in
// the file of the same name.
#pragma once

#include "tools/skep/app.hpp"

namespace skep::cli {

void add_run(CLI::App& cli, app& a);     // cmd_run.cpp: run
void add_list(CLI::App& cli, app& a);    // cmd_list.cpp: ps, status
void add_diff(CLI::App& cli, app& a);    // cmd_diff.cpp: diff, download
void add_apply(CLI::App& cli, app& a);   // cmd_apply.cpp: apply
void add_logs(CLI::App& cli, app& a);    // cmd_logs.cpp: logs
void add_input(CLI::App& cli, app& a);   // cmd_input.cpp: send
void add_attach(CLI::App& cli, app& a);  // cmd_attach.cpp: attach, shell
void add_events(CLI::App& cli, app& a);  // cmd_events.cpp: events
void add_budget(CLI::App& cli, app& a);  // cmd_budget.cpp: budget, budget set
void add_stop(CLI::App& cli, app& a);    // cmd_stop.cpp: stop, kill
void add_panic(CLI::App& cli, app& a);   // cmd_panic.cpp: panic, freeze, thaw, drain
void add_doctor(CLI::App& cli, app& a);  // cmd_doctor.cpp: doctor
void add_secret(CLI::App& cli, app& a);  // cmd_secret.cpp: secret set|list|remove
void add_db(CLI::App& cli, app& a);      // cmd_db.cpp: db status|migrate|rollback|backup|rebind
void add_recover(CLI::App& cli, app& a); // cmd_recover.cpp: recover --plan
void add_audit(CLI::App& cli, app& a);   // cmd_audit.cpp: audit verify|show
void add_files(CLI::App& cli, app& a);   // cmd_files.cpp: files list|why|rules
void add_health(CLI::App& cli, app& a);  // cmd_health.cpp: health
void add_daemon(CLI::App& cli, app& a);  // cmd_daemon.cpp: daemon start|stop|status, version

} // namespace skep::cli
