#include "guest/too_large.hpp"

#include "transfer/git_output.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace skep::guest {
namespace {

struct change {
  std::string path;
  std::vector<std::string> contents; ///< Ids of what it held and what it holds.
  std::uint64_t bytes = 0;           ///< Of both.
  bool deleted = false;
};

constexpr std::string_view submodule = "160000";

/// `diff-tree --raw -z`: ":100644 100755 ID ID M\0PATH\0", of a rename ":... R100\0FROM\0TO\0", of
/// which only the new name is taken. False where it is something else.
bool read_raw(std::string_view text, std::size_t id_length, std::vector<change>& out) {
  const auto items = transfer::split_nul(text);
  const std::size_t first = 15, second = first + id_length + 1, letter = second + id_length + 1;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view head = items[i];
    if (!head.starts_with(':') || head.size() <= letter) return false;
    const bool renamed = head[letter] == 'R';
    if ((i += renamed ? 2 : 1) >= items.size()) return false;
    auto& x = out.emplace_back();
    x.path = items[i];
    x.deleted = head[letter] == 'D';
    const auto before = head.substr(first, id_length), now = head.substr(second, id_length);
    if (before == now) continue; // its name or its mode alone
    for (auto [mode, id] : {std::pair{head.substr(1, 6), before}, {head.substr(8, 6), now}})
      if (mode != submodule && id.find_first_not_of('0') != id.npos) x.contents.emplace_back(id);
  }
  return true;
}

/// Gives all changes their sizes, which one git tells line by line.
result<void> measure(const git& repository, std::vector<change>& changes) {
  auto ask = repository.call({"cat-file", "--batch-check=%(objectsize)"});
  for (const auto& x : changes)
    for (const auto& id : x.contents)
      (ask.stdin_data += id) += '\n';
  if (ask.stdin_data.empty()) return {};
  auto told = transfer::run_for_output(ask);
  if (!told) return told.err();
  std::string_view left = *told;
  for (auto& x : changes)
    for (std::size_t i = 0; i < x.contents.size(); ++i) {
      const auto end = left.find('\n');
      const auto line = left.substr(0, end);
      std::uint64_t bytes = 0;
      auto [stop, wrong] = std::from_chars(line.data(), line.data() + line.size(), bytes);
      if (end == left.npos || wrong != std::errc{} || stop != line.data() + line.size())
        return make_error(errc::internal, "git cat-file told no size of " + x.contents[i]);
      x.bytes += bytes;
      left.remove_prefix(end + 1);
    }
  return {};
}

/// True when the file `path` cannot be had again beside the files of `there`: one of them is below
/// it, or is where a folder of it was.
bool place_is_taken(const std::set<std::string>& there, const std::string& path) {
  const auto below = path + "/";
  if (auto next = there.lower_bound(below); next != there.end() && next->starts_with(below))
    return true;
  for (auto end = path.find('/'); end != path.npos; end = path.find('/', end + 1))
    if (there.contains(path.substr(0, end))) return true;
  return false;
}

/// Takes out the deletions that cannot be taken back.
void forget_replaced(std::vector<change>& changes) {
  std::set<std::string> there;
  for (const auto& x : changes)
    if (!x.deleted) there.insert(x.path);
  std::erase_if(changes,
                [&](const change& x) { return x.deleted && place_is_taken(there, x.path); });
}

} // namespace

result<std::vector<std::string>> too_large(const git& repository, const std::string& from,
                                           const std::string& to, std::uint64_t most_bytes) {
  // Exact renames alone, which need no comparing of contents.
  auto text = repository.out({"diff-tree", "-r", "-z", "-M100%", "--raw", "--no-abbrev", from, to});
  if (!text) return text.err();
  std::vector<change> changes;
  if (!read_raw(*text, from.size(), changes))
    return make_error(errc::internal, "git diff-tree printed something else than changes");
  if (auto done = measure(repository, changes); !done) return done.err();
  forget_replaced(changes);
  std::uint64_t left = 0;
  for (const auto& x : changes)
    left += x.bytes;
  std::sort(changes.begin(), changes.end(), [](const change& a, const change& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.path < b.path;
  });
  std::vector<std::string> out;
  for (const auto& x : changes) {
    if (left <= most_bytes) break;
    left -= x.bytes;
    out.push_back(x.path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace skep::guest
