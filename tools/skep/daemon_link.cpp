#include "tools/skep/daemon_link.hpp"

#include "messages/release.hpp"
#include "storage/files.hpp"
#include "storage/last_failure.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <set>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::cli {

namespace fs = std::filesystem;
using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;
using storage::unique_fd;

std::string own_version() {
  return std::string{release_version};
}

std::string version_line() {
  return "skep " + own_version() + " (protocol " + std::to_string(protocol_version) + ")";
}

fs::path beside_self(const std::string& name) {
  std::error_code failed;
  auto self = fs::read_symlink("/proc/self/exe", failed);
  if (failed) return {};
  auto path = self.parent_path() / name;
  return ::access(path.c_str(), X_OK) == 0 ? path : fs::path{};
}

result<broker::control_client> reach_daemon(const storage::state_paths& paths) {
  auto where = endpoints_of(paths);
  if (!broker::somebody_listens(where.control)) {
    // Where nobody may look, one may run; and none could be started.
    if (auto e = storage::entry_refused(paths.root)) return e;
    return make_error(errc::no_daemon, "no skepd runs for " + paths.root.string());
  }
  return broker::control_client{where.control};
}

namespace {

/// What a daemon has from its first client: a named list, no keys, no folder, no descriptors.
std::vector<std::string> daemon_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e != nullptr; ++e) {
    std::string_view entry{*e};
    auto name = entry.substr(0, entry.find('='));
    for (std::string_view kept : {"PATH", "HOME", "LANG", "TZ", "USER", "SKEP_CONFIG"})
      if (name == kept) out.emplace_back(entry);
    if (name.starts_with("XDG_")) out.emplace_back(entry);
  }
  return out;
}

fs::path log_of(const storage::state_paths& paths) {
  return paths.root / "skepd.log";
}

/// The last lines of the log that were written after `from`.
std::string log_tail(const fs::path& log, std::uintmax_t from) {
  constexpr std::uintmax_t most = 1500;
  unique_fd fd{::open(log.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return {};
  auto end = static_cast<std::uintmax_t>(std::max<off_t>(0, ::lseek(fd.get(), 0, SEEK_END)));
  if (end <= from) return {};
  auto begin = std::max(from, end > most ? end - most : 0);
  std::string out(static_cast<std::size_t>(end - begin), '\0');
  auto n = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(begin));
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return safe_line(out);
}

/// Why skepd ended at its start. It renders its last error as "skepd: CODE: TEXT: MESSAGE | ...":
/// the code is kept.
error start_error(const std::string& how, const std::string& log) {
  constexpr std::string_view mark = "skepd: ";
  if (auto at = log.rfind(mark); at != std::string::npos) {
    auto text = log.substr(at + mark.size());
    text = text.substr(0, text.find(" | Hint: "));
    for (const auto& e : all_errors()) {
      auto known = std::string{e.name} + ": " + std::string{e.text};
      if (!text.starts_with(known)) continue;
      text = text.substr(known.size());
      if (text.starts_with(": ")) text = text.substr(2);
      constexpr std::string_view cause = " | Cause: ";
      auto split = text.find(cause);
      return make_error(e.code, text.substr(0, split),
                        split == std::string::npos ? how : text.substr(split + cause.size()));
    }
  }
  return make_error(errc::no_daemon, "skepd ended at its start with " + how, log);
}

struct spawned {
  pid_t pid = -1;
  unique_fd pidfd;
};

/// skepd in its own session, in /, with no descriptor of ours but the log.
result<spawned> spawn_daemon(const storage::state_paths& paths) {
  auto program = beside_self("skepd");
  if (program.empty()) return make_error(errc::program_missing, "skepd should stand beside skep");
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  auto log = log_of(paths).string();
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &all);
  posix_spawnattr_setflags(&how,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  auto text = program.string();
  auto root = paths.root.string();
  std::array<char*, 4> argv{text.data(), const_cast<char*>("--state"), root.data(), nullptr};
  auto environment = daemon_environment();
  std::vector<char*> envp;
  for (auto& e : environment)
    envp.push_back(e.data());
  envp.push_back(nullptr);
  spawned out;
  auto failed = ::posix_spawn(&out.pid, text.c_str(), &files, &how, argv.data(), envp.data());
  posix_spawnattr_destroy(&how);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return make_error(errc::no_daemon, "starting " + text, std::strerror(failed));
  out.pidfd = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, out.pid, 0))};
  return out;
}

