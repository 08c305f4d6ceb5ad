// Where a SWARM stands: sw_... with RECORDER, SWARM and the supervisor of its sandboxes.
#include "actors/recorder.hpp"
#include "actors/swarm.hpp"

namespace skep::actors {
namespace {

child_spec recorder_child(const swarm_context_ptr& context) {
  return {"recorder",
          [context](caf::scheduled_actor* parent) {
            auto h = spawn_recorder(parent, context->swarm, {}, context->svc->handles);
            context->recorder(h);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::permanent};
}

// The first begin comes from whoever started the swarm and wants its answer; later ones from the
// child after this one.
child_spec keeper_child(const swarm_context_ptr& context, const swarm_start& start,
                        const std::function<void(const swarm_id&)>& closed) {
  auto first = std::make_shared<bool>(true);
  return {"swarm",
          [context, start, closed, first](caf::scheduled_actor* parent) -> caf::strong_actor_ptr {
            auto mine = start;
            if (!std::exchange(*first, false)) {
              auto row = context->svc->load_swarm(context->swarm);
              if (!row) return nullptr; // a start that failed: tried again later
              mine.fresh = false;
              mine.record = std::move(*row);
            }
            auto h = spawn_swarm(parent, context, std::move(mine), closed);
            context->keeper(h);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::permanent};
}

// Last, so that a SWARM which begins again finds the supervisor that it puts its sandboxes under.
child_spec sandboxes_child(const swarm_context_ptr& context, const std::string& path) {
  auto first = std::make_shared<bool>(true);
  return {"sandboxes",
          [context, path, first](caf::scheduled_actor* parent) {
            auto options = reported(context->svc, path + "/sandboxes");
            options.stop_together = true;
            options.on_ended = [context](const std::string& id, const caf::error& why) {
              if (auto swarm = context->keeper(); swarm && gave_up(why))
                caf::anon_send(swarm, exited_a::value,
                               sandbox_ending{{id}, outcome::failed, from_caf(why), true});
            };
            auto h = spawn_supervisor(parent, options, {});
            context->sandboxes(h);
            if (!std::exchange(*first, false))
              if (auto swarm = context->keeper()) caf::anon_send(swarm, begin_a::value);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::permanent, std::chrono::seconds{20}};
}

} // namespace

child_spec swarm_child(swarm_context_ptr context, swarm_start start,
                       std::function<void(const swarm_id&)> closed) {
  auto path = "root/work/swarms/" + context->swarm.value;
  std::vector<child_spec> parts = {recorder_child(context), keeper_child(context, start, closed),
                                   sandboxes_child(context, path)};
  return {context->swarm.value,
          [context, path, parts](caf::scheduled_actor* parent) {
            auto options = reported(context->svc, path);
            options.plan = strategy::rest_for_one;
            auto h = spawn_supervisor(parent, options, parts);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{30}};
}

} // namespace skep::actors
