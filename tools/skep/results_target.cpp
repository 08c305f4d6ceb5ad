#include "tools/skep/results_target.hpp"

#include "tools/skep/daemon_link.hpp"

#include <algorithm>
#include <filesystem>

namespace skep::cli {
namespace {

namespace fs = std::filesystem;

/// The order that summary.json proposes; those it does not name come behind, p2 before p10.
std::vector<std::string> in_merge_order(const std::string& folder) {
  auto names = transfer::kept_names(folder);
  auto text = transfer::read_file(folder + "/summary.json", 256u << 20);
  if (!text) return names;
  auto j = json::parse(*text, nullptr, false);
  std::vector<std::string> order;
  if (!j.is_object() || !j.contains("merge_order") || !from_json_value(j["merge_order"], order))
    return names;
  auto rank = [&](const std::string& name) {
    return std::find(order.begin(), order.end(), name) - order.begin();
  };
  std::stable_sort(names.begin(), names.end(),
                   [&](const std::string& a, const std::string& b) { return rank(a) < rank(b); });
  return names;
}

result<results_target> one_of(const std::string& folder, const std::string& name) {
  results_target out;
  out.folder = folder;
  auto pane = transfer::read_pane(folder, name);
  if (!pane) return pane.err();
  out.panes.push_back(std::move(*pane));
  return out;
}

result<results_target> of_daemon(const app& a, const std::string& target) {
  auto paths = state_of(a);
  if (!paths) return paths.err();
  auto daemon = serve_daemon(*paths);
  if (!daemon) return daemon.err();
  bool is_pane = target.starts_with("pn_") || target.find('/') != std::string::npos;
  found_pane pane;
  swarm_id swarm;
  if (is_pane) {
    auto p = find_pane(*daemon, target);
    if (!p) return p.err();
    pane = *p;
    swarm = p->swarm;
  } else {
    auto s = find_swarm(*daemon, target);
    if (!s) return s.err();
    swarm = *s;
  }
  auto status = daemon->call(status_request{swarm}, call_deadline);
  if (!status) return status.err();
  auto folder = (fs::path{where_results_are(*paths, status->swarm).out_dir} / swarm.value).string();
  if (!is_pane) {
    auto all = results_in(folder);
    if (all && all->panes.empty())
      return make_error(errc::no_results,
                        swarm.value + " is " + std::string{to_string(status->swarm.state)});
    return all;
  }
  auto one = one_of(folder, pane.name);
  if (one || one.err().code != errc::no_results) return one;
  for (const auto& box : status->sandboxes) // panes that share a tree
    if (box.sandbox == pane.sandbox)
      if (auto shared = one_of(folder, "sandbox-" + std::to_string(box.index))) return shared;
  return one;
}

} // namespace

std::string results_target::label() const {
  return fs::path{folder}.filename().string();
}

void look_at_logs(const storage::state_paths& paths, status_reply& s) {
  for (auto& p : s.panes) {
    if (p.attempt == 0) continue;
    std::error_code absent;
    auto size = fs::file_size(paths.logs() / p.swarm.value
                                  / (p.pane.value + "." + std::to_string(p.attempt) + ".log"),
                              absent);
    if (!absent) p.final_offset = std::max<std::uint64_t>(p.final_offset, size);
  }
}

swarm_record where_results_are(const storage::state_paths& paths, swarm_record swarm) {
  std::error_code ignored;
  if (fs::exists(paths.results() / swarm.swarm.value, ignored))
    swarm.out_dir = paths.results().string();
  return swarm;
}

result<results_target> results_in(const std::string& folder) {
  results_target out;
  out.folder = folder;
  for (const auto& name : in_merge_order(folder)) {
    auto pane = transfer::read_pane(folder, name);
    if (!pane) return pane.err();
    out.panes.push_back(std::move(*pane));
  }
  return out;
}

result<results_target> find_results(const app& a, const std::string& target) {
  if (target == of_work_tree) return of_daemon(a, target);
  std::error_code ignored;
  auto path = fs::absolute(target, ignored).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  if (fs::exists(path / "base.json", ignored)) {
    auto all = results_in(path.string());
    if (all && all->panes.empty()) return make_error(errc::no_results, path.string());
    return all;
  }
  if (fs::exists(path / "changes.json", ignored))
    return one_of(path.parent_path().string(), path.filename().string());
  return of_daemon(a, target);
}

} // namespace skep::cli
