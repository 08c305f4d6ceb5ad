// What one attempt of an agent has told by its output. Every byte is read once: a PANE that takes
// up a running agent reads the log, and may then be given the end of it again. Plain data and a
// file, no actor.
#pragma once

#include "actors/agents/adapter.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace skep::actors {

class pane_output {
public:
  pane_output(agent_kind kind, const pane_id& pane);

  agent_adapter& adapter() { return *adapter_; }

  /// Reads what is kept of the attempt's log, from where it was read to its present end. Its blocks
  /// are not told again; its account counts. A `command` has no account, and is not read.
  void replay(const std::filesystem::path& log);

  /// Bytes of the log that begin at `offset`: the blocks in what was not read before.
  std::vector<agent_block> take(std::uint64_t offset, std::string_view bytes);

  /// The log is over: the blocks of a last line without its end.
  std::vector<agent_block> finish();

  /// The account of all that was read since the last call; nothing when there was none. Costs,
  /// tokens and turns are sums, the summary is the last one.
  std::optional<pane_usage> usage();

private:
  std::vector<agent_block> feed(std::string_view bytes);
  void add(const pane_usage& more);

  agent_kind kind_;
  std::unique_ptr<agent_adapter> adapter_;
  std::uint64_t read_to_ = 0; ///< Offset of the next byte that is new.
  pane_usage usage_;
};

} // namespace skep::actors
