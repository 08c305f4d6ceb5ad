// skep doctor: what is missing on this machine, before a run finds out.
#include "actors/follower_places.hpp"
#include "host/isolation.hpp"
#include "sandbox/http_engine.hpp"
#include "storage/files.hpp"
#include "storage/secrets.hpp"
#include "tools/skep/agent_trial.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/provider_check.hpp"
#include "tools/skep/run_spec.hpp"
#include "tools/skep/state_look.hpp"
#include "tools/skep/term.hpp"
#include "transfer/process.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <sys/resource.h>
#include <unistd.h>

namespace skep::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view provider_prefix = "provider "; // of a finding's name

/// The text of a finding beside `copied_state`: the decision is the user's.
constexpr const char* both_rebinds =
    "skep db rebind --keep-id: the original is gone (moved, or restored from a backup); this "
    "directory goes on with its runs and sandboxes\n"
    "skep db rebind --new-id: both live on; sandboxes stay the original's, and runs that are open "
    "here are closed as lost";

/// One thing that was looked at. A problem has an error, a remark only has text.
struct finding {
  std::string name;
  std::string text;
  error problem;
  bool needed = true; ///< Without it nothing runs; else only some agents or features.
};

class examination {
public:
  explicit examination(const app& a) : app_(a) {}

  void add(std::string name, std::string text, error problem = {}, bool needed = true) {
    findings_.push_back({std::move(name), std::move(text), std::move(problem), needed});
  }

  /// True when nothing that is needed is missing so far.
  bool good() const {
    return std::none_of(findings_.begin(), findings_.end(),
                        [](const finding& f) { return f.problem && f.needed; });
  }

  int report() const {
    int code = 0;
    json checks = json::array();
    std::vector<std::vector<std::string>> rows;
    for (const auto& f : findings_) {
      bool bad = f.problem && f.needed;
      if (bad && code == 0) code = info(f.problem.code).exit_code;
      std::string verdict = !f.problem ? "ok" : f.needed ? "missing" : "optional";
      json check{{"name", f.name}, {"verdict", verdict}, {"text", f.text}};
      if (f.problem) check["problem"] = error_document(f.problem)["error"];
      checks.push_back(std::move(check));
      auto t = !f.problem ? tint::green : f.needed ? tint::red : tint::yellow;
      rows.push_back({style(stdout, t, verdict), f.name,
                      f.problem ? safe_line(render(f.problem)) : safe_line(f.text)});
    }
    if (app_.json_mode)
      print_json({{"ok", code == 0}, {"checks", checks}});
    else {
      std::fputs(table(rows).c_str(), stdout);
      for (const auto& f : findings_)
        if (f.problem.code == errc::copied_state) print_line(f.text);
      print_line(code == 0 ? ready() : "Not ready: mend what is missing.");
    }
    return code;
  }

private:
  /// That runs can be started, and at which configured providers they cannot.
  std::string ready() const {
    std::string away;
    for (const auto& f : findings_)
      if (f.problem && f.name.starts_with(provider_prefix))
        away += (away.empty() ? "" : ", ") + safe_line(f.name.substr(provider_prefix.size()));
    return away.empty() ? "Ready."
                        : "Ready for local sandboxes, but not for provider " + away + ".";
  }

  const app& app_;
  std::vector<finding> findings_;
};

/// First line of what `program OPTION` says of itself; its error where it does not run, for
/// example of a library that is missing.
result<std::string> version_of(const std::string& path, const char* option) {
  transfer::program p;
  p.argv = {path, option};
  p.limit = std::chrono::seconds{5};
  auto said = transfer::run_for_output(p);
  if (!said) return said.err();
  return said->substr(0, said->find('\n'));
}

void look_at_other(examination& out, const std::string& name, const std::string& path,
                   bool needed) {
  auto version = version_of(path, name == "tmux" ? "-V" : "--version");
  if (!version) return out.add(name, {}, version.err(), needed);
  out.add(name, path + ", " + *version);
}

/// One of our own beside us, which has to be of our release.
void look_at_own(examination& out, const std::string& name, const std::string& path) {
  auto version = version_of(path, "--version");
  if (!version) return out.add(name, {}, version.err());
  auto expected = name + " " + own_version();
  if (*version != expected && !version->starts_with(expected + " "))
    return out.add(name, {},
                   make_error(errc::wrong_version,
                              path + " is " + *version + ", and this is skep " + own_version()));
  out.add(name, path + ", " + *version);
}

void look_at_programs(examination& out) {
  for (const auto* name : {"git", "bwrap", "tmux"}) {
    auto path = transfer::in_path(name);
    bool needed = std::string_view{name} != "tmux"; // a viewer, not the runtime
    if (path.empty())
      out.add(name, {},
              make_error(errc::program_missing,
                         std::string{name} + " (apt install "
                             + (std::string_view{name} == "bwrap" ? "bubblewrap" : name) + ")"),
              needed);
    else
      look_at_other(out, name, path, needed);
  }
  for (const auto* name : {"skepd", "skep-host", "skep-envd", "skep-guest"}) {
    auto path = beside_self(name);
    if (path.empty())
      out.add(name, {},
              make_error(errc::program_missing, std::string{name} + " should stand beside skep"));
    else
      look_at_own(out, name, path.string());
  }
}

void look_at_isolation(examination& out) {
  auto possible = host::check_isolation();
  if (possible)
    out.add("isolation", ::geteuid() == 0
                             ? "local sandboxes run as " + std::string{host::default_service_user}
                             : "local sandboxes run as this user");
  else
    out.add("isolation", {}, possible.err());
}

