// skep attach: the user's terminal on one pane, or on all panes of a sandbox. skep shell: on a
// shell in a sandbox.
//
//   keys, size  --attach.write-->  skepd  --> viewer or shell inside      (main thread)
//   terminal  <-- filter <--attach.read--  skepd                 (output_pump's thread)
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/raw_terminal.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"
#include "tools/skep/terminal_filter.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <sys/eventfd.h>
#include <thread>

namespace skep::cli {

namespace {

struct terminal_options {
  std::string target;
  bool read_only = false;
  std::string detach_key = "ctrl-]";
};

/// Output from the daemon to the terminal.
class output_pump {
public:
  output_pump(broker::control_client daemon, attachment_id id)
      : daemon_(std::move(daemon)), id_(std::move(id)),
        over_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { run(); }) {}
  ~output_pump() {
    stop();
    ::close(over_);
    ::close(wake_);
  }
  output_pump(const output_pump&) = delete;
  output_pump& operator=(const output_pump&) = delete;

  /// Readable once nothing comes any more; for poll(2).
  int fd() const { return over_; }
  /// Ends it; what was asked of the daemon is answered soon when the attachment is closed.
  void stop() {
    stopping_ = true;
    raise(wake_);
    if (thread_.joinable()) thread_.join();
  }
  /// After stop(): why it ended, and what puts the terminal back.
  const error& why() const { return why_; }
  std::string reset() const { return filter_.reset(); }

private:
  static constexpr std::uint32_t wait_ms = 5000;
  /// A flood of small pieces is taken in larger ones: the daemon admits 200 requests a second.
  static constexpr int between_reads_ms = 6;

  void run() {
    std::uint64_t offset = 0;
    while (!stopping_) {
      auto got = daemon_.call(attach_read_request{id_, offset, wait_ms, max_attach_bytes},
                              std::chrono::milliseconds{wait_ms} + call_deadline);
      if (!got && got.err().code == errc::rate) {
        pause(std::max<std::int64_t>(got.err().retry_after_ms, between_reads_ms));
        continue;
      }
      if (!got) why_ = got.err();
      if (got) {
        offset += got->data.data.size();
        show(filter_.pass(got->data.data));
        if (got->ended) why_ = got->why;
      }
      if (!got || got->ended) break;
      pause(between_reads_ms);
    }
    raise(over_);
  }

  /// Ends early when this does.
  void pause(std::int64_t ms) {
    pollfd item{wake_, POLLIN, 0};
    ::poll(&item, 1, static_cast<int>(ms));
  }

  static void raise(int event) {
    std::uint64_t one = 1;
    if (::write(event, &one, sizeof one) < 0) return; // it is raised already
  }

