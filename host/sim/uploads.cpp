#include "host/sim/uploads.hpp"

#include "transfer/archive_writer.hpp"
#include "transfer/sha256.hpp"
#include "transfer/summary.hpp"
#include "transfer/unpack.hpp"

#include <algorithm>
#include <unistd.h>

namespace skep::host::sim {
namespace {

/// Of git's empty blob: a patch that adds an empty file names it.
constexpr const char* empty_blob = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
constexpr std::size_t largest_file_bytes = 1u << 30;

/// As git writes a name: in quotes when it holds anything unusual.
std::string quoted(const std::string& prefix, const std::string& path) {
  bool plain = std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
  if (plain) return prefix + path;
  std::string out = "\"" + prefix;
  for (unsigned char c : path) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      constexpr char octal[] = "01234567";
      out += '\\';
      for (int shift : {6, 3, 0})
        out += octal[c >> shift & 7];
    }
  }
  return out + '"';
}

std::string mode_of(const node& n) {
  if (n.type == node::kind::symlink) return "120000";
  return n.mode & 0100 ? "100755" : "100644";
}

std::size_t count_lines(const std::string& text) {
  auto n = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  return text.empty() || text.ends_with('\n') ? n : n + 1;
}

void add_lines(std::string& out, char sign, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    auto end = text.find('\n', at);
    out += sign;
    out.append(text, at, end == text.npos ? text.npos : end - at);
    out += '\n';
    if (end == text.npos) {
      out += "\\ No newline at end of file\n";
      break;
    }
    at = end + 1;
  }
}

/// One file of the patch; null: it was not or is not there.
std::string patch_of(const std::string& path, const node* before, const node* after) {
  const std::string old_text = before && before->data ? *before->data : "";
  const std::string new_text = after && after->data ? *after->data : "";
  // A trailing tab keeps a name with spaces whole, as git does it.
  const std::string tab = path.find(' ') == path.npos ? "" : "\t";
  auto a = quoted("a/", path), b = quoted("b/", path);
  auto out = "diff --git " + a + " " + b + "\n";
  if (!before)
    out += "new file mode " + mode_of(*after) + "\n";
  else if (!after)
    out += "deleted file mode " + mode_of(*before) + "\n";
  else if (mode_of(*before) != mode_of(*after))
    out += "old mode " + mode_of(*before) + "\nnew mode " + mode_of(*after) + "\n";
  if (old_text == new_text) {
    std::string none(40, '0');
    if (!before) out += "index " + none + ".." + empty_blob + "\n";
    if (!after) out += "index " + std::string{empty_blob} + ".." + none + "\n";
    return out;
  }
  out +=
      "--- " + (before ? a + tab : "/dev/null") + "\n+++ " + (after ? b + tab : "/dev/null") + "\n";
  auto side = [](const std::string& text) {
    return (text.empty() ? "0," : "1,") + std::to_string(count_lines(text));
  };
  out += "@@ -" + side(old_text) + " +" + side(new_text) + " @@\n";
  add_lines(out, '-', old_text);
  add_lines(out, '+', new_text);
  return out;
}

bool is_binary(const node* n) {
  return n && n->data && n->data->find('\0') != std::string::npos;
}

/// A path whose state in the patch would be another one; `before` and `after` may be null.
bool differs(const node* before, const node* after) {
  if (!before || !after) return before != after;
  return mode_of(*before) != mode_of(*after) || *before->data != *after->data;
}

/// What lies there now, where a patch would say so.
const node* kept(const node& now) {
  return now.type == node::kind::file || now.type == node::kind::symlink ? &now : nullptr;
}

const node* find_in(const tree& what, const std::string& path) {
  auto i = what.files.find(path);
  return i == what.files.end() ? nullptr : &i->second;
}

struct packed {
  std::string bytes, sha256;
};

result<packed> pack(const std::vector<std::pair<std::string, node>>& files) {
  auto dir = transfer::temp_dir::make();
  if (!dir) return dir.err();
  auto path = dir->path() + "/files.tar";
  auto writer = transfer::archive_writer::create(path);
  if (!writer) return writer.err();
  for (const auto& [name, n] : files) {
    transfer::file_entry e;
    e.path = name;
    e.mode = n.mode & 0100 ? 0755 : 0644;
    bool link = n.type == node::kind::symlink;
    if (link) e.type = transfer::file_entry::kind::symlink;
    e.size = n.size();
    auto begun = writer->begin(e, n.modified_ms / 1000, link ? *n.data : std::string{});
    if (!begun) return begun.err();
    if (link || n.size() == 0) continue;
    if (auto written = writer->data(*n.data); !written) return written.err();
  }
  auto done = writer->finish();
  if (!done) return done.err();
  auto bytes = transfer::read_file(path, largest_file_bytes);
  if (!bytes) return bytes.err();
  return packed{std::move(*bytes), done->sha256};
}

} // namespace