/// Sleeps until the directory of the sockets changes, the process ends, or `limit` passed.
class start_watch {
public:
  start_watch(const fs::path& run, int pidfd)
      : changes_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), pidfd_(pidfd) {
    if (changes_)
      ::inotify_add_watch(changes_.get(), run.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE);
  }
  void wait(milliseconds limit) {
    pollfd items[] = {{changes_.get(), POLLIN, 0}, {pidfd_, POLLIN, 0}};
    ::poll(items, 2, static_cast<int>(std::max<std::int64_t>(0, limit.count())));
    std::array<char, 4096> rest;
    while (::read(changes_.get(), rest.data(), rest.size()) > 0) {
    }
  }

private:
  unique_fd changes_;
  int pidfd_;
};

std::string holder_text(const storage::state_paths& paths) {
  auto holder = storage::lock_holder(paths);
  if (!holder || !holder->has_value()) return "it";
  return "process " + std::to_string(**holder);
}

/// One start of skepd, waited for until somebody answers.
class daemon_start {
public:
  daemon_start(const storage::state_paths& paths, start_policy policy)
      : paths_(paths), policy_(policy), control_(endpoints_of(paths).control), log_(log_of(paths)),
        watch_(paths.run, -1) {}

  result<running_daemon> run() {
    if (auto e = spawn()) return e;
    // A socket may exist a moment before it is listened on: look again now and then.
    constexpr milliseconds again{100};
    for (;;) {
      held_ = is_held();
      if (broker::somebody_listens(control_)) {
        auto running = ask();
        auto passing =
            !running
            && (running.err().code == errc::no_daemon || running.err().code == errc::shutting_down);
        if (!passing) {
          end_late_child();
          return running;
        }
      }
      if (auto e = look_at_child()) return e;
      if (signal_watch::pending())
        return make_error(errc::cancelled, "the wait for skepd, which goes on starting");
      if (waited() >= limit())
        return make_error(errc::no_daemon,
                          "skepd did not answer within " + duration_text(limit().count()),
                          log_tail(log_, log_size_));
      tell();
      watch_.wait(again);
    }
  }

private:
  milliseconds waited() const { return std::chrono::floor<milliseconds>(steady::now() - began_); }
  bool is_held() const {
    auto holder = storage::lock_holder(paths_);
    return holder && holder->has_value();
  }
  milliseconds limit() const { return policy_.limit(held_); }

  error spawn() {
    std::error_code none;
    log_size_ = fs::exists(log_, none) ? fs::file_size(log_, none) : 0;
    auto child = spawn_daemon(paths_);
    if (!child) return child.err();
    child_ = std::move(*child);
    ended_ = false;
    began_ = steady::now();
    watch_ = start_watch{paths_.run, child_.pidfd.get()};
    return {};
  }

  result<running_daemon> ask() {
    broker::control_client client{control_};
    auto left = std::max(limit() - waited(), milliseconds{1});
    auto reply = client.call(daemon_status_request{}, std::min(left, call_deadline));
    if (!reply) return reply.err();
    return running_daemon{std::move(client), std::move(*reply), true};
  }

  /// Why nothing more is to be expected, when ours has ended.
  error look_at_child() {
    int status = 0;
    if (!ended_ && ::waitpid(child_.pid, &status, WNOHANG) == child_.pid) {
      ended_ = true;
      how_ = WIFEXITED(status) ? "exit code " + std::to_string(WEXITSTATUS(status))
                               : "signal " + std::to_string(WTERMSIG(status));
      watch_ = start_watch{paths_.run, -1};
    }
    // Ours may have lost against another that was started at the same time: that one counts.
    if (!ended_ || held_) return {};
    auto why = start_error(how_, log_tail(log_, log_size_));
    // That one has ended since, perhaps because it was ending then: now it is the turn of ours.
    return why.code == errc::daemon_running ? spawn() : why;
  }

  /// Ours, when another is the daemon and ours has not come to the lock yet: it must not come to it
  /// after that one has been told to end. It ends by itself, and is asked to when it is slow.
  void end_late_child() {
    if (ended_ || !another_has_lock()) return;
    if (!child_ends_within(policy_.losing) && another_has_lock()) {
      ::kill(child_.pid, SIGTERM);
      child_ends_within(policy_.losing);
    }
    ended_ = ::waitpid(child_.pid, nullptr, WNOHANG) == child_.pid;
  }
  /// False also when that cannot be seen: nobody is ended on a guess.
  bool another_has_lock() const {
    auto holder = storage::lock_holder(paths_);
    return holder && holder->has_value() && **holder != child_.pid;
  }
  /// Not when a signal comes that the user may have sent.
  bool child_ends_within(milliseconds limit) const {
    constexpr milliseconds slice{100};
    for (auto end = steady::now() + limit; !signal_watch::pending();) {
      auto left = std::chrono::ceil<milliseconds>(end - steady::now());
      if (left.count() <= 0) break;
      pollfd item{child_.pidfd.get(), POLLIN, 0};
      if (::poll(&item, 1, static_cast<int>(std::min(left, slice).count())) > 0) return true;
    }
    return false;
  }

