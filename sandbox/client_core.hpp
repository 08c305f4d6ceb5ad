// The calls of one client: a table on the engine's thread, and how one exchange of a call is sent.
// Internal to sandbox/client*.cpp.
//
// A call owns HTTP exchanges, mostly one. It ends exactly once: by settle() with a value or by
// fail(); either takes it out of the table first, so that late answers of its exchanges find
// nothing.
#pragma once

#include "sandbox/api.hpp"
#include "sandbox/http_engine.hpp"
#include "sandbox/policy.hpp"

#include <atomic>
#include <memory>
#include <unordered_map>

namespace skep::sandbox {

class connect_stream;

/// One HTTP exchange, before addresses, keys and limits are added.
struct exchange {
  std::string method = "GET";
  std::string path; ///< With its query.
  /// The whole address instead of path: another server's, which gets neither key nor token.
  std::string url = {};
  std::optional<remote> envd; ///< Where to; empty: the control API.
  std::string content_type = {};
  std::string body = {};
  file_slice body_file = {};
  std::vector<std::string> headers = {};
  bool once = false;                ///< As in http_request.
  std::size_t answer_cap_bytes = 0; ///< 0: policy::answer_cap_bytes.
  /// In a call without a deadline of its own; 0: the policy's of the call's operation.
  std::chrono::milliseconds deadline{0};
  /// Longest silence before and in the answer, in a call that may take longer; 0: none is set.
  std::chrono::milliseconds silence{0};
  std::optional<http_limits> stream_limits; ///< Set for streams: these, on the stream lane.
  std::function<flow(std::string_view)> on_data = {};
  std::function<void(std::uint64_t)> on_sent = {}; ///< As in http_handlers.
};

/// As a call's deadline: the one that the policy has for its operation.
inline constexpr std::chrono::milliseconds by_policy{0};

/// The same exchange, never repeated on its own: the peer may have done it though no answer came.
inline result<exchange> once(result<exchange> plan) {
  if (plan) plan->once = true;
  return plan;
}

class client_core : public std::enable_shared_from_this<client_core> {
public:
  using steady = std::chrono::steady_clock;
  /// What the exchange gave; `failure` is the classified error, none for 2xx.
  using on_answer = std::function<void(http_answer& answer, const error& failure)>;

  client_core(http_engine& engine, endpoint where, policy limits);

  // -- any thread ---------------------------------------------------------------------------------

  /// Makes a call and runs `first` on the engine's thread. `deadline` 0: the policy's; none at all
  /// for a stream, whose exchange has its own limits.
  call_id open(operation op, std::optional<std::chrono::milliseconds> deadline,
               std::function<void(error)> fail, std::function<void(call_id)> first);
  /// A call of one exchange. `read` makes the value from the answer, also from a failed one.
  template <class T>
  call_id simple(operation op, std::chrono::milliseconds deadline, result<exchange> plan,
                 std::function<result<T>(http_answer&, const error&)> read, done<T> then);
  void cancel(call_id id);
  void resume(call_id id);
  /// Fails all calls, present and later, and returns when that is done.
  void close();

  // -- engine thread ------------------------------------------------------------------------------

  bool alive(call_id id) const { return calls_.contains(id); }
  /// Sends it under the call's deadline, with attempts and token refresh. `then` is not called when
  /// the call has ended meanwhile.
  void send(call_id id, exchange plan, on_answer then);
  /// Ends the call and hands out the error, with step and provider named.
  void fail(call_id id, error why);
  /// Ends the call; false when it had ended. The caller then hands out the value.
  bool settle(call_id id);
  void set_stream(call_id id, std::shared_ptr<connect_stream> stream);

  const policy& limits() const { return limits_; }
  const endpoint& where() const { return endpoint_; }
  /// The sandbox's own host, for addresses that others follow; never the shared one.
  std::string sandbox_host_url(const remote& where) const;
  http_engine& engine() { return engine_; }

private:
  struct call {
    operation op;
    std::optional<steady::time_point> due;
    std::chrono::milliseconds deadline{0};
    std::function<void(error)> fail;
    std::vector<request_id> requests; ///< In flight; cancelled when the call ends.
    /// The stream's own exchange: after its last envelope it may end by itself, so that its
    /// connection is used again.
    request_id stream_request = 0;
    std::shared_ptr<connect_stream> stream;
    steady::time_point begun = steady::now();
  };
  /// A token that replaced the one a caller still has.
  struct renewed_token {
    std::string old_token;
    std::string new_token;
  };
  struct attempt_state {
    exchange plan;
    on_answer then;
    int attempt = 1;
    bool token_fetched = false;
  };

