// skep: sends commands to skepd and follows what it tells. Only the parser lives here; every family
// of commands has a file of its own.
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

namespace {

constexpr auto about =
    "Skep runs swarms of coding agents in isolated sandboxes and supervises them.";

constexpr auto footer = R"(Five everyday commands:
  skep run --sandboxes 2 --agent claude --prompt "Fix the failing test"
  skep ps
  skep logs -f sw_x/p0
  skep stop sw_x
  skep doctor

With --json every command prints one JSON document (or JSON lines) on stdout, also for every error.
Exit codes: 0 done; 64 wrong usage; 65 conflict; 66 not found; 69 not available; 70 our fault; 74 disk;
75 limit, try later; 76 refused by the provider; 77 key missing or refused; 78 configuration; 79 time
limit; 80 budget; 81 an agent failed; 82 credentials found; 83 conflicts; 129 and 130 detached or cancelled;
137 killed.)";

/// The command that was chosen, and what it is below, each with a space behind it: "secret set ".
std::string chosen_words(const CLI::App& cli) {
  std::string out;
  for (auto chosen = cli.get_subcommands(); !chosen.empty();
       chosen = chosen.front()->get_subcommands())
    out += chosen.front()->get_name() + " ";
  return out;
}

int usage_error(skep::cli::app& a, const CLI::App& cli, const std::string& text) {
  a.command = chosen_words(cli); // the hint leads to its help
  return skep::cli::fail(a, skep::make_error(skep::errc::bad_argument, text));
}

// CLI11 reads a word in brackets as a list and cuts it at its commas wherever an option takes many
// values. A NUL, which no argument of a program can hold, closes such a word until the parser has
// taken it as one.
void close_brackets(std::vector<std::string>& words) {
  for (auto& w : words)
    if (w.size() > 1 && w.front() == '[' && w.back() == ']') w.push_back('\0');
}

void open_brackets(CLI::App& cli) {
  auto open = [](std::string& word) {
    if (!word.empty() && word.back() == '\0') word.pop_back();
    return std::string{};
  };
  for (auto* option : cli.get_options())
    if (option->get_items_expected_max() > 0) option->transform(CLI::Validator(open, ""));
  for (auto* command : cli.get_subcommands({}))
    open_brackets(*command);
}

/// The word that should name a command of `group` and does not; empty when there is none.
std::string no_command(const CLI::App& group, const std::vector<std::string>& words) {
  std::string previous;
  bool inside = group.get_parent() == nullptr;
  for (const auto& w : words) {
    auto value = previous == "--state";
    previous = w;
    if (value || w.starts_with("-")) continue;
    if (inside) {
      auto all = group.get_subcommands([](const CLI::App*) { return true; });
      auto named = [&](const CLI::App* c) { return c->get_name() == w; };
      return std::any_of(all.begin(), all.end(), named) ? std::string{} : w;
    }
    inside = w == group.get_name();
  }
  return {};
}

/// What to do about a word that `skep run` does not take: a command or a prompt without what it
/// needs in front of it.
std::string advice_for_run(const CLI::App& run, const std::string& word) {
  const auto* agent = run.get_option("--agent");
  const bool named = agent->count() > 0 && agent->results().front() != "command";
  if (named || word.find(' ') != std::string::npos)
    return "; a prompt is given with --prompt: skep run --agent "
           + (named ? agent->results().front() : "claude") + " --prompt TEXT";
  return "; put the command behind `--`: skep run -- " + word;
}

/// About words that nothing takes, in the order in which they were typed.
std::string not_expected(const CLI::App& cli, bool has_trailing) {
  auto words = cli.remaining(true);
  std::string all;
  for (auto& w : words) {
    if (!w.empty() && w.back() == '\0') w.pop_back(); // close_brackets()
    all += (all.empty() ? "" : " ") + w;
  }
  constexpr std::size_t longest = 200;
  auto text = "not expected: " + skep::cli::safe_line(all, longest);
  auto chosen = cli.get_subcommands();
  if (has_trailing || words.empty() || words.front().starts_with("-") || chosen.empty()
      || chosen.front()->get_name() != "run")
    return text;
  return text + advice_for_run(*chosen.front(), skep::cli::safe_line(words.front(), longest));
}

