#include "transfer/inventory.hpp"

#include "transfer/beneath.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

/// Git LFS specification, version 1: a pointer is a text of less than 1,024 bytes.
bool is_lfs_pointer(tree_reader& tree, const listed_file& f) {
  constexpr std::string_view head = "version https://git-lfs.github.com/spec/v1\n";
  if (f.symlink || f.size_bytes < head.size() || f.size_bytes >= 1024) return false;
  unique_fd file{tree.open(f.path, O_RDONLY | O_NONBLOCK)};
  std::string start(head.size(), '\0');
  return file && ::read(file.get(), start.data(), start.size()) == static_cast<ssize_t>(head.size())
         && start == head;
}

/// "3 submodules are not uploaded: a, b, c"; nothing where there is none.
void remark_on(std::vector<std::string>& to, const std::vector<std::string>& paths,
               const std::string& one, const std::string& many) {
  constexpr std::size_t most = 5;
  if (paths.empty()) return;
  auto text = paths.size() == 1 ? "1 " + one : std::to_string(paths.size()) + " " + many;
  for (std::size_t i = 0; i < std::min(paths.size(), most); ++i)
    text += (i == 0 ? ": " : ", ") + paths[i];
  to.push_back(paths.size() > most ? text + ", ..." : text);
}

} // namespace

result<inventory> take_inventory(const std::string& root, const std::atomic<bool>* cancel) {
  inventory out;
  auto list = list_with_stamps(root, &out.skipped, cancel);
  if (!list) return list.err();
  auto dir = open_root(root);
  if (!dir) return dir.err();
  std::vector<std::string> pointers, submodules, nested, absent, special;
  tree_reader tree{dir->get()};
  for (std::size_t i = 0; i < list->paths.size(); ++i) {
    const auto& stamp = list->stamps[i];
    listed_file f{std::move(list->paths[i]), stamp.size, S_ISLNK(stamp.mode)};
    out.size_bytes += f.size_bytes;
    if (is_lfs_pointer(tree, f)) pointers.push_back(f.path);
    out.files.push_back(std::move(f));
  }
  for (const auto& s : out.skipped) {
    if (s.reason == "a submodule") submodules.push_back(s.path);
    if (s.reason == "a repository of its own") nested.push_back(s.path);
    if (s.reason == "not in this sparse checkout") absent.push_back(s.path);
    for (unsigned mode : {S_IFIFO, S_IFSOCK, S_IFCHR})
      if (s.reason == special_reason(mode)) special.push_back(s.path);
  }
  remark_on(out.remarks, submodules, "submodule is not uploaded", "submodules are not uploaded");
  remark_on(out.remarks, nested, "repository inside this one is not uploaded",
            "repositories inside this one are not uploaded");
  remark_on(
      out.remarks, pointers,
      "file is a Git LFS pointer, uploaded as it is (git lfs pull fetches its content)",
      "files are Git LFS pointers, uploaded as they are (git lfs pull fetches their contents)");
  remark_on(out.remarks, absent, "file of HEAD is not in this sparse checkout and not uploaded",
            "files of HEAD are not in this sparse checkout and not uploaded");
  remark_on(out.remarks, special, "pipe, socket or device is not uploaded",
            "pipes, sockets or devices are not uploaded");
  auto unmerged =
      run_for_output(git_program(root, {"diff", "--name-only", "-z", "--diff-filter=U"}));
  if (!unmerged) return unmerged.err();
  remark_on(out.remarks, split_nul(*unmerged), "file has unresolved conflicts, uploaded as it is",
            "files have unresolved conflicts, uploaded as they are");
  return out;
}

} // namespace skep::transfer
