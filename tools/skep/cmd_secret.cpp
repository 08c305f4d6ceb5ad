// skep secret set|list|remove: keys on this machine. Values come from standard input only and are
// never shown.
#include "host/privileges.hpp"
#include "storage/audit_spool.hpp"
#include "storage/secrets.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <termios.h>
#include <unistd.h>

namespace skep::cli {

namespace {

/// A terminal that does not show what is typed, for its scope. A signal that ends or stops us gets
/// it back as it was first; going on after a stop hides again. One at a time.
class quiet_terminal {
public:
  quiet_terminal() {
    if (::tcgetattr(STDIN_FILENO, &old_) != 0) return;
    quiet_ = old_;
    quiet_.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet_.c_lflag |= ECHONL;
    on_ = 1;
    struct sigaction act {};
    act.sa_handler = &quiet_terminal::on_signal;
    for (std::size_t i = 0; i < signals.size(); ++i) {
      ::sigaction(signals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(signals[i], &act, nullptr);
    }
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet_);
  }
  quiet_terminal(const quiet_terminal&) = delete;
  quiet_terminal& operator=(const quiet_terminal&) = delete;
  ~quiet_terminal() {
    if (!on_) return;
    on_ = 0;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_);
    for (std::size_t i = 0; i < signals.size(); ++i)
      ::sigaction(signals[i], &before_[i], nullptr);
  }

private:
  static constexpr std::array signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

  // Only what a handler may call. A shell that took the terminal meanwhile keeps it.
  static void on_signal(int number) {
    auto kept = errno;
    if (on_) ::tcsetattr(STDIN_FILENO, TCSANOW, &old_);
    if (number == SIGTSTP) {
      ::raise(SIGSTOP); // returns when we go on
      if (on_) ::tcsetattr(STDIN_FILENO, TCSANOW, &quiet_);
      errno = kept;
      return;
    }
    struct sigaction usual {};
    usual.sa_handler = SIG_DFL;
    ::sigaction(number, &usual, nullptr);
    ::raise(number); // delivered when this handler returns
    errno = kept;
  }

  static inline termios old_{}, quiet_{};
  static inline volatile std::sig_atomic_t on_ = 0;
  std::array<struct sigaction, 5> before_{};
};

/// Standard input: one line from a terminal, everything from anything else.
result<std::string> read_value() {
  bool terminal = ::isatty(STDIN_FILENO) == 1;
  std::string out;
  char piece[4096];
  while (out.size() <= storage::max_secret_bytes) {
    auto n = ::read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(errc::io, "reading standard input", std::strerror(errno));
    if (n == 0) break;
    out.append(piece, static_cast<std::size_t>(n));
    if (terminal && out.back() == '\n') break;
  }
  return out;
}

int set(const app& a, const std::string& name) {
  host::harden_process(); // before the value is in our memory; `list` and `remove` never read one
  if (!storage::valid_secret_name(name))
    return fail(a, make_error(errc::bad_argument,
                              "the name of a secret is 1 to 64 characters of A-Z, 0-9 and _"));
  if (is_tty(stdin)) remark("Value of " + name + " (not shown):");
  quiet_terminal quiet;
  auto value = read_value();
  if (!value) return fail(a, value.err());
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto word = storage::leave_word(paths->root, "SECRET_SET", name);
  if (!word) return fail(a, word.err());
  if (auto stored = storage::secret_store{*paths}.set(name, *value); !stored) {
    storage::take_back(*word);
    return fail(a, stored.err());
  }
  if (a.json_mode)
    print_json({{"name", name}, {"present", true}});
  else
    print_line(name + " is set.");
  return 0;
}

int list(const app& a) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto names = storage::secret_store{*paths}.list();
  if (!names) return fail(a, names.err());
  if (a.json_mode) {
    print_json({{"secrets", *names}});
    return 0;
  }
  for (const auto& n : *names)
    print_line(n);
  if (names->empty()) remark("No secret is set.");
  return 0;
}

int remove(const app& a, const std::string& name) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  if (!storage::secret_store{*paths}.has(name))
    return fail(a, make_error(errc::secret_missing, name));
  auto word = storage::leave_word(paths->root, "SECRET_REMOVED", name);
  if (!word) return fail(a, word.err());
  if (auto removed = storage::secret_store{*paths}.remove(name); !removed) {
    storage::take_back(*word);
    return fail(a, removed.err());
  }
  if (a.json_mode)
    print_json({{"name", name}, {"present", false}});
  else
    print_line(name + " is removed.");
  return 0;
}

} // namespace

void add_secret(CLI::App& cli, app& a) {
  auto* group = cli.add_subcommand("secret", "Keep keys for agents and providers");
  group->require_subcommand(1);
  auto name = std::make_shared<std::string>();
  auto* s = add_command(*group, a, "set", "Set a secret from standard input",
                        "  skep secret set ANTHROPIC_API_KEY < key.txt",
                        [&a, name] { return set(a, *name); });
  s->add_option("NAME", *name, "Such as ANTHROPIC_API_KEY")->required();
  add_command(*group, a, "list", "Show the names of the secrets that are set", "  skep secret list",
              [&a] { return list(a); });
  auto gone = std::make_shared<std::string>();
  auto* r =
      add_command(*group, a, "remove", "Remove a secret", "  skep secret remove ANTHROPIC_API_KEY",
                  [&a, gone] { return remove(a, *gone); });
  r->add_option("NAME", *gone, "Its name")->required();
}

} // namespace skep::cli
