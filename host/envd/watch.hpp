// Watched directories: one inotify instance for all watchers of this daemon (instances are few: 128
// for a user, over all sandboxes), whose events are handed to those who watch the directory.
//
// A recursive watcher follows directories as they appear. What is already in a new directory when
// its watch begins is reported by reading it once, so that nothing that was made in between is lost
// or told twice.
#pragma once

#include "host/envd/account.hpp"
#include "host/envd/event_stream.hpp"
#include "messages/json.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace skep::envd {

class watch_hub;

/// What one client wants to know of one directory. Made by watch_hub::watch(); it ends when the
/// last reference goes.
class watcher : public stream_client {
public:
  watcher(asio::io_context& io, std::string directory, bool recurse, bool with_entries)
      : stream_client(io), root(std::move(directory)), recursive(recurse),
        include_entry(with_entries) {}
  /// As a stream: each event as a message of its own; never complete, but it fails when events were
  /// lost.
  std::shared_ptr<const std::string> next() override;
  bool complete() const override;

  const std::string root; ///< Absolute, as the client wrote it.
  const bool recursive;
  const bool include_entry;
  std::deque<json> queue; ///< FilesystemEvents, oldest first.
  bool lost = false;      ///< Events were dropped: nobody took them for too long.

private:
  friend class watch_hub;
  std::set<std::string> seen_; ///< Names told by reading a new directory, not yet by the kernel.
};

/// Throws the rpc_failure of a watcher that lost events.
[[noreturn]] void fail_lost();

class watch_hub {
public:
  watch_hub(asio::io_context& io, account& user) : io_(io), user_(user), events_(io) {}

  /// Begins to watch. Throws rpc_failure: not_found, invalid_argument (no directory, or a network
  /// mount that was not asked for), resource_exhausted.
  std::shared_ptr<watcher> watch(const std::string& directory, bool recursive, bool include_entry,
                                 bool allow_network);
  /// Ends it; also for one that is unknown.
  void end(const std::shared_ptr<watcher>& w);
  /// Wakes every watcher whose client has to be let go (before a pause).
  void drop_all();

private:
  using place = std::pair<std::weak_ptr<watcher>, std::string>; ///< Who, and the directory's name
                                                                ///< below the watched one.
  void open();
  void await();
  void read_events();
  void add(const std::shared_ptr<watcher>& w, const std::string& name, bool tell);
  void forget(const std::shared_ptr<watcher>& w, const std::string& name);
  void dispatch(int wd, std::uint32_t mask, const std::string& name);
  void tell(watcher& w, const char* type, const std::string& name, bool entry);

  asio::io_context& io_;
  account& user_;
  asio::posix::stream_descriptor events_;
  std::map<int, std::vector<place>> places_; // by watch descriptor
};

} // namespace skep::envd
