// One multi handle of libcurl: its transfers, its sockets in the engine's epoll, its timer. Used by
// http_engine.cpp alone, on the engine's thread.
//
// libcurl looks at every connection of a handle when it wants one, so a handle gets slow with their
// number; the engine keeps each at `limit` transfers and makes another one for more streams.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace skep::sandbox {

class http_lane {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `number` comes back in the tag of its sockets' epoll events (see number_of, socket_of).
  http_lane(int epoll, std::uint32_t number, std::size_t limit);
  /// Closes the connections.
  ~http_lane();
  http_lane(const http_lane&) = delete;
  http_lane& operator=(const http_lane&) = delete;

  static std::uint32_t number_of(std::uint64_t tag) {
    return static_cast<std::uint32_t>(tag >> 32U);
  }
  static int socket_of(std::uint64_t tag) { return static_cast<int>(tag & 0xffffffffU); }

  bool has_room() const { return in_flight_ < limit_; }
  std::size_t in_flight() const { return in_flight_; }
  /// Counts it also where libcurl refuses; remove() is due in any case.
  CURLMcode add(CURL* easy);
  void remove(CURL* easy);
  /// A socket is ready for what the epoll bits say.
  void socket_ready(int fd, std::uint32_t epoll_bits);
  void run_timer(time_point now);
  /// When libcurl wants to be called.
  std::optional<time_point> due() const { return due_; }
  /// Hands out what has ended since the last call; `ended` may call remove().
  void reap(const std::function<void(CURL*, CURLcode)>& ended);

private:
  static int socket_cb(CURL*, curl_socket_t fd, int what, void* self, void* known) noexcept;
  static int timer_cb(CURLM*, long timeout_ms, void* self) noexcept;

  const int epoll_;
  const std::uint32_t number_;
  const std::size_t limit_;
  CURLM* multi_;
  std::size_t in_flight_ = 0;
  std::optional<time_point> due_;
};

} // namespace skep::sandbox
