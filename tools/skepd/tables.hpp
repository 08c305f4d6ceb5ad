// The state tables for actors: one reader behind a mutex. Reads are short; the QUERIES desk has its
// own.
#pragma once

#include "actors/command_desk.hpp"
#include "actors/reaper.hpp"
#include "storage/reader.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>

namespace skep::tools {

class state_reader {
public:
  explicit state_reader(std::filesystem::path database) : database_(std::move(database)) {}

  /// Calls work(reader) with the reader opened at first use; its error otherwise. Thread-safe.
  template <class F>
  auto with(F work) -> decltype(work(std::declval<storage::reader&>())) {
    std::lock_guard guard{mutex_};
    if (!reader_) {
      auto opened = storage::reader::open(database_);
      if (!opened) return opened.err();
      reader_ = std::make_unique<storage::reader>(std::move(*opened));
    }
    return work(*reader_);
  }
  /// Closes the reader; the next use opens it again.
  void close() {
    std::lock_guard guard{mutex_};
    reader_.reset();
  }
  /// What a former daemon left open, all of it; a spec that cannot be read is its error there.
  result<std::vector<actors::open_run>> open_runs();

private:
  std::filesystem::path database_;
  std::mutex mutex_;
  std::unique_ptr<storage::reader> reader_;
};

/// Fills the table functions of the services.
void bind_tables(actors::services& svc, std::shared_ptr<state_reader> tables);
/// Who can be asked for a list of sandboxes. Called by actors; short.
struct askable_providers {
  std::function<bool(const std::string&)> knows;      ///< It is configured, or "local".
  std::function<std::vector<std::string>()> with_key; ///< Configured with a key that is set.
  std::function<bool()> local_holds;                  ///< The local host may have a sandbox.
};
/// Fills knows_provider, providers_in_use and may_hold of the services.
void bind_providers(actors::services& svc, std::shared_ptr<state_reader> tables,
                    askable_providers known);
/// The REAPER asks the providers that the state tables name (reader::providers_to_list), and after
/// a start all of these; the local host only while it may have a sandbox, unless the tables say
/// that one lives there.
actors::reaper_tables reaper_tables_of(std::shared_ptr<state_reader> tables,
                                       askable_providers known, std::function<utc_time()> now);

} // namespace skep::tools
