// From the options of `skep run` to a checked swarm_spec, before anything is made.
#pragma once

#include "messages/commands.hpp"
#include "storage/state_dir.hpp"

#include <optional>
#include <string>
#include <vector>

namespace skep::cli {

struct run_options {
  std::string repo = ".";
  std::string out_dir; ///< Empty: REPO/skep-out.
  std::int64_t sandboxes = 1;
  std::int64_t panes = 1;
  std::string agent; ///< Empty: command when there is a command after --.
  std::string prompt;
  bool prompt_given = false;
  std::vector<std::string> prompt_files; ///< Arrive as they are, unless they are templates.
  bool prompt_template = false;          ///< Placeholders in prompt files are filled in, too.
  std::string provider = "local";
  std::string fallback; ///< A provider, "none"; empty: as skep.toml has it.
  std::string template_name = "base";
  std::string limit = "60min";
  std::string warn_at;    ///< "30min,50min", "none"; empty: as skep.toml has it.
  std::string idle_limit; ///< Empty: none.
  std::optional<std::int64_t> panes_out_percent; ///< None: as skep.toml has it.
  std::int64_t replace_lost = 0;
  std::string name;
  std::vector<std::string> env;
  std::string network; ///< Empty: allowlist when hosts are given, else model.
  std::vector<std::string> allow;
  std::vector<std::string> setup; ///< Word by word.
  std::int64_t restarts = 0;
  std::string budget;      ///< Empty: none.
  std::string pane_budget; ///< Empty: none.
  bool no_queue = false;
  bool no_partial = false;
  bool allow_no_changes = false;
  bool keep = false;
  bool share_tree = false;
  bool pty = false;
  bool detach = false;
  std::string apply; ///< A mode of `skep apply`, or empty.
  std::string scan;  ///< block, warn or prompt; empty: as skep.toml has it.
  bool dry_run = false;
};

/// Checks everything that can be known here: options against each other, the repository, the agent,
/// its key, its program. Nothing is made. The first problem is the error.
result<swarm_spec> make_spec(const run_options& o, const std::vector<std::string>& argv,
                             const storage::state_paths& paths);

/// secret_missing with the name of the first key that the spec's provider or agent needs and that
/// is not set.
error check_keys(const swarm_spec& spec, const storage::state_paths& paths);
/// agent_not_visible with the path on this machine when local sandboxes do not see the agent's
/// program. None where that cannot be known here: other providers. None for programs named by a
/// path, too: make_spec() looks at those, in the repository and on this machine.
error check_program(const swarm_spec& spec, const storage::state_paths& paths);
/// Puts the folder of the agent's program first in the PATH of a local sandbox when it is none of
/// the usual ones ([local] bind shows a folder inside, it does not put it there). A PATH given by
/// the user stays.
void lead_to_program(swarm_spec& spec);

} // namespace skep::cli
