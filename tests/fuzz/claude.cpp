// What the claude agent prints, cut into pieces: blocks and verdict do not depend on the cuts.
#include "actors/agents/claude.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;
using namespace skep::actors;

namespace claude_target {
namespace {

std::string told(std::string_view text, std::size_t piece) {
  claude_adapter adapter{pane_id{"pn_a"}};
  std::string out;
  auto add = [&](const std::vector<agent_event>& events) {
    for (const auto& e : events) {
      if (auto* b = std::get_if<agent_block>(&e))
        fuzz::require(b->text.size() <= claude_adapter::max_block_bytes, "blocks are cut");
      std::visit([&](const auto& x) { out += pack(x); }, e);
    }
  };
  fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
    add(adapter.on_output(bytes));
    return true;
  });
  auto end = adapter.on_exit(0, 0);
  add(end.events);
  fuzz::require(end.result == outcome::completed || end.why.code != errc::none,
                "what did not succeed has a reason");
  return out + std::string{to_string(end.result)} + render(end.why);
}

} // namespace
} // namespace claude_target

void skep::fuzz::run_claude(input in) {
  using namespace claude_target;
  const auto piece = in.choice();
  fuzz::require(told(in.rest(), 0) == told(in.rest(), piece), "blocks do not depend on the cuts");
}
