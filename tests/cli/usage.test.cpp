// What needs no daemon: help, wrong usage, bad input, secrets.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

#include <sstream>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace skep;
using namespace skep::cli_test;

namespace {

/// The names of the commands in a help text.
std::vector<std::string> commands_in(const std::string& help) {
  std::vector<std::string> out;
  std::istringstream lines{help};
  bool listed = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) listed = false;
    // The rest of a long description begins further to the right.
    if (listed && line.size() > 2 && line.starts_with("  ") && line[2] != ' ')
      out.push_back(line.substr(2, line.find(' ', 2) - 2));
    if (line == "Subcommands:") listed = true;
  }
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

} // namespace

TEST_CASE("every command explains itself with examples") {
  cli_world w;
  auto help = [&](std::vector<std::string> words) {
    words.push_back("--help");
    auto x = w.skep(words);
    CHECK(x.code == 0);
    CHECK(x.err.empty());
    return x.out;
  };
  const auto first = help({});
  // Every place where the state directory may be.
  for (const char* place :
       {"$SKEP_STATE", "/var/lib/skep", "$XDG_STATE_HOME/skep", "~/.local/state/skep"})
    CHECK(first.find(place) != std::string::npos);
  std::vector<std::vector<std::string>> waiting;
  for (const auto& name : commands_in(first))
    waiting.push_back({name});
  std::vector<std::string> seen;
  while (!waiting.empty()) {
    auto words = waiting.back();
    waiting.pop_back();
    auto name = joined(words);
    INFO(name);
    auto text = help(words);
    auto below = commands_in(text);
    for (const auto& next : below) {
      waiting.push_back(words);
      waiting.back().push_back(next);
    }
    // A group that does nothing by itself leads to its commands.
    if (text.find("] SUBCOMMAND\n") != std::string::npos) {
      CHECK_FALSE(below.empty());
      continue;
    }
    seen.push_back(name);
    CHECK(text.find("Examples:") != std::string::npos);
    CHECK(text.find("  skep " + name) != std::string::npos);
  }
  // The list was read: some of all kinds, of the first level and of groups.
  for (const std::string known : {"run", "apply", "diff", "download", "budget", "budget set",
                                  "health", "audit show", "files why", "db rollback", "version"}) {
    INFO(known);
    CHECK(std::find(seen.begin(), seen.end(), known) != seen.end());
  }
}

