#include "transfer/kept.hpp"

#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"
#include "transfer/unpack.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <future>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view manifest_head = "skep-manifest 1\n";
constexpr std::string_view base_folder = "base", base_part_folder = "base.part";

const file_entry* find_entry(const manifest& m, std::string_view path) {
  auto i = std::lower_bound(m.files.begin(), m.files.end(), path,
                            [](const file_entry& f, std::string_view p) { return f.path < p; });
  return i != m.files.end() && i->path == path ? &*i : nullptr;
}

json kept_names_json(const std::vector<std::string>& names) {
  json out = json::array();
  for (const auto& n : names)
    out.push_back(name_to_json(n));
  return out;
}

bool kept_names_of(const json& j, const char* key, std::vector<std::string>& out) {
  auto i = j.find(key);
  if (i == j.end() || !i->is_array()) return false;
  for (const auto& n : *i)
    if (!name_from_json(n, out.emplace_back()) || !safe_relative(out.back())) return false;
  return std::is_sorted(out.begin(), out.end());
}

json entry_json(const file_entry& f) {
  json out = json::object();
  out["path"] = name_to_json(f.path);
  out["kind"] = f.type == file_entry::kind::file ? "file" : "symlink";
  out["mode"] = f.mode;
  out["size_bytes"] = f.size;
  out["sha256"] = f.sha256;
  return out;
}

template <class T>
bool get_value(const json& j, const char* key, T& out) {
  auto i = j.find(key);
  return i != j.end() && from_json_value(*i, out);
}

bool entry_of_json(const json& j, file_entry& f) {
  std::string kind;
  auto path = j.is_object() ? j.find("path") : j.end();
  if (!j.is_object() || path == j.end() || !name_from_json(*path, f.path)) return false;
  if (!get_value(j, "kind", kind) || !get_value(j, "mode", f.mode)
      || !get_value(j, "size_bytes", f.size) || !get_value(j, "sha256", f.sha256))
    return false;
  f.type = kind == "symlink" ? file_entry::kind::symlink : file_entry::kind::file;
  return safe_relative(f.path) && !names_git_dir(f.path) && (f.mode == 0644 || f.mode == 0755)
         && f.sha256.size() == 64;
}

/// False: what stands there makes no sense. Records of older releases have none.
bool links_of_json(const json& record, std::vector<left_out_link>& out) {
  auto i = record.find("left_out");
  if (i == record.end()) return true;
  if (!i->is_array()) return false;
  for (const auto& x : *i) {
    if (!x.is_object() || !x.contains("path") || !x.contains("target")) return false;
    auto& link = out.emplace_back();
    if (!name_from_json(x["path"], link.path) || !name_from_json(x["target"], link.target)
        || !safe_relative(link.path))
      return false;
  }
  return true;
}

/// A number as to_string() writes it, and the space behind it.
template <class T>
bool take_number(std::string_view& text, T& out) {
  if (text.starts_with('0') && !text.starts_with("0 ")) return false;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (wrong != std::errc{} || end == text.data() + text.size() || *end != ' ') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

error damaged_record(const std::string& path) {
  return make_error(errc::results_changed, path + " is damaged");
}

/// True where a folder lies at `path`: what was left out is that folder, and no file of this name.
bool is_folder(const std::string& root, const std::string& path) {
  std::error_code failed;
  auto there = std::filesystem::symlink_status(std::filesystem::path{root} / path, failed);
  return std::filesystem::is_directory(there);
}

} // namespace

const file_entry* kept_base::find(std::string_view path) const {
  return find_entry(files, path);
}

const file_entry* kept_pane::find(std::string_view path) const {
  return find_entry(files, path);
}

std::vector<std::string> kept_pane::removed() const {
  auto out = summary.deleted;
  for (const auto& [from, to] : summary.renamed)
    out.push_back(from);
  std::sort(out.begin(), out.end());
  return out;
}

std::string manifest_text(const manifest& m) {
  std::string out{manifest_head};
  for (const auto& f : m.files) {
    out += f.type == file_entry::kind::file ? "f " : "l ";
    out += f.mode == 0755 ? "755 " : "644 ";
    out += std::to_string(f.size) + ' ' + f.sha256 + ' ' + std::to_string(f.path.size()) + ' '
           + f.path + '\n';
  }
  return out;
}