/// What CLI11 says when words are missing or wrong, or clearer words for a command's misspelt name
/// and for words that nothing takes.
std::string parse_error_text(const CLI::App& cli, const std::vector<std::string>& words,
                             const CLI::ParseError& e, bool has_trailing) {
  const auto* group = &cli;
  for (auto chosen = cli.get_subcommands(); !chosen.empty(); chosen = group->get_subcommands())
    group = chosen.front();
  if (group->get_require_subcommand_min() == 0)
    return dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr ? not_expected(cli, has_trailing)
                                                                : e.what();
  auto word = no_command(*group, words);
  return word.empty() ? e.what() : "there is no command '" + word + "'";
}

/// Words behind "--" are refused where the command that was chosen takes none, so that nothing of
/// what was typed is lost.
void check_trailing(const CLI::App& cli) {
  auto chosen = cli.get_subcommands();
  auto name = chosen.empty() ? std::string{} : chosen.front()->get_name();
  if (name == "run" || name == "send") return;
  throw CLI::ParseError("only `skep run` takes a command after --, and `skep send` a text",
                        CLI::ExitCodes::ExtrasError);
}

// Whoever closed standard output or error has the next file that is opened written into.
void open_standard_streams() {
  for (int fd : {0, 1, 2})
    if (::fcntl(fd, F_GETFD) < 0) {
      if (::open("/dev/null", O_RDWR) < 0) return;
    }
}

/// What was printed may have met a full disk.
int finish(const skep::cli::app& a) {
  auto e = skep::cli::flush_output();
  if (!e) return a.exit_code;
  skep::cli::remark("skep: " + skep::render(e));
  return a.exit_code != 0 ? a.exit_code : skep::info(e.code).exit_code;
}

} // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  // Service managers start programs that ignore it: who reads a pipe and leaves is to end us.
  std::signal(SIGPIPE, SIG_DFL);
  std::setlocale(LC_CTYPE, "C.UTF-8");
  std::vector<std::string> words(argv + 1, argv + argc);
  skep::cli::app a;
  // What stands after "--" is the agent's command, or text for it, and is never parsed.
  auto dashes = std::find(words.begin(), words.end(), "--");
  bool has_trailing = dashes != words.end();
  if (has_trailing) a.trailing.assign(dashes + 1, words.end());
  words.erase(dashes, words.end());
  a.json_mode = std::find(words.begin(), words.end(), "--json") != words.end();

  CLI::App cli{about, "skep"};
  cli.footer(footer);
  cli.require_subcommand(1);
  cli.fallthrough(); // global options may stand behind the command
  cli.add_option("--state", a.state_option,
                 "State directory (default: $SKEP_STATE, else /var/lib/skep\nfor root, "
                 "$XDG_STATE_HOME/skep or\n~/.local/state/skep for others)");
  cli.add_flag("--json", a.json_mode, "Machine-readable output");
  cli.set_version_flag("--version", skep::cli::version_line(), "Print the version and exit");
  skep::cli::add_run(cli, a);
  skep::cli::add_list(cli, a);
  skep::cli::add_logs(cli, a);
  skep::cli::add_diff(cli, a);
  skep::cli::add_apply(cli, a);
  skep::cli::add_events(cli, a);
  skep::cli::add_input(cli, a);
  skep::cli::add_attach(cli, a);
  skep::cli::add_stop(cli, a);
  skep::cli::add_panic(cli, a);
  skep::cli::add_budget(cli, a);
  skep::cli::add_doctor(cli, a);
  skep::cli::add_secret(cli, a);
  skep::cli::add_health(cli, a);
  skep::cli::add_files(cli, a);
  skep::cli::add_db(cli, a);
  skep::cli::add_recover(cli, a);
  skep::cli::add_audit(cli, a);
  skep::cli::add_daemon(cli, a);
  open_brackets(cli);

  // Before the command's own body: which command it is, only the parser knows.
  cli.parse_complete_callback([&] {
    a.command = chosen_words(cli);
    if (has_trailing) check_trailing(cli);
  });
  const auto given = words;
  close_brackets(words);
  std::reverse(words.begin(), words.end()); // what CLI11 wants
  try {
    cli.parse(std::move(words));
  } catch (const CLI::CallForHelp& e) {
    return cli.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return cli.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return cli.exit(e);
  } catch (const CLI::ParseError& e) {
    return usage_error(a, cli, parse_error_text(cli, given, e, has_trailing));
  } catch (const std::exception& e) {
    return skep::cli::fail(a, skep::make_error(skep::errc::internal, e.what()));
  }
  return finish(a);
}