result<std::shared_ptr<const tree>> tree_of(surroundings& world, const std::string& archive) {
  auto& known = world.trees[transfer::sha256_of(archive)];
  if (auto same = known.lock()) return same;
  auto dir = transfer::temp_dir::make();
  if (!dir) return dir.err();
  auto file = dir->path() + "/archive", dest = dir->path() + "/tree";
  if (auto written = transfer::write_file_durably(file, archive, 0600); !written)
    return written.err();
  auto unpacked = transfer::unpack_archive(file, dest);
  if (!unpacked) return unpacked.err();
  auto out = std::make_shared<tree>();
  out->sha256 = unpacked->sha256();
  out->total_bytes = unpacked->total_bytes;
  out->directories.insert("");
  for (const auto& f : unpacked->files) {
    for (auto slash = f.path.find('/'); slash != f.path.npos; slash = f.path.find('/', slash + 1))
      out->directories.insert(f.path.substr(0, slash));
    node n{node::kind::file, f.mode, wall_now_ms(), {}, {}};
    auto whole = dest + "/" + f.path;
    if (f.type == transfer::file_entry::kind::symlink) {
      n.type = node::kind::symlink;
      std::string target(f.size + 1, '\0');
      auto got = ::readlink(whole.c_str(), target.data(), target.size());
      target.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      n.data = std::make_shared<std::string>(std::move(target));
    } else {
      auto text = transfer::read_file(whole, largest_file_bytes);
      if (!text) return text.err();
      n.data = std::make_shared<std::string>(std::move(*text));
    }
    out->files.emplace(f.path, std::move(n));
  }
  known = out;
  return std::shared_ptr<const tree>{out};
}

result<json> write_diff(box& where, const std::string& tree_path, const std::string& base,
                        const std::string& name, const std::string& out_dir) {
  auto mounted = where.files.mounted_at(tree_path);
  if (!mounted) return make_error(errc::not_found, "no work tree at " + tree_path);
  transfer::diff_summary summary;
  std::string patch;
  std::vector<std::pair<std::string, node>> files;
  for (const auto& [path, now] : where.files.changes_below(tree_path)) {
    const auto* before = find_in(*mounted, path);
    const auto* after = kept(now);
    if (!differs(before, after)) continue;
    if (is_binary(before) || is_binary(after))
      return make_error(errc::refused, "the simulator makes no patch of a binary file: " + path);
    // Another kind of file is another file.
    if (before && after && before->type != after->type) {
      patch += patch_of(path, before, nullptr);
      patch += patch_of(path, nullptr, after);
    } else {
      patch += patch_of(path, before, after);
    }
    (!before ? summary.added : !after ? summary.deleted : summary.modified).push_back(path);
    if (after) files.emplace_back(path, *after);
  }
  auto archive = pack(files);
  if (!archive) return archive.err();
  summary.commits = patch.empty() ? 0 : 1;
  summary.squashed = !patch.empty();
  summary.patch_bytes = patch.size();
  summary.patch_sha256 = transfer::sha256_of(patch);
  summary.tar_bytes = archive->bytes.size();
  summary.tar_sha256 = archive->sha256;
  summary.head = patch.empty() ? base : summary.patch_sha256.substr(0, base.size());
  where.files.write(out_dir + "/" + name + ".patch",
                    std::make_shared<std::string>(std::move(patch)));
  where.files.write(out_dir + "/" + name + ".tar",
                    std::make_shared<std::string>(std::move(archive->bytes)));
  return transfer::to_json(summary);
}

result<json> say_changed(const box& where, const std::string& tree_path) {
  auto mounted = where.files.mounted_at(tree_path);
  if (!mounted) return make_error(errc::not_found, "no work tree at " + tree_path);
  auto changes = where.files.changes_below(tree_path);
  return json{{"changed", std::any_of(changes.begin(), changes.end(), [&](const auto& x) {
                 return differs(find_in(*mounted, x.first), kept(x.second));
               })}};
}

} // namespace skep::host::sim