  /// A wait that is longer than usual has a reason.
  void tell() {
    if (told_ || waited() < policy_.told || !held_) return;
    told_ = true;
    remark("skepd (" + holder_text(paths_)
           + ") does not answer yet: it looks through its database, or one that is ending has the "
             "state directory. Waiting for it, "
           + duration_text(policy_.opening.count()) + " at most; Ctrl+C leaves.");
  }

  const storage::state_paths& paths_;
  start_policy policy_;
  std::string control_;
  fs::path log_;
  std::uintmax_t log_size_ = 0; ///< Of what was in it before ours was started.
  spawned child_;
  bool held_ = false; ///< A living process has the lock.
  bool ended_ = false;
  std::string how_; ///< How ours ended.
  bool told_ = false;
  steady::time_point began_ = steady::now();
  start_watch watch_;
};

result<running_daemon> start_daemon(const storage::state_paths& paths, start_policy policy) {
  return daemon_start{paths, policy}.run();
}

/// The daemon that is to end, as the lock names it.
struct lock_owner {
  std::optional<std::int64_t> pid;
  unique_fd process; ///< Readable when it has ended.
};

lock_owner owner_of_lock(const storage::state_paths& paths) {
  lock_owner out;
  auto holder = storage::lock_holder(paths);
  if (!holder || !holder->has_value()) return out;
  out.pid = **holder;
  out.process =
      unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(*out.pid), 0))};
  return out;
}

bool has_ended(const storage::state_paths& paths, const lock_owner& owner) {
  auto now = storage::lock_holder(paths);
  bool nobody = now && !now->has_value() && !broker::somebody_listens(endpoints_of(paths).control);
  // A command that follows a run may have started the next one already: ours has ended.
  bool another = now && now->has_value() && owner.pid && **now != *owner.pid;
  return nobody || another;
}

/// Waits until `owner` has given up its lock; errc::timed_out when it has not by `end`.
error await_end(const storage::state_paths& paths, const lock_owner& owner,
                steady::time_point end) {
  start_watch watch{paths.run, owner.process.get()};
  while (!has_ended(paths, owner)) {
    auto left = std::chrono::ceil<milliseconds>(end - steady::now());
    if (left.count() <= 0)
      return make_error(errc::timed_out, "skepd was asked to end and has not yet");
    watch.wait(std::min<milliseconds>(left, milliseconds{100}));
  }
  return {};
}

/// `owner` has the lock and listens nowhere: it has closed its sockets on its way to its end, or
/// not opened them yet. Waits until that is known: a client where it listens, errc::no_daemon where
/// it has ended, errc::timed_out when neither is so by `end`.
result<broker::control_client> await_silent(const storage::state_paths& paths,
                                            const lock_owner& owner, steady::time_point end) {
  remark("skepd (process " + std::to_string(*owner.pid)
         + ") has the state directory and does not answer: its end is waited for");
  start_watch watch{paths.run, owner.process.get()};
  for (;;) {
    if (has_ended(paths, owner)) return make_error(errc::no_daemon, "skepd has ended");
    auto client = reach_daemon(paths);
    if (client || client.err().code != errc::no_daemon) return client;
    auto left = std::chrono::ceil<milliseconds>(end - steady::now());
    if (left.count() <= 0)
      return make_error(errc::timed_out, "skepd has the state directory and does not answer");
    watch.wait(std::min<milliseconds>(left, milliseconds{100}));
  }
}

/// True for the answer of a daemon that is ending, and for the lack of one because it has ended.
bool is_ending(const error& e) {
  return e.code == errc::no_daemon || e.code == errc::shutting_down;
}

} // namespace

result<daemon_stop_reply> stop_daemon(const storage::state_paths& paths, bool force,
                                      milliseconds limit) {
  auto end = steady::now() + limit;
  // Read first: one that ends closes its sockets, and gives up its lock at last.
  auto owner = owner_of_lock(paths);
  auto client = reach_daemon(paths);
  if (!client && client.err().code == errc::no_daemon && owner.pid) {
    client = await_silent(paths, owner, end);
    // Somebody else asked it, or its time had come: it has ended, which is what was wanted.
    if (!client && client.err().code == errc::no_daemon) return daemon_stop_reply{};
  }
  if (!client) return client.err();
  owner = owner_of_lock(paths);
  daemon_stop_reply out;
  auto status = client->call(daemon_status_request{}, call_deadline);
  // Whoever asked first has the same wish: its end is waited for, whoever brought it about.
  if (!status && !is_ending(status.err())) return status.err();
  if (status) {
    out.open_swarms = status->open_swarms;
    if (out.open_swarms > 0 && !force) return out; // the caller says so
    auto reply = client->call(daemon_stop_request{force}, call_deadline);
    if (!reply && !is_ending(reply.err())) return reply.err();
    if (reply) out = *reply;
    if (out.open_swarms > 0 && !force) return out;
  }
  if (auto late = await_end(paths, owner, end)) return late;
  return out;
}

