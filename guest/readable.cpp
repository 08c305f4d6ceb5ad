#include "guest/readable.hpp"

#include <cstring>
#include <fts.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

/// True when `path` can be read, if need be after its owner, who is us, was given what is missing.
bool is_readable(const char* path, const struct stat& st, bool mend) {
  const bool folder = S_ISDIR(st.st_mode);
  const int wanted = folder ? R_OK | X_OK : R_OK;
  if (::access(path, wanted) == 0) return true;
  if (!mend || st.st_uid != ::geteuid()) return false;
  const mode_t more = folder ? S_IRUSR | S_IXUSR : S_IRUSR;
  return ::chmod(path, (st.st_mode & 07777) | more) == 0 && ::access(path, wanted) == 0;
}

} // namespace

std::vector<std::string> unreadable_below(const std::string& tree, bool mend) {
  std::vector<std::string> out;
  std::string top = tree;
  char* roots[] = {top.data(), nullptr};
  std::unique_ptr<FTS, int (*)(FTS*)> walk{::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, nullptr),
                                           ::fts_close};
  if (!walk) return out;
  while (auto* entry = ::fts_read(walk.get())) {
    // A folder comes before it is opened: what is mended now can be listed.
    if (entry->fts_info != FTS_D && entry->fts_info != FTS_F) continue;
    const bool below = entry->fts_level > 0;
    if (below && std::strcmp(entry->fts_name, ".git") == 0) {
      ::fts_set(walk.get(), entry, FTS_SKIP);
      continue;
    }
    if (is_readable(entry->fts_path, *entry->fts_statp, mend)) continue;
    if (below) out.emplace_back(entry->fts_path + tree.size() + 1);
    if (entry->fts_info == FTS_D) ::fts_set(walk.get(), entry, FTS_SKIP);
  }
  return out;
}

} // namespace skep::guest
