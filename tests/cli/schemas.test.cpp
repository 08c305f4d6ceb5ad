#include "tests/cli/schemas.hpp"

#include "storage/recovery_plan.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"
#include "tools/skep/files_doc.hpp"
#include "tools/skep/results_json.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace skep::cli_test {

namespace {

json event_schema() {
  auto out = object_of({{"seq", typed("integer")},
                        {"swarm", typed("string")},
                        {"sandbox", typed("string")},
                        {"type", typed("string")},
                        {"at_ms", typed("integer")},
                        {"body", typed("object")}});
  out["required"].erase(5); // an event of a newer skepd has no body
  return out;
}

json error_schema() {
  return object_of({{"code", typed("string")},
                    {"family", typed("string")},
                    {"exit_code", typed("integer")},
                    {"text", typed("string")},
                    {"message", typed("string")},
                    {"sandbox", typed("string")},
                    {"step", typed("string")},
                    {"cause", typed("string")},
                    {"hint", typed("string")},
                    {"retriable", typed("boolean")},
                    {"retry_after_ms", typed("integer")}});
}

json summary_schema() {
  auto out = schema_of<status_reply>();
  out["properties"]["exit_code"] = typed("integer");
  out["required"].push_back("exit_code");
  return out;
}

json apply_schema() {
  auto out = schema_of<cli::apply_answer>();
  out["properties"]["error"] = error_schema(); // only when something stopped a pane
  return out;
}

/// What was kept, and what is not confirmed to be gone, only where something is.
template <class Reply>
json with_left() {
  auto out = schema_of<Reply>();
  out["properties"]["kept"] = list_of(schema_of<sandbox_record>());
  out["properties"]["unconfirmed"] = list_of(schema_of<sandbox_record>());
  return out;
}

json diff_schema() {
  auto out = schema_of<cli::diff_answer>();
  out["properties"]["scan"] = schema_of<scan_report>(); // where `live`
  return out;
}

json doctor_schema() {
  auto check = object_of({{"name", typed("string")},
                          {"verdict", {{"enum", {"ok", "optional", "missing"}}}},
                          {"text", typed("string")},
                          {"problem", error_schema()}});
  check["required"].erase(3); // only where something is missing
  return object_of({{"ok", typed("boolean")}, {"checks", list_of(check)}});
}

json db_status_schema() {
  auto out = object_of({{"database", typed("string")},
                        {"current", typed("integer")},
                        {"newest", typed("integer")},
                        {"applied", list_of(object_of({{"version", typed("integer")},
                                                       {"name", typed("string")},
                                                       {"checksum", typed("string")},
                                                       {"applied_at_ms", typed("integer")}}))},
                        {"backups", list_of(typed("string"))},
                        {"restore", list_of(typed("string"))},
                        {"error", error_schema()}});
  out["required"].erase(6); // only when something is wrong
  return out;
}

json dry_run_schema() {
  auto out = schema_of<cli::dry_run_doc>();
  for (const char* name : {"upload_ms_estimated", "upload_bytes_per_s"})
    out["properties"][name] = {{"oneOf", {typed("integer"), typed("null")}}};
  return out;
}

} // namespace

