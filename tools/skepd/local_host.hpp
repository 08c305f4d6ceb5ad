// Keeps the `local` provider there: finds the skep-host of this state directory, or starts one.
//
// skep-host outlives skepd: it is started in a session of its own, with an empty environment but
// for PATH and locale, and writes its URL to HOST/ready.json. Its state lies in STATE/host; started
// by root it lies in /var/lib/skep-host/INSTALL, since the service user it drops to must reach it.
//
// It also outlives changes of its settings ([local] in skep.toml) and of the release. So it carries
// their fingerprint as its tag; one with another tag is ended and a new one started in its place.
// Holders live on and are adopted: sandboxes that are there keep what they were made with, new ones
// get the new settings.
//
// A host that lives is never joined by another one, however long it takes until it serves: only one
// can have the directory, and the second would take the file away that leads to the first.
#pragma once

#include "sandbox/client.hpp"
#include "sandbox/http_engine.hpp"
#include "tools/skepd/config.hpp"

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

namespace skep::tools {

/// How long skepd waits for its skep-host.
struct local_host_policy {
  std::chrono::milliseconds start{30'000}; ///< Until a host serves, started by us or before us.
  std::chrono::milliseconds answer{5'000}; ///< For the question whether it serves.
  std::chrono::milliseconds end{10'000};   ///< For a host with other settings to end.
  std::chrono::milliseconds look{50};      ///< Between looks at a host that does not serve yet.
};

class local_host {
public:
  /// `host_dir`: where the host's state lies; empty: where the head of this file says.
  local_host(std::filesystem::path state_root, std::string install_id, config settings,
             std::filesystem::path programs, std::shared_ptr<sandbox::http_engine> engine,
             local_host_policy policy = {}, std::filesystem::path host_dir = {});

  /// A client of a host that answers. Blocks for as long as its policy says; any thread, one start
  /// at a time. host_failed with the end of its log, or when it lives and does not serve in time;
  /// no_isolation as it says.
  result<std::shared_ptr<sandbox::api>> connect();
  /// False: its directory names no sandbox, so that it needs no host to be asked. Any thread.
  bool may_hold() const;

private:
  result<std::shared_ptr<sandbox::api>> try_running();
  result<void> replace_outdated();
  using time_point = std::chrono::steady_clock::time_point;
  result<void> start();
  result<void> start_at(const std::string& address, time_point deadline);
  /// Whether a host serves the directory, or is about to.
  bool host_lives() const;
  /// Nothing when no host lives. Else waits until it has said where it serves; host_failed when it
  /// has not by the deadline.
  std::optional<result<void>> await_living(time_point deadline) const;
  result<std::string> key();

  std::filesystem::path own_dir_;  ///< Key and log: ours.
  std::filesystem::path host_dir_; ///< The host's own, which a service user may own.
  config settings_;
  std::string tag_;                ///< Of a host that has these settings and is of this release.
  std::filesystem::path programs_; ///< Folder of skep-host.
  std::shared_ptr<sandbox::http_engine> engine_;
  local_host_policy policy_;
  std::mutex mutex_;
  std::shared_ptr<sandbox::api> api_;
  std::string url_;          ///< That api_ talks to.
  std::string successor_of_; ///< Address of a host that was ended; empty when there was none.
};

} // namespace skep::tools