TEST_CASE("bad input is refused in under a second with its code, and nothing is made") {
  cli_world w;
  auto plain = w.dir.path + "/plain";
  std::filesystem::create_directories(plain);
  auto unborn = w.dir.path + "/unborn";
  run_to_end({"git", "init", "-q", unborn}, w.home);
  auto long_prompt = w.dir.path + "/long";
  write_text(long_prompt, std::string(max_prompt_bytes + 1, 'x'));
  auto nul_prompt = w.dir.path + "/nul";
  write_text(nul_prompt, std::string("a\0b", 3));
  auto prompt = w.dir.path + "/prompt";
  write_text(prompt, "do it");

  write_text(w.repo + "/prompt.txt", "no program");

  struct bad {
    std::vector<std::string> args;
    errc code;
  };
  const std::vector<bad> table = {
      {{}, errc::bad_argument},
      {{"fly"}, errc::bad_argument},
      {{"ps", "--fly"}, errc::bad_argument},
      {{"ps", "--", "true"}, errc::bad_argument},
      {{"status", "run", "--", "true"}, errc::bad_argument},
      {{"--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo}, errc::bad_argument},
      {{"run", "--repo", w.repo, "extra", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--agent", "claude"}, errc::prompt_missing},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt", "a", "--prompt-file", prompt},
       errc::prompt_and_prompt_file},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt", ""}, errc::prompt_missing},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt-file", long_prompt},
       errc::prompt_too_long},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt-file", nul_prompt},
       errc::prompt_has_nul},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt-file", prompt + "-not"},
       errc::file_not_found},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt", "a"}, errc::secret_missing},
      {{"run", "--repo", w.repo, "--agent", "claude", "--prompt", "a", "--", "true"},
       errc::bad_argument},
      {{"run", "--repo", w.repo, "--agent", "bard", "--prompt", "a"}, errc::unknown_agent},
      {{"run", "--repo", w.repo, "--panes", "0", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--panes", "101", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--panes", "many", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--sandboxes", "0", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--sandboxes", "1001", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--restarts", "11", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--fail-above", "0", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--fail-above", "101", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--limit", "soon", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--limit", "25h", "--", "true"}, errc::out_of_range},
      {{"run", "--repo", w.repo, "--env", "NOVALUE", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", plain, "--", "true"}, errc::not_a_repository},
      {{"run", "--repo", plain + "-not", "--", "true"}, errc::file_not_found},
      {{"run", "--repo", unborn, "--", "true"}, errc::no_commit},
      {{"run", "--repo", w.repo, "--", "no-such-program-here"}, errc::agent_not_visible},
      {{"run", "--repo", w.repo, "--", "./no-such-file"}, errc::agent_not_visible},
      {{"run", "--repo", w.repo, "--", "./prompt.txt"}, errc::agent_not_visible},
      {{"run", "--repo", w.repo, "--", "/no/such/agent"}, errc::agent_not_visible},
      {{"run", "--repo", w.repo, "--detach", "--", w.repo + "/prompt.txt"},
       errc::agent_not_visible},
      {{"run", "--repo", w.repo, "--out", prompt, "--", "true"}, errc::io},
      {{"run", "--repo", w.repo, "--out", prompt + "/below/it", "--", "true"}, errc::io},
      {{"run", "--repo", w.repo, "--name", "two\nlines", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--name=-x", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--template", "a\tb", "--", "true"}, errc::bad_argument},
      {{"run", "--repo", w.repo, "--provider", "no\rone", "--", "true"}, errc::bad_argument},
      {{"apply", "sw_x"}, errc::no_daemon}, // which knows the results; names are looked at before
      {{"apply", "sw_x", "--mode", "branch", "--branch", "-x"}, errc::bad_argument},
      {{"apply", "sw_x", "--mode", "pr", "--branch", "a..b"}, errc::bad_argument},
      {{"apply", "sw_x", "--mode", "pr", "--target=-x"}, errc::bad_argument},
      {{"apply", "sw_x", "--mode", "pr", "--remote=-x"}, errc::bad_argument},
      {{"apply", "sw_x", "--mode", "pr", "--remote", "https://example.org/x"}, errc::bad_argument},
      {{"apply", "sw_x", "--mode", "branch", "--git-name", "<A>", "--git-email", "a@b"},
       errc::bad_argument},
      {{"apply", "sw_x", "--mode", "branch", "--git-name", "A", "--git-email", "a@b\nc"},
       errc::bad_argument},
      {{"kill"}, errc::bad_argument},
      {{"stop", "sw_x", "--all"}, errc::bad_argument},
      {{"secret", "set", "bad-name"}, errc::bad_argument},
      {{"secret", "remove", "NOT_SET"}, errc::secret_missing},
      {{"db", "status"}, errc::file_not_found},
      {{"db", "rollback", "--to", "0"}, errc::out_of_range},
      {{"doctor", "--agent", "bard"}, errc::unknown_agent},
      {{"ps"}, errc::no_daemon},
      {{"status", "sw_x"}, errc::no_daemon},
      {{"logs", "sw_x"}, errc::no_daemon},
      {{"events"}, errc::no_daemon},
      {{"send", "pn_x", "hi"}, errc::no_daemon},
      {{"daemon", "status"}, errc::no_daemon},
      {{"daemon", "stop"}, errc::no_daemon},
  };
  for (const auto& row : table) {
    std::string shown;
    for (const auto& x : row.args)
      shown += x.substr(0, 60) + " ";
    INFO(shown);
    auto begin = std::chrono::steady_clock::now();
    auto text = w.skep(row.args);
    CHECK(std::chrono::steady_clock::now() - begin < 5s); // under 1 s but for a loaded machine
    CHECK(text.code == info(row.code).exit_code);
    CHECK(text.out.empty());
    CHECK(text.err.find(std::string{to_string(row.code)} + ": ") != std::string::npos);
    CHECK(text.err.find("Hint: ") != std::string::npos);

    auto args = row.args;
    args.insert(args.begin(), "--json");
    auto machine = w.skep(args);
    CHECK(machine.code == info(row.code).exit_code);
    CHECK(machine.err.empty());
    auto doc = machine.document();
    REQUIRE(doc.is_object());
    CHECK(doc["error"]["code"] == to_string(row.code));
    CHECK(doc["error"]["exit_code"] == machine.code);
    CHECK(doc["error"]["hint"] == info(row.code).hint);
  }
  CHECK_FALSE(std::filesystem::exists(w.state));
  CHECK_FALSE(std::filesystem::exists(w.repo + "/skep-out"));
}

TEST_CASE("a command that does not exist is named, also below a group of commands") {
  cli_world w;
  auto says = [&](std::vector<std::string> args, const std::string& word) {
    auto x = w.skep(std::move(args));
    CHECK(x.code == info(errc::bad_argument).exit_code);
    CHECK(x.err.find("there is no command '" + word + "'") != std::string::npos);
  };
  says({"fly"}, "fly");
  says({"secret", "get", "NAME"}, "get");
  says({"--state", "secret", "secret", "show"}, "show");
  CHECK(w.skep({"secret"}).err.find("subcommand is required") != std::string::npos);
}

TEST_CASE("wrong usage leads to the help of the command that was meant, also below a group") {
  cli_world w;
  auto leads_to = [&](std::vector<std::string> args, const std::string& help) {
    INFO(help);
    auto x = w.skep(args);
    CHECK(x.code == info(errc::bad_argument).exit_code);
    CHECK(x.err.find(" | Hint: see `skep " + help + "` for ") != std::string::npos);
    CHECK(x.err.find("COMMAND") == std::string::npos);
    CHECK(x.err.find('\n') == x.err.size() - 1); // one line
    args.insert(args.begin(), "--json");
    CHECK(w.skep(args).err.empty());
  };
  leads_to({"secret", "set"}, "secret set --help");
  leads_to({"secret", "remove", "--fly"}, "secret remove --help");
  leads_to({"secret", "get", "NAME"}, "secret --help");
  leads_to({"secret"}, "secret --help");
  leads_to({"ps", "--fly"}, "ps --help");
  leads_to({"fly"}, "--help");
  // A value that the parser takes, and the command does not.
  leads_to({"run", "--repo", w.repo, "--limit", "soon", "--", "true"}, "run --help");
  auto limit = w.skep({"run", "--repo", w.repo, "--limit", "25h", "--", "true"});
  CHECK(limit.err.find("the time limit must be between 1s and 24h | Hint: see `skep run --help`")
        != std::string::npos);
}

TEST_CASE("words that skep run does not take are told in order, with what belongs before them") {
  cli_world w;
  auto says = [&](std::vector<std::string> args, const std::string& text) {
    args.insert(args.begin(), "run");
    auto x = w.skep(args);
    INFO(x.err);
    CHECK(x.code == info(errc::bad_argument).exit_code);
    CHECK(x.err.find(": " + text + " | Hint: ") != std::string::npos);
  };
  says({"./fix.sh"}, "not expected: ./fix.sh; put the command behind `--`: skep run -- ./fix.sh");
  says({"--panes", "2", "./fix.sh", "now"},
       "not expected: ./fix.sh now; put the command behind `--`: skep run -- ./fix.sh");
  says({"--agent", "claude", "fix it"}, "not expected: fix it; a prompt is given with --prompt: "
                                        "skep run --agent claude --prompt TEXT");
  says({"fix it"}, "not expected: fix it; a prompt is given with --prompt: skep run --agent claude "
                   "--prompt TEXT");
  says({"--bogus", "3"}, "not expected: --bogus 3");
  says({"[a,b]", "--", "true"}, "not expected: [a,b]");
  CHECK(w.skep({"run", "--help"}).out.find("\nUsage: skep run [OPTIONS] [-- COMMAND...]\n")
        != std::string::npos);
  CHECK(w.skep({"ps", "--help"}).out.find("COMMAND...") == std::string::npos);
}

TEST_CASE("every program tells the release when it is asked by --version") {
  auto asked = run_to_end({bin_dir() + "/skep", "version", "--json"}, "/").document();
  auto release = asked["version"].get<std::string>();
  for (const std::string name : {"skep", "skepd", "skep-host", "skep-guest", "skep-envd"}) {
    INFO(name);
    auto told = run_to_end({bin_dir() + "/" + name, "--version"}, "/");
    CHECK(told.code == 0);
    CHECK(told.out.starts_with(name + " " + release));
    CHECK(told.err.empty());
  }
}

TEST_CASE("what could not be printed is an error, not an exit code of 0") {
  cli_world w;
  auto shell = [&](const std::string& line) {
    return run_to_end({"/bin/sh", "-c", line, w.skep_program}, w.home);
  };
  auto full = shell("\"$0\" version > /dev/full");
  CHECK(full.code == info(errc::io).exit_code);
  CHECK(full.err.find("writing standard output") != std::string::npos);
  CHECK(shell("\"$0\" version > /dev/null").code == 0);
  CHECK(shell("\"$0\" version >&- 2>&- <&-").code == 0); // nobody wants to hear it
}

TEST_CASE("global options may stand before and behind the command") {
  cli_world w;
  auto before = run_to_end({w.skep_program, "--json", "version"}, w.home);
  auto behind = run_to_end({w.skep_program, "version", "--json"}, w.home);
  CHECK(before.code == 0);
  CHECK(before.out == behind.out);
  CHECK(before.document()["protocol"] == protocol_version);
}

TEST_CASE("secrets go in by standard input, stay 0600, and never come out", "[owasp-a02]") {
  cli_world w;
  const std::string value = "canary-value-1234567890";
  auto x = w.skep({"secret", "set", "ANTHROPIC_API_KEY"}, value + "\n");
  CHECK(x.code == 0);
  CHECK((x.out + x.err).find(value) == std::string::npos);
  std::size_t holders = 0;
  for (const auto& f : std::filesystem::recursive_directory_iterator{w.state + "/secrets"}) {
    struct stat st {};
    REQUIRE(::lstat(f.path().c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0600);
    ++holders;
  }
  CHECK(holders == 1);
  auto list = w.skep({"secret", "list", "--json"});
  CHECK(list.document()["secrets"] == json::array({"ANTHROPIC_API_KEY"}));
  auto doctor = w.skep({"doctor", "--json"});
  CHECK(doctor.out.find(value) == std::string::npos);
  CHECK(doctor.out.find("present") != std::string::npos);
  CHECK(w.skep({"secret", "remove", "ANTHROPIC_API_KEY"}).code == 0);
  CHECK(w.skep({"secret", "list"}).out.empty());
  CHECK(w.skep({"secret", "set", "EMPTY"}, "").code == info(errc::bad_argument).exit_code);
}

TEST_CASE("recover shows what the next daemon does, makes nothing, and needs no daemon") {
  cli_world w;
  auto empty = w.skep({"recover", "--plan"});
  CHECK(empty.code == 0);
  CHECK(empty.out == "Nothing is to be recovered.\n");
  CHECK(w.skep({"db", "status"}).code != 0); // and no database was made by looking
  auto bare = w.skep({"recover", "--json"});
  CHECK(bare.code == 64);
  CHECK(json::parse(bare.out).at("error").at("code") == "bad_argument");
  CHECK(bare.out.find("skep recover --plan") != std::string::npos);
}

TEST_CASE("doctor names a copied state, and the user decides whose it is") {
  cli_world w;
  auto code_of = [](const finished& x) {
    auto doc = x.document();
    return doc.is_object() && doc.contains("error") ? doc["error"].value("code", "")
                                                    : std::string{};
  };
  REQUIRE(w.skep({"db", "migrate"}).code == 0);
  REQUIRE(w.skep({"db", "rebind", "--keep-id"}).code == 0); // what the first skepd does
  auto id_of = [](const std::string& dir) {
    std::ifstream in{dir + "/install"};
    std::string id;
    std::getline(in, id);
    return id;
  };
  auto id = id_of(w.state);
  REQUIRE(id.starts_with("in_"));
  auto copy = w.dir.path + "/copy";
  auto moved = w.dir.path + "/moved";
  std::filesystem::copy(w.state, copy, std::filesystem::copy_options::recursive);
  std::filesystem::permissions(copy, std::filesystem::perms::owner_all);
  std::filesystem::rename(w.state, moved);
  auto in = [&](const std::string& dir, std::vector<std::string> args) {
    w.state = dir;
    args.push_back("--json");
    return w.skep(args);
  };
  for (const auto& dir : {copy, moved}) {
    INFO(dir);
    auto doctor = in(dir, {"doctor"});
    CHECK(doctor.code != 0);
    CHECK(doctor.out.find("copied_state") != std::string::npos);
    CHECK(doctor.out.find("skep db rebind") != std::string::npos);
    CHECK(code_of(in(dir, {"db", "rebind"})) == "bad_argument");
    CHECK(code_of(in(dir, {"db", "rebind", "--keep-id", "--new-id"})) == "bad_argument");
    CHECK(id_of(dir) == id);
  }
  auto kept = in(moved, {"db", "rebind", "--keep-id"});
  CHECK(kept.code == 0);
  CHECK(kept.document()["install"] == id);
  auto fresh = in(copy, {"db", "rebind", "--new-id"});
  CHECK(fresh.code == 0);
  CHECK(fresh.document()["install"] == id_of(copy));
  CHECK(id_of(copy) != id);
  for (const auto& dir : {copy, moved}) {
    INFO(dir);
    CHECK(code_of(in(dir, {"db", "rebind", "--new-id"})) == "bad_argument"); // no copy any more
    CHECK(in(dir, {"db", "rebind", "--keep-id"}).code == 0);
  }
  CHECK(code_of(in(w.dir.path + "/nowhere", {"db", "rebind", "--new-id"})) == "file_not_found");
  CHECK_FALSE(std::filesystem::exists(w.dir.path + "/nowhere"));
}

TEST_CASE("a run at a provider without its key is refused, and nothing is made") {
  cli_world w;
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml",
             "[providers.far]\napi_url = \"http://127.0.0.1:1\"\nkey = \"FAR_KEY\"\n");
  for (const char* more : {"--detach", "--dry-run", "--keep"}) {
    auto x = w.run({"--provider", "far", more, "--json", "--", "true"});
    INFO(x.out << x.err);
    CHECK(x.code == 77);
    auto told = x.document()["error"];
    CHECK(told["code"] == "secret_missing");
    CHECK(told["message"].get<std::string>().find("FAR_KEY") != std::string::npos);
  }
  for (const auto& made : std::filesystem::directory_iterator(w.state))
    CHECK(made.path().filename() == "skep.toml");
}

TEST_CASE("a run whose end could not ask the forge is refused at its beginning") {
  cli_world w;
  auto refused = [&] {
    auto x = w.run({"--apply", "pr", "--json", "--", "true"});
    INFO(x.out << x.err);
    return x.document()["error"].value("code", "") + ": "
           + x.document()["error"].value("message", "");
  };
  CHECK(refused().starts_with("bad_argument: no remote of this name"));
  CHECK_FALSE(std::filesystem::exists(w.state));
  w.git({"remote", "add", "origin", w.dir.path + "/elsewhere.git"});
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml", "[forge]\ntoken = \"GIT_TOKEN\"\n");
  CHECK(refused() == "secret_missing: GIT_TOKEN");
  write_text(w.state + "/skep.toml", "[forge]\ntarget = \"a..b\"\n");
  CHECK_FALSE(refused().starts_with(": "));
  for (const auto& made : std::filesystem::directory_iterator(w.state))
    CHECK(made.path().filename() == "skep.toml");
}

TEST_CASE("doctor names everything it looked at and its exit code tells the result") {
  cli_world w;
  auto x = w.skep({"doctor", "--json"});
  auto doc = x.document();
  REQUIRE(doc.is_object());
  CHECK(doc["ok"].get<bool>() == (x.code == 0));
  std::vector<std::string> names;
  for (const auto& c : doc["checks"])
    names.push_back(c["name"]);
  for (const auto* n :
       {"skep", "git", "bwrap", "tmux", "skepd", "skep-host", "skep-guest", "isolation",
        "configuration", "state", "daemon", "ANTHROPIC_API_KEY", "claude"})
    CHECK(std::find(names.begin(), names.end(), n) != names.end());
  CHECK_FALSE(std::filesystem::exists(w.state));
  auto text_of = [](const json& told, const std::string& name) {
    for (const auto& c : told["checks"])
      if (c["name"] == name) return c["text"].get<std::string>();
    return std::string{"not looked at"};
  };
  CHECK(text_of(doc, "git").find("/git, git version ") != std::string::npos);
  CHECK(text_of(doc, "tmux").find("/tmux, tmux ") != std::string::npos);
  CHECK(text_of(doc, "skep-guest").find("/skep-guest, skep-guest ") != std::string::npos);
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(text_of(doc, "open files")
            .starts_with(files.rlim_max == RLIM_INFINITY ? "no limit"
                                                         : std::to_string(files.rlim_max) + ": "));

  // A provider that does not answer is named; it is not needed for local runs.
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml",
             "[providers.far]\napi_url = \"http://127.0.0.1:1\"\nkey = \"FAR_KEY\"\n");
  REQUIRE(w.skep({"secret", "set", "FAR_KEY"}, "k").code == 0);
  auto far = w.skep({"doctor", "--json"}).document();
  CHECK(text_of(far, "database").find(w.state + "/skep.db") != std::string::npos);
  bool seen = false;
  for (const auto& c : far["checks"])
    if (c["name"] == "provider far") {
      seen = true;
      CHECK(c["verdict"] == "optional");
      CHECK(c["problem"]["code"] == "network");
    }
  CHECK(seen);
  // Until somebody says that it is.
  auto verdict_of = [&](const std::string& name, errc code) {
    auto asked_for = w.skep({"doctor", "--provider", name, "--json"});
    CHECK(asked_for.code != 0);
    auto said = asked_for.document();
    for (const auto& c : said["checks"])
      if (c["name"] == "provider " + name) {
        CHECK(c["problem"]["code"] == std::string{info(code).name});
        return c["verdict"].get<std::string>();
      }
    return std::string{"not looked at"};
  };
  CHECK(verdict_of("far", errc::network) == "missing");
  CHECK(verdict_of("nowhere", errc::unknown_provider) == "missing");
  // What is configured and where another one belongs, not the command that says so.
  auto nowhere = w.skep({"doctor", "--provider", "nowhere", "--json"}).document();
  auto about = std::find_if(nowhere["checks"].begin(), nowhere["checks"].end(),
                            [](const json& c) { return c["name"] == "provider nowhere"; });
  REQUIRE(about != nowhere["checks"].end());
  CHECK((*about)["problem"]["message"]
        == "nowhere (configured: local, far; another one is a section [providers.NAME] of "
               + std::filesystem::canonical(w.state).string() + "/skep.toml)");
  CHECK((*about)["problem"]["hint"]
        == "name a configured one, or add its section [providers.NAME] to skep.toml");
  REQUIRE(w.skep({"secret", "remove", "FAR_KEY"}).code == 0);
  CHECK(verdict_of("far", errc::secret_missing) == "missing");
  write_text(w.state + "/skep.toml", "[local\n");
  auto broken = w.skep({"doctor", "--json"});
  CHECK(broken.code != 0);
  CHECK(broken.out.find("\"bad_config\"") != std::string::npos);
  CHECK(w.run({"--", "true"}).code == info(errc::bad_config).exit_code);
  std::filesystem::remove_all(w.state);
  auto asked = w.skep({"doctor", "--agent", "claude", "--json"});
  CHECK(asked.code != 0); // the key is absent
}
