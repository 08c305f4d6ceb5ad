// One request inside the engine: its easy handle, its limits and libcurl's callbacks.
// Used by http_engine.cpp alone, on the engine's thread.
#pragma once

#include "sandbox/http_engine.hpp"

#include <curl/curl.h>

#include <array>

namespace skep::sandbox {

using steady = std::chrono::steady_clock;

class transfer {
public:
  /// `now`: the engine's clock.
  transfer(request_id id, http_request request, http_handlers handlers,
           steady::time_point (*now)());
  ~transfer();
  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;

  /// Sets every option of `easy`. Fails on a bad header or body file. `started` outlives this and
  /// gets the id when the first byte of a body with an idle limit arrives.
  result<void> prepare(CURL* easy, CURLSH* share, const engine_options& options,
                       std::vector<request_id>& started);
  /// Not in a callback: the first byte of the answer has come, so a stream needs no memory for its
  /// request any more (libcurl would keep its upload buffer as long as the stream lives).
  void answer_began();
  /// When it fails with errc::timed_out unless something happens before; none while nothing limits
  /// it.
  std::optional<steady::time_point> expires() const;
  /// After resume(): true when libcurl itself was paused and must be told.
  bool unpause(steady::time_point now);
  /// What a finished transfer's CURLcode means; empty when the answer is whole.
  error outcome(CURLcode code) const;
  error timeout_error() const;

  request_id id() const { return id_; }
  lane in() const { return request_.in; }
  CURL* easy() const { return easy_; }
  http_answer& answer() { return answer_; }
  http_handlers& handlers() { return handlers_; }

  std::optional<steady::time_point> armed; ///< Its entry in the engine's timer list.
  std::uint32_t lane_number = 0;           ///< Its handle, once it is in flight.

private:
  static std::size_t write_cb(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t read_cb(char* out, std::size_t size, std::size_t count, void* self) noexcept;
  static int seek_cb(void* self, curl_off_t offset, int origin) noexcept;
  static std::size_t header_cb(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept;

  result<void> prepare_body();
  std::size_t take(std::string_view data);
  std::size_t give(char* out, std::size_t room);
  std::size_t given(std::size_t bytes);
  void head_line(std::string_view line);

  request_id id_;
  http_request request_;
  http_handlers handlers_;
  http_answer answer_;
  CURL* easy_ = nullptr;
  std::vector<request_id>* started_ = nullptr;
  curl_slist* header_list_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> curl_text_{};

  int body_fd_ = -1;
  std::uint64_t body_size_ = 0;
  std::uint64_t body_sent_ = 0;

  steady::time_point (*now_)();
  steady::time_point submitted_;
  steady::time_point last_data_;
  bool has_data_ = false;
  bool pause_next_ = false; ///< The handler said pause; the next write callback passes it on.
  bool paused_ = false;     ///< libcurl knows.
  error own_failure_;       ///< Why one of our callbacks ended the transfer.
};

} // namespace skep::sandbox