bool parse_manifest(std::string_view text, manifest& out) {
  if (!text.starts_with(manifest_head)) return false;
  text.remove_prefix(manifest_head.size());
  while (!text.empty()) {
    file_entry f;
    unsigned mode = 0;
    std::size_t length = 0;
    if (!text.starts_with("f ") && !text.starts_with("l ")) return false;
    f.type = text[0] == 'f' ? file_entry::kind::file : file_entry::kind::symlink;
    text.remove_prefix(2);
    if (!take_number(text, mode) || (mode != 644 && mode != 755)) return false;
    f.mode = mode == 755 ? 0755 : 0644;
    if (!take_number(text, f.size)) return false;
    if (text.size() < 65 || text[64] != ' ') return false;
    f.sha256 = text.substr(0, 64);
    if (f.sha256.find_first_not_of("0123456789abcdef") != f.sha256.npos) return false;
    text.remove_prefix(65);
    if (!take_number(text, length) || text.size() <= length || text[length] != '\n') return false;
    f.path = text.substr(0, length);
    text.remove_prefix(length + 1);
    if (!safe_relative(f.path) || (!out.files.empty() && !(out.files.back().path < f.path)))
      return false;
    if (f.type == file_entry::kind::symlink && f.mode != 0644) return false;
    if (out.total_bytes + f.size < out.total_bytes) return false;
    out.total_bytes += f.size;
    out.files.push_back(std::move(f));
  }
  return true;
}

std::string shown_path(const std::string& path) {
  bool plain = is_utf8(path) && std::none_of(path.begin(), path.end(), [](char c) {
                 return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
               });
  if (plain) return path;
  std::string out = "\"";
  for (char c : path) {
    auto b = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (b < 0x20 || b >= 0x7F)
      ((out += '\\') += static_cast<char>('0' + (b >> 6))) +=
          {static_cast<char>('0' + ((b >> 3) & 7)), static_cast<char>('0' + (b & 7))};
    else
      out += c;
  }
  return out + '"';
}

// ---- the base ----------------------------------------------------------------------------------

result<std::vector<std::string>> changed_against_head(const std::string& root) {
  // Status trusts the bits assume-unchanged and skip-worktree.
  auto asked = std::async(std::launch::async, [&] {
    return run_for_output(git_program(root, {"ls-files", "-v", "-z"}));
  });
  auto status = run_for_output(
      git_program(root, {"status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"}));
  auto bits = asked.get();
  if (!status) return status.err();
  if (!bits) return bits.err();
  auto out = read_status(*status);
  for (auto& known : read_tagged(*bits))
    if (known.not_watched()) out.push_back(std::move(known.path));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

result<kept_base> base_of(const repo_facts& repo, const manifest& uploaded,
                          const std::vector<skipped_path>& skipped,
                          const std::vector<std::string>& suspects) {
  kept_base out;
  out.repo = repo.root;
  out.head = repo.head;
  out.branch = repo.branch;
  out.files = uploaded;
  out.at_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                  std::chrono::system_clock::now().time_since_epoch())
                  .count();
  auto tree = run_for_output(git_program(repo.root, {"ls-tree", "-r", "-z", repo.head}));
  if (!tree) return tree.err();
  std::vector<std::string> in_head;
  std::set<std::string> submodules;
  for (const auto& entry : split_nul(*tree)) { // MODE TYPE ID<tab>PATH
    in_head.push_back(entry.substr(entry.find('\t') + 1));
    if (entry.starts_with("160000 ")) submodules.insert(in_head.back());
  }
  std::sort(in_head.begin(), in_head.end());
  std::set<std::string_view> left_out;
  for (const auto& s : skipped)
    left_out.insert(s.path);
  std::set<std::string> dirty;
  auto tracked = [&](const std::string& p) {
    return std::binary_search(in_head.begin(), in_head.end(), p);
  };
  // Not uploaded, though HEAD has it: deleted here, unless it was left out on purpose or git was
  // told not to check it out (then it is a suspect, but no file that is missing counts).
  auto sparse = run_for_output(git_program(repo.root, {"ls-files", "-t", "-z"}));
  if (!sparse) return sparse.err();
  std::set<std::string> unchecked;
  for (auto& known : read_tagged(*sparse))
    if (known.tag == 'S') unchecked.insert(std::move(known.path));
  for (const auto& p : suspects) {
    if (out.find(p))
      dirty.insert(p);
    else if (tracked(p) && !unchecked.contains(p)
             && (!left_out.contains(p) || (!submodules.contains(p) && is_folder(repo.root, p))))
      out.gone.push_back(p);
  }
  for (const auto& f : uploaded.files)
    if (!tracked(f.path)) dirty.insert(f.path);
  out.dirty.assign(dirty.begin(), dirty.end());
  std::sort(out.gone.begin(), out.gone.end());
  return out;
}

