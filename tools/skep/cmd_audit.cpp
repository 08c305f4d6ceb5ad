// skep audit verify|show: the audit log on disk, without skepd.
#include "storage/audit_verify.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

int verify(const app& a) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto verdict = storage::verify_audit(paths->database());
  if (!verdict) return fail(a, verdict.err());
  const auto& all = verdict->findings;
  if (a.json_mode) {
    json out{{"ok", all.empty()},
             {"lines", verdict->lines},
             {"anchor_line", verdict->anchor},
             {"findings", json::array()}};
    for (const auto& f : all)
      out["findings"].push_back({{"what", std::string{to_string(f.kind)}},
                                 {"line", f.line},
                                 {"last_line", f.last},
                                 {"text", f.text}});
    print_json(out);
  } else if (all.empty()) {
    print_line("The audit log is whole: " + std::to_string(verdict->lines) + " lines.");
  } else {
    for (const auto& f : all)
      print_line(safe_line(f.text, 300));
  }
  if (all.empty()) return 0;
  if (!a.json_mode)
    return fail(a, make_error(errc::audit_broken, std::to_string(all.size()) + " findings in "
                                                      + std::to_string(verdict->lines) + " lines"));
  return info(errc::audit_broken).exit_code;
}

std::string metadata_text(const json& line) {
  std::string out;
  if (!line.contains("metadata") || !line["metadata"].is_object()) return out;
  for (const auto& [key, value] : line["metadata"].items()) {
    auto text = value.is_string() ? value.get<std::string>() : to_line(value);
    if (!text.empty()) out += (out.empty() ? "" : " ") + key + "=" + text;
  }
  return safe_line(out, 120);
}

int show(const app& a, const storage::audit_filter& want) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto lines = storage::read_audit(paths->root, want);
  if (!lines) return fail(a, lines.err());
  auto text = [](const json& line, const char* key) {
    auto value = line.value(key, std::string{});
    return value.empty() ? std::string{"-"} : safe_line(value, 40);
  };
  if (a.json_mode) {
    for (const auto& line : *lines)
      print_json(line);
    return 0;
  }
  std::vector<std::vector<std::string>> rows{
      {"TIME", "LEVEL", "CATEGORY", "OPERATION", "SANDBOX OR SWARM", "ABOUT"}};
  for (const auto& line : *lines) {
    auto where = text(line, "sandbox");
    rows.push_back({text(line, "ts"), text(line, "level"), text(line, "category"),
                    text(line, "operation"), where == "-" ? text(line, "swarm") : where,
                    metadata_text(line)});
  }
  std::fputs(table(rows).c_str(), stdout);
  return 0;
}

} // namespace

void add_audit(CLI::App& cli, app& a) {
  auto* group = cli.add_subcommand("audit", "Check and show the audit log");
  group->require_subcommand(1);
  add_command(*group, a, "verify", "Check every line against the next and against the database",
              "  skep audit verify\n  skep audit verify --json", [&a] { return verify(a); });
  auto want = std::make_shared<storage::audit_filter>();
  want->newest = 50;
  auto* list = add_command(*group, a, "show", "Show lines of the audit log, the newest last",
                           "  skep audit show -n 200 --level ERROR\n"
                           "  skep audit show --category COST --json",
                           [&a, want] { return show(a, *want); });
  list->add_option("-n,--lines", want->newest, "At most so many, the newest; 0: all")
      ->capture_default_str();
  list->add_option("--level", want->level, "Only this level")
      ->check(CLI::IsMember({"INFO", "WARN", "ERROR"}));
  list->add_option("--category", want->category, "Only this category")
      ->check(CLI::IsMember({"SECURITY", "COST", "RESOURCE", "DATA"}));
  list->add_option("--operation", want->operation, "Only this operation");
  list->add_option("--swarm", want->swarm, "Only this swarm, by its id");
}

} // namespace skep::cli
