#include "guest/follow.hpp"

#include "guest/follow_output.hpp"
#include "guest/parse_number.hpp"
#include "messages/release.hpp"
#include "transfer/freed_front.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::size_t log_piece_bytes = 32 * 1024;
constexpr std::chrono::milliseconds poll_interval{200};

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir(path.c_str()), ::closedir};
  while (dir) {
    auto* e = ::readdir(dir.get());
    if (!e) break;
    out.emplace_back(e->d_name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// One generation of a pane.
struct attempt {
  std::string dir;
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t offset = 0;
  unique_fd log;
  bool fresh = true; ///< There may be bytes or an exit that were not looked at.
  bool done = false; ///< Its exit was sent.
};

class follower {
public:
  explicit follower(const follow_options& o)
      : o_(o), token_(random_token(16)), deadline_(steady::now() + o.limit) {}

  result<void> run() {
    ::signal(SIGPIPE, SIG_IGN);
    if (auto made = transfer::make_dirs(o_.root); !made) return made;
    watches_ = unique_fd{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    polling_ = !watches_; // the machine's limit of inotify instances is counted per user
    out_ = std::make_unique<follow_output>(
        o_.out_fd, watches_.get(), [this] { return read_events(), superseded_; }, deadline_);
    if (auto entered = enter_epoch(o_.root, o_.epoch, token_); !entered)
      return refuse(entered.err());
    if (!out_->send(follow_kind::hello, follow_hello{std::string{release_version}, o_.epoch}))
      return {};
    rescan();
    while (steady::now() < deadline_) {
      read_events();
      if (superseded_) return refuse(make_error(errc::stale_epoch, "a newer follower took over"));
      if (rescan_) rescan();
      bool busy = false;
      for (auto& [key, a] : attempts_) {
        if (!a.fresh) continue;
        busy = true;
        if (!send_next(a))
          return superseded_ ? refuse(make_error(errc::stale_epoch)) : result<void>{};
      }
      if (!busy && !wait()) return {};
    }
    return {};
  }

private:
  result<void> refuse(error e) {
    if (e.message.empty()) e.message = "a newer follower took over";
    out_->send(follow_kind::failure, follow_failure{e.message});
    return e;
  }

  /// False when the reader is gone.
  bool wait() {
    auto pulse_at = out_->last() + o_.pulse;
    pollfd fds[2] = {{watches_.get(), POLLIN, 0}, {o_.out_fd, 0, 0}};
    auto until = std::min(deadline_, pulse_at);
    if (polling_) until = std::min(until, steady::now() + poll_interval);
    ::poll(fds, 2, transfer::ms_until(until));
    if (polling_) look_at_all();
    if (fds[1].revents & (POLLERR | POLLNVAL | POLLHUP)) return false;
    if (steady::now() < out_->last() + o_.pulse) return true;
    return out_->send(follow_kind::pulse, follow_pulse{++pulses_});
  }

  // -- discovery: a watch is set before its directory is read, so nothing falls between
  // ----------------

  void watch(const std::string& path, std::uint32_t mask, attempt* a) {
    int id = ::inotify_add_watch(watches_.get(), path.c_str(), mask | IN_ONLYDIR | IN_DONT_FOLLOW);
    if (id >= 0)
      watched_[id] = a;
    else if (errno != ENOENT)
      polling_ = true;
  }

  void look_at_all() {
    rescan_ = true;
    for (auto& [key, a] : attempts_)
      a.fresh = !a.done;
  }

  void rescan() {
    rescan_ = false;
    constexpr std::uint32_t entries = IN_CREATE | IN_MOVED_TO;
    watch(o_.root, entries | IN_MODIFY, nullptr);
    for (const auto& name : names_in(o_.root)) {
      pane_id pane{name};
      if (!pane.valid()) continue;
      auto pane_dir = o_.root + "/" + name;
      watch(pane_dir, entries, nullptr);
      for (const auto& g : names_in(pane_dir)) {
        std::uint32_t generation = 0;
        if (parse_number(g, generation) && std::to_string(generation) == g)
          discover(pane, generation, pane_dir + "/" + g);
      }
    }
    // The epoch may have changed before its directory was watched.
    superseded_ = superseded_ || !holds_epoch(o_.root, o_.epoch, token_);
  }

  void discover(const pane_id& pane, std::uint32_t generation, const std::string& dir) {
    auto key = std::pair{pane, generation};
    if (attempts_.contains(key)) return;
    std::uint64_t offset = 0;
    for (const auto& k : o_.from) {
      if (k.pane != pane) continue;
      if (generation < k.generation) return; // the daemon is past it
      if (generation == k.generation) offset = k.offset;
    }
    auto& a = attempts_[key];
    a.dir = dir;
    a.pane = pane;
    a.generation = generation;
    a.offset = offset;
    watch(dir, IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO, &a);
  }

  void read_events() {
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    bool epoch_changed = false;
    for (;;) {
      auto n = ::read(watches_.get(), buffer.data(), buffer.size());
      if (n <= 0) break;
      for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
        inotify_event event;
        std::memcpy(&event, buffer.data() + at, sizeof event);
        std::string_view name{event.len ? buffer.data() + at + sizeof event : ""};
        at += sizeof event + event.len;
        auto i = watched_.find(event.wd);
        if (event.mask & IN_Q_OVERFLOW) {
          epoch_changed = true;
          look_at_all();
        } else if (i == watched_.end()) {
          continue;
        } else if (event.mask & IN_IGNORED) {
          watched_.erase(i);
        } else if (attempt* a = i->second) {
          a->fresh = !a->done;
        } else if (name == "epoch") {
          epoch_changed = true;
        } else {
          rescan_ = true;
        }
      }
    }
    if (epoch_changed && !holds_epoch(o_.root, o_.epoch, token_)) superseded_ = true;
  }

  // -- sending
  // ------------------------------------------------------------------------------------------

  /// Sends at most one piece of the attempt, so that panes take turns. False: no reader any more.
  bool send_next(attempt& a) {
    // Asked before the log is read: once it is there, the log grows no more.
    auto exit = read_exit(a.dir);
    if (!a.log)
      a.log = unique_fd{::open((a.dir + "/log").c_str(),
                               O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    follow_data data{a.pane, a.generation, a.offset, {}};
    if (a.log) {
      data.data.data.resize(log_piece_bytes);
      auto n = ::pread(a.log.get(), data.data.data.data(), log_piece_bytes,
                       static_cast<off_t>(a.offset));
      data.data.data.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      if (auto begin = overtaken(a, data.data.data, exit.ok()); begin > 0) {
        a.offset = begin;
        return out_->send(follow_kind::dropped, follow_dropped{a.pane, a.generation, begin});
      }
    }
    if (!data.data.data.empty()) {
      a.offset += data.data.data.size();
      return out_->send(follow_kind::data, data);
    }
    a.fresh = false;
    if (exit) {
      a.done = true;
      a.log.reset();
      return out_->send(follow_kind::exit,
                        follow_exit{a.pane, a.generation, exit->exit_code, exit->signal,
                                    exit->final_offset, exit->ended_at});
    }
    // Quiet because its holder is dead? Then exit.json is ours to write; its event comes back here.
    if (look(a.dir) == pane_state::lost) settle_lost(a.dir);
    return true;
  }

  /// Where to go on when `piece` was, or may have been, freed before it was read; else 0. Freed
  /// bytes are zeros, and agents write few. While the agent runs, the very begin is what it frees
  /// next.
  static std::uint64_t overtaken(const attempt& a, const std::string& piece, bool agent_ended) {
    if (piece.find('\0') == piece.npos) return 0;
    auto begin = transfer::kept_from(a.log.get()); // asked behind the read
    if (begin <= a.offset) return 0;
    struct stat st {};
    if (agent_ended || ::fstat(a.log.get(), &st) != 0) return begin;
    auto half = (static_cast<std::uint64_t>(st.st_size) - begin) / 2;
    return begin + half / transfer::freed_together * transfer::freed_together;
  }

  const follow_options& o_;
  std::string token_;
  steady::time_point deadline_;
  unique_fd watches_;
  std::unique_ptr<follow_output> out_;
  std::map<int, attempt*> watched_; // null: a directory whose entries matter
  std::map<std::pair<pane_id, std::uint32_t>, attempt> attempts_;
  bool rescan_ = false, superseded_ = false;
  bool polling_ = false; // no inotify: look at everything at intervals
  std::uint64_t pulses_ = 0;
};

} // namespace

result<known_offset> parse_known_offset(std::string_view text) {
  known_offset out;
  auto first = text.find(':'), second = text.rfind(':');
  if (first != second && first != text.npos) {
    out.pane.value = text.substr(0, first);
    if (out.pane.valid() && parse_number(text.substr(first + 1, second - first - 1), out.generation)
        && parse_number(text.substr(second + 1), out.offset))
      return out;
  }
  return make_error(errc::bad_argument, "not PANE:GENERATION:OFFSET: " + std::string{text});
}

result<void> follow(const follow_options& options) {
  return follower{options}.run();
}

} // namespace skep::guest
