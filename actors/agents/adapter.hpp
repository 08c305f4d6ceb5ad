// What Skep must know of one kind of agent: how to launch it, what its output means, and what its
// exit means. Pure code: no actor, no clock, no I/O.
#pragma once

#include "messages/commands.hpp"
#include "messages/events.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace skep::actors {

/// Value that stands for a real key inside a sandbox; the gateway puts the real one in its place.
inline constexpr std::string_view key_placeholder = "skep-placeholder-key";

/// The pane a plan is for.
struct pane_context {
  pane_id pane;
  std::uint32_t index = 0; ///< Over the whole swarm.
  std::uint32_t count = 1; ///< Panes of the whole swarm.
  std::string name;        ///< "p<index>"
  /// Base URL of the gateway as seen inside, without a slash at the end; empty when the provider
  /// applies the rules at its egress and programs talk to the real host.
  std::string gateway_url;
};

/// A host the agent talks to, and the key it needs there.
struct gateway_use {
  std::string domain;             ///< "api.anthropic.com"
  std::string base_url_env;       ///< Variable by which the agent is told another base URL.
  std::string header;             ///< Header that carries the key: "x-api-key".
  std::string secret;             ///< Name of the secret whose value goes there.
  std::vector<std::string> paths; ///< Prefixes of what it needs there, by whole segments.
};

/// Everything needed to start one attempt of an agent.
struct launch_plan {
  std::vector<std::string> argv;
  std::map<std::string, std::string> env; ///< On top of the sandbox's own; never secrets.
  std::string stdin_data;                 ///< Written to its standard input first; may be empty.
  bool stdin_open = false;                ///< Input stays open: later messages can be sent.
  std::vector<std::string> needs_secrets; ///< Names; missing ones are refused before anything runs.
  std::vector<gateway_use> gateway;
  std::string program_to_check; ///< Must be found inside the sandbox (name for PATH, or path).
};

/// What an agent's output told: notes (agent_block) and its account (pane_usage, a fact).
using agent_event = std::variant<agent_block, pane_usage>;

/// How an attempt ended.
struct verdict {
  outcome result = outcome::failed; ///< completed, failed or suspect.
  error why;                        ///< None when completed.
  bool worth_retrying = true;       ///< False when another attempt would meet the same end.
  std::vector<agent_event> events;  ///< What a last line without its newline told.
  /// Completed by its own word alone: a work tree without a change speaks against it.
  bool on_its_word = false;
};

/// One attempt of one agent. Bytes of its log go in, in order and in any pieces. After a restart of
/// the daemon a new adapter is fed the log from its start and the events are dropped.
class agent_adapter {
public:
  virtual ~agent_adapter() = default;
  /// The spec was accepted by check_spec().
  virtual launch_plan plan(const swarm_spec& spec, const pane_context& pane) = 0;
  /// New output bytes; never fails, whatever they are.
  virtual std::vector<agent_event> on_output(std::string_view bytes) = 0;
  /// Call once after the last output. `signal` is 0 when it exited by itself, else `exit_code` is
  /// -1. Both as pane_exited has them.
  virtual verdict on_exit(std::int32_t exit_code, std::int32_t signal) = 0;
};

/// Never null.
std::unique_ptr<agent_adapter> make_adapter(agent_kind kind, pane_id pane = {});

/// True when a pane of this kind takes input after its start (`skep send`).
bool takes_input(agent_kind kind);

} // namespace skep::actors
