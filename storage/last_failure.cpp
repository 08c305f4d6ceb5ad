#include "storage/last_failure.hpp"

#include "storage/files.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace skep::storage {
namespace {

constexpr std::size_t most_words = 4096;

std::filesystem::path file_of(const state_paths& paths) {
  return paths.root / "failure";
}

} // namespace

void leave_last_failure(const state_paths& paths, const std::string& text) {
  unique_fd fd{
      ::open(file_of(paths).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return;
  auto line = text.substr(0, most_words - 1) + "\n";
  // One write, no sync: the disk that fails is the reason why we are here.
  static_cast<void>(!::write(fd.get(), line.data(), line.size()));
}

std::string read_last_failure(const state_paths& paths) {
  auto text = read_file(file_of(paths), most_words);
  if (!text) return {};
  while (!text->empty() && text->back() == '\n')
    text->pop_back();
  return *text;
}

void clear_last_failure(const state_paths& paths) {
  ::unlink(file_of(paths).c_str());
}

} // namespace skep::storage