result<running_daemon> ensure_daemon(const storage::state_paths& paths, start_policy policy) {
  auto client = reach_daemon(paths);
  if (!client && client.err().code != errc::no_daemon) return client.err();
  if (!client) return start_daemon(paths, policy);
  auto status = client->call(daemon_status_request{}, call_deadline);
  if (!status) {
    auto e = status.err();
    // One that is just coming up, or going down: whoever holds the lock in the end counts.
    if (is_ending(e)) return start_daemon(paths, policy);
    if (e.code == errc::wrong_version)
      e.cause = "this skep is " + own_version() + "; end the running daemon (" + holder_text(paths)
                + ") when its swarms are done";
    return e;
  }
  if (status->version == own_version())
    return running_daemon{std::move(*client), std::move(*status), false};
  if (status->open_swarms > 0)
    return make_error(errc::wrong_version,
                      "skepd " + status->version + " runs "
                          + count_text(status->open_swarms, "swarm", "swarms") + ", this skep is "
                          + own_version()
                          + "; wait until nothing runs, or `skep daemon stop --force`: what runs "
                            "goes on at the provider and the new skepd takes it over");
  remark("skepd " + status->version + " is idle and of another release: it is replaced by "
         + own_version());
  if (auto stopped = stop_daemon(paths, false, policy.stopping); !stopped) return stopped.err();
  return start_daemon(paths, policy);
}

void tell_what_runs(const app& a, const storage::state_paths& paths) {
  if (a.json_mode) return;
  auto client = reach_daemon(paths);
  if (!client) return;
  auto list = client->call(list_request{}, call_deadline);
  if (!list) return;
  std::size_t sandboxes = 0, kept = 0;
  std::set<std::string> keepers;
  for (const auto& s : list->sandboxes) {
    sandboxes += s.state != phase::closed;
    if (s.state != phase::closed || !s.kept) continue;
    ++kept;
    keepers.insert(s.swarm.value);
  }
  std::size_t open = 0;
  for (const auto& s : list->swarms)
    open += s.state != swarm_phase::closed;
  if (open > 0)
    remark("Still running: " + count_text(open, "swarm", "swarms") + ", "
           + count_text(sandboxes, "sandbox", "sandboxes") + ". End them: skep stop --all");
  if (kept > 0)
    remark("Kept sandboxes: " + std::to_string(kept) + ". End them: skep kill "
           + (keepers.size() == 1 ? *keepers.begin() : "SWARM (see skep ps --all)"));
  auto unconfirmed = unconfirmed_of(list->sandboxes).size();
  if (unconfirmed > 0)
    remark(
        "skepd stays to repeat the kill of "
        + count_text(unconfirmed, "sandbox that its provider has", "sandboxes that providers have")
        + " not confirmed to be gone: skep ps");
  if (open == 0 && kept == 0 && unconfirmed == 0)
    remark("skepd stays for 15 idle minutes. End it now: skep daemon stop");
}

bool daemon_may_return(errc code) {
  return code == errc::no_daemon || code == errc::shutting_down || code == errc::daemon_running
         || code == errc::timed_out || code == errc::rate;
}

void ask_next_daemon(broker::control_client& client, const storage::state_paths& paths) {
  client.on_absent([paths] {
    // One whose journal could not be written is not replaced in passing: somebody is to read that.
    if (auto words = storage::read_last_failure(paths); !words.empty())
      return make_error(errc::no_daemon, "skepd had to end before it answered", safe_line(words));
    remark("skepd is away; the next one is asked");
    auto next = ensure_daemon(paths);
    return next ? error{} : next.err();
  });
}

result<broker::control_client> serve_daemon(const storage::state_paths& paths) {
  auto running = reach_daemon(paths);
  std::error_code ec;
  if (!running
      && (running.err().code != errc::no_daemon || !std::filesystem::exists(paths.database(), ec)))
    return running;
  if (!running) {
    auto started = ensure_daemon(paths);
    if (!started) return started.err();
    running = std::move(started->client);
  }
  ask_next_daemon(*running, paths);
  return running;
}

} // namespace skep::cli