void add_database(examination& out, const storage::state_paths& paths) {
  auto schema = look_at_database(paths);
  if (!schema) return out.add("database", {}, schema.err());
  auto file = paths.database().string();
  if (!*schema) return out.add("database", file + " will be made by the first skepd");
  out.add("database", file + ", schema " + std::to_string((*schema)->current) + " of "
                          + std::to_string((*schema)->newest));
}

void look_at_state(examination& out, const storage::state_paths& paths) {
  // Of one that may not be used nothing else can be said.
  if (auto e = storage::state_refused(paths.root)) return out.add("state", {}, e);
  if (!storage::path_exists(paths.root))
    return out.add("state",
                   paths.root.string() + " will be made by the first command that needs it");
  out.add("state", paths.root.string());
  if (auto bound = storage::look_at_install(paths); !bound)
    out.add("installation", bound.err().code == errc::copied_state ? both_rebinds : "",
            bound.err());
  else
    out.add("installation", bound->empty() ? "none yet" : *bound);
  add_database(out, paths);
}

void look_at_daemon(examination& out, const storage::state_paths& paths) {
  auto daemon = reach_daemon(paths);
  if (!daemon && daemon.err().code != errc::no_daemon) return out.add("daemon", {}, daemon.err());
  if (!daemon) return out.add("daemon", "skepd does not run; commands that need it start it");
  auto status = daemon->call(daemon_status_request{}, call_deadline);
  if (!status)
    out.add("daemon", {}, status.err());
  else if (status->version != own_version())
    out.add("daemon", {}, make_error(errc::wrong_version, "skepd " + status->version + " runs"),
            false);
  else
    out.add("daemon", "skepd " + status->version + " runs, process " + std::to_string(status->pid));
}

/// Each configured one, and each of `needed`, without which this is not ready.
void look_at_providers(examination& out, const storage::state_paths& paths,
                       const std::vector<std::string>& needed) {
  auto file = tools::default_config_file(paths.root);
  auto settings = tools::load_config_of(paths.root);
  if (!settings) return out.add("configuration", {}, settings.err());
  std::error_code ignored;
  if (auto e = tools::check_local_bind(*settings, paths.root))
    out.add("configuration", {}, e);
  else
    out.add("configuration", fs::exists(file, ignored) ? file.string() : "none: defaults are used");
  constexpr std::chrono::seconds limit{10};
  for (const auto& [name, entry] : settings->providers) {
    auto problem = check_provider(name, entry, storage::secret_store{paths}, limit);
    bool asked_for = std::find(needed.begin(), needed.end(), name) != needed.end();
    out.add(std::string{provider_prefix} + name, provider_text(entry), problem, asked_for);
  }
  for (const auto& name : needed) // "local" is what isolation and programs are looked at for
    if (name != "local" && settings->providers.count(name) == 0)
      out.add(std::string{provider_prefix} + name, {},
              tools::no_such_provider(name, *settings, file));
}

void look_at_agents(examination& out, const storage::state_paths& paths, bool claude_asked) {
  storage::secret_store secrets{paths};
  constexpr auto key = "ANTHROPIC_API_KEY";
  if (secrets.has(key))
    out.add(key, "present");
  else
    out.add(key, {}, make_error(errc::secret_missing, std::string{key} + " is absent"),
            claude_asked);
  swarm_spec spec;
  spec.agent = agent_kind::claude;
  if (auto problem = check_program(spec, paths))
    out.add("claude", {}, problem, claude_asked);
  else
    out.add("claude", transfer::in_path("claude"));
}

/// skepd takes the hard limit for itself.
void look_at_open_files(examination& out) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  if (files.rlim_max == RLIM_INFINITY) return out.add("open files", "no limit");
  auto followed = actors::follower_places::share_of(sandbox::streams_of(files.rlim_max));
  out.add("open files", std::to_string(files.rlim_max) + ": skepd follows up to "
                            + std::to_string(followed) + " sandboxes, and polls others");
}

int doctor(const app& a, const std::string& agent, const std::vector<std::string>& providers) {
  agent_kind kind = agent_kind::command;
  if (!agent.empty() && !from_string(agent, kind))
    return fail(a, make_error(errc::unknown_agent, agent));
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  examination out{a};
  out.add("skep", own_version() + ", protocol " + std::to_string(protocol_version));
  look_at_programs(out);
  look_at_isolation(out);
  look_at_open_files(out);
  look_at_state(out, *paths);
  look_at_daemon(out, *paths);
  look_at_providers(out, *paths, providers);
  look_at_agents(out, *paths, kind == agent_kind::claude);
  // Only where the rest is sound: a trial makes a sandbox.
  if (kind != agent_kind::command && out.good()) {
    auto made = made_state(a);
    if (!made) return fail(a, made.err());
    if (!a.json_mode) remark("Starting " + agent + " in a sandbox ...");
    auto tried = try_agent(*made, kind);
    if (tried)
      out.add("trial", *tried);
    else
      out.add("trial", {}, tried.err());
  }
  return out.report();
}

} // namespace

void add_doctor(CLI::App& cli, app& a) {
  auto agent = std::make_shared<std::string>();
  auto providers = std::make_shared<std::vector<std::string>>();
  auto* c = add_command(cli, a, "doctor", "Look for what is missing on this machine",
                        "  skep doctor\n  skep doctor --agent claude --json\n"
                        "  skep doctor --provider cloud",
                        [&a, agent, providers] { return doctor(a, *agent, *providers); });
  c->add_option("--agent", *agent,
                "What this agent needs counts as needed, and it is started once inside a sandbox");
  c->add_option(
       "--provider", *providers,
       "This configured provider counts as needed: without its key, or when it refuses it\n"
       "or does not answer, the exit code says so; repeatable (default: local alone)")
      ->expected(1)
      ->allow_extra_args(false) // one value each time it is given
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

} // namespace skep::cli
