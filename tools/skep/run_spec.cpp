#include "tools/skep/run_spec.hpp"
#include "transfer/process.hpp"

#include "actors/agents/adapter.hpp"
#include "messages/hosts.hpp"
#include "storage/files.hpp"
#include "storage/secrets.hpp"
#include "tools/skep/money.hpp"
#include "tools/skep/term.hpp"
#include "tools/skepd/config.hpp"
#include "transfer/scan_allow.hpp"
#include "transfer/worktree.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace skep::cli {

namespace fs = std::filesystem;

namespace {

error usage(std::string message) {
  return make_error(errc::bad_argument, std::move(message));
}

result<std::string> read_prompt(const std::string& file) {
  // One byte more than allowed, so that check_prompt() sees that there is more.
  auto text = storage::read_file(file, 16 * max_prompt_bytes);
  if (!text && text.err().code == errc::too_large) return make_error(errc::prompt_too_long, file);
  if (!text) return text.err();
  return text;
}

error add_prompts(swarm_spec& spec, const run_options& o) {
  if (o.prompt_given && !o.prompt_files.empty()) return make_error(errc::prompt_and_prompt_file);
  if (o.prompt_template && o.prompt_files.empty())
    return usage("--prompt-template goes with --prompt-file");
  if (o.prompt_given) spec.prompts.push_back(o.prompt);
  for (const auto& file : o.prompt_files) {
    auto text = read_prompt(file);
    if (!text) return text.err();
    spec.prompts.push_back(o.prompt_template ? std::move(*text) : literal_prompt(*text));
  }
  for (const auto& p : spec.prompts)
    if (auto e = check_prompt(p)) return e;
  return {};
}

error add_environment(swarm_spec& spec, const run_options& o) {
  for (const auto& entry : o.env) {
    auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      return usage("--env takes NAME=VALUE, not " + entry.substr(0, 40));
    spec.env[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return {};
}

error add_network(swarm_spec& spec, const run_options& o) {
  for (const auto& host : o.allow)
    spec.allow_hosts.push_back(lower_ascii(host));
  auto policy =
      o.network.empty() ? std::string{o.allow.empty() ? "model" : "allowlist"} : o.network;
  if (!from_string(policy, spec.network))
    return usage("--network takes none, model, packages, allowlist or open, not "
                 + policy.substr(0, 40));
  return {};
}

error add_budget(const std::string& text, const char* option, double& usd) {
  if (text.empty()) return {};
  if (!parse_money(text, usd) || usd == 0)
    return usage(std::string{option} + " takes a sum above nothing, such as 20usd or 0.50, not "
                 + text.substr(0, 40));
  return {};
}

error in_range(std::string_view what, std::int64_t n, std::int64_t low, std::int64_t high) {
  if (n >= low && n <= high) return {};
  return make_error(errc::out_of_range, std::string{what} + " must be between "
                                            + std::to_string(low) + " and " + std::to_string(high)
                                            + ", not " + std::to_string(n));
}

/// In a spec 0 means what skep.toml says, so nobody may ask for 0 percent.
error add_fail_above(swarm_spec& spec, const run_options& o) {
  if (!o.panes_out_percent) return {};
  if (auto e = in_range("--fail-above", *o.panes_out_percent, 1, 100)) return e;
  spec.panes_out_percent = static_cast<std::uint32_t>(*o.panes_out_percent);
  return {};
}

error add_time(swarm_spec& spec, const run_options& o) {
  if (!parse_duration(o.limit, spec.limit_ms))
    return usage("--limit takes a duration such as 90s, 30min or 2h, not " + o.limit);
  if (!o.idle_limit.empty() && !parse_duration(o.idle_limit, spec.idle_limit_ms))
    return usage("--idle-limit takes a duration such as 10min, not " + o.idle_limit);
  if (o.warn_at.empty()) return {};
  spec.warn_at_ms.clear();
  if (o.warn_at == "none") return {};
  std::string_view rest{o.warn_at};
  while (!rest.empty()) {
    auto end = std::min(rest.find(','), rest.size());
    std::int64_t at = 0;
    if (!parse_duration(rest.substr(0, end), at))
      return usage("--warn-at takes durations such as 30min,50min, or none, not " + o.warn_at);
    spec.warn_at_ms.push_back(at);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

/// The results come at the end of hours: whether their folder can be made is known now.
error check_out_dir(const std::string& folder) {
  fs::path there{folder};
  std::error_code failed;
  while (!fs::exists(fs::symlink_status(there, failed)) && there.has_relative_path())
    there = there.parent_path();
  if (!fs::is_directory(there, failed))
    return make_error(errc::io, "the results cannot be written to " + folder,
                      there.string() + " is not a folder");
  if (::access(there.c_str(), W_OK | X_OK) != 0)
    return make_error(errc::io, "the results cannot be written to " + folder,
                      there.string() + ": " + std::strerror(errno));
  return {};
}

bool below(const fs::path& file, const fs::path& folder) {
  auto relative = file.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

result<tools::config> settings_of(const storage::state_paths& paths) {
  return tools::load_config_of(paths.root);
}

/// The folders of this machine that local sandboxes see at the same paths: /usr with its other
/// names, its alternatives (host/isolation.cpp, host/bwrap.cpp), and [local] bind.
result<std::vector<fs::path>> visible_folders(const storage::state_paths& paths) {
  auto settings = settings_of(paths);
  if (!settings) return settings.err();
  std::vector<fs::path> out{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives"};
  out.insert(out.end(), settings->local_bind.begin(), settings->local_bind.end());
  return out;
}

/// True when sandboxes see this file under its own name and, where that leads elsewhere, `real`.
bool is_visible(const std::vector<fs::path>& folders, const fs::path& file, const fs::path& real) {
  auto named = [&](const fs::path& p) {
    return std::any_of(folders.begin(), folders.end(), [&](const auto& f) { return below(p, f); });
  };
  // A folder that is itself a link is shown under its name, with what it leads to in it.
  auto in_target = [&](const fs::path& folder) {
    std::error_code ignored;
    return below(real, fs::weakly_canonical(folder, ignored));
  };
  return named(file.lexically_normal())
         && (named(real) || std::any_of(folders.begin(), folders.end(), in_target));
}

/// The path of `file` in the work tree `repo`; empty when it lies elsewhere.
std::string path_in_repo(const fs::path& file, const fs::path& repo) {
  std::error_code ignored;
  // The folder alone: a link in the tree belongs to the tree, whatever it leads to.
  auto there = fs::weakly_canonical(file.parent_path(), ignored) / file.filename();
  auto root = fs::weakly_canonical(repo, ignored);
  return there != root && below(there, root) ? there.lexically_relative(root).string()
                                             : std::string{};
}

/// Sandboxes have a copy of the repository, and at another place.
error not_at_this_place(const std::string& program, const std::string& in_repo,
                        const std::string& repo) {
  auto uploaded = transfer::list_worktree(repo);
  if (!uploaded) return uploaded.err();
  if (std::binary_search(uploaded->begin(), uploaded->end(), in_repo))
    return make_error(errc::agent_not_visible,
                      program + " is in the repository, of which sandboxes have a copy: name it ./"
                          + in_repo);
  return make_error(errc::agent_not_visible, program
                                                 + " is in the repository, but not among what is "
                                                   "uploaded: see `skep files why "
                                                 + in_repo + "`");
}

/// What a run itself brings to its sandboxes, as actors/domain.hpp says. Without a setup nothing
/// else is in their homes, and nothing in their /tmp.
constexpr const char* brought_inside[] = {"/home/user/repo", "/home/user/work"};

/// A program that is named by its place on this machine.
error check_program_at(const std::string& program, const swarm_spec& spec,
                       const storage::state_paths& paths) {
  const auto file = fs::path{program}.lexically_normal();
  for (const auto* own : brought_inside)
    if (below(file, own)) return {};
  auto folders = visible_folders(paths);
  if (!folders) return folders.err();
  std::error_code failed;
  auto real = fs::weakly_canonical(file, failed);
  if (failed) real = file; // a folder that we may not look into
  const bool missing = ::access(file.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
  if (!is_visible(*folders, file, real)) {
    if (auto inside = path_in_repo(file, spec.repo); !inside.empty())
      return not_at_this_place(program, inside, spec.repo);
    return make_error(errc::agent_not_visible,
                      missing ? program + " is not on this machine"
                              : program + (real == file ? "" : " -> " + real.string())
                                    + " is in no folder that local sandboxes see");
  }
  if (missing) return make_error(errc::agent_not_visible, program + " is not on this machine");
  if (fs::is_directory(file, failed) || ::access(file.c_str(), X_OK) != 0)
    return make_error(errc::agent_not_visible, program + " is not executable");
  return {};
}

/// A program that is named by a path, in the repository or on this machine; a setup may be what
/// makes it. Agents of the simulator, a provider like others, are no programs.
error check_own_program(const swarm_spec& spec, const storage::state_paths& paths) {
  if (spec.agent != agent_kind::command || !spec.setup.empty() || spec.provider != "local")
    return {};
  const auto& program = spec.argv.front();
  if (program.find('/') == std::string::npos) return {};
  if (program.starts_with('/')) return check_program_at(program, spec, paths);
  auto file = fs::path{spec.repo} / program;
  std::error_code failed;
  if (!fs::exists(fs::symlink_status(file, failed)))
    return make_error(errc::agent_not_visible, program + " is not in the repository " + spec.repo
                                                   + ", in whose root the agents begin");
  if (fs::is_directory(file, failed)
      || (fs::exists(file, failed) && ::access(file.c_str(), X_OK) != 0))
    return make_error(errc::agent_not_visible, file.string() + " is not executable");
  return {};
}

/// The program of an agent as far as it can be looked for on this machine.
std::string program_of(const swarm_spec& spec) {
  auto plan = actors::make_adapter(spec.agent)->plan(spec, {});
  if (!plan.program_to_check.empty()) return plan.program_to_check;
  return plan.argv.empty() ? std::string{} : plan.argv.front();
}

} // namespace

error check_keys(const swarm_spec& spec, const storage::state_paths& paths) {
  storage::secret_store secrets{paths};
  auto settings = settings_of(paths);
  if (!settings) return settings.err();
  if (auto entry = settings->providers.find(spec.provider);
      entry != settings->providers.end() && !secrets.has(entry->second.key_secret))
    return make_error(errc::secret_missing, "provider " + spec.provider + " needs "
                                                + entry->second.key_secret + ": skep secret set "
                                                + entry->second.key_secret);
  for (const auto& name : actors::make_adapter(spec.agent)->plan(spec, {}).needs_secrets)
    if (!secrets.has(name))
      return make_error(errc::secret_missing, std::string{to_string(spec.agent)} + " needs " + name
                                                  + ": skep secret set " + name);
  return {};
}

error check_program(const swarm_spec& spec, const storage::state_paths& paths) {
  if (spec.provider != "local") return {}; // what a remote template holds is not known here
  auto program = program_of(spec);
  // One that is named by a path is looked at when a run is asked for.
  if (program.empty() || program.find('/') != std::string::npos) return {};
  auto found = transfer::in_path(program);
  if (found.empty())
    return make_error(errc::agent_not_visible,
                      program + " is not in PATH of this machine either: install it first");
  auto folders = visible_folders(paths);
  if (!folders) return folders.err();
  std::error_code ignored;
  auto real = fs::weakly_canonical(found, ignored);
  if (is_visible(*folders, found, real)) return {};
  return make_error(errc::agent_not_visible, program + " is at " + found
                                                 + (real == found ? "" : " -> " + real.string())
                                                 + ", which local sandboxes do not see");
}

void lead_to_program(swarm_spec& spec) {
  constexpr std::string_view usual = "/usr/local/bin:/usr/bin:/bin"; // what a sandbox has by itself
  if (spec.provider != "local" || spec.env.count("PATH") != 0) return;
  auto program = program_of(spec);
  if (program.empty() || program.find('/') != std::string::npos) return;
  auto folder = fs::path{transfer::in_path(program)}.parent_path().string();
  if (folder.empty() || folder == "/usr/local/bin" || folder == "/usr/bin" || folder == "/bin")
    return;
  spec.env["PATH"] = folder + ":" + std::string{usual};
}

namespace {

/// The run's own word goes before what skep.toml says of its provider.
std::string fallback_of(const run_options& o, const tools::config& settings) {
  if (!o.fallback.empty()) return o.fallback == "none" ? std::string{} : o.fallback;
  auto entry = settings.providers.find(o.provider);
  return entry == settings.providers.end() ? std::string{} : entry->second.fallback;
}

/// What a provider that the run may use must be, as far as skep.toml tells.
error check_provider_of(const swarm_spec& spec, const tools::config& settings,
                        const storage::state_paths& paths) {
  if (spec.provider == "local") {
    if (spec.template_name != "base")
      return usage("local sandboxes have the template base alone, not " + spec.template_name);
    return tools::check_local_bind(settings, paths.root);
  }
  if (settings.providers.count(spec.provider) > 0) return {};
  return tools::no_such_provider(spec.provider, settings, tools::default_config_file(paths.root));
}

/// Its keys, and its agents' program where that can be looked for.
error check_agent_of(const swarm_spec& spec, const storage::state_paths& paths) {
  if (auto e = check_keys(spec, paths)) return e;
  if (auto e = check_own_program(spec, paths)) return e;
  return check_program(spec, paths);
}

/// The agents of a run have one environment, wherever they are: it is not led to a program.
error check_fallback(const swarm_spec& spec, const tools::config& settings,
                     const storage::state_paths& paths) {
  if (spec.fallback.empty()) return {};
  auto there = at_fallback(spec);
  if (auto e = check_provider_of(there, settings, paths)) return e;
  if (auto e = check_agent_of(there, paths)) return e;
  lead_to_program(there);
  if (there.env == spec.env) return {};
  return make_error(errc::agent_not_visible,
                    program_of(there) + " is in no folder of a local sandbox's PATH, and agents at "
                        + spec.provider + " have the same PATH: --env PATH=" + there.env["PATH"]);
}

} // namespace

result<swarm_spec> make_spec(const run_options& o, const std::vector<std::string>& argv,
                             const storage::state_paths& paths) {
  swarm_spec spec;
  if (auto e = in_range("--sandboxes", o.sandboxes, 1, max_sandboxes_per_swarm)) return e;
  if (auto e = in_range("--panes", o.panes, 1, max_panes_per_sandbox)) return e;
  if (auto e = in_range("--restarts", o.restarts, 0, 10)) return e;
  spec.sandboxes = static_cast<std::uint32_t>(o.sandboxes);
  spec.panes = static_cast<std::uint32_t>(o.panes);
  spec.pane_restarts = static_cast<std::uint32_t>(o.restarts);
  spec.name = o.name;
  spec.provider = o.provider;
  spec.template_name = o.template_name;
  spec.keep = o.keep;
  spec.share_tree = o.share_tree;
  spec.pty = o.pty;
  spec.argv = argv;
  spec.setup = o.setup;
  if (auto e = add_fail_above(spec, o)) return e;
  if (auto e = in_range("--replace-lost", o.replace_lost, 0, max_replacements)) return e;
  spec.replace_lost = static_cast<std::uint32_t>(o.replace_lost);
  auto settings = settings_of(paths);
  if (!settings) return settings.err();
  spec.fallback = fallback_of(o, *settings);
  spec.warn_at_ms = settings->policy.warn_at_ms;
  if (auto e = add_time(spec, o)) return e;
  if (auto e = add_budget(o.budget, "--budget", spec.budget_usd)) return e;
  if (auto e = add_budget(o.pane_budget, "--pane-budget", spec.pane_budget_usd)) return e;
  spec.no_queue = o.no_queue;
  spec.no_partial = o.no_partial;
  spec.allow_no_changes = o.allow_no_changes;
  spec.scan = settings->scan;
  if (!o.scan.empty() && !from_string(o.scan, spec.scan))
    return usage("--scan takes block, warn or prompt, not " + o.scan.substr(0, 40));
  auto agent = o.agent.empty() ? std::string{argv.empty() ? "" : "command"} : o.agent;
  if (agent.empty()) return usage("say what shall run: --agent NAME, or a command after --");
  if (!from_string(agent, spec.agent)) return make_error(errc::unknown_agent, agent);
  if (spec.agent != agent_kind::command && !argv.empty())
    return usage("a command after -- goes with --agent command, not with " + agent);
  if (auto e = add_prompts(spec, o)) return e;
  if (auto e = add_environment(spec, o)) return e;
  if (auto e = add_network(spec, o)) return e;
  if (spec.agent != agent_kind::command && spec.prompts.empty())
    return make_error(errc::prompt_missing);

  std::error_code failed;
  auto repo = fs::absolute(o.repo, failed);
  if (!fs::is_directory(repo, failed)) return make_error(errc::file_not_found, o.repo);
  auto facts = transfer::inspect_repo(repo.string());
  if (!facts) return facts.err();
  spec.repo = facts->root;
  spec.out_dir = o.out_dir.empty() ? spec.repo + "/skep-out"
                                   : fs::absolute(o.out_dir, failed).lexically_normal().string();
  if (auto e = check_spec(spec)) return e;
  if (auto e = check_provider_of(spec, *settings, paths)) return e;
  if (auto e = check_out_dir(spec.out_dir)) return e;
  // A list with a mistake fails the scan; here it is told as what it is.
  if (spec.scan != scan_policy::warn)
    if (auto list = transfer::allow_list::read(spec.repo);
        !list && list.err().code == errc::bad_allow_file)
      return list.err();
  if (auto e = check_agent_of(spec, paths)) return e;
  lead_to_program(spec);
  if (auto e = check_fallback(spec, *settings, paths)) return e;
  return spec;
}

} // namespace skep::cli
