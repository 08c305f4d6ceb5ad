// Idempotency keys (docs/protocol.md, section 4): a command with a key is carried out once.
//
//   request with a key --> known in the tables?   same command: the first answer (or, where that
//                                                 did not come to pass, as below); else key_reused
//                      --> being carried out?     same command: waits for that answer; else
//                                                 key_reused
//                      --> otherwise              carried out, and its answer kept for 24 h
//
// "Same" means the same command and the same body. What was refused is not kept: it had no effect,
// and the same request may succeed later. Whoever carries a command out journals command.accepted
// before it answers; until then the book alone knows the key.
#pragma once

#include "actors/interfaces.hpp"

#include <chrono>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace skep::actors {

/// How long a key is kept.
inline constexpr std::chrono::hours key_life{24};

class key_book {
public:
  using promise = caf::typed_response_promise<reply_frame>;
  /// Takes the packed reply, or the error, to everybody who waits for it.
  using answer = std::function<void(result<std::string>)>;
  /// Of services::find_command: {command, fingerprint, packed reply}, or an empty command.
  using lookup =
      std::function<std::tuple<std::string, std::string, std::string>(const std::string& key)>;

  /// Asked when a request is one that was accepted before. True: what its packed reply promised has
  /// not come to pass, so it is carried out once more.
  using unfulfilled = std::function<bool(const request_frame& f, const std::string& reply)>;

  explicit key_book(lookup known, unfulfilled undone = {})
      : known_(std::move(known)), undone_(std::move(undone)) {}

  /// The way to answer a request that is to be carried out; empty when it was answered or refused
  /// here, or waits for the one before it.
  answer admit(const request_frame& f, promise p);

  /// The desk ends: everybody who still waits gets this error and may ask again.
  void refuse_all(const error& why);

  /// What is journaled when a request with a key is accepted.
  static command_accepted acceptance(const request_frame& f, std::string reply, utc_time now);

private:
  struct waiting {
    std::uint32_t command = 0;
    std::string fingerprint;
    std::vector<std::pair<std::uint64_t, promise>> requests; ///< Their ids.
  };
  answer enter(const std::string& name, const request_frame& f, promise p, std::string fingerprint);

  lookup known_;
  unfulfilled undone_;
  std::map<std::string, waiting> open_; ///< "k" and the key, or "u" and a number without one.
  std::uint64_t unnamed_ = 0;
};

} // namespace skep::actors
