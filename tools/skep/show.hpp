// Records as text for people.
#pragma once

#include "messages/commands.hpp"
#include "messages/json.hpp"

#include <string>
#include <vector>

namespace skep::cli {

/// "running", or "closed: completed".
std::string swarm_state_text(const swarm_record& s);
std::string sandbox_state_text(const sandbox_record& s);
std::string pane_state_text(const pane_record& p);
/// An outcome in its colour.
std::string outcome_text(outcome o);
utc_time wall_clock();
/// As money_text, or "-" for nothing.
/// What was lost with a sandbox, as one sentence.
std::string loss_text(utc_time last_sync_at, std::size_t paths, std::uint32_t unanswered,
                      double cost_usd);
std::string cost_text(double usd);
/// Health of what was asked for: a table, and reasons below it.
std::string health_text(const health_reply& h);
/// Everything of one swarm, as `skep status` shows it.
std::string status_text(const status_reply& s);
/// The table at the end of a run: a row for each pane.
std::string summary_text(const status_reply& s);
/// "a.py was changed by p0, p1: their changes do not go together", or "... in the same places".
std::string collision_text(const collision& x);
/// What is alarming in a scan, on one line: "2 credentials: a.py:3 github_token, ...".
std::string alarm_text(const scan_report& r);

/// Those of `all` that stayed when their run ended and are not known to be gone: they cost.
std::vector<sandbox_record> kept_of(const std::vector<sandbox_record>& all);
/// A line for each run that has some, of what kept_of() gives: how many, for how long at most from
/// `now` on, and the command that ends them.
std::vector<std::string> kept_lines(const std::vector<sandbox_record>& kept, utc_time now);
/// "kept" with their records in a document; nothing where there are none.
void add_kept(json& document, const std::vector<sandbox_record>& kept);

/// Those of `all` that ended with their run and whose provider has not confirmed that they are
/// gone: they may cost. One that was kept is in kept_of() alone.
std::vector<sandbox_record> unconfirmed_of(const std::vector<sandbox_record>& all);
/// A line for each run that has some, of what unconfirmed_of() gives: how many, what it means, and
/// the command that shows them.
std::vector<std::string> unconfirmed_lines(const std::vector<sandbox_record>& unconfirmed);
/// "unconfirmed" with their records in a document; nothing where there are none.
void add_unconfirmed(json& document, const std::vector<sandbox_record>& unconfirmed);

/// What `skep run` and `skep stop --wait` exit with for a swarm that ended like this.
int exit_code_of(outcome result, errc why);

} // namespace skep::cli
