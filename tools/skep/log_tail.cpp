#include "tools/skep/log_tail.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace skep::cli {

namespace {

constexpr std::uint32_t tail_piece_bytes = 256 * 1024;

/// Counts lines from the end of a text, whose pieces are given last first.
class tail_search {
public:
  tail_search(std::uint32_t lines, std::uint64_t end_offset) : left_(lines), end_(end_offset) {
    if (lines == 0) begin_ = end_offset;
  }

  /// `text` stands at `offset`, directly in front of what was given before.
  void take(std::uint64_t offset, std::string_view text) {
    auto at = text.size();
    // The end of the last line is the beginning of no further one.
    if (offset + at == end_ && at > 0 && text[at - 1] == '\n') --at;
    while (left_ > 0 && at > 0) {
      auto newline = text.rfind('\n', at - 1);
      if (newline == std::string_view::npos) return;
      at = newline;
      begin_ = offset + newline + 1;
      --left_;
    }
  }

  bool found() const { return left_ == 0; }
  /// The first line that was seen to begin; none when none was.
  std::optional<std::uint64_t> first_line() const { return begin_; }

private:
  std::uint32_t left_; ///< Lines whose beginning was not seen yet.
  std::uint64_t end_;
  std::optional<std::uint64_t> begin_;
};

} // namespace

result<log_place> tail_begin(const log_reader& read, const pane_id& pane, std::uint32_t lines,
                             std::uint64_t bound_bytes) {
  auto reply = read({pane, 0, -static_cast<std::int64_t>(tail_piece_bytes), tail_piece_bytes});
  if (!reply) return reply.err();
  const auto generation = reply->generation;
  const auto end = reply->offset + reply->data.data.size();
  const auto lowest = std::max(reply->begin_offset, end - std::min(end, bound_bytes));
  auto at = reply->offset; // everything from here to the end was looked through
  tail_search search{lines, end};
  search.take(at, reply->data.data);
  while (!search.found() && at > lowest) {
    auto from = at - std::min<std::uint64_t>(at - lowest, tail_piece_bytes);
    reply = read(
        {pane, generation, static_cast<std::int64_t>(from), static_cast<std::uint32_t>(at - from)});
    if (!reply) return reply.err();
    // A part that was freed meanwhile: the answer begins behind it, and reaches beyond `at` then.
    if (reply->offset >= at) break;
    auto text = std::string_view{reply->data.data}.substr(0, at - reply->offset);
    if (reply->offset + text.size() != at) break;
    at = reply->offset;
    search.take(at, text);
  }
  if (search.found() || at > reply->begin_offset)
    return log_place{generation, search.first_line().value_or(at)};
  return log_place{generation, at};
}

} // namespace skep::cli
