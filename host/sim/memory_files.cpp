#include "host/sim/memory_files.hpp"

#include "host/spec.hpp"

namespace skep::host::sim {
namespace {

bool lies_below(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.size() > 1;
  return path.size() > directory.size() && path.starts_with(directory)
         && path[directory.size()] == '/';
}

std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == 0 || slash == path.npos ? "/" : path.substr(0, slash);
}

} // namespace

std::string normal_path(std::string_view base, std::string_view path) {
  std::string whole{path};
  if (!path.starts_with('/')) whole = std::string{base} + '/' + whole;
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < whole.size();) {
    auto end = std::min(whole.find('/', at), whole.size());
    auto part = whole.substr(at, end - at);
    at = end + 1;
    if (part == ".." && !parts.empty())
      parts.pop_back();
    else if (!part.empty() && part != "." && part != "..")
      parts.push_back(std::move(part));
  }
  std::string out;
  for (const auto& p : parts)
    out += '/' + p;
  return out.empty() ? "/" : out;
}

const std::pair<const std::string, std::shared_ptr<const tree>>*
memory_files::mount_of(std::string_view path) const {
  for (const auto& m : mounts_)
    if (path == m.first || lies_below(path, m.first)) return &m;
  return nullptr;
}

std::optional<node> memory_files::find(const std::string& path) const {
  if (auto i = own_.find(path); i != own_.end()) {
    if (i->second.type == node::kind::removed) return {};
    return i->second;
  }
  const auto* m = mount_of(path);
  if (!m) return {};
  auto relative = path == m->first ? std::string{} : path.substr(m->first.size() + 1);
  if (auto i = m->second->files.find(relative); i != m->second->files.end()) return i->second;
  if (m->second->directories.contains(relative))
    return node{node::kind::directory, 0755, 0, {}, {}};
  return {};
}

bool memory_files::is_directory(const std::string& path) const {
  auto n = find(path);
  return n && n->type == node::kind::directory;
}

std::vector<std::string> memory_files::below(const std::string& path) const {
  std::set<std::string> found;
  auto from = path == "/" ? std::string{"/"} : path + '/';
  for (auto i = own_.lower_bound(from); i != own_.end() && i->first.starts_with(from); ++i)
    if (i->first != "/") found.insert(i->first);
  for (const auto& [prefix, what] : mounts_) {
    if (prefix != path && !lies_below(prefix, path) && !lies_below(path, prefix)) continue;
    for (const auto& [name, n] : what->files)
      if (auto whole = prefix + '/' + name; whole.starts_with(from)) found.insert(whole);
    for (const auto& name : what->directories)
      if (auto whole = prefix + '/' + name; !name.empty() && whole.starts_with(from))
        found.insert(whole);
  }
  std::vector<std::string> out;
  for (const auto& p : found)
    if (find(p)) out.push_back(p);
  return out;
}

std::vector<std::string> memory_files::names_in(const std::string& path) const {
  std::set<std::string> names;
  auto skip = path == "/" ? 1 : path.size() + 1;
  for (const auto& p : below(path))
    names.insert(p.substr(skip, p.find('/', skip) - skip));
  return {names.begin(), names.end()};
}

bool memory_files::make_parents(const std::string& path) {
  return path == "/" || make_directory(parent_of(path));
}

bool memory_files::make_directory(const std::string& path) {
  if (auto n = find(path)) return n->type == node::kind::directory;
  if (!make_parents(path)) return false;
  own_[path] = {node::kind::directory, 0755, wall_now_ms(), {}, {}};
  return true;
}

bool memory_files::write(const std::string& path, content data, unsigned mode, labels metadata) {
  auto old = find(path);
  if ((old && old->type == node::kind::directory) || !make_parents(path)) return false;
  if (old) mode = old->mode;
  own_[path] = {node::kind::file, mode, wall_now_ms(), std::move(data), std::move(metadata)};
  return true;
}

bool memory_files::append(const std::string& path, std::string_view bytes) {
  auto i = own_.find(path);
  if (i == own_.end() || i->second.type != node::kind::file || !i->second.data
      || i->second.data.use_count() > 1) {
    auto old = find(path);
    auto text = std::make_shared<std::string>(old && old->data ? *old->data : std::string{});
    text->append(bytes);
    return write(path, std::move(text), 0644, old ? old->metadata : labels{});
  }
  // Nobody else looks at these bytes, and they were made as a plain string.
  const_cast<std::string&>(*i->second.data).append(bytes);
  i->second.modified_ms = wall_now_ms();
  return true;
}

bool memory_files::set_mode(const std::string& path, unsigned mode) {
  auto n = find(path);
  if (!n) return false;
  n->mode = mode & 0777;
  own_[path] = std::move(*n);
  return true;
}

void memory_files::remove(const std::string& path) {
  for (auto i = mounts_.begin(); i != mounts_.end();)
    i = i->first == path || lies_below(i->first, path) ? mounts_.erase(i) : std::next(i);
  for (const auto& p : below(path)) {
    if (mount_of(p))
      own_[p] = {node::kind::removed, 0, wall_now_ms(), {}, {}};
    else
      own_.erase(p);
  }
  if (mount_of(path))
    own_[path] = {node::kind::removed, 0, wall_now_ms(), {}, {}};
  else if (path != "/")
    own_.erase(path);
  // What is marked as removed outside every mount is just gone.
  for (auto i = own_.lower_bound(path); i != own_.end() && i->first.starts_with(path);)
    i = i->second.type == node::kind::removed && !mount_of(i->first) ? own_.erase(i) : std::next(i);
}

bool memory_files::move(const std::string& from, const std::string& to) {
  auto n = find(from);
  if (!n || from == "/" || to == from || lies_below(to, from)) return n && to == from;
  if (auto old = find(to); old && old->type == node::kind::directory) {
    if (n->type != node::kind::directory || !below(to).empty()) return false;
  }
  if (!make_parents(to)) return false;
  std::vector<std::pair<std::string, node>> moved;
  for (const auto& p : below(from))
    moved.emplace_back(to + p.substr(from.size()), *find(p));
  remove(from);
  own_[to] = std::move(*n);
  for (auto& [path, what] : moved)
    own_[path] = std::move(what);
  return true;
}

void memory_files::mount(const std::string& path, std::shared_ptr<const tree> what) {
  make_directory(path);
  mounts_[path] = std::move(what);
}

std::shared_ptr<const tree> memory_files::mounted_at(const std::string& path) const {
  auto i = mounts_.find(path);
  return i == mounts_.end() ? nullptr : i->second;
}

std::map<std::string, node> memory_files::changes_below(const std::string& path) const {
  std::map<std::string, node> out;
  auto from = path + '/';
  for (auto i = own_.lower_bound(from); i != own_.end() && i->first.starts_with(from); ++i)
    out[i->first.substr(from.size())] = i->second;
  return out;
}

} // namespace skep::host::sim
