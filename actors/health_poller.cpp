#include "actors/health_poller.hpp"

#include "actors/usage_watch.hpp"

namespace skep::actors {
namespace {

class health_poller_impl : public domain_actor<health_actor> {
public:
  health_poller_impl(caf::actor_config& cfg, context_ptr context, std::uint32_t later)
      : domain_actor(cfg), ctx_(std::move(context)), ticks_to_wait_(later) {}

  const char* name() const override { return "health_poller"; }

  behavior_type make_behavior() override {
    return {
        [this](tick_a) { on_tick(); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    ctx_->svc->ailing->drop(ctx_->sandbox);
    if (call_ != 0) ctx_->api->cancel(call_);
    if (sampling_ != 0) ctx_->api->cancel(sampling_);
    if (looking_) ctx_->api->cancel(look_);
    ctx_.reset();
  }

private:
  const policies& limits() const { return ctx_->svc->limits; }

  void on_tick() {
    if (ticks_to_wait_ > 0) {
      --ticks_to_wait_;
      return;
    }
    auto waited = this->clock().now() - asked_at_;
    if (asking_) {
      if (waited >= limits().health_deadline) no_answer();
      return;
    }
    if (!asked_ || waited >= limits().health_interval) ask();
  }

  // A sandbox that gave a sample before is asked for the next one: the answer says that it is
  // alive as well, for half the requests. What no sample says is asked by the health check.
  void ask() {
    asked_ = asking_ = true;
    asked_at_ = this->clock().now();
    ++question_;
    samples_ ? ask_sample() : ask_health();
  }

  void ask_health() {
    call_ = ctx_->api->health(ctx_->address(), home<void>([this, n = question_](result<void> r) {
                                if (n == question_) answered(r);
                              }));
  }

  // In the same question: its deadline is that of both.
  void ask_sample() {
    call_ = ctx_->api->usage(ctx_->address(),
                             home<sandbox::usage_sample>([this, n = question_](auto r) {
                               if (n != question_) return;
                               samples_ = r.ok();
                               if (!r) return ask_health();
                               answered({});
                               sampled(*r);
                             }));
  }

  void no_answer() {
    ++question_; // its late answer counts no more
    samples_ = false;
    ctx_->api->cancel(call_);
    answered(
        make_error(errc::timed_out,
                   "no answer for " + std::to_string(limits().health_deadline.count()) + " s"));
  }

  void answered(const result<void>& r) {
    asking_ = false;
    call_ = 0;
    if (!r) return failed(r.err());
    alive();
    if (!samples_) sample();
  }

  void alive() {
    no_more_ailing();
    denials_ = 0;
    if (ctx_->probe_failures() == 0) return;
    ctx_->probe_failures(0);
    tell(severity::info, "healthy", "answers again");
  }

  // What does not answer, or does not offer it, is no matter of health: there is no sample then.
  void sample() {
    if (sampling_ != 0) ctx_->api->cancel(sampling_);
    sampling_ = ctx_->api->usage(ctx_->address(), home<sandbox::usage_sample>([this](auto r) {
                                   sampling_ = 0;
                                   samples_ = r.ok();
                                   if (r) sampled(*r);
                                 }));
  }

  void sampled(const sandbox::usage_sample& s) {
    alive(); // a late one, after the next question failed: who reads samples counts from 0 as well
    auto now = ctx_->svc->wall_now();
    usage_sampled x{s.cpu_used_percent,   s.cpu_count,       s.memory_used_bytes,
                    s.memory_total_bytes, s.disk_used_bytes, s.disk_total_bytes};
    auto verdict = usage_.take(x, now);
    if (verdict.worth_an_event) note(ctx_->recorder(), now, x);
    for (const auto& n : verdict.notices)
      note(ctx_->recorder(), now, n);
  }

  void failed(const error& why) {
    auto failures = ctx_->probe_failures() + 1;
    auto most = limits().health_failures;
    ctx_->probe_failures(failures);
    if (failures <= most)
      tell(severity::warning, "unhealthy",
           "did not answer, " + std::to_string(failures) + "/" + std::to_string(most) + ": "
               + render(why));
    if (failures >= most || why.code == errc::gone) ask_provider();
  }

  // One question at a time: its answer is the newest that there is.
  void ask_provider() {
    if (std::exchange(looking_, true)) return;
    look_ = ctx_->api->get(ctx_->address().remote_id,
                           home<sandbox::detail>([this](const result<sandbox::detail>& r) {
                             looking_ = false;
                             provider_said(r);
                           }));
  }

  void provider_said(const result<sandbox::detail>& r) {
    const auto denied = !r && r.err().code == errc::not_found;
    if (!denied) denials_ = 0;
    if (r.ok()) return is_there();
    no_more_ailing(); // nobody answers: that may be our network
    if (!denied || !counts_as_lost()) return;
    if (auto keeper = ctx_->keeper()) caf::anon_send(keeper, lost_a::value, r.err());
  }

  // A 404 may be an error of the provider's in passing, but for the host of this machine. The looks
  // of the SANDBOX come sooner one after another, so that as much time counts, too.
  bool counts_as_lost() {
    const auto at = this->clock().now();
    if (++denials_ == 1) denied_since_ = at;
    return ctx_->spec->provider == "local" || denials_ >= limits().loss_looks
           || at - denied_since_ >= limits().loss_time();
  }

  void is_there() {
    if (ctx_->probe_failures() < limits().health_failures) return; // it answered meanwhile
    if (++there_ >= 2) ail();
  }

  void no_more_ailing() {
    there_ = 0;
    ctx_->svc->ailing->drop(ctx_->sandbox);
  }

  // Whoever needs its place may have it.
  void ail() {
    ctx_->svc->ailing->put(ctx_->sandbox, [weak = std::weak_ptr<sandbox_context>(ctx_)] {
      auto ctx = weak.lock();
      if (auto keeper = ctx ? ctx->keeper() : sandbox_actor{})
        caf::anon_send(keeper, kill_a::value,
                       make_error(errc::gone, "it does not answer, and its place is needed"));
    });
  }

  void tell(severity level, const char* code, const std::string& text) {
    note(ctx_->recorder(), ctx_->svc->wall_now(),
         notice{level, code, ctx_->sandbox.value + " " + text});
  }

  context_ptr ctx_;
  std::uint32_t ticks_to_wait_; ///< Before the first question.
  caf::actor_clock::time_point asked_at_{};
  sandbox::call_id call_ = 0;
  sandbox::call_id sampling_ = 0;
  sandbox::call_id look_ = 0; ///< The question to the provider, while looking_.
  usage_watch usage_;
  std::uint64_t question_ = 0;
  bool asked_ = false;
  bool samples_ = false; ///< It answered the last question for one.
  bool asking_ = false;
  bool looking_ = false;
  std::uint32_t denials_ = 0; ///< So often in a row the provider denied to have it (404),
  caf::actor_clock::time_point denied_since_{}; ///< first at this time.
  std::uint32_t there_ = 0; ///< So often in this row of failures the provider had it.
};

} // namespace

std::uint32_t first_question(const policies& p, const sandbox_id& of) {
  auto ticks = std::max<std::size_t>(1, static_cast<std::size_t>(p.health_interval / p.tick));
  return static_cast<std::uint32_t>(std::hash<std::string>{}(of.value) % ticks);
}

caf::strong_actor_ptr spawn_health_poller(caf::scheduled_actor* parent, context_ptr context,
                                          std::uint32_t later) {
  auto h = parent->spawn<health_poller_impl>(context, later);
  context->health(h);
  return caf::actor_cast<caf::strong_actor_ptr>(h);
}

} // namespace skep::actors
