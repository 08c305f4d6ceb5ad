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
#pragma once

#include "sandbox/client.hpp"
#include "sandbox/http_engine.hpp"
#include "tools/skepd/config.hpp"

#include <chrono>
#include <memory>
#include <mutex>

namespace skep::tools {

class local_host {
public:
  local_host(std::filesystem::path state_root, std::string install_id, config settings,
             std::filesystem::path programs, std::shared_ptr<sandbox::http_engine> engine);

  /// A client of a host that answers. Blocks up to 30 s; any thread, one start at a time.
  /// host_failed with the end of its log, no_isolation as it says.
  result<std::shared_ptr<sandbox::api>> connect();
  /// False: its directory names no sandbox, so that it needs no host to be asked. Any thread.
  bool may_hold() const;

private:
  result<std::shared_ptr<sandbox::api>> try_running();
  result<void> replace_outdated();
  result<void> start();
  result<void> start_at(const std::string& address);
  result<std::string> key();

  std::filesystem::path own_dir_;  ///< Key and log: ours.
  std::filesystem::path host_dir_; ///< The host's own, which a service user may own.
  config settings_;
  std::string tag_;                ///< Of a host that has these settings and is of this release.
  std::filesystem::path programs_; ///< Folder of skep-host.
  std::shared_ptr<sandbox::http_engine> engine_;
  std::mutex mutex_;
  std::shared_ptr<sandbox::api> api_;
  std::string url_;          ///< That api_ talks to.
  std::string successor_of_; ///< Address of a host that was ended; empty when there was none.
};

} // namespace skep::tools
