// The QUERIES desk: questions of the control and replay protocols, answered from the database's
// read side and from log files. Detached: short reads may block it, and it alone.
#pragma once

#include "actors/domain.hpp"
#include "actors/health.hpp"
#include "storage/reader.hpp"

namespace skep::actors {

/// What daemon.status tells besides what the database knows.
struct daemon_facts {
  std::string version;
  std::int64_t pid = 0;
  std::filesystem::path state_dir;
  utc_time started_at{};
  std::function<bool()> draining = {};
  std::shared_ptr<const watch_book> watch = {};      ///< Signs of life; may be null.
  std::function<std::uint64_t()> published_seq = {}; ///< Last one the PUBLISHER sent; may be empty.
  health_policy judged_by = {}; ///< By what health is judged; the tree takes it from its policies.
};

/// `open` makes the actor's own reader, in its thread; when that fails the actor ends with the
/// error.
desk_actor spawn_query_desk(caf::scheduled_actor* parent, directory_ptr handles, daemon_facts facts,
                            std::function<result<storage::reader>()> open);

/// The same actor on the scheduler's threads, for tests under a virtual clock.
desk_actor spawn_query_desk_undetached(caf::scheduled_actor* parent, directory_ptr handles,
                                       daemon_facts facts,
                                       std::function<result<storage::reader>()> open);

/// A part of a pane's log file. Blocking. Empty when this generation has no log yet; an offset
/// outside of the log is moved to its nearer end. io: there is a log and it cannot be read.
result<log_read_reply> read_log(const std::filesystem::path& logs, const pane_record& pane,
                                const log_read_request& want);

} // namespace skep::actors
