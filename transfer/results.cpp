#include "transfer/results.hpp"

#include "messages/crash_point.hpp"
#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"
#include "transfer/process.hpp"
#include "transfer/results_proof.hpp"
#include "transfer/sha256.hpp"
#include "transfer/worktree.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <set>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

result<std::uint64_t> size_of(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return make_error(errc::file_not_found, path);
    return io_error(path, errno);
  }
  if (!S_ISREG(st.st_mode)) return make_error(errc::unsafe_archive, path + " is no regular file");
  return static_cast<std::uint64_t>(st.st_size);
}

result<void> append_file_to(int out, const std::string& path) {
  unique_fd in{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!in) return io_error(path, errno);
  for (;;) {
    auto n = ::sendfile(out, in.get(), nullptr, 16 << 20);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, errno);
    if (n == 0) return {};
  }
}

result<void> check_file(const std::string& path, std::uint64_t bytes, const std::string& digest) {
  auto size = size_of(path);
  if (!size) return size.err();
  auto hash = sha256_of_file(path);
  if (!hash) return hash.err();
  if (*size != bytes || *hash != digest)
    return make_error(errc::checksum, path + " is not what the sandbox announced");
  return {};
}

/// Names of `git apply --numstat -z`. Of a rename it has the new name only, with -R the old one.
result<void> add_names(const std::string& patch_path, bool reverse, const std::string& empty_dir,
                       std::set<std::string>& out,
                       std::map<std::string, line_counts>* counts = nullptr) {
  program p;
  p.argv = {"git", "apply", "--numstat", "-z"};
  if (reverse) p.argv.push_back("-R");
  p.argv.insert(p.argv.end(), {"--", patch_path});
  p.environment = git_environment();
  p.environment->insert(p.environment->end(),
                        {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
                         "GIT_CEILING_DIRECTORIES=" + empty_dir.substr(0, empty_dir.rfind('/'))});
  p.working_dir = empty_dir;
  p.limit = std::chrono::minutes{5}; // a patch has up to a gibibyte, and a slow disk may hold it
  auto text = run_for_output(p);
  if (!text) {
    if (text.err().code != errc::io) return text.err();
    return make_error(errc::protocol, "git cannot read the patch " + patch_path, text.err().cause);
  }
  std::vector<numstat_line> lines;
  if (!read_numstat(*text, lines))
    return make_error(errc::protocol, "git apply --numstat of " + patch_path);
  for (auto& x : lines) {
    if (!safe_relative(x.path) || names_git_dir(x.path))
      return make_error(errc::unsafe_archive, "the patch leaves the tree: " + x.path);
    if (counts) {
      auto& c = (*counts)[x.path];
      bool binary = x.added < 0 || c.added < 0;
      c.added = binary ? -1 : c.added + x.added;
      c.deleted = binary ? -1 : c.deleted + x.deleted;
    }
    out.insert(std::move(x.path));
  }
  return {};
}

std::string absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  std::string cwd(4096, '\0');
  if (!::getcwd(cwd.data(), cwd.size())) return path;
  cwd.resize(cwd.find('\0'));
  return cwd + "/" + path;
}

result<void> compare(const pane_changes& x) {
  std::set<std::string> touched{x.touched.begin(), x.touched.end()};
  std::set<std::string> present; // claimed to exist after the change
  auto wrong = [&](const std::string& path, const char* what) {
    return make_error(errc::verification, x.name + ": " + path + " " + what);
  };
  auto claim = [&](const std::string& path, bool exists) {
    if (exists) present.insert(path);
    return touched.contains(path);
  };
  constexpr auto missing = "is announced as changed but not in the patch";
  for (const auto& p : x.summary.modified)
    if (!claim(p, true)) return wrong(p, missing);
  for (const auto& p : x.summary.added)
    if (!claim(p, true)) return wrong(p, missing);
  for (const auto& p : x.summary.deleted)
    if (!claim(p, false)) return wrong(p, missing);
  for (const auto& [from, to] : x.summary.renamed) {
    if (!claim(from, false)) return wrong(from, missing);
    if (!claim(to, true)) return wrong(to, missing);
  }
  for (const auto& [from, to] : x.summary.copied)
    if (!claim(to, true)) return wrong(to, missing);
  for (const auto& f : x.files.files)
    if (present.erase(f.path) == 0) return wrong(f.path, "arrived but was not announced");
  if (!present.empty()) return wrong(*present.begin(), "is announced but did not arrive");
  return {};
}

