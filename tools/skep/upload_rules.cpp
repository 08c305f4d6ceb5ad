#include "tools/skep/upload_rules.hpp"

#include "tools/skep/term.hpp"
#include "transfer/ignore.hpp"
#include "transfer/scan_allow.hpp"

#include <set>

namespace skep::cli {
namespace {

constexpr std::size_t most_named = 5;

/// Every path that the pane touched.
std::set<std::string> touched_by(const transfer::kept_pane& p) {
  std::set<std::string> out;
  for (const auto* list : {&p.summary.modified, &p.summary.added, &p.summary.deleted})
    out.insert(list->begin(), list->end());
  for (const auto& [from, to] : p.summary.renamed)
    out.insert({from, to});
  for (const auto& [from, to] : p.summary.copied)
    out.insert(to);
  return out;
}

std::string_view name_in(std::string_view path) {
  return path.substr(path.rfind('/') + 1); // all of it where there is no '/'
}

bool is_own_rule(const std::string& path) {
  return path == transfer::allow_file_name || name_in(path) == transfer::ignore_file_name;
}

bool is_rule_of_git(const std::string& path) {
  return name_in(path) == ".gitignore";
}

/// Those of the paths, separated by commas; empty for none.
std::string named(const std::set<std::string>& paths, bool (*is_one)(const std::string&)) {
  std::string out;
  std::size_t found = 0;
  for (const auto& path : paths)
    if (is_one(path) && ++found <= most_named)
      out += (out.empty() ? "" : ", ") + safe_line(transfer::shown_path(path));
  if (found > most_named) out += " and " + std::to_string(found - most_named) + " more";
  return out;
}

} // namespace

std::vector<std::string> remarks_on_upload_rules(const std::vector<transfer::kept_pane>& panes) {
  std::vector<std::string> out;
  for (const auto& p : panes) {
    auto paths = touched_by(p);
    auto pane = safe_line(p.name) + " changed ";
    if (auto own = named(paths, is_own_rule); !own.empty())
      out.push_back("WARNING: " + pane + own
                    + ": by it later runs decide what they upload and what the scan for "
                      "credentials lets pass. `skep diff --patch` shows the change.");
    if (auto of_git = named(paths, is_rule_of_git); !of_git.empty())
      out.push_back("Note: " + pane + of_git
                    + ": what it no longer ignores is uploaded by later runs.");
  }
  return out;
}

} // namespace skep::cli
