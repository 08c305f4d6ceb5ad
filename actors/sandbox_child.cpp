// The supervisor of one sandbox: RECORDER and SANDBOX from the start, the rest as the SANDBOX adds
// it.
#include "actors/recorder.hpp"
#include "actors/sandbox_actor.hpp"

namespace skep::actors {
namespace {

child_spec recorder_child(const context_ptr& context) {
  return {"recorder",
          [context](caf::scheduled_actor* parent) {
            auto h =
                spawn_recorder(parent, context->swarm, context->sandbox, context->svc->handles);
            context->recorder(h);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::permanent};
}

// A restarted actor starts from what is on disk. Only when there is nothing at all (the first one
// died before its first event was stored) it starts as the first one did; when the tables cannot be
// read it must not start: it would create a second time.
bool read_again(const sandbox_context& context, sandbox_start& start) {
  auto record = context.svc->load_sandbox(context.sandbox);
  if (!record) return record.err().code == errc::not_found;
  auto panes = context.svc->load_panes(context.sandbox);
  if (!panes || (panes->empty() && record->state >= phase::starting)) return false;
  start.record = std::move(*record);
  start.panes = std::move(*panes);
  start.fresh = false;
  return true;
}

child_spec keeper_child(const context_ptr& context, sandbox_start start,
                        std::function<swarm_actor()> swarm) {
  auto first = std::make_shared<bool>(true);
  auto given = std::make_shared<const sandbox_start>(std::move(start)); // one for all copies
  return {"sandbox",
          [context, given, swarm = std::move(swarm),
           first](caf::scheduled_actor* parent) -> caf::strong_actor_ptr {
            auto mine = *given;
            if (!std::exchange(*first, false) && !read_again(*context, mine)) return nullptr;
            auto h = parent->spawn<sandbox_impl>(context, std::move(mine), swarm,
                                                 caf::actor_cast<supervisor_actor>(parent));
            context->keeper(h);
            caf::anon_send(h, begin_a::value);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::permanent};
}

// A TRANSFER that ended: the SANDBOX has heard of it, unless it died or its deadline passed.
void report_transfer(const sandbox_context& context, const std::string& id, const caf::error& why) {
  transfer_ending x;
  x.transfer = {id};
  if (!x.transfer.valid()) return;
  x.why = why ? from_caf(why) : make_error(errc::internal);
  if (x.why.code == errc::internal) x.why.message = "the transfer died: " + describe(why);
  if (auto keeper = context.keeper()) caf::anon_send(keeper, exited_a::value, std::move(x));
}

} // namespace

child_spec sandbox_child(context_ptr context, sandbox_start start,
                         std::function<swarm_actor()> swarm) {
  auto recorder = recorder_child(context);
  auto keeper = keeper_child(context, std::move(start), std::move(swarm));
  return {context->sandbox.value,
          [context, recorder, keeper](caf::scheduled_actor* parent) {
            auto options = reported(context->svc, "root/work/swarms/" + context->swarm.value + "/"
                                                      + context->sandbox.value);
            options.plan = strategy::rest_for_one;
            options.stop_together = false;
            options.on_ended = [context](const std::string& id, const caf::error& why) {
              report_transfer(*context, id, why);
            };
            auto h = spawn_supervisor(parent, options, {recorder, keeper});
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{10}};
}

} // namespace skep::actors
