#include "sandbox/wire_templates.hpp"

#include "sandbox/wire_json.hpp"

#include <algorithm>
#include <array>

namespace skep::sandbox::wire {
namespace {

constexpr std::array<std::string_view, 5> step_names{"RUN", "COPY", "ENV", "WORKDIR", "USER"};
constexpr std::array<std::string_view, 4> state_names{"waiting", "building", "ready", "error"};

result<value> step_value(const build_step& step) {
  value out{{"type", step_names[static_cast<std::size_t>(step.type)]},
            {"args", step.args},
            {"force", step.force}};
  if (step.type == step_type::copy && !valid_files_hash(step.files_hash))
    return make_error(errc::bad_argument, "a copy needs the hash of its files");
  if (!step.files_hash.empty()) out["filesHash"] = step.files_hash;
  return out;
}

bool fill_info(const value& x, template_info& out) {
  reader r{x};
  out.template_id = r.text("templateID");
  out.build_id = r.text("buildID");
  out.cpu_count = r.integer<std::uint32_t>("cpuCount");
  out.memory_mb = r.integer<std::uint64_t>("memoryMB");
  out.disk_mb = r.integer<std::uint64_t>("diskSizeMB");
  out.is_public = r.boolean("public");
  out.names = r.texts(r.member("names") ? "names" : "aliases");
  out.build_status = r.text("buildStatus");
  out.envd_version = r.text("envdVersion");
  out.spawn_count = r.integer<std::uint64_t>("spawnCount");
  out.created_at = r.time("createdAt");
  out.updated_at = r.time("updatedAt");
  return r.good() && !out.template_id.empty();
}

} // namespace

bool valid_template_id(std::string_view id) {
  return !id.empty() && id.size() <= 300 && id != "." && id != ".."
         && std::all_of(id.begin(), id.end(),
                        [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
}

bool valid_files_hash(std::string_view hash) {
  return hash.size() == 64 && hash.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

result<std::string> template_body(const template_params& what) {
  if (what.name.empty()) return make_error(errc::bad_argument, "a template without a name");
  value out{{"name", what.name}};
  if (!what.tags.empty()) out["tags"] = what.tags;
  if (what.cpu_count) out["cpuCount"] = what.cpu_count;
  if (what.memory_mb) out["memoryMB"] = what.memory_mb;
  return dump(out);
}

result<std::string> build_body(const build_spec& spec) {
  if (spec.from_image.empty() == spec.from_template.empty())
    return make_error(errc::bad_argument, "a build starts from an image or from a template");
  value out{{"force", spec.force}, {"steps", value::array()}};
  if (!spec.from_image.empty()) out["fromImage"] = spec.from_image;
  if (!spec.from_template.empty()) out["fromTemplate"] = spec.from_template;
  if (spec.registry) {
    value& registry = out["fromImageRegistry"] = spec.registry->fields;
    registry["type"] = spec.registry->type;
  }
  for (const auto& step : spec.steps) {
    auto x = step_value(step);
    if (!x) return x.err();
    out["steps"].push_back(std::move(*x));
  }
  if (!spec.start_command.empty()) out["startCmd"] = spec.start_command;
  if (!spec.ready_command.empty()) out["readyCmd"] = spec.ready_command;
  return dump(out);
}

result<std::string> tags_body(const char* subject, const std::string& name,
                              const std::vector<std::string>& tags) {
  return dump(value{{subject, name}, {"tags", tags}});
}

result<template_build> read_template_build(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  template_build out{r.text("templateID"), r.text("buildID"), r.boolean("public"), r.texts("names"),
                     r.texts("tags")};
  if (!r.good() || out.template_id.empty() || out.build_id.empty()) return not_understood(body);
  return out;
}

result<file_link> read_file_link(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  file_link out{r.boolean("present"), r.text("url")};
  // Without the body: its address lets others write.
  if (!r.good() || (!out.present && out.url.empty()))
    return make_error(errc::protocol, "the answer names no address for the files");
  return out;
}

result<build_progress> read_progress(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  build_progress out;
  auto name = r.text("status");
  auto state = std::find(state_names.begin(), state_names.end(), name);
  if (state == state_names.end()) return not_understood(body);
  out.state = static_cast<build_state>(state - state_names.begin());
  r.each("logEntries", [&](const value& x) {
    if (!fill_log(x, out.entries.emplace_back())) r.bad();
  });
  if (auto* why = r.member("reason")) {
    reader reason{*why};
    out.reason = foreign_text(reason.text("message"));
    out.reason_step = foreign_text(reason.text("step"));
    if (!reason.good()) r.bad();
  }
  if (!r.good()) return not_understood(body);
  return out;
}

result<alias_owner> read_alias(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  alias_owner out{r.text("templateID"), r.boolean("public")};
  if (!r.good() || out.template_id.empty()) return not_understood(body);
  return out;
}

result<std::vector<template_info>> read_templates(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<template_info> out;
  for (const auto& x : parsed)
    if (!fill_info(x, out.emplace_back())) return not_understood(body);
  return out;
}

result<template_detail> read_template(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  template_detail out;
  out.template_id = r.text("templateID");
  out.is_public = r.boolean("public");
  out.names = r.texts(r.member("names") ? "names" : "aliases");
  r.each("builds", [&](const value& x) {
    reader b{x};
    out.builds.push_back({b.text("buildID"), b.text("status"), b.integer<std::uint32_t>("cpuCount"),
                          b.integer<std::uint64_t>("memoryMB")});
    if (!b.good()) r.bad();
  });
  if (!r.good() || out.template_id.empty()) return not_understood(body);
  return out;
}

result<std::vector<template_tag>> read_tags(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<template_tag> out;
  for (const auto& x : parsed) {
    reader r{x};
    out.push_back({r.text("tag"), r.text("buildID"), r.time("createdAt")});
    if (!r.good()) return not_understood(body);
  }
  return out;
}

} // namespace skep::sandbox::wire
