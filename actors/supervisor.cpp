#include "actors/supervisor.hpp"

#include "actors/answer.hpp"

namespace skep::actors {

namespace {

class supervisor_impl : public supervisor_actor::base {
  using super = supervisor_actor::base;

public:
  supervisor_impl(caf::actor_config& cfg, supervisor_options options,
                  std::vector<child_spec> children)
      : super(cfg), invalid_(options.policy.validate()), first_(std::move(children)),
        rules_({this,
                [this](caf::timespan delay, std::uint64_t token) {
                  delayed_send(caf::actor_cast<supervisor_actor>(this), delay, tick_a::value,
                               token);
                },
                [this](caf::error why) { quit(std::move(why)); }},
               std::move(options)) {}

  const char* name() const override { return "supervisor"; }
  void on_exit() override { rules_.kill_all(); }

  behavior_type make_behavior() override {
    if (invalid_) {
      quit(to_caf(invalid_));
      return behavior_type::make_empty_behavior();
    }
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
    set_down_handler([this](caf::down_msg& d) { rules_.on_down(d); });
    set_exit_handler([this](caf::exit_msg& e) { rules_.stop(e.reason); });
    for (auto& c : first_)
      rules_.add(std::move(c));
    first_.clear();
    return {
        [this](add_child_a, child_spec& s) {
          auto promise = make_response_promise<caf::strong_actor_ptr>();
          rules_.add(std::move(s),
                     [promise](result<caf::strong_actor_ptr> r) { answer(promise, r); });
          return promise;
        },
        [this](del_child_a, const std::string& id) -> caf::result<void> {
          auto promise = make_response_promise<void>();
          rules_.remove(id, [promise](result<void> r) { answer(promise, r); });
          return promise;
        },
        [this](get_child_a, const std::string& id) -> caf::result<caf::strong_actor_ptr> {
          if (auto h = rules_.find(id)) return h;
          return to_caf(make_error(errc::not_found, "no running child " + id));
        },
        [this](ids_a) { return rules_.ids(); },
        [this](tick_a, std::uint64_t token) { rules_.on_timer(token); },
    };
  }

private:
  error invalid_;
  std::vector<child_spec> first_;
  supervision rules_;
};

} // namespace

supervisor_actor spawn_supervisor(caf::actor_system& sys, supervisor_options options,
                                  std::vector<child_spec> children) {
  return sys.spawn<supervisor_impl>(std::move(options), std::move(children));
}

supervisor_actor spawn_supervisor(caf::scheduled_actor* parent, supervisor_options options,
                                  std::vector<child_spec> children) {
  return parent->spawn<supervisor_impl>(std::move(options), std::move(children));
}

} // namespace skep::actors
