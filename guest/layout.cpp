#include "guest/layout.hpp"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

struct epoch_line {
  std::uint64_t epoch = 0;
  std::string token;
};

epoch_line parse_epoch(std::string_view text) {
  epoch_line out;
  text = text.substr(0, text.find('\n'));
  auto space = std::min(text.find(' '), text.size());
  std::from_chars(text.data(), text.data() + space, out.epoch);
  if (space < text.size()) out.token = text.substr(space + 1);
  return out;
}

constexpr std::size_t reserve_bytes = 512; // more than a record has
constexpr const char* exit_reserve = "/exit.reserve";
constexpr const char* pid_reserve = "/pid.reserve";

/// Writes over what lies there: blocks that a file has need no room. The agent may have put
/// anything in its place.
result<void> write_over(const std::string& path, std::string_view text) {
  unique_fd fd{::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return transfer::io_error(path, errno);
  if (!S_ISREG(st.st_mode)) return transfer::io_error(path, EEXIST);
  if (auto written = transfer::write_all(fd.get(), text); !written) return written;
  if (::ftruncate(fd.get(), static_cast<off_t>(text.size())) != 0 || ::fsync(fd.get()) != 0)
    return transfer::io_error(path, errno);
  return {};
}

result<void> make_reserve(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!fd) return transfer::io_error(path, errno);
  return transfer::write_all(fd.get(), std::string(reserve_bytes, '\n'));
}

/// Writes `dir` + `name` where make_reserve() made room for it: under its own name only once it is
/// whole.
result<void> write_reserved(const std::string& dir, const std::string& name,
                            const std::string& reserve, const std::string& text) {
  if (write_over(reserve, text) && ::rename(reserve.c_str(), (dir + name).c_str()) == 0) {
    unique_fd folder{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder || ::fsync(folder.get()) != 0) return transfer::io_error(dir, errno);
    return {};
  }
  // None was made, or a disk that writes all of it anew (copy on write): then its blocks are freed.
  ::unlink(reserve.c_str());
  return transfer::write_file_durably(dir + name, text, 0600);
}

} // namespace

utc_time now() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

pane_state look(const std::string& dir) {
  auto exists = [&](const char* name) {
    struct stat st {};
    return ::lstat((dir + name).c_str(), &st) == 0;
  };
  if (exists("/exit.json")) return pane_state::exited;
  unique_fd fd{::open((dir + "/claim").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!fd) return pane_state::absent;
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return pane_state::running;
  // The holder may have ended between the two looks.
  return exists("/exit.json") ? pane_state::exited : pane_state::lost;
}

bool has_terminal(const std::string& dir) {
  return ::access((dir + "/terminal").c_str(), F_OK) == 0;
}

result<bool> claim(const std::string& dir, std::uint64_t epoch, unique_fd& lock) {
  // Locked before it gets its name: nobody ever sees an unlocked claim of a living holder.
  auto tmp = dir + "/claim.tmp-" + random_token(8);
  unique_fd fd{::open(tmp.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!fd) return transfer::io_error(tmp, errno);
  auto written = transfer::write_all(fd.get(), std::to_string(epoch) + "\n");
  if (written.ok() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    written = transfer::io_error(tmp, errno);
  int linked = written.ok() ? ::link(tmp.c_str(), (dir + "/claim").c_str()) : -1;
  int reason = errno;
  ::unlink(tmp.c_str());
  if (!written) return written.err();
  if (linked != 0 && reason == EEXIST) return false;
  if (linked != 0) return transfer::io_error(dir + "/claim", reason);
  lock = std::move(fd);
  return true;
}

result<exit_record> read_exit(const std::string& dir) {
  auto text = transfer::read_file(dir + "/exit.json", 4096);
  if (!text) return text.err();
  auto j = json::parse(*text, nullptr, false);
  exit_record out;
  if (!from_json_value(j, out)) return make_error(errc::bad_frame, dir + "/exit.json is damaged");
  return out;
}

result<void> reserve_exit(const std::string& dir) {
  return make_reserve(dir + exit_reserve);
}

result<void> write_exit(const std::string& dir, const exit_record& record) {
  return write_reserved(dir, "/exit.json", dir + exit_reserve, to_line(to_json(record)) + "\n");
}

result<void> reserve_pid(const std::string& dir) {
  return make_reserve(dir + pid_reserve);
}

result<void> write_pid(const std::string& dir, pid_t agent, pid_t holder) {
  return write_reserved(dir, "/pid", dir + pid_reserve,
                        std::to_string(agent) + " " + std::to_string(holder) + "\n");
}

void settle_lost(const std::string& dir) {
  unique_fd fd{::open((dir + "/claim").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  struct stat st {};
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0
      || ::lstat((dir + "/exit.json").c_str(), &st) == 0)
    return;
  exit_record record{-1, SIGKILL, 0, now()};
  if (::lstat((dir + "/log").c_str(), &st) == 0)
    record.final_offset = static_cast<std::uint64_t>(st.st_size);
  if (!write_exit(dir, record)) return; // a full disk; the next look tries again
}

result<void> enter_epoch(const std::string& root, std::uint64_t epoch, const std::string& token) {
  auto path = root + "/epoch";
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!fd) return transfer::io_error(path, errno);
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return transfer::io_error(path, errno);
  auto text = transfer::read_file(path, 4096);
  if (!text) return text.err();
  auto recorded = parse_epoch(*text);
  if (recorded.epoch > epoch)
    return make_error(errc::stale_epoch, "epoch " + std::to_string(epoch) + ", recorded is "
                                             + std::to_string(recorded.epoch));
  if (recorded.epoch == epoch && token.empty()) return {};
  auto line = std::to_string(epoch) + " " + (token.empty() ? "-" : token) + "\n";
  // Over the former line, then cut behind the new one: so a full disk can neither refuse it nor
  // lose the one that was there, and what is read ends with the line.
  if (auto written = transfer::write_all(fd.get(), line); !written) return written;
  if (::ftruncate(fd.get(), static_cast<off_t>(line.size())) != 0)
    return transfer::io_error(path, errno);
  return {};
}

bool holds_epoch(const std::string& root, std::uint64_t epoch, const std::string& token) {
  auto path = root + "/epoch";
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!fd) return false;
  while (::flock(fd.get(), LOCK_SH) != 0) // not between the writer's truncate and write
    if (errno != EINTR) return false;
  auto text = transfer::read_file(path, 4096);
  if (!text) return false;
  auto recorded = parse_epoch(*text);
  return recorded.epoch == epoch && recorded.token == token;
}

} // namespace skep::guest
