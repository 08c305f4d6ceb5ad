#include "actors/transfer_base.hpp"

#include "sandbox/policy.hpp"

namespace skep::actors {

transfer_base::transfer_base(caf::actor_config& cfg, context_ptr context, transfer_id id,
                             std::string remote_dir, bool keep_for_next)
    : domain_actor(cfg), ctx_(std::move(context)), id_(std::move(id)),
      remote_dir_(std::move(remote_dir)), keep_(keep_for_next) {
  // A bug of ours ends this transfer alone, and its error says what it was.
  set_exception_handler([](std::exception_ptr& x) -> caf::error {
    try {
      std::rethrow_exception(x);
    } catch (const std::exception& e) {
      return to_caf(make_error(errc::internal, e.what()));
    } catch (...) {
      return to_caf(make_error(errc::internal));
    }
  });
}

transfer_base::behavior_type transfer_base::make_behavior() {
  return {
      [this](begin_a) { start(); },
      [](done_a, const continuation& c) { c.run(); },
  };
}

// However it ended: after its report, by its deadline, by a kill, by an exception.
void transfer_base::on_exit() {
  if (!ctx_) return;
  if (call_ != 0) ctx_->api->cancel(std::exchange(call_, 0));
  if (!cleaned_ && !keep_) {
    sandbox::call_options soon;
    soon.deadline = limits().clean_up;
    ctx_->api->remove(ctx_->address(), remote_dir_, soon, [](const result<void>&) {});
  }
  ctx_->svc->pool->submit([folder = local_dir()] {
    std::error_code ec;
    std::filesystem::remove_all(folder, ec);
  });
  ctx_.reset();
}

std::filesystem::path transfer_base::local_dir() const {
  return ctx_->svc->state_dir / "work" / ctx_->swarm.value / ctx_->sandbox.value / id_.value;
}

void transfer_base::remove_then(std::string path, const char* step, std::function<void()> next) {
  call_ = api().remove(ctx_->address(), std::move(path), {},
                       home<void>(arrived<void>(step, std::move(next))));
}

void transfer_base::guest_then(std::vector<std::string> args, std::chrono::milliseconds limit,
                               const char* step, std::function<void(json)> next) {
  call_ = api().run(ctx_->address(), guest_command(*ctx_, std::move(args), limit),
                    home<sandbox::command_result>([k = arrived<json>(step, std::move(next))](
                                                      result<sandbox::command_result> r) mutable {
                      k(read_guest_answer(r));
                    }));
}

void transfer_base::stream_then(sandbox::command what,
                                std::function<void(const std::string&)> on_output,
                                std::function<void(const result<sandbox::command_result>&)> next) {
  auto pass = [self = me(), on_output = std::move(on_output)](std::string_view bytes) {
    caf::anon_send(
        self, done_a::value,
        continuation{[on_output, text = std::string{bytes}]() mutable { on_output(text); }});
    return true;
  };
  sandbox::stream_handlers handlers;
  handlers.on_stdout = pass;
  handlers.on_stderr = pass;
  handlers.on_end = home<sandbox::command_result>(
      [this, next = std::move(next)](const result<sandbox::command_result>& r) {
        call_ = 0;
        next(r);
      });
  call_ = api().open_stream(ctx_->address(), std::move(what), std::move(handlers));
}

void transfer_base::send_then(sandbox::file_slice from, std::string to,
                              std::function<void(std::uint64_t)> under_way,
                              std::function<void(const result<void>&)> next) {
  // Parts that are set to be larger than usual have the time that a whole file has.
  sandbox::call_options how;
  if (from.bytes <= policies{}.upload_part_bytes)
    how.deadline = sandbox::limit_of(sandbox::step::part_write).deadline;
  // Rare enough here, on the engine's thread: a fast connection takes thousands of times a second.
  how.on_sent = [self = me(), now = ctx_->svc->boot_now, told = ctx_->svc->boot_now(),
                 every = limits().upload_progress,
                 under_way = std::move(under_way)](std::uint64_t sent) mutable {
    auto at = now();
    if (at - told < every) return;
    told = at;
    caf::anon_send(self, done_a::value,
                   continuation{[under_way, sent]() mutable { under_way(sent); }});
  };
  call_ = api().upload_file(ctx_->address(), std::move(from), std::move(to), std::move(how),
                            home<void>([this, next = std::move(next)](const result<void>& r) {
                              call_ = 0;
                              next(r);
                            }));
}

void transfer_base::download_then(std::string from, std::filesystem::path to,
                                  std::chrono::milliseconds limit, std::function<void()> next) {
  sandbox::call_options within;
  within.deadline = limit;
  call_ = api().download_file(
      ctx_->address(), std::move(from), std::move(to), limits().download_cap_bytes, within,
      home<std::uint64_t>(
          arrived<std::uint64_t>("download", [next = std::move(next)](std::uint64_t) { next(); })));
}

void transfer_base::finish(transfer_ending x) {
  x.transfer = id_;
  sandbox::call_options soon;
  soon.deadline = limits().clean_up;
  call_ = api().remove(
      ctx_->address(), remote_dir_, soon, home<void>([this, x](const result<void>& r) {
        call_ = 0;
        cleaned_ = true; // or it failed, and would once more
        if (!r)
          note(ctx_->recorder(), ctx_->svc->wall_now(),
               notice{severity::warning, "clean_up_failed",
                      remote_dir_ + " stays in " + ctx_->sandbox.value + ": " + render(r.err())});
        report(x);
      }));
}

void transfer_base::fail(error why, const char* step) {
  why.step = step;
  why.sandbox = ctx_->sandbox;
  transfer_ending x;
  x.transfer = id_;
  x.why = std::move(why);
  report(std::move(x));
}

void transfer_base::report(transfer_ending x) {
  keep_ = false;
  if (auto keeper = ctx_->keeper()) caf::anon_send(keeper, exited_a::value, std::move(x));
  this->quit();
}

} // namespace skep::actors
