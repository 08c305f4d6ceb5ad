#include "actors/output_log.hpp"

#include "transfer/freed_front.hpp"
#include "transfer/posix.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
namespace {

using transfer::freed_together;

/// Larger than a file may be; every number of JSON that is smaller is exact.
constexpr std::uint64_t most_log = 1ull << 53;

error cannot_write(const std::string& what) {
  return transfer::io_error("cannot write " + what, errno);
}

error cannot_copy(const std::filesystem::path& log) {
  auto why = errno;
  return make_error(errc::io, "cannot read the log " + log.string(), std::strerror(why));
}

result<void> write_all(int fd, std::string_view rest) {
  while (!rest.empty()) {
    auto n = ::write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cannot_write("a copy of a log");
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

result<int> output_file(const std::filesystem::path& file) {
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return cannot_write(file.string());
  return fd;
}

std::atomic<std::uint64_t> staying_open{0};

/// Takes one of the files that logs may keep open; false when all are taken.
bool take_place() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  auto taken = staying_open.load();
  while (taken < files.rlim_cur / 4)
    if (staying_open.compare_exchange_weak(taken, taken + 1)) return true;
  return false;
}

} // namespace

struct output_log::use {
  explicit use(output_log& l) : log(l), open(l.wake()) {}
  ~use() { log.rest(); }
  use(const use&) = delete;
  use& operator=(const use&) = delete;
  output_log& log;
  result<void> open;
};

output_log::output_log(std::filesystem::path file, int fd, std::uint64_t position, masker mask)
    : file_(std::move(file)), fd_(fd), position_(position), begin_(transfer::kept_from(fd)),
      mask_(std::move(mask)) {
  if (begin_ > 0) mask_.lose(position_ - begin_); // soon behind a gap, see skip_to()
  rest();
}

output_log::output_log(output_log&& other) noexcept
    : file_(std::move(other.file_)), fd_(std::exchange(other.fd_, -1)),
      stays_open_(std::exchange(other.stays_open_, false)), position_(other.position_),
      begin_(other.begin_), mask_(std::move(other.mask_)) {}

output_log::~output_log() {
  if (fd_ >= 0) ::close(fd_);
  if (stays_open_) --staying_open;
}

// Its length is looked at: the file may have been replaced or cut while it was closed.
result<void> output_log::wake() {
  if (fd_ >= 0) return {};
  fd_ = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  struct stat st {};
  if (fd_ < 0 || ::fstat(fd_, &st) != 0) return cannot_write("a log");
  if (static_cast<std::uint64_t>(st.st_size) == position_) return {};
  return make_error(errc::io, "the log " + file_.string() + " was changed by somebody else");
}

void output_log::rest() {
  if (stays_open_ || fd_ < 0) return;
  stays_open_ = take_place();
  if (!stays_open_) ::close(std::exchange(fd_, -1));
}

std::uint64_t log_begin(const std::filesystem::path& file) {
  auto fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return 0;
  auto out = transfer::kept_from(fd);
  ::close(fd);
  return out;
}

result<void> copy_log(const std::filesystem::path& from, const std::filesystem::path& to) {
  transfer::unique_fd in{::open(from.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!in && errno == ENOENT) return {}; // nothing was ever written
  if (!in) return cannot_copy(from);
  auto out = output_file(to);
  if (!out) return out.err();
  transfer::unique_fd copy{*out};
  std::uint64_t at = 0;
  for (bool more = true; more;) {
    std::string block(256 * 1024, '\0');
    auto n = ::pread(in.get(), block.data(), block.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cannot_copy(from);
    more = n > 0;
    block.resize(static_cast<std::size_t>(n));
    // Asked behind the read: what was freed meanwhile may have been read as zeros.
    if (auto begin = transfer::kept_from(in.get()); more && begin > at) {
      block = "[skep: the first " + std::to_string(begin)
              + " bytes of this log were dropped; its newest part follows]\n";
      at = begin;
    } else {
      at += block.size();
    }
    if (auto done = write_all(copy.get(), block); !done) return done;
  }
  if (::close(copy.release()) != 0) return cannot_write("a copy of a log");
  return {};
}

result<output_log> output_log::open(const std::filesystem::path& file,
                                    const std::vector<std::string>& forms) {
  std::error_code ec;
  std::filesystem::create_directories(file.parent_path(), ec);
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    // Its folder may be what found no room.
    auto number = fd < 0 && errno == ENOENT && ec ? ec.value() : errno;
    if (fd >= 0) ::close(fd);
    return transfer::io_error("cannot open the log " + file.string(), number);
  }
  return output_log{file, fd, static_cast<std::uint64_t>(st.st_size), masker{forms}};
}

result<bool> output_log::trim(std::uint64_t cap_bytes, bool at_once) {
  auto slack = at_once ? 0 : std::max<std::uint64_t>(cap_bytes / 16, freed_together);
  auto to = transfer::front_to_free(begin_, position_, cap_bytes, slack);
  if (to == begin_) return false;
  const use file{*this};
  if (!file.open) return file.open.err();
  if (auto freed = transfer::free_front(fd_, begin_, to); !freed) return freed.err();
  begin_ = to;
  return true;
}

result<std::string> output_log::append(std::uint64_t offset, std::string_view data) {
  auto want = expected();
  if (offset > want)
    return make_error(errc::bad_frame, "output jumped from offset " + std::to_string(want) + " to "
                                           + std::to_string(offset));
  auto known = want - offset;
  if (known >= data.size()) return std::string{};
  return write(mask_.feed(data.substr(known)));
}

result<void> output_log::skip_to(std::uint64_t begin) {
  if (begin <= expected() || begin % freed_together != 0 || begin > most_log)
    return make_error(errc::bad_frame, "a log that went to offset " + std::to_string(expected())
                                           + " cannot go on at " + std::to_string(begin));
  const use file{*this};
  if (!file.open) return file.open.err();
  auto again = transfer::begin_at(file_.string(), begin);
  if (!again) return again.err();
  ::close(std::exchange(fd_, again->release()));
  mask_.lose();
  position_ = begin_ = begin;
  return {};
}

result<std::string> output_log::finish() {
  return write(mask_.flush());
}

// All or nothing: who goes on at the end of half a masked value would take its other half for
// ordinary text.
result<std::string> output_log::write(std::string text) {
  if (text.empty()) return text;
  const use file{*this};
  if (!file.open) return file.open.err();
  std::string_view rest{text};
  while (!rest.empty()) {
    auto n = ::write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      auto why = cannot_write("a log");
      if (::ftruncate(fd_, static_cast<off_t>(position_)) != 0)
        why.message += ", and its end cannot be taken back";
      return why;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  position_ += text.size();
  return text;
}

} // namespace skep::actors
