#include "actors/sandbox_steps.hpp"

#include "actors/guest_call.hpp"
#include "actors/isolation_check.hpp"
#include "actors/network_check.hpp"
#include "actors/transfer.hpp"

#include <set>

namespace skep::actors {
namespace {

using sandbox::command_result;
using sandbox::done;

error at_step(error e, const char* step) {
  e.step = step;
  return e;
}

// A command whose non-zero exit is an error.
void run_checked(const context_ptr& ctx, sandbox::command what, const char* step,
                 done<command_result> then) {
  ctx->api->run(ctx->address(), std::move(what), [step, then](result<command_result> r) {
    if (!r) return then(at_step(r.err(), step));
    if (!r->exited || r->exit_code != 0)
      return then(at_step(
          make_error(errc::remote_command_failed, r->status, r->stderr_data.substr(0, 500)), step));
    then(std::move(r));
  });
}

// Continues with `next` on success; gives the error to `then` under the step's name otherwise.
template <class T, class Next>
done<T> and_then(const char* step, auto then, Next next) {
  return [step, then, next](result<T> r) {
    if (!r) return then(at_step(r.err(), step));
    if constexpr (std::is_void_v<T>)
      next();
    else
      next(std::move(*r));
  };
}

void install_guest(const context_ptr& ctx, const done<void>& then) {
  auto fresh = ctx->guest_path() + "." + random_token(8);
  auto try_it = [ctx, then] {
    run_checked(ctx, guest_command(*ctx, {"--version"}, ctx->svc->limits.guest_command),
                "provision", [then](result<command_result> v) {
                  if (!v) return then(v.err());
                  if (!v->stdout_data.starts_with("skep-guest "))
                    return then(
                        at_step(make_error(errc::protocol, "skep-guest does not know itself",
                                           v->stdout_data.substr(0, 200)),
                                "provision"));
                  then({});
                });
  };
  auto name_it = [ctx, then, fresh, try_it](result<command_result> r) {
    if (!r) return then(r.err());
    ctx->api->move(ctx->address(), fresh, ctx->guest_path(), {},
                   and_then<void>("provision", then, try_it));
  };
  ctx->api->upload_file(ctx->address(), ctx->svc->guest_binary, fresh, {},
                        and_then<void>("provision", then, [ctx, fresh, name_it] {
                          sandbox::command chmod;
                          chmod.argv = {"/bin/chmod", "0755", fresh};
                          chmod.limit = ctx->svc->limits.guest_command;
                          run_checked(ctx, std::move(chmod), "provision", name_it);
                        }));
}

} // namespace

bool step_may_pass(const error& why) {
  return retriable(why) && why.code != errc::gone && why.code != errc::no_isolation
         && why.code != errc::cancelled;
}

void verify_inside(context_ptr ctx, std::string mark, done<void> then) {
  ctx->api->health(ctx->address(), and_then<void>("verify", then, [ctx, mark, then] {
                     run_checked(
                         ctx, isolation_question(ctx->svc->limits.guest_command), "verify",
                         [mark, then](const result<command_result>& r) {
                           if (!r) return then(r.err());
                           auto proven = judge_isolation(r->stdout_data, mark, this_place());
                           then(proven ? std::move(proven) : at_step(proven.err(), "verify"));
                         });
                   }));
}

void verify_network(context_ptr ctx, done<std::string> then) {
  const auto& limits = ctx->svc->limits;
  auto what = guest_command(*ctx, network_question(*ctx->spec, limits.network_look),
                            limits.guest_command + limits.network_look);
  ctx->api->run(ctx->address(), std::move(what), [ctx, then](const result<command_result>& r) {
    auto answer = read_guest_answer(r);
    if (!answer) return then(at_step(answer.err(), "verify"));
    auto how = ctx->svc->limits.create_of(ctx->spec->provider).network;
    auto verdict = judge_network(*answer, *ctx->spec, how);
    then(verdict ? std::move(verdict) : at_step(verdict.err(), "verify"));
  });
}

void kill_leftovers(context_ptr ctx, done<bool> then) {
  using sandbox::process_info;
  ctx->api->list_processes(
      ctx->address(), and_then<std::vector<process_info>>(
                          "adopt", then, [ctx, then](const std::vector<process_info>& all) {
                            static const std::set<std::string> short_ones = {
                                "unpack", "base", "worktree", "verify", "diff", "settle"};
                            std::vector<std::uint32_t> found;
                            for (const auto& p : all) {
                              bool guest_call = p.argv.size() >= 2 && p.argv[0] == ctx->guest_path()
                                                && short_ones.count(p.argv[1]);
                              if (guest_call || p.tag == setup_tag) found.push_back(p.pid);
                            }
                            if (found.empty()) return then(false);
                            auto left = std::make_shared<std::size_t>(found.size());
                            for (auto pid : found) // what comes of it, the next look sees
                              ctx->api->send_signal(ctx->address(), pid, sandbox::signal::kill,
                                                    [left, then](const result<void>&) {
                                                      if (--*left == 0) then(true);
                                                    });
                          }));
}

// Under a name of its own first: the program may be running already, and then cannot be
// overwritten. A name for each attempt: an upload that had no answer may still be written when the
// next one comes. What such an attempt leaves is a copy of the same program in a folder that
// nobody collects, and goes with the sandbox; there are no more of them than attempts.
void provision_guest(context_ptr ctx, done<void> then) {
  run_checked(ctx, guest_command(*ctx, {"--version"}, ctx->svc->limits.guest_command), "provision",
              [ctx, then](const result<command_result>& there) {
                if (there.ok() && there->stdout_data.starts_with("skep-guest ")) return then({});
                install_guest(ctx, then);
              });
}

} // namespace skep::actors
