#include "broker/control.hpp"

#include "actors/polling_actor.hpp"
#include "broker/requests.hpp"
#include "broker/sockets.hpp"

#include <array>
#include <charconv>

namespace skep::broker {

namespace {

using actors::handle_a;
using actors::pump_a;

/// Requests taken from one socket before the mailbox gets its turn.
constexpr int drain_at_once = 64;

class control_impl : public actors::polling_actor<actors::control_actor::base> {
  using super = actors::polling_actor<actors::control_actor::base>;

public:
  control_impl(caf::actor_config& cfg, control_config config)
      : super(cfg), config_(std::move(config)),
        book_({config_.limits.max_clients, config_.limits.in_flight_per_client,
               config_.limits.in_flight, config_.limits.requests_per_second,
               config_.limits.burst}) {}

  const char* name() const override { return "control"; }

  void on_exit() override {
    for (auto& s : sockets_)
      s.reset();
    context_.reset();
    config_.desk_for = nullptr; // may hold handles
    config_.on_request = nullptr;
  }

  behavior_type make_behavior() override {
    adopt_thread();
    set_default_handler(caf::drop);
    if (auto e = open()) {
      quit(actors::to_caf(e));
      return behavior_type::make_empty_behavior();
    }
    send(this, pump_a::value);
    return {[this](pump_a) { pump(); }};
  }

private:
  error open() {
    context_.reset(::zmq_ctx_new());
    for (auto at : {gate::control, gate::replay}) {
      auto& s = socket(at);
      s = make_socket(context_.get(), ZMQ_ROUTER);
      if (!s) return make_error(errc::io, "making a control socket", zmq_reason());
      std::int64_t longest = static_cast<std::int64_t>(max_request_bytes);
      ::zmq_setsockopt(s.get(), ZMQ_MAXMSGSIZE, &longest, sizeof longest);
      set_option(s.get(), ZMQ_HANDSHAKE_IVL, config_.limits.handshake_ms);
      set_option(s.get(), ZMQ_ROUTER_MANDATORY,
                 1); // a client that has gone is an error, not silence
      set_option(s.get(), ZMQ_HEARTBEAT_IVL, 10'000);
      set_option(s.get(), ZMQ_HEARTBEAT_TIMEOUT, 30'000);
      set_option(s.get(), ZMQ_RCVHWM, 128);
      set_option(s.get(), ZMQ_SNDHWM, 128);
      const auto& path = at == gate::control ? config_.control_path : config_.replay_path;
      if (auto e = bind_private(s.get(), path)) return e;
    }
    return {};
  }

  zmq_socket& socket(gate at) { return sockets_[static_cast<std::size_t>(at)]; }

  void pump() {
    zmq_pollitem_t items[] = {{socket(gate::control).get(), 0, ZMQ_POLLIN, 0},
                              {socket(gate::replay).get(), 0, ZMQ_POLLIN, 0},
                              {nullptr, wake_fd(), ZMQ_POLLIN, 0}};
    constexpr long idle_ms = 10'000;
    ::zmq_poll(items, 3, idle_ms);
    settle_wake();
    if ((items[0].revents & ZMQ_POLLIN) != 0) drain(gate::control);
    if ((items[1].revents & ZMQ_POLLIN) != 0) drain(gate::replay);
    send(this, pump_a::value);
  }

  void drain(gate at) {
    for (int i = 0; i < drain_at_once; ++i) {
      zmq_part client;
      if (!client.receive(socket(at).get())) return;
      zmq_part body;
      bool one_part = client.more() && body.receive(socket(at).get()) && !body.more();
      // The part with the name has no properties when ZeroMQ made it while we polled.
      auto who = read_peer(body.property("Peer-Address"));
      for (bool more = body.more(); more;) {
        zmq_part rest;
        more = rest.receive(socket(at).get()) && rest.more();
      }
      // The socket is part of a client's name: one program has one connection to each.
      std::string name{at == gate::control ? 'c' : 'r'};
      name += client.view();
      accept(at, name, one_part ? body.view() : std::string_view{}, who);
    }
  }

  void accept(gate at, const std::string& client, std::string_view frame, const peer& who) {
    auto throttled = book_.admit(client, std::chrono::steady_clock::now());
    auto parsed = parse_request(at, frame, config_.version);
    auto id = parsed.request.id;
    if (throttled) return answer(at, client, pack_refusal(id, throttled));
    if (parsed.refusal) return answer(at, client, pack_refusal(id, parsed.refusal));
    actors::desk_actor desk;
    if (config_.desk_for) desk = config_.desk_for(parsed.request.command);
    if (!desk)
      return answer(
          at, client,
          pack_refusal(id, make_error(errc::shutting_down, "the part of skepd "
                                                           "that answers this is not up")));
    if (auto e = book_.begin(client)) return answer(at, client, pack_refusal(id, e));
    if (config_.on_request) config_.on_request(who, parsed.request);
    request(desk, config_.limits.desk_deadline, handle_a::value, std::move(parsed.request))
        .then(
            [this, at, client, id](reply_frame& reply) {
              book_.end(client);
              reply.version = protocol_version;
              reply.id = id;
              reply.failure = masked(std::move(reply.failure));
              answer(at, client, pack(reply));
            },
            [this, at, client, id](caf::error& e) {
              book_.end(client);
              answer(at, client, pack_refusal(id, masked(actors::from_caf(e))));
            });
  }

  /// Never waits: an answer for a client that has gone, or that does not read, is dropped.
  void answer(gate at, const std::string& client, const std::string& frame) {
    auto* s = socket(at).get();
    if (s == nullptr) return;
    if (::zmq_send(s, client.data() + 1, client.size() - 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) return;
    ::zmq_send(s, frame.data(), frame.size(), ZMQ_DONTWAIT);
  }

  control_config config_;
  client_book book_;
  zmq_context context_;
  std::array<zmq_socket, 2> sockets_;
};

} // namespace

peer read_peer(const char* address) {
  peer out;
  if (address == nullptr) return out;
  std::string_view text{address};
  auto take = [&text](std::int64_t& number) {
    auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return false;
    auto digits = text.substr(colon + 1);
    text = text.substr(0, colon);
    auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return failed == std::errc{} && end == digits.data() + digits.size();
  };
  std::int64_t uid = -1, gid = -1, pid = 0;
  if (take(pid) && take(gid) && take(uid)) out = {uid, pid};
  return out;
}

actors::control_actor start_control(caf::actor_system& system, control_config config) {
  return system.spawn<control_impl, caf::detached>(std::move(config));
}

} // namespace skep::broker
