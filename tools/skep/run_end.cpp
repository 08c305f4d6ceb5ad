#include "tools/skep/run_end.hpp"

#include "messages/json.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"
#include "transfer/kept.hpp"

#include <algorithm>

namespace skep::cli {
namespace {

/// Paths that are named one by one; summary.json has all of them.
constexpr std::size_t most_colliding_paths = 10;
constexpr std::uint64_t largest_summary = 256u << 20;

/// Of a key that is missing or has another shape: nothing.
template <class T>
T value_at(const json& j, const char* key) {
  T out{};
  auto i = j.find(key);
  return i != j.end() && from_json_value(*i, out) ? out : T{};
}

/// One line however many there are.
std::string name_list(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names)
    out += (out.empty() ? "" : ", ") + name;
  return safe_line(out, 300);
}

} // namespace

std::string collisions_text(const std::string& folder) {
  auto text = transfer::read_file(folder + "/summary.json", largest_summary);
  if (!text) return {};
  auto j = json::parse(*text, nullptr, false);
  if (!j.is_object()) return {};
  std::string out;
  auto met = value_at<std::vector<collision>>(j, "collisions");
  // What a merge takes without a word is none for people.
  std::erase_if(met, [](const collision& x) { return x.level < overlap::hunks; });
  if (!met.empty()) out += "Collisions:\n";
  for (std::size_t i = 0; i < std::min(met.size(), most_colliding_paths); ++i)
    out += "  " + safe_line(collision_text(met[i]), 300) + "\n";
  if (met.size() > most_colliding_paths)
    out +=
        "  and " + std::to_string(met.size() - most_colliding_paths) + " more, in summary.json\n";
  if (auto names = value_at<std::vector<std::string>>(j, "conflicts"); !names.empty())
    out +=
        "swarm.patch leaves out " + name_list(names) + ": they touch what another one touches.\n";
  return out;
}

std::string next_step(const std::string& folder, const std::string& swarm) {
  for (const auto& name : transfer::kept_names(folder)) {
    auto pane = transfer::read_pane(folder, name);
    if (!pane || pane->summary.empty()) continue;
    return style(stdout, tint::dim,
                 "Next: `skep diff " + swarm + "` shows the changes, `skep apply " + swarm
                     + "` takes them over.")
           + "\n";
  }
  return {};
}

} // namespace skep::cli
