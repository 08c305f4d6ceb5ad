#include "actors/tree.hpp"

#include "actors/admission.hpp"
#include "actors/attach_desk.hpp"
#include "actors/limiter.hpp"
#include "actors/recorder.hpp"
#include "actors/safety_desk.hpp"

namespace skep::actors {
namespace {

using parts_ptr = std::shared_ptr<const tree_parts>;

template <class H>
caf::strong_actor_ptr strong(const H& h) {
  return caf::actor_cast<caf::strong_actor_ptr>(h);
}

supervisor_options options_for(const parts_ptr& p, std::string path, strategy plan) {
  supervisor_options out;
  out.path = std::move(path);
  out.plan = plan;
  out.policy = p->svc->limits.supervision;
  auto handles = p->svc->handles;
  auto now = p->svc->wall_now;
  out.on_restarted = [p, handles, now](const child_restarted& e) {
    if (p->on_restarted) p->on_restarted(e);
    if (auto r = handles->recorder()) caf::anon_send(r, note_a::value, pack_now(now(), e));
  };
  out.on_gave_up = [p, handles, now](const supervisor_gave_up& e) {
    if (p->on_gave_up) p->on_gave_up(e);
    if (auto r = handles->recorder()) caf::anon_send(r, note_a::value, pack_now(now(), e));
  };
  return out;
}

// A permanent child whose handle others find in the directory.
template <class Spawn, class Put>
child_spec service(std::string id, Spawn spawn, Put put) {
  return {std::move(id), [spawn, put](caf::scheduled_actor* parent) {
            auto h = spawn(parent);
            put(h);
            return strong(h);
          }};
}

child_spec attachments(const parts_ptr& p) {
  return service(
      "attachments",
      [p](caf::scheduled_actor* up) { return spawn_attach_desk(up, p->svc, p->registry); },
      [p](const desk_actor& h) { p->svc->handles->put_attachments(h); });
}

child_spec safety(const parts_ptr& p) {
  return service(
      "safety",
      [p](caf::scheduled_actor* up) { return spawn_safety_desk(up, p->svc, p->registry); },
      [p](const desk_actor& h) { p->svc->handles->put("safety", strong(h)); });
}

// Without the list of open runs it would take up none, and take their files for left-overs.
child_spec commands(const parts_ptr& p, std::shared_ptr<supervisor_actor> swarms) {
  return {"commands", [p, swarms](caf::scheduled_actor* up) -> caf::strong_actor_ptr {
            auto open = p->open_runs();
            if (!open) {
              if (auto r = p->svc->handles->recorder())
                caf::anon_send(r, note_a::value,
                               pack_now(p->svc->wall_now(),
                                        notice{severity::error, "open_runs_unread",
                                               "the runs that are open cannot be read, so that no "
                                               "command is taken: "
                                                   + render(open.err())}));
              return nullptr;
            }
            auto h = spawn_command_desk(
                up, p->svc, [swarms] { return *swarms; }, p->registry, std::move(*open));
            p->svc->handles->put_commands(h);
            return strong(h);
          }};
}

child_spec work(const parts_ptr& p) {
  return {
      "work",
      [p](caf::scheduled_actor* parent) {
        auto swarms = std::make_shared<supervisor_actor>();
        child_spec live{"swarms",
                        [p, swarms](caf::scheduled_actor* up) {
                          auto options = options_for(p, "root/work/swarms", strategy::one_for_one);
                          options.stop_together = true;
                          *swarms = spawn_supervisor(up, std::move(options), {});
                          return strong(*swarms);
                        },
                        restart_kind::permanent, std::chrono::seconds{30}};
        child_spec reaper{"reaper", [p](caf::scheduled_actor* up) {
                            auto h = spawn_reaper(up, p->svc, p->tables);
                            p->svc->handles->put("reaper", h);
                            return h;
                          }};
        // The desk's knowledge of live swarms is their supervisor's: they restart together.
        std::vector<child_spec> all{live, commands(p, swarms), attachments(p), safety(p), reaper};
        return strong(spawn_supervisor(parent, options_for(p, "root/work", strategy::one_for_all),
                                       std::move(all)));
      },
      restart_kind::permanent, std::chrono::seconds{40}};
}

child_spec edge(const parts_ptr& p) {
  return {"edge",
          [p](caf::scheduled_actor* parent) {
            auto publisher = service(
                "publisher",
                [p](caf::scheduled_actor* up) { return p->start_publisher(up->system()); },
                [p](const publisher_actor& h) { p->svc->handles->put_publisher(h); });
            auto control = service(
                "control", [p](caf::scheduled_actor* up) { return p->start_control(up->system()); },
                [p](const control_actor& h) { p->svc->handles->put_control(h); });
            return strong(spawn_supervisor(
                parent, options_for(p, "root/edge", strategy::one_for_one), {publisher, control}));
          },
          restart_kind::permanent, std::chrono::seconds{10}};
}

} // namespace

supervisor_actor start_tree(caf::actor_system& sys, tree_parts all) {
  auto p = std::make_shared<const tree_parts>(std::move(all));
  auto handles = p->svc->handles;
  auto journal = service(
      "journal",
      [p](caf::scheduled_actor* up) {
        return p->own_threads
                   ? spawn_journal(up, p->svc->handles, p->journal, p->journal_how)
                   : spawn_journal_undetached(up, p->svc->handles, p->journal, p->journal_how);
      },
      [handles](const journal_actor& h) { handles->put_journal(h); });
  auto recorder = service(
      "recorder",
      [p](caf::scheduled_actor* up) { return spawn_recorder(up, {}, {}, p->svc->handles); },
      [handles](const recorder_actor& h) { handles->put_recorder(h); });
  auto limiter = service(
      "limiter", [](caf::scheduled_actor* up) { return spawn_limiter(up); },
      [handles](const limiter_actor& h) { handles->put_limiter(h); });
  auto queries = service(
      "queries",
      [p](caf::scheduled_actor* up) {
        auto facts = p->facts;
        facts.judged_by = health_policy_of(p->svc->limits);
        return p->own_threads
                   ? spawn_query_desk(up, p->svc->handles, facts, p->open_reader)
                   : spawn_query_desk_undetached(up, p->svc->handles, facts, p->open_reader);
      },
      [handles](const desk_actor& h) { handles->put_queries(h); });
  auto admission = service(
      "admission",
      [p](caf::scheduled_actor* up) { return spawn_admission(up, p->svc, p->registry); },
      [handles](const admission_actor& h) { handles->put_admission(h); });
  std::vector<child_spec> children{journal, recorder, limiter};
  if (p->svc->rules) children.push_back(admission);
  children.insert(children.end(), {queries, work(p), edge(p)});
  return spawn_supervisor(sys, options_for(p, "root", strategy::rest_for_one), std::move(children));
}

} // namespace skep::actors
