// The HTTP engine: one thread that owns libcurl and drives every request of the daemon.
//
// Requests (short exchanges) and streams (long-lived answers) have handles of their own, because a
// stream must not make a short request wait, and because libcurl slows down with the number of
// transfers in one handle: at most 200 each. Requests have one handle; what exceeds it waits in
// order, and the waiting counts against the deadline. Streams get another handle when theirs are
// full. Sockets are watched by one epoll through curl_multi_socket_action; other threads reach the
// engine by a queue of commands and an eventfd. Over TLS, requests take HTTP/2 where it is offered,
// and then those to one host share a connection. Every stream has a connection of its own, so that
// one that is paused holds up nobody (docs/decisions/0012).
//
// Life of a request
//   queued -> in flight -> [on_head] -> [on_data ...] -> on_done
// on_done is called exactly once for every submit(), whatever happens: answer, failure, deadline,
// cancel, end of the engine. Callbacks run on the engine's thread, must not block or throw, and may
// call any function of the engine except its destructor.
//
// A request whose connection dies before any answer is sent again by libcurl when the connection
// was a reused one. Requests with `once` are never sent twice: they fail with errc::network.
#pragma once

#include "messages/error.hpp"
#include "sandbox/file_slice.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skep::sandbox {

using request_id = std::uint64_t;

/// How long a request may take. Can only be made with a limit for a hanging server.
class http_limits {
public:
  /// All of it, from submit() to the last byte, within `whole`.
  static http_limits within(std::chrono::milliseconds whole) { return {whole, {}, {}}; }
  /// A stream: the first byte of the body within `first_byte`, then never more than `idle` of
  /// silence (paused time is not counted), and all of it within `whole` when that is given.
  static http_limits streaming(std::chrono::milliseconds first_byte, std::chrono::milliseconds idle,
                               std::optional<std::chrono::milliseconds> whole = {}) {
    return {whole, first_byte, idle};
  }

  std::optional<std::chrono::milliseconds> whole() const { return whole_; }
  std::optional<std::chrono::milliseconds> first_byte() const { return first_byte_; }
  std::optional<std::chrono::milliseconds> idle() const { return idle_; }

private:
  using limit = std::optional<std::chrono::milliseconds>;
  http_limits(limit whole, limit first_byte, limit idle)
      : whole_(whole), first_byte_(first_byte), idle_(idle) {}
  limit whole_;
  limit first_byte_;
  limit idle_;
};

enum class lane : std::uint8_t { request, stream };

struct http_request {
  http_request(std::string method_, std::string url_, http_limits limits_)
      : method(std::move(method_)), url(std::move(url_)), limits(limits_) {}

  std::string method;
  std::string url;
  http_limits limits;
  std::vector<std::string> headers; ///< "Name: value"; a control character in one is bad_argument.
  std::string body;                 ///< For any method but GET.
  file_slice body_file;             ///< Instead of `body`: a file's content, read while sending.
  lane in = lane::request;
  bool once = false; ///< Must not reach the server twice.
  /// An answer kept in memory that is longer fails with errc::too_large.
  std::size_t body_cap_bytes = 16U << 20U;
};

/// What came back. `failure` is set when there was no whole answer; an HTTP error status is none.
struct http_answer {
  error failure;
  int status = 0;                             ///< 0: no answer.
  std::map<std::string, std::string> headers; ///< Names in lower case.
  std::string body; ///< Empty where on_data took it; the first 64 KiB when the status is not 2xx.
};

enum class flow : std::uint8_t {
  go_on,
  pause, ///< These bytes are taken; no more until resume().
  stop,  ///< Ends the request with errc::cancelled.
};

struct http_handlers {
  /// Body bytes of a 2xx answer as they come. Empty: they are kept in http_answer::body.
  std::function<flow(std::string_view)> on_data;
  std::function<void(http_answer)> on_done; ///< Required.
  /// How many bytes of the body the connection has taken so far, each time that it takes more; from
  /// less again when libcurl sends it anew. Up to a buffer of libcurl's of them are not out yet.
  std::function<void(std::uint64_t)> on_sent = {};
};

/// How many streams a process should have open that may have so many open files: each takes one of
/// seven tenths of them.
constexpr std::size_t streams_of(std::uint64_t open_files) {
  return static_cast<std::size_t>(open_files / 10 * 7);
}
/// The same of this process, by its present limit (RLIMIT_NOFILE).
std::size_t streams_at_most();

struct engine_options {
  std::size_t in_flight_a_handle = 200; ///< Beyond it libcurl gets slow.
  std::size_t requests_in_flight = 200; ///< Over it they wait; at most in_flight_a_handle.
  std::size_t streams_in_flight = streams_at_most(); ///< Over all their handles.
  std::chrono::milliseconds connect{10'000};
  std::size_t stream_buffer_bytes = 1024; ///< Per open stream; an idle stream costs about 12 KiB.
  std::filesystem::path ca_file;          ///< Empty: the system's.
  /// Told of every call of a client that ended: its operation, how long it took, errc::none when it
  /// went well. On the engine's thread; may be empty.
  std::function<void(std::string_view operation, std::chrono::milliseconds took, errc how)>
      on_call = {};
  /// The clock of all limits and delays; tests have one of their own. After it has moved by itself,
  /// post() makes the engine look.
  std::chrono::steady_clock::time_point (*now)() = &std::chrono::steady_clock::now;
};

struct engine_stats {
  std::uint64_t in_flight = 0;
  std::uint64_t queued = 0;
  std::uint64_t peak_in_flight = 0; ///< Highest count in one handle so far.
  std::uint64_t connections_opened = 0;
  std::uint64_t requests_finished = 0;
};

class http_engine {
public:
  explicit http_engine(engine_options options = {});
  /// Ends every request with errc::cancelled, then joins the thread. Not from a callback.
  ~http_engine();
  http_engine(const http_engine&) = delete;
  http_engine& operator=(const http_engine&) = delete;

  /// Thread-safe; returns at once.
  request_id submit(http_request request, http_handlers handlers);
  /// Thread-safe; harmless when the request is over.
  void cancel(request_id id);
  /// Un-pauses; thread-safe; harmless when it is not paused or over.
  void resume(request_id id);
  /// Runs `work` on the engine's thread, in order with submit, cancel and resume. Thread-safe.
  void post(std::function<void()> work);
  /// Runs `work` on the engine's thread after `delay`; dropped when the engine ends. Thread-safe.
  void after(std::chrono::milliseconds delay, std::function<void()> work);

  bool on_engine_thread() const;
  engine_stats stats() const;
  /// By the clock of its options. Thread-safe.
  std::chrono::steady_clock::time_point now() const { return now_(); }
  /// What engine_options::on_call was; may be empty.
  const auto& on_call() const { return on_call_; }

private:
  class loop;
  decltype(engine_options::on_call) on_call_;
  decltype(engine_options::now) now_;
  std::unique_ptr<loop> loop_;
};

} // namespace skep::sandbox
