#include "broker/publisher.hpp"

#include "actors/polling_actor.hpp"
#include "broker/frames.hpp"
#include "broker/sockets.hpp"

#include <algorithm>
#include <cstring>

namespace skep::broker {

namespace {

using actors::output_a;
using actors::publish_a;
using actors::pump_a;
using actors::tick_a;
using steady = std::chrono::steady_clock;

class publisher_impl : public actors::polling_actor<actors::publisher_actor::base> {
  using super = actors::polling_actor<actors::publisher_actor::base>;

public:
  publisher_impl(caf::actor_config& cfg, publisher_config config)
      : super(cfg), config_(std::move(config)), head_(config_.head_seq) {}

  const char* name() const override { return "publisher"; }

  void on_exit() override {
    socket_.reset();
    context_.reset();
  }

  behavior_type make_behavior() override {
    adopt_thread();
    set_default_handler(caf::drop);
    if (auto e = open()) {
      quit(actors::to_caf(e));
      return behavior_type::make_empty_behavior();
    }
    send(this, pump_a::value);
    return {
        [this](publish_a, const actors::chunk_ptr& c) { publish(*c); },
        [this](output_a, const actors::output_ptr& p) { publish_output(*p); },
        [this](pump_a) { pump(); },
        [this](tick_a) { beacon(); },
    };
  }

private:
  error open() {
    context_.reset(::zmq_ctx_new());
    socket_ = make_socket(context_.get(), ZMQ_XPUB);
    if (!socket_) return make_error(errc::io, "making the event socket", zmq_reason());
    set_option(socket_.get(), ZMQ_SNDHWM, config_.send_high_water);
    set_option(socket_.get(), ZMQ_XPUB_VERBOSE, 1); // every joining subscriber gets its beacon
    set_option(socket_.get(), ZMQ_HANDSHAKE_IVL, 2000);
    set_option(socket_.get(), ZMQ_MAXMSGSIZE, 4096); // subscriptions are short
    return bind_private(socket_.get(), config_.path);
  }

  /// Topic, header and body in one part; the body is copied once, into ZeroMQ's own buffer, which
  /// all subscribers share.
  void send_frame(std::string_view body) {
    zmq_msg_t msg;
    if (::zmq_msg_init_size(&msg, prefix_.size() + body.size()) != 0) return;
    auto* to = static_cast<char*>(::zmq_msg_data(&msg));
    std::memcpy(to, prefix_.data(), prefix_.size());
    if (!body.empty()) std::memcpy(to + prefix_.size(), body.data(), body.size());
    if (::zmq_msg_send(&msg, socket_.get(), ZMQ_DONTWAIT) < 0) ::zmq_msg_close(&msg);
  }

  void publish(const chunk& c) {
    if (c.count == 0) return;
    head_ = std::max(head_, c.last_seq());
    put_event_prefix(prefix_, config_.stream_id, c);
    send_frame(c.body.data);
    if (config_.on_published) config_.on_published(c.last_seq());
    // Under load the mailbox is never empty, and neither beacons nor joining subscribers can wait
    // for a quiet moment. Reading also lets ZeroMQ see what subscribers have taken: while we only
    // send, it looks once a millisecond, and a burst would meet the high-water mark of readers that
    // keep up.
    constexpr std::uint64_t now_and_then = 64;
    if (++sent_ % now_and_then != 0) return;
    read_subscriptions();
    beacon_when_due();
  }

  void publish_output(const actors::output_piece& p) {
    put_output_prefix(prefix_, {p.swarm, p.sandbox, p.pane, p.generation, p.offset, {}});
    send_frame(p.data);
  }

  void beacon() {
    prefix_ = encode_head({config_.stream_id, head_});
    send_frame({});
    announced_ = head_;
    last_beacon_ = steady::now();
  }

  steady::time_point beacon_due() const {
    return last_beacon_
           + (head_ != announced_ ? config_.beacon_interval : config_.idle_beacon_interval);
  }

  void beacon_when_due() {
    if (steady::now() >= beacon_due()) beacon();
  }

  void pump() {
    zmq_pollitem_t items[] = {{socket_.get(), 0, ZMQ_POLLIN, 0},
                              {nullptr, wake_fd(), ZMQ_POLLIN, 0}};
    ::zmq_poll(items, 2, poll_ms());
    settle_wake();
    if ((items[0].revents & ZMQ_POLLIN) != 0) read_subscriptions();
    beacon_when_due();
    send(this, pump_a::value);
  }

  long poll_ms() const {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(beacon_due() - steady::now());
    return std::max(left, std::chrono::milliseconds{0}).count();
  }

  /// Some of those that wait: peers that write them as fast as they are read get no more than their
  /// turn. The poll reports the rest at once, after the mailbox has had its own.
  void read_subscriptions() {
    constexpr int at_once = 64;
    bool joined = false;
    for (int i = 0; i < at_once; ++i) {
      zmq_part part;
      if (!part.receive(socket_.get())) break;
      // 0x01 + prefix: a subscription that covers the beacon.
      auto text = part.view();
      if (!text.empty() && text[0] == '\1' && head_topic.starts_with(text.substr(1, 2)))
        joined = true;
    }
    if (joined) beacon();
  }

  publisher_config config_;
  std::uint64_t head_;
  std::uint64_t announced_ = 0; ///< Head of the last beacon.
  std::uint64_t sent_ = 0;      ///< Chunks.
  steady::time_point last_beacon_{};
  std::string prefix_; ///< Reused buffer.
  zmq_context context_;
  zmq_socket socket_;
};

} // namespace

actors::publisher_actor start_publisher(caf::actor_system& system, publisher_config config) {
  return system.spawn<publisher_impl, caf::detached>(std::move(config));
}

} // namespace skep::broker
