// Files: entries, uploads.
#include "sandbox/wire_json.hpp"

#include <algorithm>
#include <array>

namespace skep::sandbox::wire {
namespace {

entry_type type_of(const value* x) {
  static constexpr std::array<std::string_view, 4> names{
      "FILE_TYPE_UNSPECIFIED", "FILE_TYPE_FILE", "FILE_TYPE_DIRECTORY", "FILE_TYPE_SYMLINK"};
  if (!x) return entry_type::unknown;
  if (x->is_number_integer()) {
    auto n = x->get<std::int64_t>();
    return n >= 0 && n <= 3 ? static_cast<entry_type>(n) : entry_type::unknown;
  }
  if (!x->is_string()) return entry_type::unknown;
  auto i = std::find(names.begin(), names.end(), x->get_ref<const std::string&>());
  return i == names.end() ? entry_type::unknown : static_cast<entry_type>(i - names.begin());
}

} // namespace

bool fill_entry(const value& x, entry& out) {
  reader r{x};
  out.name = r.text("name");
  out.path = r.text("path");
  out.type = type_of(r.member("type"));
  out.size_bytes = r.integer<std::uint64_t>("size");
  out.mode = r.integer<std::uint32_t>("mode");
  out.symlink_target = r.text("symlinkTarget");
  out.owner = r.text("owner");
  out.group = r.text("group");
  out.permissions = r.text("permissions");
  out.modified_at = r.time("modifiedTime");
  out.metadata = r.text_map("metadata");
  return r.good();
}

result<std::string> text_body(const std::vector<std::pair<std::string, std::string>>& members) {
  value out = value::object();
  for (const auto& [name, text] : members)
    out[name] = text;
  return dump(out);
}

result<std::string> list_dir_body(std::string_view path, std::uint32_t depth) {
  return dump(value{{"path", path}, {"depth", depth}});
}

result<entry> read_entry(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  entry out;
  auto* x = r.member("entry");
  if (!x || !fill_entry(*x, out)) return not_understood(body);
  return out;
}

result<std::vector<entry>> read_entries(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  std::vector<entry> out;
  auto* list = r.member("entries");
  if (!r.good() || (list && !list->is_array())) return not_understood(body);
  if (list)
    for (const auto& x : *list)
      if (!fill_entry(x, out.emplace_back())) return not_understood(body);
  return out;
}

result<void> read_empty(std::string_view body) {
  if (!parse(body).is_object()) return not_understood(body);
  return {};
}

result<void> read_uploaded(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array() || parsed.empty()) return not_understood(body);
  return {};
}

} // namespace skep::sandbox::wire
