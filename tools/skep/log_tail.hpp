// Where the last lines of a pane's log begin: looked for from its end, piece by piece.
#pragma once

#include "messages/commands.hpp"

#include <functional>

namespace skep::cli {

/// So much of the end of a log is looked through.
inline constexpr std::uint64_t tail_bound_bytes = 64 * 1024 * 1024;

/// Answers one log.read.
using log_reader = std::function<result<log_read_reply>(const log_read_request&)>;

/// A byte of one attempt's log: the next attempt, which may begin at any time, counts anew.
struct log_place {
  std::uint32_t generation = 0; ///< 0: the newest, whichever that will be.
  std::uint64_t offset = 0;

  bool operator==(const log_place&) const = default;
};

/// The byte at which the last `lines` lines of the pane's newest log begin; a line that has not
/// ended counts. Where there are fewer: the first byte that is kept. Where the last `bound_bytes`
/// hold fewer: the first line that begins in them, or their first byte when none does. Holds one
/// piece of the log at a time. Errors are those of `read`.
result<log_place> tail_begin(const log_reader& read, const pane_id& pane, std::uint32_t lines,
                             std::uint64_t bound_bytes = tail_bound_bytes);

} // namespace skep::cli