result<void> keep_base(const std::string& dir, const kept_base& base) {
  std::error_code failed;
  fs::create_directories(dir, failed);
  if (failed) return make_error(errc::io, "cannot make " + dir, failed.message());
  json j = json::object();
  j["version"] = 1;
  j["repo"] = name_to_json(base.repo);
  j["head"] = base.head;
  j["branch"] = name_to_json(base.branch);
  j["at_ms"] = base.at_ms;
  j["files"] = base.files.files.size();
  j["manifest_sha256"] = base.files.sha256();
  j["dirty"] = kept_names_json(base.dirty);
  j["gone"] = kept_names_json(base.gone);
  auto done = write_file_durably(dir + "/base.manifest", manifest_text(base.files), 0644);
  if (!done) return done;
  return write_file_durably(dir + "/base.json", to_line(j) + "\n", 0644);
}

result<kept_base> read_base(const std::string& dir) {
  auto path = dir + "/base.json";
  auto text = read_file(path);
  if (!text && text.err().code == errc::file_not_found)
    return make_error(errc::base_missing, dir + " has no record of what the swarm began with");
  if (!text) return text.err();
  auto list = read_file(dir + "/base.manifest", 1u << 30);
  if (!list) return list.err();
  auto j = json::parse(*text, nullptr, false);
  kept_base out;
  std::string digest;
  bool good = j.is_object() && j.contains("repo") && name_from_json(j["repo"], out.repo)
              && j.contains("branch") && name_from_json(j["branch"], out.branch)
              && get_value(j, "head", out.head) && get_value(j, "at_ms", out.at_ms)
              && get_value(j, "manifest_sha256", digest) && kept_names_of(j, "dirty", out.dirty)
              && kept_names_of(j, "gone", out.gone);
  if (!good) return damaged_record(path);
  if (!parse_manifest(*list, out.files) || out.files.sha256() != digest)
    return damaged_record(dir + "/base.manifest");
  return out;
}

result<void> keep_originals(const std::string& dir, const std::string& archive,
                            const std::set<std::string>& paths) {
  auto dest = dir + "/" + std::string{base_folder};
  // Under a name of its own first: a file in `base` is whole, whenever this process ends.
  auto part = dir + "/" + std::string{base_part_folder};
  remove_tree(part);
  std::error_code failed;
  fs::create_directories(dest, failed);
  if (failed) return make_error(errc::io, "cannot make " + dest, failed.message());
  auto root = open_root(dest);
  if (!root) return root.err();
  std::set<std::string> wanted;
  for (const auto& p : paths)
    if (unique_fd at{open_beneath(root->get(), p, O_PATH | O_NOFOLLOW)}; !at) wanted.insert(p);
  if (wanted.empty()) return {};
  unpack_limits limits;
  limits.outward_links = true; // our own archive; they are never followed
  limits.only = &wanted;
  auto done = unpack_archive(archive, part, limits);
  if (!done) return done.err();
  for (const auto& f : done->files) {
    fs::create_directories(fs::path{dest + "/" + f.path}.parent_path(), failed);
    if (!failed) fs::rename(part + "/" + f.path, dest + "/" + f.path, failed);
    if (failed) return make_error(errc::io, dest + "/" + shown_path(f.path), failed.message());
  }
  remove_tree(part);
  return {};
}