std::map<std::string, json> all_schemas() {
  std::map<std::string, json> out;
  auto add = [&](const std::string& name, const std::string& about, json schema) {
    json file{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
              {"title", "skep " + name},
              {"description", about}};
    file.update(schema);
    out[name] = std::move(file);
  };
  add("error", "Any command that failed.", object_of({{"error", error_schema()}}));
  add("run",
      "skep run --json: one line each for the run, its events, its end, and what --apply did.",
      {{"oneOf",
        {object_of({{"run", schema_of<run_reply>()}}), event_schema(),
         object_of({{"summary", summary_schema()}}), object_of({{"apply", apply_schema()}}),
         object_of({{"detached", object_of({{"swarm", typed("string")}})}}),
         object_of({{"scan", schema_of<scan_report>()}})}}});
  add("dry-run",
      "skep run --dry-run --json. upload_ms_estimated and upload_bytes_per_s are null where no "
      "upload to the provider was measured.",
      object_of({{"dry_run", dry_run_schema()}}));
  add("files", "skep files list --json.", schema_of<cli::files_doc>());
  add("files-why", "skep files why --json.", schema_of<cli::why_doc>());
  add("files-rules", "skep files rules --json.", schema_of<cli::rules_doc>());
  add("ps",
      "skep ps --json. kept: sandboxes that stayed when their run ended; unconfirmed: ended ones "
      "whose provider has not confirmed that they are gone; each only where there are some.",
      with_left<list_reply>());
  add("status", "skep status --json.", schema_of<status_reply>());
  add("summary", "summary.json in the output folder of a swarm.", schema_of<swarm_summary>());
  add("event", "skep events --json: one line each.", event_schema());
  add("log", "skep logs --json: one line for each piece. data is base64, text is for reading.",
      object_of({{"pane", typed("string")},
                 {"generation", typed("integer")},
                 {"offset", typed("integer")},
                 {"size_bytes", typed("integer")},
                 {"dropped_bytes", typed("integer")},
                 {"text", typed("string")},
                 {"data", {{"type", "string"}, {"contentEncoding", "base64"}}}}));
  add("send", "skep send --json.", schema_of<send_reply>());
  add("diff",
      "skep diff --json. scan: what the scan for credentials found in what came from the sandbox "
      "just now; only where live is true.",
      diff_schema());
  add("download", "skep download --json.", schema_of<cli::download_answer>());
  add("apply",
      "skep apply --json. Exit code 83: there are conflicts. error: what stopped the first "
      "of the panes that were stopped; branches has what became of each.",
      apply_schema());
  add("stop", "skep stop --json, skep kill --json.", schema_of<stop_reply>());
  add("budget", "skep budget --json.", schema_of<budget_reply>());
  add("budget-set", "skep budget set --json: the sequence of the last fact.",
      schema_of<budget_set_reply>());
  add("freeze", "skep freeze --json, skep thaw --json.", schema_of<freeze_reply>());
  add("drain", "skep drain --json.", schema_of<drain_reply>());
  add("panic", "skep panic --json, when nothing is left.",
      object_of({{"select", typed("string")},
                 {"sandboxes", typed("integer")},
                 {"providers", list_of(typed("string"))},
                 {"survivors", typed("integer")},
                 {"ids", list_of(typed("string"))},
                 {"unanswered", list_of(typed("string"))},
                 {"took_ms", typed("integer")}}));
  add("daemon", "skep daemon start|status --json.", schema_of<daemon_status_reply>());
  add("daemon-stop",
      "skep daemon stop --json. kept: sandboxes that are still there, since they were kept; "
      "unconfirmed: ended ones whose provider has not confirmed that they are gone; each only "
      "where there are some.",
      with_left<daemon_stop_reply>());
  add("doctor", "skep doctor --json.", doctor_schema());
  add("secret", "skep secret set|remove --json.",
      object_of({{"name", typed("string")}, {"present", typed("boolean")}}));
  add("secrets", "skep secret list --json.", object_of({{"secrets", list_of(typed("string"))}}));
  add("db-status",
      "skep db status --json. When something is wrong: error says what, restore how to go back to "
      "the newest backup that serves.",
      db_status_schema());
  add("db-change", "skep db migrate|rollback --json.",
      object_of(
          {{"from", typed("integer")}, {"to", typed("integer")}, {"backup", typed("string")}}));
  add("db-rebind", "skep db rebind --json.",
      object_of({{"install", typed("string")},
                 {"closed_swarms", typed("integer")},
                 {"closed_sandboxes", typed("integer")}}));
  add("db-backup", "skep db backup --json.", object_of({{"backup", typed("string")}}));
  add("recover", "skep recover --plan --json.", schema_of<storage::recovery_plan>());
  add("health", "skep health --json. Exit code 0: healthy, 1: degraded, 2: unhealthy.",
      schema_of<health_reply>());
  add("audit", "A line of the audit log, as it is on disk and as skep audit show --json prints it.",
      object_of({{"line", typed("integer")},
                 {"seq", typed("integer")},
                 {"ts", typed("string")},
                 {"level", {{"enum", {"INFO", "WARN", "ERROR"}}}},
                 {"category", {{"enum", {"SECURITY", "COST", "RESOURCE", "DATA"}}}},
                 {"operation", typed("string")},
                 {"swarm", typed("string")},
                 {"sandbox", typed("string")},
                 {"metadata", typed("object")},
                 {"prev", typed("string")}}));
  add("audit-verify", "skep audit verify --json.",
      object_of(
          {{"ok", typed("boolean")},
           {"lines", typed("integer")},
           {"anchor_line", typed("integer")},
           {"findings",
            list_of(object_of(
                {{"what",
                  {{"enum", {"changed", "removed", "cut", "swapped", "added", "unreadable"}}}},
                 {"line", typed("integer")},
                 {"last_line", typed("integer")},
                 {"text", typed("string")}}))}}));
  add("version", "skep version --json.",
      object_of({{"version", typed("string")}, {"protocol", typed("integer")}}));
  return out;
}

