// The commands inside a sandbox by which a PANE starts, signals and judges its agent. Pure.
#pragma once

#include "actors/agents/adapter.hpp"
#include "actors/domain.hpp"

namespace skep::actors {

/// What the agent is given on its standard input first; may be empty.
std::string prompt_of(const sandbox_context& ctx, const pane_record& pane, agent_adapter& adapter);

/// Where that lies inside until the agent has it.
std::string prompt_path(const pane_record& pane);

/// Where input that is sent with `key` lies until the agent has it: no path comes from a client.
std::string input_path(const pane_record& pane, const std::string& key);

/// Starts the pane's present attempt, or answers how far it is when it was started before. Its
/// answer is the word of the holder inside. It has a third of policies::ready_limit, at least 1 s
/// and at most policies::guest_command, so that a lost answer can be asked for again.
sandbox::command launch_command(const sandbox_context& ctx, const pane_record& pane,
                                agent_adapter& adapter);

/// INT and TERM to the agent's process group, KILL, STOP and CONT to all its descendants.
sandbox::command signal_command(const sandbox_context& ctx, const pane_id& pane,
                                std::uint32_t attempt, const std::string& name);

/// Until a signal without an answer is sent again, after so many of them: policies::kill_retry,
/// doubled up to policies::pane_wait_most.
std::chrono::milliseconds signal_wait(const policies& limits, std::uint32_t tries);

/// Asks whether the pane's work tree differs from what it started from (read_changed()).
sandbox::command changed_command(const sandbox_context& ctx, const pane_record& pane);

} // namespace skep::actors