// ---- panes -------------------------------------------------------------------------------------

bool can_name_pane(const std::string& name) {
  return safe_relative(name) && name.find('/') == name.npos && name != base_folder
         && name != base_part_folder;
}

result<void> keep_changes(const std::string& dir, const pane_changes& changes) {
  json j = json::object();
  j["version"] = 1;
  j["name"] = changes.name;
  j["summary"] = to_json(changes.summary);
  j["patch"] = to_string(changes.patch);
  j["files"] = json::array();
  for (const auto& f : changes.files.files)
    j["files"].push_back(entry_json(f));
  j["left_out"] = json::array();
  for (const auto& x : changes.left_out)
    j["left_out"].push_back({{"path", name_to_json(x.path)}, {"target", name_to_json(x.target)}});
  return write_file_durably(dir + "/" + changes.name + "/changes.json", to_line(j) + "\n", 0644);
}

result<kept_pane> read_pane(const std::string& dir, const std::string& name) {
  if (!can_name_pane(name)) return make_error(errc::bad_argument, "not a pane's name: " + name);
  auto path = dir + "/" + name + "/changes.json";
  auto text = read_file(path, 1u << 30);
  if (!text && text.err().code == errc::file_not_found)
    return make_error(errc::no_results, name + " in " + dir);
  if (!text) return text.err();
  auto j = json::parse(*text, nullptr, false);
  kept_pane out;
  if (!j.is_object() || !get_value(j, "name", out.name) || out.name != name
      || !j.contains("summary") || !j.contains("files") || !j["files"].is_array())
    return damaged_record(path);
  auto summary = parse_diff_summary(to_line(j["summary"]));
  if (!summary) return damaged_record(path);
  out.summary = std::move(*summary);
  std::string origin; // none in records of older releases
  if (get_value(j, "patch", origin))
    for (auto x : {patch_origin::proven, patch_origin::made_here, patch_origin::without_links})
      if (origin == to_string(x)) out.patch = x;
  for (const auto* list : {&out.summary.modified, &out.summary.added, &out.summary.deleted})
    for (const auto& p : *list)
      if (!safe_relative(p) || names_git_dir(p)) return damaged_record(path);
  for (const auto* list : {&out.summary.renamed, &out.summary.copied})
    for (const auto& [from, to] : *list)
      if (!safe_relative(from) || !safe_relative(to) || names_git_dir(from) || names_git_dir(to))
        return damaged_record(path);
  for (const auto& f : j["files"])
    if (!entry_of_json(f, out.files.files.emplace_back())) return damaged_record(path);
  if (!links_of_json(j, out.left_out)) return damaged_record(path);
  out.files.finish();
  out.files_dir = dir + "/" + name + "/files";
  out.patch_path = dir + "/" + name + ".patch";
  return out;
}

std::vector<std::string> kept_names(const std::string& dir) {
  std::vector<std::string> out;
  std::error_code failed;
  for (fs::directory_iterator i{dir, failed}, end; !failed && i != end; i.increment(failed)) {
    auto name = i->path().filename().string();
    // A file of the user's in the base may have this name, too.
    if (can_name_pane(name) && fs::exists(i->path() / "changes.json", failed))
      out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return out;
}

result<void> check_kept(const kept_pane& pane) {
  auto patch = sha256_of_file(pane.patch_path);
  if (!patch || *patch != pane.summary.patch_sha256)
    return make_error(errc::results_changed, pane.patch_path);
  std::vector<std::string> names;
  for (const auto& f : pane.files.files)
    names.push_back(f.path);
  auto found = manifest_of(pane.files_dir, names);
  if (!found) return make_error(errc::results_changed, pane.files_dir, render(found.err()));
  for (std::size_t i = 0; i < names.size(); ++i)
    if (found->files[i] != pane.files.files[i])
      return make_error(errc::results_changed, pane.files_dir + "/" + shown_path(names[i]));
  return {};
}

} // namespace skep::transfer