std::string mismatch(const json& schema, const json& value, const std::string& where) {
  if (schema.contains("oneOf")) {
    std::string all;
    for (const auto& s : schema["oneOf"]) {
      auto m = mismatch(s, value, where);
      if (m.empty()) return {};
      all += m + "; ";
    }
    return all;
  }
  if (schema.contains("enum")) {
    for (const auto& x : schema["enum"])
      if (x == value) return {};
    return where + " is none of the allowed values";
  }
  auto type = schema.value("type", "");
  bool fits = (type == "object" && value.is_object()) || (type == "array" && value.is_array())
              || (type == "string" && value.is_string())
              || (type == "integer" && value.is_number_integer())
              || (type == "number" && value.is_number())
              || (type == "boolean" && value.is_boolean()) || (type == "null" && value.is_null());
  if (!fits) return where + " is not of type " + type;
  if (type == "array")
    for (std::size_t i = 0; i < value.size(); ++i)
      if (auto m = mismatch(schema["items"], value[i], where + "[" + std::to_string(i) + "]");
          !m.empty())
        return m;
  if (type != "object") return {};
  if (schema.contains("required"))
    for (const auto& name : schema["required"])
      if (!value.contains(name.get<std::string>()))
        return where + " has no " + name.get<std::string>();
  for (const auto& [name, x] : value.items()) {
    auto below = where + "." + name;
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      if (auto m = mismatch(schema["properties"][name], x, below); !m.empty()) return m;
    } else if (schema.contains("additionalProperties")) {
      const auto& more = schema["additionalProperties"];
      if (more.is_boolean() && !more.get<bool>()) return below + " is not in the schema";
      if (more.is_object())
        if (auto m = mismatch(more, x, below); !m.empty()) return m;
    }
  }
  return {};
}

} // namespace skep::cli_test

TEST_CASE("docs/json holds exactly the schemas of what is printed") {
  const std::filesystem::path folder = std::string{std::getenv("SKEP_SOURCE")} + "/docs/json";
  auto schemas = all_schemas();
  // Run once with SKEP_WRITE_SCHEMAS=1 after a change of the field lists.
  bool write = std::getenv("SKEP_WRITE_SCHEMAS") != nullptr;
  for (const auto& [name, schema] : schemas) {
    INFO(name);
    auto file = folder / (name + ".schema.json");
    if (write) write_text(file.string(), schema.dump(2) + "\n");
    std::ifstream in{file};
    CHECK(json::parse(in, nullptr, false) == schema);
  }
  for (const auto& f : std::filesystem::directory_iterator{folder}) {
    auto name = f.path().filename().string();
    if (!name.ends_with(".schema.json")) continue;
    CHECK(schemas.count(name.substr(0, name.size() - 12)) == 1);
  }
}

