// A small HTTP/1.1 server on loopback whose every answer is a function of the test: it can stall,
// cut, pause, lie and hang up at any byte. One thread a connection; all end with the object.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace skep::sandbox {

class script_server {
public:
  struct request {
    std::string method;
    std::string target;                         ///< Path and query as sent.
    std::map<std::string, std::string> headers; ///< Names in lower case.
    std::string body;
    int connection = 0; ///< Number of the connection, from 1.

    std::string path() const { return target.substr(0, target.find('?')); }
    std::string header(const std::string& name) const {
      auto i = headers.find(name);
      return i == headers.end() ? std::string{} : i->second;
    }
  };

  /// The connection a request came on. All waiting ends when the server stops.
  class peer {
  public:
    peer(script_server& server, int fd) : server_(server), fd_(fd) {}
    /// Raw bytes; false when the other side or the server is gone.
    bool send(std::string_view bytes);
    /// Sends while the peer takes it; returns when it took nothing for `stall_ms`, or all is sent.
    std::size_t send_until_stalled(std::string_view bytes, int stall_ms);
    bool answer(int status, std::string_view body = {},
                std::vector<std::string> headers = {"Content-Type: application/json"});
    bool begin_chunks(int status, std::vector<std::string> headers);
    bool chunk(std::string_view bytes);
    bool end_chunks();
    /// One byte, then a pause of `interval_ms`, and so on until the other side closes.
    void drip(std::string_view bytes, int interval_ms);
    /// Waits at most `ms`, less when the server stops; true when the other side has closed.
    bool closed_within(int ms);
    /// Until the other side closes.
    void wait_closed();
    void close() { closing_ = true; }
    bool closing() const { return closing_; }
    int fd() const { return fd_; }

  private:
    script_server& server_;
    int fd_;
    bool closing_ = false;
  };

  using handler = std::function<void(peer&, const request&)>;

  explicit script_server(handler on_request);
  ~script_server();
  script_server(const script_server&) = delete;
  script_server& operator=(const script_server&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int connections() const { return connections_; }
  /// Copies of all requests so far.
  std::vector<request> requests() const;

private:
  friend class peer;
  void accept_loop();
  void serve(int fd, int number);
  bool read_request(int fd, std::string& buffer, request& out);
  /// True when `fd` is ready for `events`; false when the server stops or after `timeout_ms`.
  bool wait(int fd, short events, int timeout_ms = -1);

  handler on_request_;
  int listen_ = -1;
  int stop_ = -1; ///< eventfd, readable once the server stops.
  int port_ = 0;
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<request> requests_;    ///< Under mutex_.
  std::vector<std::thread> threads_; ///< Under mutex_.
  std::thread acceptor_;
};

} // namespace skep::sandbox