/// Takes the links that were not made out of what `x` brings.
void leave_out(pane_changes& x) {
  std::sort(x.left_out.begin(), x.left_out.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  std::set<std::string> gone;
  for (const auto& link : x.left_out)
    gone.insert(link.path);
  auto is_gone = [&](const std::string& path) { return gone.contains(path); };
  std::erase_if(x.summary.modified, is_gone);
  std::erase_if(x.summary.added, is_gone);
  for (const auto& [from, to] : x.summary.renamed)
    if (is_gone(to)) x.summary.deleted.push_back(from);
  for (auto* list : {&x.summary.renamed, &x.summary.copied})
    std::erase_if(*list, [&](const auto& names) { return is_gone(names.second); });
  std::sort(x.summary.deleted.begin(), x.summary.deleted.end());
}

result<void> copy_patch(const std::string& from, const std::string& to) {
  crash_point(crash_kind::file, "pane_patch");
  unique_fd out{::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
  if (!out && errno == EEXIST) return make_error(errc::exists, to);
  if (!out) return io_error(to, errno);
  crash_point(crash_kind::file, "pane_patch_copy");
  auto copied = append_file_to(out.get(), from);
  if (!copied) ::unlink(to.c_str()); // half a patch would be read as a whole one
  return copied;
}

/// What is made of a pane's results goes again, unless all of it is there: nobody takes a half for
/// a whole, and a full disk has its room back.
class half_made {
public:
  half_made(const std::string& out_dir, const std::string& name) : dir_(out_dir + "/" + name) {}
  half_made(const half_made&) = delete;
  ~half_made() {
    if (whole_) return;
    remove_tree(dir_ + "/files");
    ::unlink((dir_ + "/changes.json").c_str());
    ::rmdir(dir_.c_str()); // where there is nothing else in it
    if (!patch_.empty()) ::unlink(patch_.c_str());
  }
  /// It was made here, too.
  void with_patch(const std::string& path) { patch_ = path; }
  void whole() { whole_ = true; }

private:
  std::string dir_, patch_;
  bool whole_ = false;
};

/// Puts the patch of `x` beside its files: the one that came, or one that tells what they do.
result<void> settle_patch(pane_changes& x, const std::string& came, const std::string& upload,
                          const std::string& scratch) {
  bool in_place = absolute(x.patch_path) == absolute(came);
  struct stat st {};
  if (upload.empty() || ::stat(upload.c_str(), &st) != 0) {
    // The patch that came makes the link, and nothing is at hand that another one could be made of.
    if (!x.left_out.empty())
      return make_error(errc::unsafe_archive,
                        "a symlink that leaves the tree: " + x.left_out.front().path,
                        "what was uploaded is not here any more, to make a patch without it");
    return in_place ? result<void>{} : copy_patch(came, x.patch_path);
  }
  auto dir = temp_dir::make(scratch);
  if (!dir) return dir.err();
  auto anew = absolute(dir->path()) + "/patch";
  auto proof = prove_patch(x, absolute(came), upload, dir->path(), anew);
  if (!proof) return proof.err();
  x.patch = proof->origin;
  x.doubt = std::move(proof->doubt);
  if (!proof->anew) return in_place ? result<void>{} : copy_patch(came, x.patch_path);
  if (in_place) ::unlink(x.patch_path.c_str());
  if (auto copied = copy_patch(anew, x.patch_path); !copied) return copied;
  auto size = size_of(x.patch_path);
  auto digest = sha256_of_file(x.patch_path);
  auto touched = paths_of_patch(x.patch_path, scratch);
  if (!size || !digest || !touched) {
    ::unlink(x.patch_path.c_str());
    return !size ? size.err() : !digest ? digest.err() : touched.err();
  }
  x.summary.patch_bytes = *size;
  x.summary.patch_sha256 = *digest;
  x.summary.squashed = x.summary.squashed || x.patch != patch_origin::proven;
  x.touched = std::move(*touched);
  return {};
}

} // namespace

std::string_view to_string(patch_origin x) {
  switch (x) {
  case patch_origin::claimed:
    return "claimed";
  case patch_origin::proven:
    return "proven";
  case patch_origin::made_here:
    return "made_here";
  case patch_origin::without_links:
    return "without_links";
  }
  return "?";
}

result<std::vector<std::string>> paths_of_patch(const std::string& patch_path,
                                                const std::string& scratch) {
  auto size = size_of(patch_path);
  if (!size) return size.err();
  if (*size == 0) return std::vector<std::string>{};
  auto dir = temp_dir::make(scratch);
  if (!dir) return dir.err();
  std::set<std::string> names;
  for (bool reverse : {false, true})
    if (auto added = add_names(absolute(patch_path), reverse, dir->path(), names); !added)
      return added.err();
  return std::vector<std::string>{names.begin(), names.end()};
}

result<std::map<std::string, line_counts>> lines_of_patch(const std::string& patch_path) {
  std::map<std::string, line_counts> out;
  auto size = size_of(patch_path);
  if (!size) return size.err();
  if (*size == 0) return out;
  auto dir = temp_dir::make();
  if (!dir) return dir.err();
  std::set<std::string> names;
  auto done = add_names(absolute(patch_path), false, dir->path(), names, &out);
  if (!done) return done.err();
  return out;
}

result<pane_changes> collect_pane(const std::string& patch_path, const std::string& tar_path,
                                  const std::string& out_dir, const std::string& name,
                                  const diff_summary& claim, const unpack_limits& limits,
                                  const std::string& scratch, const std::string& upload) {
  if (!can_name_pane(name)) return make_error(errc::bad_argument, "not a pane's name: " + name);
  if (auto good = check_file(patch_path, claim.patch_bytes, claim.patch_sha256); !good)
    return good.err();
  if (auto good = check_file(tar_path, claim.tar_bytes, claim.tar_sha256); !good) return good.err();
  pane_changes out;
  out.name = name;
  out.summary = claim;
  auto touched = paths_of_patch(patch_path, scratch);
  if (!touched) return touched.err();
  out.touched = std::move(*touched);

  crash_point(crash_kind::file, "pane_folder");
  if (auto made = make_dirs(out_dir + "/" + name); !made) return made.err();
  out.patch_path = out_dir + "/" + name + ".patch";
  crash_point(crash_kind::file, "pane_files");
  out.files_dir = out_dir + "/" + name + "/files";
  if (::mkdir(out.files_dir.c_str(), 0755) != 0) {
    if (errno == EEXIST) return make_error(errc::exists, out.files_dir);
    auto why = io_error(out.files_dir, errno);
    ::rmdir((out_dir + "/" + name).c_str()); // where there is nothing in it
    return why;
  }
  half_made made{out_dir, name};
  // What was not announced is refused before it costs memory and disk; one file more, so that
  // compare() can name it.
  auto announced = limits;
  announced.max_files = std::min<std::uint64_t>(
      limits.max_files,
      claim.modified.size() + claim.added.size() + claim.renamed.size() + claim.copied.size() + 1);
  announced.left_out = &out.left_out;
  auto files = unpack_archive(tar_path, out.files_dir, announced);
  if (!files) return files.err();
  out.files = std::move(*files);
  leave_out(out);
  crash_point(crash_kind::file, "pane_compared");
  if (auto same = compare(out); !same) return same.err();
  if (auto settled = settle_patch(out, patch_path, upload, scratch); !settled) return settled.err();
  if (absolute(out.patch_path) != absolute(patch_path)) made.with_patch(out.patch_path);
  crash_point(crash_kind::file, "pane_changes");
  if (auto kept = keep_changes(out_dir, out); !kept) return kept.err();
  // The sandbox goes as soon as somebody says that its results are here.
  if (auto safe = put_on_disk(out_dir); !safe) return safe.err();
  made.whole();
  return out;
}

result<merged_patch> merge_swarm_patch(const std::vector<pane_patch>& patches,
                                       const std::string& out_path, const std::string& scratch) {
  std::map<std::string, std::set<std::size_t>> owners; // path -> panes that touch it
  std::vector<std::vector<std::string>> touched;
  for (std::size_t i = 0; i < patches.size(); ++i) {
    auto paths = paths_of_patch(patches[i].patch_path, scratch);
    if (!paths) return paths.err();
    for (const auto& p : *paths)
      owners[p].insert(i);
    touched.push_back(std::move(*paths));
  }
  merged_patch out;
  std::map<std::string, std::set<std::string>> conflicts;
  auto conflict = [&](std::size_t pane, const std::string& path) {
    conflicts[patches[pane].name].insert(path);
  };
  for (const auto& [path, panes] : owners) {
    if (panes.size() > 1)
      for (auto pane : panes)
        conflict(pane, path);
    // A file of one pane where another one has a directory.
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      auto above = owners.find(path.substr(0, slash));
      if (above == owners.end()) continue;
      for (auto a : above->second)
        for (auto b : panes)
          if (a != b) {
            conflict(a, above->first);
            conflict(b, path);
          }
    }
  }
  for (const auto& [name, paths] : conflicts)
    out.conflicts[name].assign(paths.begin(), paths.end());
  crash_point(crash_kind::file, "swarm_patch");
  unique_fd to{::open(out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (!to) return io_error(out_path, errno);
  for (std::size_t i = 0; i < patches.size(); ++i) {
    if (touched[i].empty() || out.conflicts.contains(patches[i].name)) continue;
    crash_point(crash_kind::file, "swarm_patch_part");
    if (auto added = append_file_to(to.get(), patches[i].patch_path); !added) {
      ::unlink(out_path.c_str());
      return added.err();
    }
    out.included.push_back(patches[i].name);
  }
  return out;
}

} // namespace skep::transfer
