#include "actors/recorder.hpp"

namespace skep::actors {

namespace {

// The interface and its own timer.
using recorder_self = recorder_actor::extend<caf::reacts_to<tick_a, std::uint64_t>>;

class recorder_impl : public recorder_self::base {
  using super = recorder_self::base;

public:
  recorder_impl(caf::actor_config& cfg, swarm_id swarm, sandbox_id sandbox, directory_ptr dir,
                recorder_options options)
      : super(cfg), options_(options),
        builder_(std::make_unique<chunk_builder>(
            chunk_host(
                this, std::move(dir),
                [this](caf::timespan d, std::uint64_t token) { set_timer(d, token); },
                options.limits.append_timeout),
            std::move(swarm), std::move(sandbox), options.limits)) {}

  const char* name() const override { return "recorder"; }
  void on_exit() override { builder_.reset(); } // answers those who still wait

  behavior_type make_behavior() override {
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
    set_exit_handler([this](caf::exit_msg& e) { begin_stop(e.reason); });
    return {
        [this](record_a, packed_event& e) -> caf::result<std::uint64_t> {
          if (stopping_) return to_caf(make_error(errc::shutting_down));
          auto promise = make_response_promise<std::uint64_t>();
          builder_->add(std::move(e), promise);
          return promise;
        },
        [this](record_a, packed_events& e) -> caf::result<std::uint64_t> {
          if (stopping_) return to_caf(make_error(errc::shutting_down));
          if (e.all.empty()) return to_caf(make_error(errc::bad_argument, "no event to store"));
          auto promise = make_response_promise<std::uint64_t>();
          builder_->add_all(std::move(e.all), promise);
          return promise;
        },
        [this](note_a, packed_event& e) {
          if (!stopping_) builder_->add(std::move(e));
        },
        [this](tick_a, std::uint64_t token) {
          if (token == stop_token)
            quit(why_);
          else
            builder_->on_timer(token);
        },
    };
  }

private:
  static constexpr std::uint64_t stop_token = 0; // the builder's tokens begin at 1

  void set_timer(caf::timespan delay, std::uint64_t token) {
    delayed_send(caf::actor_cast<recorder_self>(this), delay, tick_a::value, token);
  }

  void begin_stop(caf::error why) {
    if (stopping_) return;
    stopping_ = true;
    why_ = std::move(why);
    builder_->flush();
    if (builder_->idle()) return quit(why_);
    builder_->on_idle = [this] { quit(why_); };
    set_timer(options_.stop_wait, stop_token);
  }

  recorder_options options_;
  std::unique_ptr<chunk_builder> builder_;
  bool stopping_ = false;
  caf::error why_;
};

} // namespace

recorder_actor spawn_recorder(caf::actor_system& sys, swarm_id swarm, sandbox_id sandbox,
                              directory_ptr dir, recorder_options options) {
  return sys.spawn<recorder_impl>(std::move(swarm), std::move(sandbox), std::move(dir), options);
}

recorder_actor spawn_recorder(caf::scheduled_actor* parent, swarm_id swarm, sandbox_id sandbox,
                              directory_ptr dir, recorder_options options) {
  return parent->spawn<recorder_impl>(std::move(swarm), std::move(sandbox), std::move(dir),
                                      options);
}

} // namespace skep::actors
