#include "actors/agents/adapter.hpp"

#include "actors/agents/claude.hpp"
#include "actors/agents/command.hpp"

namespace skep::actors {

std::unique_ptr<agent_adapter> make_adapter(agent_kind kind, pane_id pane) {
  switch (kind) {
  case agent_kind::claude:
    return std::make_unique<claude_adapter>(std::move(pane));
  case agent_kind::command:
    break;
  }
  return std::make_unique<command_adapter>();
}

bool takes_input(agent_kind kind) {
  return kind == agent_kind::command;
}

} // namespace skep::actors
