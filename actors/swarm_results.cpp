#include "actors/swarm_results.hpp"

#include "actors/journal_events.hpp"
#include "actors/output_log.hpp"
#include "actors/replacement.hpp"
#include "actors/results_dir.hpp"
#include "messages/cost.hpp"
#include "messages/crash_point.hpp"
#include "transfer/collision.hpp"
#include "transfer/kept.hpp"
#include "transfer/pack.hpp"
#include "transfer/pack_keep.hpp"
#include "transfer/posix.hpp"
#include "transfer/results.hpp"
#include "transfer/scan.hpp"

#include <algorithm>
#include <fstream>

namespace skep::actors {
namespace {

namespace fs = std::filesystem;

fs::path work_dir(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "work" / swarm.value;
}

// For what transfer/ makes for a moment: what a kill leaves of it goes with the next start's sweep.
result<std::string> scratch_parent(const services& svc) {
  auto dir = (svc.state_dir / "work").string();
  if (auto made = transfer::make_dirs(dir); !made) return made.err();
  return dir;
}

// Whole or not at all: written beside and renamed.
result<void> write_file(const fs::path& path, const std::string& text) {
  auto tmp = path;
  tmp += ".tmp";
  crash_point(crash_kind::file, "write");
  {
    std::ofstream out(tmp, std::ios::binary | std::ios::trunc);
    out << text;
    out.flush();
    if (!out) return make_error(errc::io, "cannot write " + path.string());
  }
  std::error_code ec;
  crash_point(crash_kind::file, "rename");
  fs::rename(tmp, path, ec);
  if (ec) return make_error(errc::io, "cannot write " + path.string(), ec.message());
  return {};
}

json parts_to_json(const std::vector<transfer::file_part>& parts) {
  auto out = json::array();
  for (const auto& x : parts)
    out.push_back({{"offset", x.offset}, {"bytes", x.bytes}, {"sha256", x.sha256}});
  return out;
}

std::vector<transfer::file_part> parts_from(const json& bundle, const char* name) {
  std::vector<transfer::file_part> out;
  for (const auto& x : bundle.value(name, json::array()))
    out.push_back({x.value("offset", std::uint64_t{0}), x.value("bytes", std::uint64_t{0}),
                   x.value("sha256", std::string{})});
  return out;
}

json bundle_to_json(const upload_bundle& b) {
  return {{"archive", b.archive.string()},
          {"archive_parts", parts_to_json(b.archive_parts)},
          {"head_pack", b.head_pack.string()},
          {"head_pack_parts", parts_to_json(b.head_pack_parts)},
          {"head", b.head},
          {"manifest_sha256", b.manifest_sha256},
          {"files", b.files},
          {"size_bytes", b.size_bytes},
          {"scanned", to_json(b.scanned)}};
}

bool bundle_from_file(const fs::path& file, upload_bundle& out) {
  std::ifstream in(file);
  auto j = json::parse(in, nullptr, false);
  if (!j.is_object()) return false;
  out.archive = j.value("archive", std::string{});
  out.archive_parts = parts_from(j, "archive_parts");
  out.head_pack = j.value("head_pack", std::string{});
  out.head_pack_parts = parts_from(j, "head_pack_parts");
  out.head = j.value("head", std::string{});
  out.manifest_sha256 = j.value("manifest_sha256", std::string{});
  out.files = j.value("files", std::uint64_t{0});
  out.size_bytes = j.value("size_bytes", std::uint64_t{0});
  std::error_code ec;
  // What the scan found may not be on record yet: a daemon can die in between.
  out.scanned = {};
  if (j.contains("scanned") && !from_json_value(j["scanned"], out.scanned)) return false;
  // One without parts was written by an older release: packed anew.
  return !out.archive_parts.empty() && fs::exists(out.archive, ec);
}

std::vector<std::string> tree_names(const swarm_spec& spec,
                                    const std::vector<sandbox_record>& sandboxes,
                                    const std::vector<pane_record>& panes) {
  std::vector<std::string> out;
  if (spec.share_tree)
    for (const auto& s : sandboxes)
      out.push_back("sandbox-" + std::to_string(s.index));
  else
    for (const auto& p : panes)
      out.push_back(p.name);
  return out;
}

/// What results are compared with, and taken over upon, after the archive is gone.
result<void> remember_base(const services& svc, const swarm_spec& spec, const swarm_id& swarm,
                           const transfer::repo_facts& repo, const transfer::packed& packed,
                           std::vector<std::string> suspects, const fs::path& archive) {
  auto after = transfer::changed_against_head(repo.root);
  if (!after) return after.err();
  suspects.insert(suspects.end(), after->begin(), after->end());
  auto base = transfer::base_of(repo, packed.manifest, packed.skipped, suspects);
  if (!base) return base.err();
  make_out_dir(spec.out_dir);
  auto dir = (fs::path{spec.out_dir} / swarm.value).string();
  crash_point(crash_kind::file, "base_record");
  transfer::remove_tree(dir + "/base"); // of an attempt before a restart, from an older archive
  if (auto kept = transfer::keep_base(dir, *base); !kept) return kept;
  // Once more for a folder that vanishes while the run goes on.
  if (auto kept = transfer::keep_base(kept_base_dir(svc, swarm).string(), *base); !kept)
    return kept;
  return transfer::keep_originals(dir, archive.string(), {base->dirty.begin(), base->dirty.end()});
}

// A successor's panes have the names of those before them.
std::string log_name(const pane_record& p, const std::vector<replacement_record>& replacements) {
  for (const auto& r : replacements)
    if (r.lost == p.sandbox) return p.name + ".lost-" + std::to_string(r.number);
  return p.name;
}

error while_packing(error e) {
  e.step = "pack";
  return e;
}

} // namespace

result<std::vector<replacement_record>> replacements_of(const services& svc,
                                                        const swarm_id& swarm) {
  if (!svc.load_replacements) return std::vector<replacement_record>{};
  return svc.load_replacements(swarm);
}

bool scan_is_on_record(const services& svc, const swarm_id& swarm, const swarm_scanned& what) {
  auto wanted = pack(what);
  bool found = false;
  each_event(svc, swarm, {}, [&](const any_event& e, utc_time) {
    auto* told = std::get_if<swarm_scanned>(&e);
    found = told && pack(*told) == wanted;
    return !found;
  });
  return found;
}

result<prepared_bundle> prepare_bundle(const services& svc, const swarm_spec& spec,
                                       const swarm_id& swarm) {
  auto dir = work_dir(svc, swarm);
  prepared_bundle prepared;
  auto& out = prepared.bundle;
  if (bundle_from_file(dir / "bundle.json", out)) return prepared;
  std::error_code ec;
  fs::create_directories(dir, ec);
  fs::permissions(dir, fs::perms::owner_all, ec);
  auto repo = transfer::inspect_head(spec.repo); // packing refuses a tree of no files
  if (!repo) return while_packing(repo.err());
  auto suspects = transfer::changed_against_head(repo->root);
  if (!suspects) return while_packing(suspects.err());
  transfer::pack_options options;
  options.form = svc.upload_form;
  if (svc.upload_keep_bytes > 0) options.keep_dir = (svc.state_dir / "packs").string();
  // Set when the daemon ends: the swarm is gone then, and the next one packs anew.
  if (svc.pool) options.cancel = &svc.pool->cancelled();
  transfer::scan_options scan;
  scan.limit = options.limit;
  transfer::scan_watcher watcher{spec.repo, scan};
  options.watcher = &watcher;
  auto packed = transfer::pack_worktree(spec.repo, (dir / "worktree.tar").string(), options);
  if (!packed) return while_packing(packed.err());
  // Not everything that was cut short is an error: the pack of HEAD is only left out.
  if (options.cancel && *options.cancel)
    return while_packing(make_error(errc::cancelled, "the daemon ends"));
  out.scanned = {spec.scan, false, transfer::for_event(watcher.report())};
  if (auto why = transfer::scan_refusal(spec.scan, out.scanned.report)) {
    out.scanned.blocked = true;
    out.refused = why;
    fs::remove_all(dir, ec);
    return prepared;
  }
  out.archive = dir / "worktree.tar";
  auto parts = transfer::parts_of(out.archive.string(), svc.limits.upload_part_bytes);
  if (!parts) return while_packing(parts.err());
  out.archive_parts = std::move(*parts);
  out.head_pack = packed->head_pack_path;
  if (!out.head_pack.empty()) {
    parts = transfer::parts_of(out.head_pack.string(), svc.limits.upload_part_bytes);
    if (!parts) return while_packing(parts.err());
    out.head_pack_parts = std::move(*parts);
  }
  out.head = packed->head;
  out.manifest_sha256 = packed->manifest.sha256();
  out.files = packed->manifest.files.size();
  out.size_bytes = packed->manifest.total_bytes;
  if (auto base =
          remember_base(svc, spec, swarm, *repo, *packed, std::move(*suspects), out.archive);
      !base)
    return while_packing(base.err());
  if (auto r = write_file(dir / "bundle.json", to_line(bundle_to_json(out))); !r) return r.err();
  if (packed->reused)
    prepared.notices.push_back({severity::info, "pack_reused",
                                "the work tree did not change since it was packed: the kept archive"
                                " of "
                                    + std::to_string(out.files) + " files is used"});
  // For the next run with this tree; a disk that is full for it is not this run's affair.
  auto kept = transfer::keep_pack(options, *packed, out.archive.string(), svc.upload_keep_bytes);
  if (!kept)
    prepared.notices.push_back(
        {severity::warning, "pack_not_kept",
         "the pack of the work tree is not kept, the next run packs it anew: "
             + render(kept.err())});
  return prepared;
}

result<swarm_results> write_results(const services& svc, const swarm_spec& spec,
                                    const swarm_id& swarm,
                                    const std::vector<sandbox_record>& sandboxes,
                                    const std::vector<pane_record>& panes,
                                    const std::vector<replacement_record>& replacements) {
  std::error_code ec;
  crash_point(crash_kind::file, "swarm_folder");
  auto place = results_dir(svc, spec, swarm);
  if (!place) return place.err();
  const auto& dir = place->dir;
  error first;
  auto keep = [&](const error& e) {
    if (!first) first = e;
  };
  for (const auto& p : panes)
    if (p.attempt > 0) {
      auto log = svc.state_dir / "logs" / swarm.value
                 / (p.pane.value + "." + std::to_string(p.attempt) + ".log");
      crash_point(crash_kind::file, "pane_log");
      if (auto copied = copy_log(log, dir / (log_name(p, replacements) + ".log")); !copied)
        keep(copied.err());
    }
  swarm_results out;
  out.about_place = notice_of(*place, swarm);
  std::vector<transfer::pane_patch> patches;
  auto boxes_that_count = sandboxes;
  auto panes_that_count = panes;
  leave_out_replaced(replacements, boxes_that_count, panes_that_count);
  for (const auto& name : tree_names(spec, boxes_that_count, panes_that_count))
    if (auto patch = dir / (name + ".patch"); fs::exists(patch, ec))
      patches.push_back({name, patch.string()});
  auto scratch = scratch_parent(svc);
  auto merged = scratch
                    ? transfer::merge_swarm_patch(patches, (dir / "swarm.patch").string(), *scratch)
                    : result<transfer::merged_patch>{scratch.err()};
  if (merged.ok()) {
    out.merged = merged->included;
    for (const auto& [name, paths] : merged->conflicts)
      out.conflicts.push_back(name);
  } else {
    keep(merged.err());
  }
  auto met = find_collisions_of(svc, spec, swarm, nullptr);
  if (!met && met.err().code != errc::base_missing) keep(met.err()); // of an older release
  if (met) out.met = std::move(*met);
  double time_usd = 0, model_usd = 0;
  for (const auto& s : sandboxes) {
    time_usd += time_cost_usd(s, svc.wall_now());
    model_usd += s.model_cost_usd;
  }
  auto summary = to_json(swarm_summary{swarm, spec.repo, spec.agent, sandboxes, panes, out.merged,
                                       out.conflicts, spec.network, time_usd + model_usd, time_usd,
                                       spec.budget_usd, out.met.list, out.met.left_out,
                                       out.met.order, out.met.unmergeable, replacements});
  if (auto r = write_file(dir / "summary.json",
                          summary.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
      !r)
    keep(r.err());
  if (auto r = transfer::put_on_disk(dir.string()); !r) keep(r.err());
  if (first) return first;
  return out;
}

result<transfer::collisions_found> find_collisions_of(const services& svc, const swarm_spec& spec,
                                                      const swarm_id& swarm,
                                                      const std::set<std::string>* with) {
  auto place = results_dir(svc, spec, swarm);
  if (!place) return place.err();
  auto dir = place->dir.string();
  auto base = transfer::read_base(dir);
  if (!base) return base.err();
  std::vector<transfer::kept_pane> panes;
  for (const auto& name : transfer::kept_names(dir)) {
    auto pane = transfer::read_pane(dir, name);
    if (!pane) return pane.err();
    panes.push_back(std::move(*pane));
  }
  // Of all that was changed once the swarm ends: taking results over merges with it later.
  auto wanted = transfer::shared_paths(panes, with);
  if (!with)
    for (const auto& p : panes) {
      wanted.insert(p.summary.modified.begin(), p.summary.modified.end());
      for (const auto& gone : p.removed())
        wanted.insert(gone);
    }
  std::erase_if(wanted, [&](const std::string& path) { return !base->find(path); });
  if (!wanted.empty()) {
    auto archive = (work_dir(svc, swarm) / "worktree.tar").string();
    crash_point(crash_kind::file, "originals");
    if (auto kept = transfer::keep_originals(dir, archive, wanted); !kept) return kept.err();
  }
  auto scratch = scratch_parent(svc);
  if (!scratch) return scratch.err();
  return transfer::find_collisions(dir, *base, panes, with, {}, *scratch);
}

result<std::vector<collision>> collisions_with(const services& svc, const swarm_spec& spec,
                                               const swarm_id& swarm,
                                               const std::vector<sandbox_id>& closed) {
  std::set<std::string> names;
  auto boxes = svc.load_sandboxes(swarm);
  if (!boxes) return boxes.err();
  for (const auto& id : closed) {
    auto rows = svc.load_panes(id);
    if (!rows) return rows.err();
    std::vector<sandbox_record> mine;
    for (const auto& b : *boxes)
      if (b.sandbox == id) mine.push_back(b);
    for (auto& name : tree_names(spec, mine, *rows))
      names.insert(std::move(name));
  }
  auto met = find_collisions_of(svc, spec, swarm, &names);
  if (!met && met.err().code == errc::base_missing) return std::vector<collision>{};
  if (!met) return met.err();
  return std::move(met->list);
}

result<concluded> conclude(const services& svc, const swarm_spec& spec, const swarm_id& swarm) {
  auto sandboxes = svc.load_sandboxes(swarm);
  if (!sandboxes) return sandboxes.err();
  std::vector<pane_record> panes;
  for (const auto& s : *sandboxes) {
    auto rows = svc.load_panes(s.sandbox);
    if (!rows) return rows.err();
    panes.insert(panes.end(), rows->begin(), rows->end());
  }
  auto replacements = replacements_of(svc, swarm);
  if (!replacements) return replacements.err();
  auto written = write_results(svc, spec, swarm, *sandboxes, panes, *replacements);
  if (!written) return written.err();
  double cost = 0;
  for (const auto& s : *sandboxes)
    cost += cost_usd(s, svc.wall_now());
  leave_out_replaced(*replacements, *sandboxes, panes);
  concluded out{verdict_of(*sandboxes, panes), std::move(written->met.list),
                std::move(written->about_place)};
  out.end.cost_usd = cost;
  return out;
}

namespace {

/// Which of two ends of sandboxes is the swarm's: what went wrong outweighs what was stopped, and
/// both outweigh a doubt, in whatever order the sandboxes stand.
int weight_of(outcome o) {
  switch (o) {
  case outcome::failed:
    return 7;
  case outcome::lost:
    return 6;
  case outcome::budget:
    return 5;
  case outcome::timed_out:
    return 4;
  case outcome::killed:
    return 3;
  case outcome::cancelled:
    return 2;
  case outcome::suspect:
    return 1;
  case outcome::none:
  case outcome::completed:
    return 0;
  }
  return 0;
}

} // namespace

swarm_closed verdict_of(const std::vector<sandbox_record>& sandboxes,
                        const std::vector<pane_record>& panes) {
  swarm_closed out;
  out.result = outcome::completed;
  for (const auto& s : sandboxes) {
    if (s.result == outcome::completed) continue;
    if (weight_of(s.result) > weight_of(out.result)) out.result = s.result;
    if (!out.why) out.why = first_error(s);
  }
  for (const auto& p : panes)
    ++(p.result == outcome::completed ? out.panes_completed : out.panes_failed);
  return out;
}

} // namespace skep::actors
