#include "broker/requests.hpp"

#include <algorithm>
#include <cmath>

namespace skep::broker {

std::string_view command_name(gate at, std::uint32_t command) {
  constexpr auto replay = command_traits<replay_request>::number;
  if ((command == replay) != (at == gate::replay)) return {};
  switch (command) {
#define SKEP_COMMAND_CASE(nr, Request, Reply, text)                                                \
  case nr:                                                                                         \
    return text;
    SKEP_COMMANDS(SKEP_COMMAND_CASE)
#undef SKEP_COMMAND_CASE
  default:
    return {};
  }
}

namespace {
/// Version and id of a frame whose other fields may be those of another protocol.
bool read_preamble(const msgpack::object& o, std::uint64_t& version, std::uint64_t& id) {
  if (o.type != msgpack::type::MAP) return false;
  bool has_version = false;
  for (const auto& kv : std::span{o.via.map.ptr, o.via.map.size}) {
    std::uint32_t key = 0;
    if (!unpack_value(kv.key, key)) return false;
    if (key == 1) has_version = unpack_value(kv.val, version);
    if (key == 2 && !unpack_value(kv.val, id)) return false;
  }
  return has_version;
}
} // namespace

parsed_request parse_request(gate at, std::string_view frame, std::string_view server) {
  parsed_request out;
  if (frame.size() > max_request_bytes) {
    out.refusal = make_error(errc::too_large, "a request has at most "
                                                  + std::to_string(max_request_bytes) + " bytes");
    return out;
  }
  std::size_t offset = 0;
  auto handle = parse_object(frame, offset);
  std::uint64_t version = 0;
  if (!handle || offset != frame.size() || !read_preamble(handle->get(), version, out.request.id)) {
    out.refusal = make_error(errc::bad_frame, "a request is one msgpack map with version and id");
    return out;
  }
  if (version != protocol_version) {
    out.refusal = make_error(errc::wrong_version,
                             "skepd " + std::string{server} + " speaks protocol "
                                 + std::to_string(protocol_version)
                                 + ", the request is of protocol " + std::to_string(version));
    return out;
  }
  auto id = out.request.id;
  if (!unpack_value(handle->get(), out.request)) {
    out.refusal = make_error(errc::bad_frame, "a field of the request has the wrong type");
    out.request.id = id;
    return out;
  }
  if (auto bad = check_key(out.request.key)) {
    out.refusal = make_error(errc::bad_frame, bad.message);
    return out;
  }
  if (command_name(at, out.request.command).empty())
    out.refusal = make_error(errc::unknown_command,
                             "command " + std::to_string(out.request.command) + " at the "
                                 + (at == gate::control ? "control" : "replay") + " socket");
  return out;
}

std::string pack_refusal(std::uint64_t id, const error& why) {
  return pack(reply_frame{protocol_version, id, why, {}});
}

bool client_book::make_room() {
  if (clients_.size() < limits_.clients) return true;
  auto oldest = clients_.end();
  for (auto i = clients_.begin(); i != clients_.end(); ++i)
    if (i->second.in_flight == 0
        && (oldest == clients_.end() || i->second.last < oldest->second.last))
      oldest = i;
  if (oldest == clients_.end()) return false;
  clients_.erase(oldest);
  return true;
}

error client_book::admit(std::string_view client, time now) {
  auto i = clients_.find(client);
  if (i == clients_.end()) {
    if (!make_room()) return make_error(errc::queue_full, "too many clients are waiting");
    i = clients_.emplace(std::string{client}, entry{}).first;
    i->second.tokens = limits_.burst;
    i->second.last = now;
  }
  auto& c = i->second;
  auto seconds = std::chrono::duration<double>(now - c.last).count();
  c.tokens = std::min(limits_.burst, c.tokens + std::max(0.0, seconds) * limits_.per_second);
  c.last = now;
  if (c.tokens < 1) {
    auto e = make_error(errc::rate, "a client may send "
                                        + std::to_string(static_cast<int>(limits_.per_second))
                                        + " requests a second");
    e.retry_after_ms =
        static_cast<std::int64_t>(std::ceil((1 - c.tokens) / limits_.per_second * 1000));
    return e;
  }
  c.tokens -= 1;
  return {};
}

error client_book::begin(std::string_view client) {
  auto i = clients_.find(client);
  if (i == clients_.end() || i->second.in_flight >= limits_.in_flight_per_client)
    return make_error(errc::queue_full, "this client waits for "
                                            + std::to_string(limits_.in_flight_per_client)
                                            + " answers already");
  if (in_flight_ >= limits_.in_flight)
    return make_error(errc::queue_full, "too many requests are being answered");
  ++i->second.in_flight;
  ++in_flight_;
  return {};
}

void client_book::end(std::string_view client) {
  auto i = clients_.find(client);
  if (i == clients_.end() || i->second.in_flight == 0) return;
  --i->second.in_flight;
  --in_flight_;
}

} // namespace skep::broker
