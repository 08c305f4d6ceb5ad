// Serves figures over HTTP to who asks for /metrics: on a unix socket of this user, or on a
// loopback address. Off unless skep.toml says where.
//
// One thread, one connection after the other, each with a deadline; nothing of a request but its
// first line is looked at. Decision 0028 says why this is no library.
#pragma once

#include "messages/error.hpp"

#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace skep::tools {

/// "unix:/absolute/path", "127.0.0.1:PORT" or "[::1]:PORT". Port 0: any, see address().
struct metrics_address {
  std::string unix_path; ///< Or empty:
  bool v6 = false;
  std::uint16_t port = 0;
};
/// bad_config for anything else, another host than loopback above all.
result<metrics_address> read_metrics_address(const std::string& text);

class metrics_server {
public:
  /// `text` is called on the server's thread for every request. Errors: io, exists (a file that is
  /// no socket lies at the path).
  static result<std::unique_ptr<metrics_server>> start(const metrics_address& where,
                                                       std::function<std::string()> text);
  ~metrics_server();
  metrics_server(const metrics_server&) = delete;
  metrics_server& operator=(const metrics_server&) = delete;
  /// Where it listens, as read_metrics_address() takes it.
  const std::string& address() const { return address_; }

private:
  metrics_server() = default;
  void serve();
  void answer(int connection);
  int listener_ = -1;
  int stop_[2] = {-1, -1}; ///< Closing the write end wakes the thread.
  std::string unix_path_;
  std::string address_;
  std::function<std::string()> text_;
  std::thread thread_;
};

} // namespace skep::tools
