// The `claude` agent: Claude Code, headless, one prompt.
//
// It prints one JSON object a line. What we read of it:
//
//   {"type":"assistant","message":{"model":M,"content":[BLOCK...]}}   BLOCK: text, thinking,
//   tool_use
//   {"type":"user","message":{"content":[{"type":"tool_result","content":...,"is_error":B}]}}
//   {"type":"system","subtype":"api_retry","attempt":N,"max_retries":N,"retry_delay_ms":N,...}
//   {"type":"result","is_error":B,"api_error_status":N,"result":TEXT,"num_turns":N,
//    "total_cost_usd":X,"usage":{...},"permission_denials":[...]}      the last line
//
// Unknown types and fields are skipped; lines that are not JSON are kept as text. Success is exit
// code 0 AND a result AND not is_error AND no permission denials: neither the code nor the result's
// subtype is enough alone (an interrupted run exits with 0 and no result; a refused key gives the
// subtype "success").
#pragma once

#include "actors/agents/adapter.hpp"

#include <optional>

namespace skep::actors {

class claude_adapter : public agent_adapter {
public:
  /// Longest line that is parsed; the rest of a longer one is skipped.
  static constexpr std::size_t max_line_bytes = 8 * 1024 * 1024;
  /// Text of an agent_block is cut here, between characters.
  static constexpr std::size_t max_block_bytes = 4 * 1024;
  static constexpr std::size_t max_summary_bytes = 2'000;
  /// Name of the secret that the gateway needs.
  static constexpr std::string_view secret_name = "ANTHROPIC_API_KEY";

  explicit claude_adapter(pane_id pane) : pane_(std::move(pane)) {}

  launch_plan plan(const swarm_spec& spec, const pane_context& pane) override;
  std::vector<agent_event> on_output(std::string_view bytes) override;
  verdict on_exit(std::int32_t exit_code, std::int32_t signal) override;

private:
  /// What the last `result` line said.
  struct final_result {
    bool is_error = false;
    int api_error_status = 0; ///< 0: none.
    std::string subtype;
    std::string text;
    std::size_t denials = 0;
    std::string denied_tool; ///< The first one.
  };

  void take_line(std::string_view line, std::vector<agent_event>& out);
  verdict judge(std::int32_t exit_code, std::int32_t signal) const;
  void add_block(std::vector<agent_event>& out, block_kind kind, std::string name,
                 std::string_view text, bool is_error = false) const;

  pane_id pane_;
  std::string partial_; ///< Begin of a line whose end has not come.
  bool skipping_ = false;
  std::optional<final_result> result_;
  double cost_usd_ = 0;    ///< Told so far: the line's figure is a running total.
  bool acted_ = false;     ///< It said something or used a tool.
  std::string api_word_;   ///< Its last message when the CLI wrote that in the place of its model.
  std::string last_text_;  ///< Last plain line, for the error when there is no result.
  std::string last_retry_; ///< Last api_retry, likewise.
};

} // namespace skep::actors