TEST_CASE("the reader of schemas sees what does not fit") {
  auto s = schema_of<stop_reply>();
  CHECK(mismatch(s, {{"swarms", {"sw_a"}}, {"seq", 1}}).empty());
  CHECK_FALSE(mismatch(s, {{"swarms", {"sw_a"}}}).empty());
  CHECK_FALSE(mismatch(s, {{"swarms", {1}}, {"seq", 1}}).empty());
  CHECK_FALSE(mismatch(s, {{"swarms", json::array()}, {"seq", "1"}}).empty());
  CHECK_FALSE(mismatch(s, {{"swarms", json::array()}, {"seq", 1}, {"more", 1}}).empty());
  CHECK_FALSE(mismatch(s, json::array()).empty());
  json maybe{{"oneOf", {typed("integer"), typed("null")}}};
  CHECK(mismatch(maybe, 1).empty());
  CHECK(mismatch(maybe, nullptr).empty());
  CHECK_FALSE(mismatch(maybe, "1").empty());
}

TEST_CASE("what every command prints with --json fits its schema") {
  cli_world w;
  auto schemas = all_schemas();
  auto fits = [&](const std::string& name, const finished& x) {
    INFO(name << ": " << x.out << x.err);
    auto lines = x.lines();
    CHECK_FALSE(lines.empty());
    for (const auto& line : lines) {
      auto value = json::parse(line, nullptr, false);
      CHECK_FALSE(value.is_discarded());
      CHECK(mismatch(schemas.at(name), value) == "");
    }
  };
  fits("version", w.skep({"version", "--json"}));
  fits("error", w.skep({"ps", "--json"}));
  fits("doctor", w.skep({"doctor", "--json"}));
  fits("recover", w.skep({"recover", "--plan", "--json"}));
  fits("files", w.skep({"files", "list", "--json"}));
  fits("files-why", w.skep({"files", "why", "a.txt", "--json"}));
  fits("files-rules", w.skep({"files", "rules", "--json"}));
  fits("dry-run", w.run({"--dry-run", "--json", "--", "true"}));
  fits("secret", w.skep({"secret", "set", "A", "--json"}, "v"));
  fits("secrets", w.skep({"secret", "list", "--json"}));
  fits("secret", w.skep({"secret", "remove", "A", "--json"}));
  fits("db-change", w.skep({"db", "migrate", "--json"}));
  fits("db-status", w.skep({"db", "status", "--json"}));
  fits("db-backup", w.skep({"db", "backup", w.dir.path + "/b.db", "--json"}));
  fits("audit-verify", w.skep({"audit", "verify", "--json"}));
  fits("db-rebind", w.skep({"db", "rebind", "--keep-id", "--json"}));
  fits("db-change", w.skep({"db", "rollback", "--to", "1", "--json"}));
  fake_daemon daemon{w};
  fits("daemon", w.skep({"daemon", "status", "--json"}));
  fits("run", w.run({"--name", "fails", "--json", "--", "true"}));
  fits("run", w.run({"--name", "runs", "--detach", "--json", "--", "true"}));
  fits("ps", w.skep({"ps", "--all", "--json"}));
  fits("status", w.skep({"status", "runs", "--json"}));
  fits("event", w.skep({"events", "--json"}));
  fits("log", w.skep({"logs", "runs", "--json"}));
  fits("send", w.skep({"send", "runs/p0", "x", "--json"}));
  fits("stop", w.skep({"stop", "runs", "--json"}));
  fits("freeze", w.skep({"freeze", "--all", "--json"}));
  fits("panic", w.skep({"panic", "--all", "--json"}));
  fits("drain", w.skep({"drain", "--json"}));
  fits("daemon-stop", w.skep({"daemon", "stop", "--json"}));
}
