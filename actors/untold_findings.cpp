#include "actors/untold_findings.hpp"

#include "actors/journal_events.hpp"
#include "actors/results_dir.hpp"
#include "actors/work_files.hpp"
#include "transfer/kept.hpp"
#include "transfer/scan.hpp"

#include <map>

namespace skep::actors {
namespace {

/// What the journal says of one sandbox's downloads.
class download_reader {
public:
  void take(const any_event& e) {
    if (auto* i = std::get_if<transfer_intended>(&e)) {
      if (i->direction == transfer_direction::download) open_[i->pane] = i->transfer;
    } else if (auto* d = std::get_if<transfer_done>(&e)) {
      std::erase_if(open_, [d](const auto& x) { return x.second == d->transfer; });
    } else if (auto* s = std::get_if<results_scanned>(&e)) {
      told_.insert(s->transfer);
    }
  }
  /// The last attempt for each pane (empty: the tree that all share) that ended in nothing.
  std::map<pane_id, transfer_id> untold() const {
    auto out = open_;
    std::erase_if(out, [this](const auto& x) { return told_.count(x.second) > 0; });
    return out;
  }

private:
  std::map<pane_id, transfer_id> open_;
  std::set<transfer_id> told_;
};

std::string tree_name(const services& svc, const sandbox_record& box, const pane_id& pane) {
  if (pane.empty()) return "sandbox-" + std::to_string(box.index);
  auto panes = svc.load_panes(box.sandbox);
  if (!panes) return {};
  for (const auto& p : *panes)
    if (p.pane == pane) return p.name;
  return {};
}

} // namespace

std::vector<results_scanned> untold_findings(const services& svc, const swarm_spec& spec,
                                             const sandbox_record& box) {
  std::vector<results_scanned> out;
  if (!svc.read_chunks) return out;
  download_reader downloads;
  each_event(svc, box.swarm, box.sandbox, [&](const any_event& e, utc_time) {
    downloads.take(e);
    return true;
  });
  auto place = results_dir(svc, spec, box.swarm);
  if (!place) return out;
  for (const auto& [pane, transfer] : downloads.untold()) {
    auto tree = tree_name(svc, box, pane);
    if (tree.empty() || !transfer::read_pane(place->dir.string(), tree)) continue;
    auto found = transfer::for_event(transfer::scan_results(place->dir.string(), tree, spec.repo));
    if (found.alarming() || found.medium > 0) out.push_back({transfer, tree, std::move(found)});
  }
  return out;
}

std::set<pane_id> panes_in_place(const services& svc, const swarm_spec& spec,
                                 const sandbox_record& box) {
  auto out = stored_panes(svc, box);
  if (out.empty()) return out;
  auto place = results_dir(svc, spec, box.swarm);
  if (!place) return {};
  std::erase_if(out, [&](const pane_id& pane) {
    auto tree = tree_name(svc, box, pane);
    auto kept = tree.empty() ? result<transfer::kept_pane>{make_error(errc::no_results)}
                             : transfer::read_pane(place->dir.string(), tree);
    return !kept || !transfer::check_kept(*kept);
  });
  return out;
}

} // namespace skep::actors
