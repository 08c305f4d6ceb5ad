// Everything by which skepd is watched, put together: mask, log, audit, signs of life, figures.
#pragma once

#include "actors/domain.hpp"
#include "actors/metrics_book.hpp"
#include "actors/slewed_clock.hpp"
#include "actors/watch_book.hpp"
#include "storage/journal.hpp"
#include "storage/state_dir.hpp"
#include "tools/skepd/metrics_server.hpp"
#include "tools/skepd/secret_guard.hpp"
#include "tools/skepd/tables.hpp"

#include <atomic>

namespace skep::tools {

struct watching {
  std::shared_ptr<secret_guard> guard;
  std::shared_ptr<actors::watch_book> book = std::make_shared<actors::watch_book>();
  std::shared_ptr<actors::metrics_book> metrics = std::make_shared<actors::metrics_book>();
  std::shared_ptr<std::atomic<std::uint64_t>> published =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  /// Opens the log of this process. bad_config for a level that does not exist, io.
  result<void> open_log(const storage::state_paths& paths, const std::string& level);
  /// How the journal keeps the audit log.
  storage::journal_options journal_options_of(const storage::state_paths& paths) const;
  /// `backend` with log, signs and figures looking on.
  std::unique_ptr<actors::journal_backend>
  observed(std::unique_ptr<actors::journal_backend> backend,
           std::function<utc_time()> wall_now) const;
  /// Starts the server of figures; nothing when `listen` is empty.
  result<std::unique_ptr<metrics_server>> serve_metrics(const std::string& listen,
                                                        std::shared_ptr<state_reader> tables,
                                                        actors::directory_ptr handles) const;
};

/// Events of deeds that were done without the daemon (storage/audit_spool.hpp). Blocks for up to
/// 5 s each; once a second is often enough.
void take_up_words(caf::scoped_actor& self, const actors::services& svc,
                   const std::filesystem::path& state_root);

/// Tells once when somebody has set the system's clock. Once a second is often enough.
void tell_clock_jump(const actors::services& svc, actors::slewed_clock& clock);

} // namespace skep::tools
