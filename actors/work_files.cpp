#include "actors/work_files.hpp"

#include "actors/journal_events.hpp"
#include "actors/results_dir.hpp"
#include "messages/crash_point.hpp"
#include "transfer/pack_keep.hpp"
#include "transfer/swept_dir.hpp"

#include <algorithm>
#include <map>

namespace skep::actors {
namespace {

namespace fs = std::filesystem;

/// True when a client may still look into this sandbox for work that was never fetched.
bool has_work_inside(const services& svc, const sandbox_record& box) {
  if (!box.kept || box.kill_intended) return false;
  // Nobody can ask about it, and it was not to live so long.
  if (!svc.knows_provider(box.provider) && box.lease_end_at <= svc.wall_now()) return false;
  const auto brought = stored_panes(svc, box);
  if (brought.contains(pane_id{})) return false;
  auto panes = svc.load_panes(box.sandbox);
  if (!panes) return true;
  return std::any_of(panes->begin(), panes->end(),
                     [&](const pane_record& p) { return !brought.contains(p.pane); });
}

bool needs_upload(const services& svc, const swarm_id& swarm) {
  auto boxes = svc.load_sandboxes(swarm);
  if (!boxes) return boxes.err().code != errc::not_found;
  return std::any_of(boxes->begin(), boxes->end(),
                     [&](const sandbox_record& x) { return has_work_inside(svc, x); });
}

/// Removes all but the packed work tree.
void leave_upload(const fs::path& dir, const fs::path& upload) {
  std::error_code ec;
  std::vector<fs::path> others;
  for (fs::directory_iterator i{dir, ec}, end; !ec && i != end; i.increment(ec))
    if (i->path().filename() != upload.filename()) others.push_back(i->path());
  for (const auto& path : others)
    fs::remove_all(path, ec);
  fs::remove(dir, ec); // where there was no upload
}

} // namespace

std::set<pane_id> stored_panes(const services& svc, const sandbox_record& box) {
  std::map<transfer_id, pane_id> intended;
  std::set<pane_id> out;
  each_event(svc, box.swarm, box.sandbox, [&](const any_event& e, utc_time) {
    if (auto* i = std::get_if<transfer_intended>(&e)) {
      if (i->direction != transfer_direction::download) return true;
      intended[i->transfer] = i->pane;
      out.erase(i->pane); // it may replace what an earlier one brought
    } else if (auto* d = std::get_if<transfer_done>(&e)) {
      if (auto of = intended.find(d->transfer); of != intended.end()) out.insert(of->second);
    }
    return true;
  });
  return out;
}

void remove_work_files(const services& svc, const swarm_id& swarm) {
  std::error_code ec;
  crash_point(crash_kind::file, "work_removed");
  const auto upload = uploaded_archive(svc, swarm);
  if (needs_upload(svc, swarm)) return leave_upload(upload.parent_path(), upload);
  fs::remove_all(upload.parent_path(), ec);
}

void forget_kept_upload(const services& svc, const swarm_id& swarm) {
  std::error_code ec;
  if (!fs::exists(uploaded_archive(svc, swarm), ec)) return;
  auto row = svc.load_swarm(swarm);
  if (row && row->state == swarm_phase::closed) remove_work_files(svc, swarm);
}

void sweep_work_files(const services& svc, const std::vector<swarm_id>& open) {
  std::error_code ec;
  std::vector<fs::path> left;
  for (fs::directory_iterator i{svc.state_dir / "work", ec}, end; !ec && i != end; i.increment(ec))
    if (std::find(open.begin(), open.end(), swarm_id{i->path().filename().string()}) == open.end())
      left.push_back(i->path());
  for (const auto& path : left) {
    // Else of a comparison of results.
    if (swarm_id of{path.filename().string()}; of.valid() && needs_upload(svc, of))
      leave_upload(path, uploaded_archive(svc, of));
    else
      fs::remove_all(path, ec);
  }
  transfer::sweep_packs((svc.state_dir / "packs").string());
  transfer::remove_abandoned((svc.state_dir / "looks").string(), transfer::look_prefix);
}

} // namespace skep::actors