  void attempt(call_id id, std::shared_ptr<attempt_state> state);
  void answered(call_id id, std::shared_ptr<attempt_state> state, http_answer answer);
  void fetch_token(call_id id, std::shared_ptr<attempt_state> state, http_answer answer,
                   error failure);
  std::string base_url(const exchange& plan) const;
  std::string token_of(const remote& where) const;
  /// The provider's key as it is now; scrub() knows it from then on.
  std::string present_key();
  http_request make_request(const call& c, const exchange& plan);
  void end_requests(const call& c, bool with_stream);
  void tell(const call& c, errc how) const;
  void scrub(error& e, const exchange& plan) const;

  http_engine& engine_;
  const endpoint endpoint_;
  const policy limits_;
  std::atomic<call_id> next_id_{1};

  // -- engine thread --
  bool closed_ = false;
  std::unordered_map<call_id, call> calls_;
  std::unordered_map<std::string, renewed_token> tokens_; ///< By remote id.
  std::vector<std::string> sent_keys_; ///< All that were, since answers to old ones may still come.
};

template <class T>
call_id client_core::simple(operation op, std::chrono::milliseconds deadline, result<exchange> plan,
                            std::function<result<T>(http_answer&, const error&)> read,
                            done<T> then) {
  return open(
      op, deadline, [then](error e) { then(std::move(e)); },
      [this, plan = std::move(plan), read = std::move(read), then](call_id id) {
        if (!plan) return fail(id, plan.err());
        send(id, *plan, [this, id, read, then](http_answer& answer, const error& failure) {
          auto out = read(answer, failure);
          if (!out) return fail(id, out.err());
          if (settle(id)) then(std::move(out));
        });
      });
}

/// For simple(): a failed answer is the error, a good one's body is read by `parse`.
template <class T>
std::function<result<T>(http_answer&, const error&)>
from_body(std::function<result<T>(std::string_view)> parse) {
  return [parse = std::move(parse)](http_answer& answer, const error& failure) -> result<T> {
    if (failure) return failure;
    return parse(answer.body);
  };
}

/// A good status is enough.
inline std::function<result<void>(http_answer&, const error&)> status_only() {
  return [](http_answer&, const error& failure) -> result<void> {
    if (failure) return failure;
    return {};
  };
}

/// Of a deletion: true when it was there, false when there was none.
inline std::function<result<bool>(http_answer&, const error&)> was_there() {
  return [](http_answer&, const error& failure) -> result<bool> {
    if (failure.code == errc::not_found) return false;
    if (failure) return failure;
    return true;
  };
}

/// A control call about one sandbox: `/sandboxes/ID` + suffix, after checking the id.
result<exchange> about_sandbox(const std::string& remote_id, std::string method,
                               std::string suffix = {}, result<std::string> body = std::string{});
/// GET or POST /files of envd, after checking the path. An empty path is left out.
result<exchange> files_exchange(remote where, std::string method, std::string_view path,
                                const std::string& user);
/// filesystem.Filesystem/`method` with text members, each a path that is checked.
result<exchange> filesystem_rpc(remote where, std::string_view method, const std::string& user,
                                const std::vector<std::pair<std::string, std::string>>& members);
/// Paths, not sandboxes, are what is missing here: not_found becomes file_not_found.
error about_file(error e);
/// Reads the answer of a call about files: `parse`, or the failure as about_file() says it.
template <class T>
std::function<result<T>(http_answer&, const error&)>
file_answer(std::function<result<T>(std::string_view)> parse) {
  return [parse = std::move(parse)](http_answer& answer, const error& failure) -> result<T> {
    if (failure) return about_file(failure);
    return parse(answer.body);
  };
}

/// A unary envd RPC. `user` empty: envd's default.
exchange rpc(remote where, std::string method, std::string body, const std::string& user = {});
/// The header that selects the Linux user.
std::string user_header(const std::string& user);

} // namespace skep::sandbox
