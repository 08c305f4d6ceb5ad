#include "transfer/summary.hpp"

#include "messages/nesting.hpp"
#include "transfer/posix.hpp"
#include "transfer/sha256.hpp"

namespace skep::transfer {
namespace {

json names_to_json(const std::vector<std::string>& names) {
  json out = json::array();
  for (const auto& n : names)
    out.push_back(name_to_json(n));
  return out;
}

bool names_from_json(const json& j, const char* key, std::vector<std::string>& out) {
  auto i = j.find(key);
  if (i == j.end()) return true;
  if (!i->is_array()) return false;
  for (const auto& n : *i)
    if (!name_from_json(n, out.emplace_back())) return false;
  return true;
}

json pairs_to_json(const std::vector<std::pair<std::string, std::string>>& pairs) {
  json out = json::array();
  for (const auto& [from, to] : pairs)
    out.push_back(json::array({name_to_json(from), name_to_json(to)}));
  return out;
}

bool pairs_from_json(const json& j, const char* key,
                     std::vector<std::pair<std::string, std::string>>& out) {
  auto i = j.find(key);
  if (i == j.end()) return true;
  if (!i->is_array()) return false;
  for (const auto& pair : *i) {
    auto& [from, to] = out.emplace_back();
    if (!pair.is_array() || pair.size() != 2 || !name_from_json(pair[0], from)
        || !name_from_json(pair[1], to))
      return false;
  }
  return true;
}

/// Whether `text` has more values than `most`. Each costs memory once it is parsed, also one of two
/// bytes.
bool has_more_values(std::string_view text, std::size_t most) {
  std::size_t values = 1;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == ',' || c == '[' || c == '{'))
      ++values;
  }
  return values > most;
}

template <class T>
bool value_from_json(const json& j, const char* key, T& out) {
  auto i = j.find(key);
  return i == j.end() || from_json_value(*i, out);
}

} // namespace

bool is_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    auto byte = [&](std::size_t k) { return static_cast<unsigned char>(s[k]); };
    unsigned lead = byte(i);
    std::size_t more = lead < 0x80 ? 0 : lead < 0xC2 ? 9 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (lead > 0xF4 || more == 9 || i + more >= s.size() + (more == 0)) return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    if (more >= 2) {
      unsigned second = byte(i + 1);
      if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)
          || (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
        return false;
    }
    i += more + 1;
  }
  return true;
}

json name_to_json(const std::string& name) {
  if (is_utf8(name)) return name;
  json out = json::object();
  out["base64"] = base64_encode(name);
  return out;
}

bool name_from_json(const json& j, std::string& name) {
  if (j.is_string()) {
    name = j.get<std::string>();
    return true;
  }
  if (!j.is_object()) return false;
  auto i = j.find("base64");
  return i != j.end() && i->is_string() && base64_decode(i->get_ref<const std::string&>(), name);
}

json to_json(const diff_summary& x) {
  json out = json::object();
  out["commits"] = x.commits;
  out["modified"] = names_to_json(x.modified);
  out["added"] = names_to_json(x.added);
  out["deleted"] = names_to_json(x.deleted);
  out["renamed"] = pairs_to_json(x.renamed);
  out["copied"] = pairs_to_json(x.copied);
  out["patch_bytes"] = x.patch_bytes;
  out["patch_sha256"] = x.patch_sha256;
  out["tar_bytes"] = x.tar_bytes;
  out["tar_sha256"] = x.tar_sha256;
  out["squashed"] = x.squashed;
  out["head"] = x.head;
  out["nested"] = names_to_json(x.nested);
  out["unreadable"] = names_to_json(x.unreadable);
  out["too_large"] = names_to_json(x.too_large);
  out["no_history"] = x.no_history;
  return out;
}

result<diff_summary> parse_diff_summary(std::string_view line) {
  auto bad = make_error(errc::protocol, "the answer of `skep-guest diff` makes no sense");
  auto j = json::parse(line, nullptr, false);
  if (!j.is_object()) return bad;
  if (auto e = j.find("error"); e != j.end()) {
    std::string text;
    value_from_json(j, "message", text);
    return make_error(errc::remote_command_failed, "skep-guest diff", text);
  }
  diff_summary x;
  bool good = value_from_json(j, "commits", x.commits) && names_from_json(j, "modified", x.modified)
              && names_from_json(j, "added", x.added) && names_from_json(j, "deleted", x.deleted)
              && pairs_from_json(j, "renamed", x.renamed) && pairs_from_json(j, "copied", x.copied)
              && names_from_json(j, "nested", x.nested)
              && names_from_json(j, "unreadable", x.unreadable)
              && names_from_json(j, "too_large", x.too_large)
              && value_from_json(j, "no_history", x.no_history)
              && value_from_json(j, "patch_bytes", x.patch_bytes)
              && value_from_json(j, "patch_sha256", x.patch_sha256)
              && value_from_json(j, "tar_bytes", x.tar_bytes)
              && value_from_json(j, "tar_sha256", x.tar_sha256)
              && value_from_json(j, "squashed", x.squashed) && value_from_json(j, "head", x.head);
  if (!good || x.patch_sha256.size() != 64 || x.tar_sha256.size() != 64) return bad;
  return x;
}

json to_json(const diff_summary& x, const summary_file& file) {
  json out = json::object();
  out["commits"] = x.commits;
  out["paths"] =
      x.modified.size() + x.added.size() + x.deleted.size() + x.renamed.size() + x.copied.size();
  out["summary_bytes"] = file.bytes;
  out["summary_sha256"] = file.sha256;
  return out;
}

result<std::optional<summary_file>> parse_summary_file(const json& answer) {
  auto bad = make_error(errc::protocol, "the answer of `skep-guest diff` makes no sense");
  if (!answer.is_object()) return bad;
  if (!answer.contains("summary_sha256")) return std::optional<summary_file>{};
  summary_file x;
  if (!value_from_json(answer, "summary_bytes", x.bytes)
      || !value_from_json(answer, "summary_sha256", x.sha256) || x.sha256.size() != 64)
    return bad;
  if (x.bytes > largest_summary_bytes)
    return make_error(errc::too_large, "the summary of `skep-guest diff` has "
                                           + std::to_string(x.bytes) + " bytes, and "
                                           + std::to_string(largest_summary_bytes)
                                           + " are the most");
  return std::optional{std::move(x)};
}

result<diff_summary> read_diff_summary(const std::string& path, const summary_file& announced) {
  // A rename of names that are no UTF-8 is the longest: a list, two objects, two strings.
  constexpr std::size_t most_values = 5 * 1'000'000 + 100;
  auto text = read_file(path, largest_summary_bytes);
  if (!text) return text.err();
  if (text->size() != announced.bytes || sha256_of(*text) != announced.sha256)
    return make_error(errc::checksum, path + " is not what the sandbox announced");
  if (nested_too_deep(*text) || has_more_values(*text, most_values))
    return make_error(errc::protocol, "the summary of `skep-guest diff` makes no sense");
  return parse_diff_summary(*text);
}

} // namespace skep::transfer
