#include "host/catalog.hpp"

#include "host/control_answers.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace skep::host {
namespace {

constexpr std::string_view base_name = "base";
constexpr std::string_view default_tag = "default";
/// Of the one build that `base` has: it was never built, but every template has one.
constexpr const char* base_build = "00000000-0000-4000-8000-000000000000";
constexpr std::int64_t catalog_page_max = 100;

api_reply refused(std::string_view what) {
  return api_error(501,
                   std::string{what}
                       + " on this host: every sandbox has this machine's own "
                         "programs. Use the template `base` and install what is missing in the "
                         "sandbox");
}

api_reply no_such(std::string_view kind, const std::string& name) {
  return api_error(404, std::string{kind} + " '" + name + "' not found");
}

api_reply no_route() {
  return api_error(404, "there is no such route");
}

// `base`, as a reference names it: in any case, with the tag `default` or none.
bool means_base(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  auto colon = text.find(':');
  return text.substr(0, colon) == base_name
         && (colon == text.npos || text.substr(colon + 1) == default_tag);
}

/// Pages hold everything, so that no page has a successor; what asks for one is wrong.
api_reply whole_list(const std::string& query, json rows) {
  auto params = parse_query(query);
  if (!params) return api_error(400, "the query string is malformed");
  if (auto limit = param(*params, "limit");
      !limit.empty() && !number_param(limit, 1, catalog_page_max))
    return api_error(400, "limit must be 1 to 100");
  if (!param(*params, "nextToken").empty()) return api_error(400, "Invalid next token");
  return json_answer(200, rows);
}

json base_json(const template_use& use) {
  auto machine = listed_json({});
  auto made_at = format_time(use.since_ms);
  return {{"templateID", base_name},
          {"buildID", base_build},
          {"cpuCount", machine["cpuCount"]},
          {"memoryMB", machine["memoryMB"]},
          {"diskSizeMB", machine["diskSizeMB"]},
          {"public", true},
          {"aliases", json::array({base_name})},
          {"names", json::array({base_name})},
          {"createdAt", made_at},
          {"updatedAt", made_at},
          {"createdBy", nullptr},
          {"lastSpawnedAt", use.spawned ? json(format_time(use.last_spawn_ms)) : json(nullptr)},
          {"spawnCount", use.spawned},
          {"buildCount", 1},
          {"envdVersion", machine["envdVersion"]},
          {"buildStatus", "ready"}};
}

json with_builds(json base) {
  base["builds"] = json::array({{{"buildID", base_build},
                                 {"status", "ready"},
                                 {"createdAt", base["createdAt"]},
                                 {"updatedAt", base["updatedAt"]},
                                 {"finishedAt", base["updatedAt"]},
                                 {"cpuCount", base["cpuCount"]},
                                 {"memoryMB", base["memoryMB"]},
                                 {"diskSizeMB", base["diskSizeMB"]},
                                 {"envdVersion", base["envdVersion"]}}});
  return base;
}

api_reply alias_answer(const std::string& name) {
  if (!means_base(name)) return no_such("template alias", name);
  return json_answer(200, {{"templateID", base_name}, {"public", true}});
}

// /templates/{id}/builds/{build}/status or /logs.
api_reply build_answer(const std::string& build, const std::string& what) {
  if (build != base_build) return no_such("build", build);
  if (what == "logs") return json_answer(200, {{"logs", json::array()}});
  if (what != "status") return no_route();
  return json_answer(200, {{"templateID", base_name},
                           {"buildID", base_build},
                           {"status", "ready"},
                           {"logs", json::array()},
                           {"logEntries", json::array()}});
}

api_reply one_template(std::string_view method, const std::string& id,
                       std::span<const std::string> rest, const template_use& use) {
  const auto n = rest.size();
  if (method == "POST" || (n == 2 && rest[0] == "files"))
    return refused("Templates cannot be built");
  if (!means_base(id)) return no_such("template", id);
  if (n == 0 && method == "GET") return json_answer(200, with_builds(base_json(use)));
  if (n == 0 && method == "DELETE")
    return api_error(400, "the template `base` belongs to this host and cannot be deleted");
  if (n == 0 && method == "PATCH") return refused("Templates cannot be changed");
  if (n == 1 && rest[0] == "tags" && method == "GET")
    return json_answer(200, json::array({{{"tag", default_tag},
                                          {"buildID", base_build},
                                          {"createdAt", format_time(use.since_ms)}}}));
  if (n == 3 && rest[0] == "builds" && method == "GET") return build_answer(rest[1], rest[2]);
  return no_route();
}

api_reply templates_answer(std::string_view method, std::span<const std::string> parts,
                           const std::string& query, const template_use& use) {
  if (parts.size() == 1)
    return method == "GET" ? whole_list(query, json::array({base_json(use)}))
                           : refused("Templates cannot be built");
  if (parts[1] == "tags" && parts.size() == 2) return refused("Tags cannot be changed");
  if (parts[1] == "aliases" && parts.size() == 3 && method == "GET") return alias_answer(parts[2]);
  return one_template(method, parts[1], parts.subspan(2), use);
}

// Snapshots, volumes, secrets: there are none, and none can be made.
api_reply empty_answer(std::string_view method, std::span<const std::string> parts,
                       const std::string& query) {
  const auto& kind = parts[0];
  if (parts.size() == 1 && method == "GET") return whole_list(query, json::array());
  if (method == "POST") return api_error(501, kind + " are not supported by this host");
  if (parts.size() == 1) return api_error(405, "method not allowed");
  return no_such(kind.substr(0, kind.size() - 1), parts[1]);
}

} // namespace

bool in_catalog(std::string_view word) {
  constexpr std::array<std::string_view, 5> words{"templates", "snapshots", "volumes", "secrets",
                                                  "events"};
  return std::find(words.begin(), words.end(), word) != words.end();
}

api_reply catalog_answer(std::string_view method, std::span<const std::string> parts,
                         const std::string& query, const template_use& use) {
  std::vector<std::string> words;
  for (const auto& part : parts) {
    auto word = url_decode(part);
    if (!word) return api_error(400, "the path is malformed");
    words.push_back(std::move(*word));
  }
  if (words[0] == "templates") return templates_answer(method, words, query, use);
  if (words[0] == "events") return api_error(501, "events are not supported by this host");
  return empty_answer(method, words, query);
}

} // namespace skep::host
