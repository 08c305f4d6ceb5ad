// Every enumeration that travels or is stored. The wire and database value is the number, people
// see the name; both are never reused. SKEP_ENUM keeps numbers and names in one list.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace skep {

/// Names of the enumerators of E, in order of their values from 0; specialised by SKEP_ENUM.
template <class E>
struct enum_names;

template <class E>
concept named_enum = std::is_enum_v<E> && requires {
  enum_names<E>::names;
};

/// Number of enumerators; values are 0 .. enum_size - 1.
template <named_enum E>
constexpr std::size_t enum_size = enum_names<E>::names.size();

template <named_enum E>
constexpr std::string_view to_string(E x) {
  auto i = static_cast<std::size_t>(x);
  return i < enum_size<E> ? enum_names<E>::names[i] : std::string_view{"?"};
}

/// Finds the enumerator called `name`; false when there is none.
template <named_enum E>
constexpr bool from_string(std::string_view name, E& out) {
  for (std::size_t i = 0; i < enum_size<E>; ++i)
    if (enum_names<E>::names[i] == name) {
      out = static_cast<E>(i);
      return true;
    }
  return false;
}

#define SKEP_ENUM_NAMES(E, ...)                                                                    \
  template <>                                                                                      \
  struct enum_names<E> {                                                                           \
    static constexpr auto names = std::to_array<std::string_view>({__VA_ARGS__});                  \
  }

/// Where a sandbox is in its life (architecture: "Sandboxes"). Only ever grows.
enum class phase : std::uint8_t {
  queued,
  creating,
  verifying,
  provisioning,
  uploading,
  starting,
  running,
  draining,
  collecting,
  closed
};
SKEP_ENUM_NAMES(phase, "queued", "creating", "verifying", "provisioning", "uploading", "starting",
                "running", "draining", "collecting", "closed");

/// Where a pane is. `restarting` is the wait between two attempts.
enum class pane_phase : std::uint8_t { queued, starting, running, restarting, exited, closed };
SKEP_ENUM_NAMES(pane_phase, "queued", "starting", "running", "restarting", "exited", "closed");

enum class swarm_phase : std::uint8_t { queued, running, stopping, closed };
SKEP_ENUM_NAMES(swarm_phase, "queued", "running", "stopping", "closed");

/// How something ended; `none` while it has not. `suspect`: exit 0 without the evidence of success.
enum class outcome : std::uint8_t {
  none,
  completed,
  failed,
  timed_out,
  budget,
  cancelled,
  killed,
  lost,
  suspect
};
SKEP_ENUM_NAMES(outcome, "none", "completed", "failed", "timed_out", "budget", "cancelled",
                "killed", "lost", "suspect");

enum class transfer_direction : std::uint8_t { upload, download };
SKEP_ENUM_NAMES(transfer_direction, "upload", "download");

enum class transfer_phase : std::uint8_t { intended, running, done, failed };
SKEP_ENUM_NAMES(transfer_phase, "intended", "running", "done", "failed");

enum class agent_kind : std::uint8_t { command, claude };
SKEP_ENUM_NAMES(agent_kind, "command", "claude");

/// How far an input to a pane got.
enum class receipt : std::uint8_t { accepted, written, acted_on, answered, expired };
SKEP_ENUM_NAMES(receipt, "accepted", "written", "acted_on", "answered", "expired");

/// What a block of an agent's output is.
enum class block_kind : std::uint8_t { text, thinking, tool_use, tool_result, retry, other };
SKEP_ENUM_NAMES(block_kind, "text", "thinking", "tool_use", "tool_result", "retry", "other");

/// How far the changes of several panes to one path go together, from harmless to not at all.
enum class overlap : std::uint8_t {
  same,    ///< All made the same change.
  paths,   ///< Different places of one file; a trial merge takes all of them.
  hunks,   ///< The same places, and a trial merge takes them nevertheless.
  conflict ///< A trial merge fails: a person has to choose.
};
SKEP_ENUM_NAMES(overlap, "same", "paths", "hunks", "conflict");

enum class severity : std::uint8_t { info, warning, error };
SKEP_ENUM_NAMES(severity, "info", "warning", "error");

/// How well a part does. `degraded`: it goes on, with something people should know.
enum class health_state : std::uint8_t { healthy, degraded, unhealthy };
SKEP_ENUM_NAMES(health_state, "healthy", "degraded", "unhealthy");

/// What an agent is doing, as far as its signs tell. `waiting`: for input; `blocked`: it cannot go
/// on by itself; `dead`: its process is gone.
enum class activity : std::uint8_t { idle, working, waiting, blocked, dead };
SKEP_ENUM_NAMES(activity, "idle", "working", "waiting", "blocked", "dead");

/// What the sandboxes of a run may reach. Each allows what its agent's model needs, but `none`.
enum class network_policy : std::uint8_t {
  none,      ///< Nothing.
  model,     ///< Nothing more; nothing at all where the agent needs no model.
  packages,  ///< The common package registries, and the hosts that the user names.
  allowlist, ///< The hosts that the user names.
  open       ///< Every public address.
};
SKEP_ENUM_NAMES(network_policy, "none", "model", "packages", "allowlist", "open");

/// Whose money a budget bounds. Days and months are those of UTC.
enum class budget_scope : std::uint8_t { day, month, swarm, pane };
SKEP_ENUM_NAMES(budget_scope, "day", "month", "swarm", "pane");

} // namespace skep
