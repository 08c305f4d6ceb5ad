#include "actors/metrics_book.hpp"

#include <cmath>
#include <cstdio>

namespace skep::actors {
namespace {

std::string number(double x) {
  char text[40];
  constexpr double exact = 9e15; // whole numbers below it are written as such; inside may say more
  if (std::abs(x) < exact && x == std::trunc(x))
    std::snprintf(text, sizeof text, "%lld", static_cast<long long>(x));
  else
    std::snprintf(text, sizeof text, "%.6g", x);
  return text;
}

std::string label(const char* name, std::string_view value) {
  std::string out = std::string{name} + "=\"";
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

std::string braces(const std::string& labels) {
  return labels.empty() ? std::string{} : "{" + labels + "}";
}

/// What each counter is about, for its HELP line; one without stands for a mistake.
const std::map<std::string, const char*>& helps() {
  static const std::map<std::string, const char*> all = {
      {"skep_events_total", "Events that were journaled"},
      {"skep_commits_total", "Transactions of the journal"},
      {"skep_swarms_created_total", "Runs that were accepted"},
      {"skep_swarms_closed_total", "Runs that ended, by result"},
      {"skep_sandboxes_created_total", "Sandboxes that a provider made"},
      {"skep_creates_failed_total", "Creates that made no sandbox"},
      {"skep_sandboxes_closed_total", "Sandboxes that ended, by result"},
      {"skep_kills_confirmed_total", "Sandboxes that a provider confirmed to be gone"},
      {"skep_agents_started_total", "Attempts of agents that ran"},
      {"skep_agents_restarted_total", "Failed attempts that were followed by another one"},
      {"skep_panes_closed_total", "Panes that ended, by result"},
      {"skep_transfers_total", "Uploads and downloads, by result"},
      {"skep_transferred_bytes_total", "Bytes of finished transfers"},
      {"skep_cost_usd_total", "Cost that agents reported"},
      {"skep_tokens_total", "Tokens that agents reported"},
      {"skep_actor_restarts_total", "Restarts of actors"},
      {"skep_supervisors_gave_up_total", "Supervisors that gave up"},
      {"skep_poll_failures_total", "Failures of output streams"},
      {"skep_probe_failures_total", "Health probes without an answer"},
      {"skep_notices_total", "Notices, by level"},
      {"skep_inputs_total", "Inputs for agents that were accepted"},
      {"skep_commands_total", "Commands and calls to sandboxes and providers, by operation and how "
                              "they ended; recorded also on failure"},
  };
  return all;
}

void head(std::string& out, const std::string& name, const char* kind, const char* help) {
  out += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n";
}

void gauge(std::string& out, const std::string& name, const char* help, double value) {
  head(out, name, "gauge", help);
  out += name + " " + number(value) + "\n";
}

void gauges(std::string& out, const std::string& name, const char* help, const char* by,
            const std::map<std::string, std::uint64_t>& values) {
  head(out, name, "gauge", help);
  for (const auto& [key, value] : values)
    out += name + "{" + label(by, key) + "} " + number(static_cast<double>(value)) + "\n";
}

void histograms(std::string& out, const std::string& name, const char* help,
                const std::map<std::string, duration_histogram>& all) {
  head(out, name, "histogram", help);
  for (const auto& [labels, h] : all)
    h.write(out, name, labels);
}

} // namespace

void duration_histogram::add(double seconds) {
  for (std::size_t i = 0; i < bounds.size(); ++i)
    if (seconds <= bounds[i]) ++buckets_[i];
  ++count_;
  sum_ += seconds;
}

void duration_histogram::write(std::string& out, const std::string& name,
                               const std::string& labels) const {
  auto bucket = [&](const std::string& le, std::uint64_t n) {
    out += name + "_bucket{" + labels + (labels.empty() ? "" : ",") + "le=\"" + le + "\"} "
           + std::to_string(n) + "\n";
  };
  for (std::size_t i = 0; i < bounds.size(); ++i)
    bucket(number(bounds[i]), buckets_[i]);
  bucket("+Inf", count_);
  out += name + "_sum" + braces(labels) + " " + number(sum_) + "\n";
  out += name + "_count" + braces(labels) + " " + std::to_string(count_) + "\n";
}

void metrics_book::count(const std::string& name, const std::string& labels, double by) {
  counters_[name][labels] += by;
}

void metrics_book::take_up(const std::vector<sandbox_record>& rows) {
  std::lock_guard guard{mutex_};
  for (const auto& x : rows) {
    if (x.state == phase::closed) continue;
    auto& box = open_[x.sandbox.value];
    box.created_at = x.created_at;
    box.phase_since = x.phase_since;
    box.in = x.state;
    box.was_running = x.state >= phase::running;
  }
}

void metrics_book::on_event(const committed_event& e) {
  std::lock_guard guard{mutex_};
  count("skep_events_total");
  if (std::holds_alternative<swarm_created>(e.what)) {
    count("skep_swarms_created_total");
  } else if (auto* w = std::get_if<swarm_closed>(&e.what)) {
    count("skep_swarms_closed_total", label("result", to_string(w->result)));
  } else if (std::holds_alternative<sandbox_queued>(e.what)) {
    auto& box = open_[e.sandbox.value];
    box.created_at = box.phase_since = e.at;
  } else if (auto* moved = std::get_if<phase_changed>(&e.what)) {
    on_phase(e, *moved);
  } else if (std::holds_alternative<sandbox_created>(e.what)) {
    count("skep_sandboxes_created_total");
  } else if (std::holds_alternative<create_failed>(e.what)) {
    count("skep_creates_failed_total");
  } else if (auto* closed = std::get_if<sandbox_closed>(&e.what)) {
    on_closed(e, *closed);
  } else if (std::holds_alternative<kill_confirmed>(e.what)) {
    count("skep_kills_confirmed_total");
  } else if (std::holds_alternative<pane_started>(e.what)) {
    count("skep_agents_started_total");
  } else if (std::holds_alternative<pane_restarting>(e.what)) {
    count("skep_agents_restarted_total");
  } else if (auto* p = std::get_if<pane_closed>(&e.what)) {
    count("skep_panes_closed_total", label("result", to_string(p->result)));
  } else if (auto* t = std::get_if<transfer_done>(&e.what)) {
    count("skep_transfers_total", label("result", "done"));
    count("skep_transferred_bytes_total", {}, static_cast<double>(t->size_bytes));
  } else if (std::holds_alternative<transfer_failed>(e.what)) {
    count("skep_transfers_total", label("result", "failed"));
  } else if (auto* u = std::get_if<pane_usage>(&e.what)) {
    count("skep_cost_usd_total", {}, u->cost_usd);
    count("skep_tokens_total", label("direction", "in"), static_cast<double>(u->input_tokens));
    count("skep_tokens_total", label("direction", "out"), static_cast<double>(u->output_tokens));
  } else if (std::holds_alternative<child_restarted>(e.what)) {
    count("skep_actor_restarts_total");
  } else if (std::holds_alternative<supervisor_gave_up>(e.what)) {
    count("skep_supervisors_gave_up_total");
  } else if (std::holds_alternative<poll_failed>(e.what)) {
    count("skep_poll_failures_total");
  } else if (auto* n = std::get_if<notice>(&e.what)) {
    count("skep_notices_total", label("level", to_string(n->level)));
    if (n->code == "unhealthy") count("skep_probe_failures_total");
  } else if (auto* i = std::get_if<input_receipt>(&e.what)) {
    if (i->state == receipt::accepted) count("skep_inputs_total");
  } else if (auto* s = std::get_if<usage_sampled>(&e.what)) {
    auto box = open_.find(e.sandbox.value);
    if (box == open_.end()) return;
    box->second.usage = *s;
    box->second.sampled = true;
  }
}

void metrics_book::on_phase(const committed_event& e, const phase_changed& x) {
  auto i = open_.find(e.sandbox.value);
  if (i == open_.end()) return; // nobody knows what it was in
  auto& box = i->second;
  // The event's own figure also holds for a sandbox that a former daemon began.
  auto labels = label("phase", to_string(box.in)) + "," + label("result", "ok");
  phases_[labels].add(static_cast<double>(x.in_previous_ms) / 1000);
  if (x.to == phase::running && box.created_at.time_since_epoch().count() != 0) {
    starts_[label("result", "ok")].add(static_cast<double>((e.at - box.created_at).count()) / 1000);
    box.was_running = true;
  }
  box.in = x.to;
  box.phase_since = e.at;
}

// What failed is measured where it failed: cleaning up afterwards changes nothing of it.
void metrics_book::on_closed(const committed_event& e, const sandbox_closed& x) {
  count("skep_sandboxes_closed_total", label("result", to_string(x.result)));
  auto i = open_.find(e.sandbox.value);
  if (i == open_.end()) return;
  const auto& box = i->second;
  auto seconds = [&](utc_time from) {
    return static_cast<double>(std::max<std::int64_t>(0, (e.at - from).count())) / 1000;
  };
  auto well = x.result == outcome::completed;
  if (box.phase_since.time_since_epoch().count() != 0)
    phases_[label("phase", to_string(box.in)) + "," + label("result", well ? "ok" : "failed")].add(
        seconds(box.phase_since));
  if (!box.was_running && !well && box.created_at.time_since_epoch().count() != 0)
    starts_[label("result", "failed")].add(seconds(box.created_at));
  open_.erase(i);
}

void metrics_book::on_commit(std::uint64_t, utc_time oldest, utc_time now) {
  std::lock_guard guard{mutex_};
  count("skep_commits_total");
  lag_s_ = static_cast<double>(std::max<std::int64_t>(0, (now - oldest).count())) / 1000;
}

void metrics_book::on_call(std::string_view operation, std::chrono::milliseconds took, errc how) {
  std::lock_guard guard{mutex_};
  count("skep_commands_total",
        label("operation", operation) + "," + label("result", how == errc::none ? "ok" : "failed")
            + "," + label("error", how == errc::none ? std::string_view{} : to_string(how)));
  calls_[label("operation", operation)].add(static_cast<double>(took.count()) / 1000);
}

std::string metrics_book::text(const present_figures& now) const {
  std::lock_guard guard{mutex_};
  std::string out;
  for (const auto& [name, help] : helps()) {
    head(out, name, "counter", help);
    auto i = counters_.find(name);
    if (i == counters_.end()) {
      out += name + " 0\n";
      continue;
    }
    for (const auto& [labels, value] : i->second)
      out += name + braces(labels) + " " + number(value) + "\n";
  }
  histograms(out, "skep_phase_seconds",
             "How long sandboxes were in a phase (creating, verifying, uploading, ...)", phases_);
  histograms(out, "skep_start_seconds", "From queued until the agents run, or it failed", starts_);
  histograms(out, "skep_command_seconds", "How long commands and calls took", calls_);
  gauges(out, "skep_sandboxes", "Open sandboxes by phase", "phase", now.sandboxes);
  gauges(out, "skep_panes", "Open panes by phase", "phase", now.panes);
  auto queued = now.sandboxes.find("queued");
  gauge(out, "skep_queue_length", "Sandboxes that wait to be created",
        queued == now.sandboxes.end() ? 0 : static_cast<double>(queued->second));
  gauge(out, "skep_open_swarms", "Runs that are not closed", static_cast<double>(now.open_swarms));
  gauge(out, "skep_journal_lag_seconds", "From the oldest event of the newest commit to the commit",
        lag_s_);
  gauge(out, "skep_journal_waiting_bytes", "Events on their way to the journal",
        static_cast<double>(now.journal_waiting_bytes));
  gauge(out, "skep_publisher_lag_events", "Journaled events that were not published yet",
        static_cast<double>(now.publisher_lag));
  gauge(out, "skep_head_seq", "Last sequence on disk", static_cast<double>(now.head_seq));
  gauge(out, "skep_uptime_seconds", "Since the daemon started", now.uptime_s);
  gauge(out, "skep_resident_bytes", "Memory of the daemon",
        static_cast<double>(now.resident_bytes));
  gauge(out, "skep_cpu_seconds", "Processor time of the daemon", now.cpu_s);
  auto usage = [&](const char* name, const char* help, auto value) {
    head(out, name, "gauge", help);
    for (const auto& [id, box] : open_)
      if (box.sampled)
        out += std::string{name} + "{" + label("sandbox", id) + "} "
               + number(static_cast<double>(value(box.usage))) + "\n";
  };
  usage("skep_sandbox_cpu_percent", "Of all its processors, by its own word",
        [](const auto& u) { return u.cpu_percent; });
  usage("skep_sandbox_memory_bytes", "Memory in use", [](const auto& u) { return u.memory_bytes; });
  usage("skep_sandbox_memory_total_bytes", "Memory it may use",
        [](const auto& u) { return u.memory_total_bytes; });
  usage("skep_sandbox_disk_bytes", "Disk in use", [](const auto& u) { return u.disk_bytes; });
  usage("skep_sandbox_disk_total_bytes", "Disk it may use",
        [](const auto& u) { return u.disk_total_bytes; });
  return out;
}

} // namespace skep::actors
