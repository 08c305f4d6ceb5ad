// The checks on a request before it reaches an actor, without sockets and actors, so that they can
// be tested and fuzzed alone. Private to broker/.
#pragma once

#include "messages/commands.hpp"

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace skep::broker {

/// Which of the two ROUTER sockets.
enum class gate : std::uint8_t { control, replay };

/// Name of a command that `at` accepts; empty for others.
std::string_view command_name(gate at, std::uint32_t command);

/// A request, or the answer that refuses it.
struct parsed_request {
  request_frame request;
  error refusal; ///< When set, `request.id` is what could be read of the id.
};
/// Reads and checks one request frame. `server` names this daemon's version for people.
parsed_request parse_request(gate at, std::string_view frame, std::string_view server);

/// Packs the refusal of request `id`.
std::string pack_refusal(std::uint64_t id, const error& why);

/// Rates and requests in flight of every client; clients are known by their connection.
class client_book {
public:
  using time = std::chrono::steady_clock::time_point;
  struct limits {
    std::size_t clients;
    std::size_t in_flight_per_client;
    std::size_t in_flight;
    double per_second;
    double burst;
  };
  explicit client_book(limits l) : limits_(l) {}

  /// Takes one request from the client's allowance; errc::rate with the time to wait, or
  /// errc::queue_full when too many clients are busy.
  error admit(std::string_view client, time now);
  /// Counts a request that goes to a desk; errc::queue_full when there are too many.
  error begin(std::string_view client);
  void end(std::string_view client);
  std::size_t in_flight() const { return in_flight_; }
  std::size_t size() const { return clients_.size(); }

private:
  struct entry {
    double tokens = 0;
    time last{};
    std::size_t in_flight = 0;
  };
  bool make_room();
  limits limits_;
  std::map<std::string, entry, std::less<>> clients_;
  std::size_t in_flight_ = 0;
};

} // namespace skep::broker
