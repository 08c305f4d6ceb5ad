#include "storage/recovery_plan.hpp"

#include "messages/commands.hpp"
#include "storage/epoch_file.hpp"
#include "storage/files.hpp"
#include "storage/last_failure.hpp"
#include "storage/migrator.hpp"
#include "storage/successors.hpp"

#include <algorithm>
#include <set>

namespace skep::storage {
namespace {

recovery_step about(std::string action, const sandbox_record& r, std::string text) {
  recovery_step out;
  out.action = std::move(action);
  out.swarm = r.swarm;
  out.sandbox = r.sandbox;
  out.provider = r.provider;
  out.remote_id = r.remote_id;
  out.state = to_string(r.state);
  out.text = std::move(text);
  return out;
}

std::string_view what_follows(phase left_in) {
  switch (left_in) {
  case phase::starting:
  case phase::running:
    return "its agents went on; their logs are continued";
  case phase::draining:
    return "the stop of its agents goes on";
  case phase::collecting:
    return "its changes are collected, from the first pane on";
  default:
    return "no agent has started: it is made ready again, from the check of its identity on";
  }
}

recovery_step step_of(const sandbox_record& r) {
  if (r.remote_id.empty() && r.unresolved)
    return about("find_create", r,
                 "the provider was asked and its answer is unknown: looked for by its label; only "
                 "when it is settled that none came, another one is asked for");
  if (r.remote_id.empty()) return about("create", r, "it is at no provider yet");
  if (r.kill_intended) return about("kill", r, "its kill was begun");
  return about("adopt", r, std::string{what_follows(r.state)});
}

recovery_step step_of(const pane_record& p, const sandbox_record& box) {
  auto out = about("start_pane", box, {});
  out.pane = p.pane;
  out.state = to_string(p.state);
  switch (p.state) {
  case pane_phase::running:
    out.action = "follow_pane";
    out.text = p.name + " runs, attempt " + std::to_string(p.attempt);
    break;
  case pane_phase::exited:
    out.action = "close_pane";
    out.text = p.name + " has ended with " + std::to_string(p.exit_code);
    break;
  case pane_phase::starting:
    out.text = p.name + " was being started: the same start again, which is done once";
    break;
  case pane_phase::restarting:
    out.text = p.name + " waited for attempt " + std::to_string(p.attempt + 1);
    break;
  default:
    out.text = p.name + " has not started";
    break;
  }
  return out;
}

std::int64_t ms_left(const swarm_spec& spec, const swarm_record& swarm, utc_time now) {
  return spec.limit_ms - (now - swarm.created_at).count();
}

std::string time_left(const swarm_spec& spec, const swarm_record& swarm, utc_time now) {
  if (spec.limit_ms <= 0) return {};
  auto left = ms_left(spec, swarm, now);
  if (left <= 0) return "; its time limit is over: it is stopped";
  return "; " + std::to_string(left / 1000) + " s of its time limit are left";
}

recovery_step step_of(const owed_successor& x, std::size_t number, const swarm_spec& spec) {
  auto out = about("replace", x.lost, {});
  out.remote_id.clear();        // nothing is asked about what its provider lost
  out.provider = spec.provider; // also where the lost one had fallen back
  out.state = to_string(x.lost.result);
  out.checkpoint = x.lost.base_commit;
  out.successor = x.successor;
  auto from = out.checkpoint.empty()
                  ? std::string{"the work tree as it is uploaded; the lost one had no checkpoint"}
                  : "its checkpoint " + out.checkpoint.substr(0, 12);
  out.text = (x.successor.empty() ? std::string{"a successor"} : x.successor.value) + " starts ("
             + std::to_string(number) + " of " + std::to_string(spec.replace_lost) + "), from "
             + from;
  return out;
}

// The SWARM's own rule: a run that is asked to stop begins nothing, one whose time is over names
// no successor any more.
result<void> add_successors(reader& r, const open_swarm& s, const swarm_spec& spec,
                            const std::vector<sandbox_record>& boxes, utc_time now,
                            std::vector<recovery_step>& out) {
  if (spec.replace_lost == 0 || s.record.state == swarm_phase::stopping) return {};
  auto known = r.replacements(s.record.swarm);
  if (!known) return known.err();
  bool over = spec.limit_ms > 0 && ms_left(spec, s.record, now) <= 0;
  auto next = known->size();
  for (const auto& x : owed(boxes, *known, spec.replace_lost)) {
    auto i = std::find_if(known->begin(), known->end(),
                          [&](const auto& k) { return k.lost == x.lost.sandbox; });
    if (i != known->end())
      out.push_back(step_of(x, i->number, spec));
    else if (!over)
      out.push_back(step_of(x, ++next, spec));
  }
  return {};
}

result<void> add_swarms(reader& r, utc_time now, std::vector<recovery_step>& out,
                        std::set<std::string>& open) {
  auto swarms = r.open_swarms();
  if (!swarms) return swarms.err();
  for (const auto& s : *swarms) {
    open.insert(s.record.swarm.value);
    auto boxes = r.sandboxes(s.record.swarm);
    if (!boxes) return boxes.err();
    auto left = std::count_if(boxes->begin(), boxes->end(),
                              [](const auto& b) { return b.state != phase::closed; });
    auto spec = unpack<swarm_spec>(s.spec.data);
    recovery_step take_up;
    take_up.action = "take_up";
    take_up.swarm = s.record.swarm;
    take_up.provider = s.record.provider;
    take_up.state = to_string(s.record.state);
    take_up.text = std::to_string(left) + " of " + std::to_string(s.record.sandboxes)
                   + " sandboxes are open"
                   + (spec ? time_left(*spec, s.record, now) : std::string{});
    out.push_back(std::move(take_up));
    for (const auto& box : *boxes) {
      if (box.state == phase::closed) continue;
      auto step = step_of(box);
      auto adopted = step.action == "adopt";
      out.push_back(std::move(step));
      if (!adopted || box.state < phase::starting || box.state >= phase::collecting) continue;
      auto panes = r.panes(box.sandbox);
      if (!panes) return panes.err();
      for (const auto& p : *panes)
        if (p.state != pane_phase::closed) out.push_back(step_of(p, box));
    }
    if (!spec) continue; // of another release; its daemon says so
    if (auto done = add_successors(r, s, *spec, *boxes, now, out); !done) return done;
  }
  return {};
}

// What stayed when its run ended. It is ours and known: the look for orphans leaves it alone.
result<void> add_kept(reader& r, utc_time now, std::vector<recovery_step>& out) {
  auto living = r.living_sandboxes();
  if (!living) return living.err();
  for (const auto& box : *living) {
    if (box.state != phase::closed || !box.kept || box.kill_intended) continue;
    auto left = (box.lease_end_at - now).count();
    auto how_long = left > 0 ? "left alone, for at most " + std::to_string(left / 1000) + " s more"
                             : std::string{"its lease on record is over: its provider is asked"};
    out.push_back(about(
        "keep", box, "it was kept; " + how_long + "; `skep kill " + box.swarm.value + "` ends it"));
  }
  return {};
}

// What SANDBOXes that are closed left to the REAPER.
result<void> add_leftovers(reader& r, utc_time now, std::vector<recovery_step>& out) {
  auto kills = r.unconfirmed_kills();
  if (!kills) return kills.err();
  for (const auto& box : *kills)
    if (box.state == phase::closed && !box.remote_id.empty())
      out.push_back(about("kill", box, "its end was never confirmed"));
  auto creates = r.unresolved_creates();
  if (!creates) return creates.err();
  for (const auto& box : *creates)
    if (box.state == phase::closed)
      out.push_back(about("find_create", box,
                          "its sandbox was given up without the provider's answer: looked for by "
                          "its label and ended where it shows"));
  auto providers = r.providers_to_list(now);
  if (!providers) return providers.err();
  for (const auto& [name, living] : *providers) {
    recovery_step look;
    look.action = "look_for_orphans";
    look.provider = name;
    look.text = "what bears our label and nobody knows is ended after the grace time";
    out.push_back(std::move(look));
  }
  return {};
}

/// True where nothing but the upload lies there, which whoever fetches what a kept sandbox holds
/// compares with: a start leaves it.
result<bool> upload_is_kept(const std::filesystem::path& work, const swarm_id& swarm,
                            const std::vector<recovery_step>& steps) {
  if (std::none_of(steps.begin(), steps.end(),
                   [&](const recovery_step& s) { return s.action == "keep" && s.swarm == swarm; }))
    return false;
  auto names = names_in(work);
  if (!names) return names.err();
  return *names == std::vector<std::string>{"worktree.tar"};
}

result<void> add_sweep(const state_paths& paths, const std::set<std::string>& open,
                       std::vector<recovery_step>& out) {
  auto names = names_in(paths.root / "work");
  if (!names) return names.err();
  for (const auto& name : *names) {
    if (open.contains(name)) continue;
    auto needed = upload_is_kept(paths.root / "work" / name, swarm_id{name}, out);
    if (!needed) return needed.err();
    if (*needed) continue;
    recovery_step sweep;
    sweep.action = "sweep";
    if (swarm_id of{name}; of.valid()) sweep.swarm = of; // else of a comparison of results
    sweep.text = "work/" + name;
    out.push_back(std::move(sweep));
  }
  return {};
}

} // namespace

result<recovery_plan> plan_recovery(const state_paths& paths, utc_time now) {
  recovery_plan out;
  out.state_dir = paths.root.string();
  out.epoch = 1;
  auto holder = lock_holder(paths);
  if (!holder) return holder.err();
  out.daemon_pid = holder->value_or(0);
  out.last_failure = read_last_failure(paths);
  if (!path_exists(paths.database())) return out;
  auto schema = migrator{paths.database(), paths.backups()}.status();
  if (!schema) return schema.err();
  if (schema->current < schema->newest) {
    recovery_step upgrade;
    upgrade.action = "upgrade_schema";
    upgrade.text = "from " + std::to_string(schema->current) + " to "
                   + std::to_string(schema->newest)
                   + ", after a copy; what follows can be read only then";
    out.steps.push_back(std::move(upgrade));
    return out;
  }
  auto r = reader::open(paths.database());
  if (!r) return r.err();
  auto epoch = r->epoch();
  if (!epoch) return epoch.err();
  // A file that cannot be read is told by the daemon, which goes on without it.
  auto mark = read_epoch_mark(paths.database());
  out.epoch = std::max(*epoch, mark ? mark->epoch : 0) + 1;
  std::set<std::string> open;
  if (auto done = add_swarms(*r, now, out.steps, open); !done) return done.err();
  if (auto done = add_kept(*r, now, out.steps); !done) return done.err();
  if (auto done = add_leftovers(*r, now, out.steps); !done) return done.err();
  if (auto done = add_sweep(paths, open, out.steps); !done) return done.err();
  return out;
}

} // namespace skep::storage