  /// In pieces, so that a terminal that takes nothing any more does not hold up the end.
  void show(std::string_view text) {
    while (!text.empty() && !stopping_) {
      pollfd room{STDOUT_FILENO, POLLOUT, 0};
      if (::poll(&room, 1, 200) <= 0) continue;
      auto n = ::write(STDOUT_FILENO, text.data(), std::min<std::size_t>(text.size(), 1024));
      if (n < 0 && errno != EINTR && errno != EAGAIN) return;
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  broker::control_client daemon_;
  const attachment_id id_;
  int over_, wake_;
  std::atomic<bool> stopping_{false};
  terminal_filter filter_;
  error why_;
  std::thread thread_; ///< Last: it uses the others.
};

enum class ending { detached, over, hung_up };

/// The user's side: keys and size to the daemon until somebody has enough.
class keyboard {
public:
  keyboard(broker::control_client& daemon, attachment_id id, char detach_key, bool read_only)
      : daemon_(daemon), id_(std::move(id)), detach_key_(detach_key), read_only_(read_only) {}

  ending run(signal_watch& signals, const output_pump& output) {
    for (;;) {
      pollfd items[3] = {{signals.fd(), POLLIN, 0},
                         {output.fd(), POLLIN, 0},
                         {typed_.size() < most_typed ? STDIN_FILENO : -1, POLLIN, 0}};
      ::poll(items, 3, typed_.empty() && !resized_ ? -1 : again_ms);
      for (int s = signals.next(); s != 0; s = signals.next()) {
        if (s == SIGINT || s == SIGQUIT) return ending::detached;
        if (s == SIGHUP || s == SIGTERM) return ending::hung_up;
        if (s == SIGWINCH) resized_ = true;
      }
      if (items[1].revents) return ending::over;
      if (items[2].revents)
        if (auto end = read(); end != ending::over) return end;
      pass_on();
    }
  }

private:
  static constexpr std::size_t most_typed = max_attach_bytes;
  static constexpr int again_ms = 50; // until what the daemon had no room for is offered again

  /// ending::over: it goes on.
  ending read() {
    char piece[4096];
    auto n = ::read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && errno == EINTR) return ending::over;
    if (n <= 0) return ending::hung_up;
    std::string_view keys{piece, static_cast<std::size_t>(n)};
    auto leave = keys.find(detach_key_);
    if (read_only_) leave = std::min(leave, keys.find('\x03')); // there is nobody to interrupt
    if (!read_only_) typed_ += keys.substr(0, leave);
    if (leave == keys.npos) return ending::over;
    pass_on();
    return ending::detached;
  }

  /// A failure is seen by the output's side, which says why.
  void pass_on() {
    if (typed_.empty() && !resized_) return;
    attach_write_request r{id_, offset_, {typed_.substr(0, max_attach_bytes)}};
    if (resized_) {
      auto size = raw_terminal::size();
      r.columns = size.ws_col;
      r.rows = size.ws_row;
    }
    auto taken = daemon_.call(r, call_deadline);
    if (!taken || taken->next_offset < offset_) return;
    resized_ = false;
    typed_.erase(0, static_cast<std::size_t>(taken->next_offset - offset_));
    offset_ = taken->next_offset;
  }

  broker::control_client& daemon_;
  const attachment_id id_;
  const char detach_key_;
  const bool read_only_;
  std::string typed_; ///< Not taken by the daemon yet.
  std::uint64_t offset_ = 0;
  bool resized_ = false;
};

/// What was opened, and how it is spoken of.
struct opened {
  std::string about; ///< At the beginning.
  std::string left;  ///< At the end, when the user left.
  std::string over;  ///< At the end, when it ended by itself.
  bool read_only = false;
};

using opener = std::function<result<opened>(broker::control_client&, const attachment_id&)>;

/// The same opening again and again is one attachment: so a signal is heard while the sandbox's
/// provider is waited for. errc::cancelled then; who opened it closes it.
template <class Request>
auto open_patiently(broker::control_client& daemon, const Request& r)
    -> decltype(daemon.call(r, call_deadline)) {
  using clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds slice{1000};
  bool told = false;
  for (const auto end = clock::now() + command_deadline;;) {
    auto done = daemon.call(r, slice);
    if (done || done.err().code != errc::timed_out || clock::now() >= end) return done;
    if (signal_watch::pending()) return make_error(errc::cancelled, "it was not open yet");
    if (!std::exchange(told, true)) remark("Waiting for the sandbox; Ctrl+C leaves.");
  }
}

/// The pane meant; with a way on where a swarm was named.
result<found_pane> pane_meant(broker::control_client& daemon, const std::string& text) {
  auto pane = find_pane(daemon, text);
  if (pane || pane.err().code != errc::no_such_pane || text.find('/') != std::string::npos)
    return pane;
  auto swarm = find_swarm(daemon, text);
  if (!swarm) return pane;
  return make_error(errc::no_such_pane,
                    text + " is a swarm; name one of its panes, such as " + text + "/p0");
}

result<opened> open_view(broker::control_client& daemon, const attachment_id& id,
                         const terminal_options& o) {
  attach_open_request r;
  r.attachment = id;
  r.read_only = o.read_only;
  std::string name;
  if (sandbox_id sandbox{o.target}; sandbox.valid()) {
    r.sandbox = sandbox;
    name = "all panes of " + sandbox.value;
  } else {
    auto pane = pane_meant(daemon, o.target);
    if (!pane) return pane.err();
    if (pane->state == pane_phase::closed)
      return make_error(errc::wrong_phase, pane->name + " has ended; `skep logs` shows its output");
    if (auto refused = input_refused(*pane); refused && !o.read_only) {
      remark("Watching only: " + refused.message + ".");
      r.read_only = true;
    }
    r.pane = pane->pane;
    name = pane->name;
  }
  auto size = raw_terminal::size();
  r.columns = size.ws_col;
  r.rows = size.ws_row;
  if (auto done = open_patiently(daemon, r); !done) return done.err();
  return opened{"Attached to " + name + (r.read_only ? ", read-only" : "") + ". " + o.detach_key
                    + " detaches; the agents go on.",
                "Detached from " + name + "; the agents go on.",
                "The view of " + name + " has ended.", r.read_only};
}

result<opened> open_shell(broker::control_client& daemon, const attachment_id& id,
                          const terminal_options& o) {
  shell_open_request r;
  r.attachment = id;
  std::string name = o.target;
  if (sandbox_id sandbox{o.target}; sandbox.valid()) {
    r.sandbox = sandbox;
  } else {
    auto pane = pane_meant(daemon, o.target);
    if (!pane) return pane.err();
    r.pane = pane->pane;
    name = "the folder of " + pane->name;
  }
  auto size = raw_terminal::size();
  r.columns = size.ws_col;
  r.rows = size.ws_row;
  auto done = open_patiently(daemon, r);
  if (!done) return done.err();
  auto about = "A shell in " + name + ". `exit` or " + o.detach_key + " ends it.";
  if (auto left = done->kept_until - wall_clock(); left.count() > 0)
    about += " The sandbox is kept for " + duration_text(left.count()) + " more.";
  return opened{about, "Left the shell in " + name + ".", "The shell in " + name + " has ended."};
}

/// The user's terminal on what `open` opens, until one of the two has enough.
int watch(const app& a, const terminal_options& o, const std::string& no_terminal,
          const opener& open) {
  if (a.json_mode || !raw_terminal::possible())
    return fail(a, make_error(errc::bad_argument, no_terminal));
  auto key = parse_key(o.detach_key);
  if (key == 0)
    return fail(a,
                make_error(errc::bad_argument, "--detach-key wants ctrl- and one of a-z ] \\ ^ _"));
  signal_watch signals{SIGWINCH, SIGQUIT, SIGTSTP}; // before any thread
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail_unless_left(a, signals, daemon.err());
  auto id = attachment_id::make();
  auto what = open(*daemon, id);
  if (!what) {
    (void)daemon->call(attach_close_request{id}, call_deadline); // it may come up yet
    return fail_unless_left(a, signals, what.err());
  }
  remark(what->about);

  raw_terminal terminal;
  output_pump output{broker::control_client{endpoints_of(*paths).control}, id};
  auto end = keyboard{*daemon, id, key, what->read_only}.run(signals, output);
  // Also ends the read that the output waits for.
  auto closed = daemon->call(attach_close_request{id}, call_deadline);
  output.stop();
  auto reset = output.reset() + "\r\n";
  if (::write(STDOUT_FILENO, reset.data(), reset.size()) < 0) end = ending::hung_up;
  terminal.restore();
  if (end == ending::hung_up) return exit_hangup;
  if (end == ending::over && output.why()) return fail(a, output.why());
  remark(end == ending::over ? what->over : what->left);
  return 0;
}

int attach(const app& a, const terminal_options& o) {
  return watch(a, o,
               "attach is for people at a terminal; use `skep logs -f` to watch and `skep send` to "
               "type",
               [&](auto& daemon, const auto& id) { return open_view(daemon, id, o); });
}

int shell(const app& a, const terminal_options& o) {
  return watch(a, o,
               "shell is for people at a terminal; `skep diff` and `skep download` bring files out",
               [&](auto& daemon, const auto& id) { return open_shell(daemon, id, o); });
}

} // namespace

void add_attach(CLI::App& cli, app& a) {
  auto o = std::make_shared<terminal_options>();
  auto* c = add_command(cli, a, "attach", "Watch an agent on your terminal and type to it",
                        "  skep attach sw_x/p0\n"
                        "  skep attach --read-only pn_y\n"
                        "  skep attach sb_z",
                        [&a, o] { return attach(a, *o); });
  c->add_option("TARGET", o->target, "pn_... or SWARM/NAME; or sb_...: all its panes, in tmux")
      ->required();
  c->add_flag("--read-only", o->read_only, "Only watch: nothing goes in");
  c->add_option("--detach-key", o->detach_key, "The key that leaves; the agent goes on")
      ->capture_default_str();

  o = std::make_shared<terminal_options>();
  c = add_command(cli, a, "shell", "Open a shell in a sandbox that runs or was kept",
                  "  skep shell sw_x/p0\n"
                  "  skep shell sb_z",
                  [&a, o] { return shell(a, *o); });
  c->add_option("TARGET", o->target,
                "pn_... or SWARM/NAME: in the folder of that agent; or sb_...: in its home")
      ->required();
  c->add_option("--detach-key", o->detach_key, "The key that leaves, and ends the shell")
      ->capture_default_str();
}

} // namespace skep::cli
