#include "actors/sandbox_steps.hpp"

#include "actors/guest_call.hpp"

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

void call_guest(const context_ptr& ctx, std::vector<std::string> args,
                std::chrono::milliseconds limit, const char* step, done<json> then) {
  ctx->api->run(ctx->address(), guest_command(*ctx, std::move(args), limit),
                [step, then](result<command_result> r) {
                  auto answer = read_guest_answer(r);
                  if (!answer) return then(at_step(answer.err(), step));
                  then(std::move(answer));
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

// The upload as a chain of named steps; lives until its last callback is gone.
struct upload_chain : std::enable_shared_from_this<upload_chain> {
  context_ptr ctx;
  std::shared_ptr<const upload_bundle> bundle;
  std::vector<std::string> names;
  done<upload_facts> then;
  upload_facts facts;
  std::size_t next_tree = 0;

  std::string archive() const { return std::string{inside::inbox} + "/worktree.tar"; }
  std::string head_pack() const { return std::string{inside::inbox} + "/head.pack"; }

  void clear_repo() {
    ctx->api->remove(
        ctx->address(), std::string{inside::repo}, {},
        and_then<void>("upload", then, [self = shared_from_this()] { self->clear_trees(); }));
  }
  void clear_trees() {
    ctx->api->remove(
        ctx->address(), std::string{inside::trees}, {},
        and_then<void>("upload", then, [self = shared_from_this()] { self->send_archive(); }));
  }
  void send_archive() {
    ctx->api->upload_file(
        ctx->address(), bundle->archive, archive(), {},
        and_then<void>("upload", then, [self = shared_from_this()] { self->send_head(); }));
  }
  void send_head() {
    if (bundle->head_pack.empty()) return unpack();
    ctx->api->upload_file(
        ctx->address(), bundle->head_pack, head_pack(), {},
        and_then<void>("upload", then, [self = shared_from_this()] { self->unpack(); }));
  }
  void unpack() {
    call_guest(ctx, {"unpack", "--archive", archive(), "--dest", std::string{inside::repo}},
               ctx->svc->limits.unpack, "unpack", [self = shared_from_this()](result<json> r) {
                 if (!r) return self->then(r.err());
                 self->check(*r);
               });
  }
  // Exact: number of files, bytes, and the hash of the whole manifest (row S1-16).
  void check(const json& answer) {
    auto files = answer.value("files", std::uint64_t{0});
    auto size = answer.value("size_bytes", std::uint64_t{0});
    auto hash = answer.value("manifest_sha256", std::string{});
    if (files != bundle->files || size != bundle->size_bytes || hash != bundle->manifest_sha256)
      return then(at_step(
          make_error(errc::verification,
                     "sent " + std::to_string(bundle->files) + " files, "
                         + std::to_string(bundle->size_bytes) + " bytes; arrived "
                         + std::to_string(files) + " files, " + std::to_string(size) + " bytes"
                         + (hash == bundle->manifest_sha256 ? "" : ", contents differ")),
          "verify"));
    make_base();
  }
  void make_base() {
    std::vector<std::string> args = {"base", "--repo", std::string{inside::repo}};
    if (!bundle->head_pack.empty())
      args.insert(args.end(), {"--head", bundle->head, "--head-pack", head_pack()});
    call_guest(ctx, std::move(args), ctx->svc->limits.unpack, "base",
               [self = shared_from_this()](result<json> r) {
                 if (!r) return self->then(r.err());
                 self->facts.base_commit = r->value("commit", std::string{});
                 self->facts.is_head = r->value("is_head", false);
                 self->make_tree();
               });
  }
  void make_tree() {
    if (ctx->spec->share_tree || next_tree == names.size()) return clean_inbox();
    const auto& name = names[next_tree++];
    call_guest(ctx,
               {"worktree", "--repo", std::string{inside::repo}, "--name", name, "--dest",
                ctx->tree_of(name), "--base", facts.base_commit},
               ctx->svc->limits.unpack, "worktree", [self = shared_from_this()](result<json> r) {
                 if (!r) return self->then(r.err());
                 self->make_tree();
               });
  }
  // Row S1-11: nothing of the transfer stays inside; failing to remove it is no failure of the
  // upload.
  void clean_inbox() {
    ctx->api->remove(ctx->address(), std::string{inside::inbox}, {},
                     [self = shared_from_this()](result<void>) { self->then(self->facts); });
  }
};

struct collect_chain : std::enable_shared_from_this<collect_chain> {
  context_ptr ctx;
  std::string name, base;
  std::filesystem::path folder;
  done<collected> then;
  collected out;

  std::string outbox() const { return std::string{inside::outbox} + "/" + name; }

  void start() {
    call_guest(
        ctx,
        {"diff", "--tree", ctx->tree_of(name), "--base", base, "--name", name, "--out", outbox()},
        ctx->svc->limits.collect, "diff", [self = shared_from_this()](result<json> r) {
          if (!r) return self->then(r.err());
          self->out.summary = to_line(*r);
          self->fetch_patch();
        });
  }
  void fetch_patch() {
    out.patch = folder / (name + ".patch");
    ctx->api->download_file(
        ctx->address(), outbox() + "/" + name + ".patch", out.patch,
        ctx->svc->limits.download_cap_bytes, {},
        and_then<std::uint64_t>("download", then, [self = shared_from_this()](std::uint64_t n) {
          self->out.patch_bytes = n;
          self->fetch_archive();
        }));
  }
  void fetch_archive() {
    out.archive = folder / (name + ".tar");
    ctx->api->download_file(
        ctx->address(), outbox() + "/" + name + ".tar", out.archive,
        ctx->svc->limits.download_cap_bytes, {},
        and_then<std::uint64_t>("download", then, [self = shared_from_this()](std::uint64_t n) {
          self->out.archive_bytes = n;
          self->clean();
        }));
  }
  void clean() {
    ctx->api->remove(ctx->address(), outbox(), {},
                     [self = shared_from_this()](result<void>) { self->then(self->out); });
  }
};

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

void verify_inside(context_ptr ctx, done<inside_facts> then) {
  ctx->api->health(
      ctx->address(), and_then<void>("verify", then, [ctx, then] {
        sandbox::command id;
        id.argv = {"/usr/bin/id", "-u"};
        id.limit = ctx->svc->limits.guest_command;
        run_checked(ctx, std::move(id), "verify", [then](result<command_result> r) {
          if (!r) return then(r.err());
          inside_facts facts;
          facts.uid = std::atoll(r->stdout_data.c_str());
          if (r->stdout_data.empty() || facts.uid == 0)
            return then(
                at_step(make_error(errc::no_isolation, "the sandbox's user is root"), "verify"));
          then(facts);
        });
      }));
}

void stop_leftovers(context_ptr ctx, done<void> then) {
  using sandbox::process_info;
  ctx->api->list_processes(
      ctx->address(),
      and_then<std::vector<process_info>>(
          "adopt", then, [ctx, then](const std::vector<process_info>& all) {
            static const std::set<std::string> short_ones = {"unpack", "base", "worktree", "verify",
                                                             "diff"};
            auto left = std::make_shared<std::size_t>(1);
            auto one_less = [left, then] {
              if (--*left == 0) then({});
            };
            for (const auto& p : all) {
              if (p.argv.size() < 2 || p.argv[0] != ctx->guest_path()
                  || !short_ones.count(p.argv[1]))
                continue;
              ++*left;
              ctx->api->send_signal(ctx->address(), p.pid, sandbox::signal::kill,
                                    [one_less](const result<void>&) { one_less(); });
            }
            one_less();
          }));
}

// Under a name of its own first: the program may be running already, and then cannot be
// overwritten.
void provision_guest(context_ptr ctx, done<void> then) {
  run_checked(ctx, guest_command(*ctx, {"--version"}, ctx->svc->limits.guest_command), "provision",
              [ctx, then](const result<command_result>& there) {
                if (there.ok() && there->stdout_data.starts_with("skep-guest ")) return then({});
                install_guest(ctx, then);
              });
}

void upload_tree(context_ptr ctx, std::shared_ptr<const upload_bundle> bundle,
                 std::vector<std::string> pane_names, done<upload_facts> then) {
  auto chain = std::make_shared<upload_chain>();
  chain->ctx = std::move(ctx);
  chain->bundle = std::move(bundle);
  chain->names = std::move(pane_names);
  chain->then = std::move(then);
  chain->clear_repo();
}

void collect_tree(context_ptr ctx, std::string pane_name, std::string base_commit,
                  std::filesystem::path folder, done<collected> then) {
  auto chain = std::make_shared<collect_chain>();
  chain->ctx = std::move(ctx);
  chain->name = std::move(pane_name);
  chain->base = std::move(base_commit);
  chain->folder = std::move(folder);
  chain->then = std::move(then);
  chain->start();
}

} // namespace skep::actors
