// Processes: streams, commands to completion, input, signals.
#include "sandbox/client_process.hpp"

#include "messages/json.hpp"
#include "messages/masking.hpp"
#include "sandbox/client.hpp"
#include "sandbox/errors.hpp"

#include <algorithm>

namespace skep::sandbox {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t stdin_piece_bytes = 256U << 10U;
constexpr std::size_t shown_command_bytes = 100; // row S2-07

/// Masked whole, then cut: half a key is no key to any mask.
std::string shown(const command& what) {
  std::string out;
  for (const auto& word : what.argv) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return foreign_text(masked_text(out), shown_command_bytes);
}

} // namespace

exchange input_rpc(const remote& where, std::string subject) {
  auto out = rpc(where, "process.Process/SendInput", std::move(subject));
  out.once = true;
  return out;
}

exchange close_rpc(const remote& where, std::string subject) {
  return rpc(where, "process.Process/CloseStdin", std::move(subject));
}

std::function<result<void>(http_answer&, const error&)> empty_answer() {
  return from_body<void>(wire::read_empty);
}

process_stream::process_stream(client_core& core, call_id id, operation op, remote where,
                               command what, callbacks then)
    : connect_stream(core, id, op), where_(std::move(where)), what_(std::move(what)),
      then_(std::move(then)) {}

void process_stream::start(std::optional<milliseconds> whole) {
  if (what_.argv.empty()) return broken(make_error(errc::bad_argument, "no program to run"));
  auto body = wire::start_body(what_);
  if (!body) return broken(body.err());
  open(where_, "process.Process/Start", *body, what_.user, what_.limit, whole);
}

void process_stream::attach(std::string_view selector_body, std::optional<milliseconds> whole) {
  open(where_, "process.Process/Connect", selector_body, {}, what_.limit, whole);
}

void process_stream::message(std::string_view payload) {
  auto event = wire::read_process_event(payload);
  if (!event) return broken(event.err());
  if (auto* start = std::get_if<wire::started>(&*event)) {
    if (started()) return;
    mark_started();
    pid_ = start->pid;
    if (then_.on_start) then_.on_start(pid_);
    write_stdin(0);
  } else if (auto* out = std::get_if<wire::output>(&*event)) {
    if (!out->data.empty() && then_.on_output && !then_.on_output(*out)) pause();
  } else if (auto* end = std::get_if<wire::ended>(&*event)) {
    result_ = std::move(end->how);
  }
}

void process_stream::ended_well() {
  if (!result_)
    return broken(make_error(errc::protocol, "the stream ended without the process's result"));
  if (core_.settle(id_)) then_.on_end(std::move(*result_));
}

void process_stream::explain(error& why) {
  if (why.code != errc::timed_out) return;
  if (started() && what_.limit.count() > 0)
    why.message = "did not end within " + std::to_string(what_.limit.count()) + " ms";
  if (!what_.argv.empty()) why.message = "`" + shown(what_) + "`: " + why.message;
}

process_stream::callbacks callbacks_of(std::shared_ptr<stream_handlers> handlers) {
  process_stream::callbacks on;
  on.on_start = [handlers](std::uint32_t pid) {
    if (handlers->on_start) handlers->on_start(pid);
  };
  on.on_output = [handlers](wire::output& x) {
    auto& to = x.is_stderr ? handlers->on_stderr : handlers->on_stdout;
    return !to || to(x.data);
  };
  on.on_end = [handlers](command_result how) { handlers->on_end(std::move(how)); };
  return on;
}

void process_stream::write_stdin(std::size_t from) {
  auto ready = [this] {
    if (then_.on_ready) then_.on_ready(pid_);
  };
  if (what_.stdin_data.empty()) return ready();
  // A process that ends without reading its input is not our failure: its end event tells.
  auto next = [self = self()](std::size_t at) {
    return [self, at](http_answer&, const error& failure) {
      if (failure && failure.code != errc::not_found && failure.code != errc::refused)
        return self->broken(failure);
      self->write_stdin(failure ? self->what_.stdin_data.size() + 1 : at);
    };
  };
  const auto size = what_.stdin_data.size();
  if (from < size) {
    auto piece = std::string_view{what_.stdin_data}.substr(from, stdin_piece_bytes);
    auto plan = input_rpc(
        where_, wire::process_body(pid_, wire::input_member(piece, what_.pty.has_value())));
    // A full pipe blocks it until the process reads.
    plan.deadline = core_.limits().of(operation::run).deadline;
    return core_.send(id_, std::move(plan), next(from + piece.size()));
  }
  if (from == size && !what_.stdin_open && !what_.pty)
    return core_.send(id_, close_rpc(where_, wire::process_body(pid_)), next(size + 1));
  ready();
}

call_id client::run(remote where, command what, done<command_result> then) {
  const auto& limits = core_->limits();
  if (what.limit.count() <= 0) what.limit = limits.of(operation::run).deadline;
  const auto whole = what.limit + limits.command_grace;
  struct collected {
    command_result how;
  };
  auto kept = std::make_shared<collected>();
  const auto cap = limits.output_cap_bytes;
  process_stream::callbacks on;
  on.on_output = [kept, cap](wire::output& x) {
    auto& text = x.is_stderr ? kept->how.stderr_data : kept->how.stdout_data;
    const auto room = cap - text.size();
    text.append(x.data, 0, room);
    if (x.data.size() > room)
      (x.is_stderr ? kept->how.stderr_truncated : kept->how.stdout_truncated) = true;
    return true;
  };
  on.on_end = [kept, then](command_result how) {
    kept->how.exit_code = how.exit_code;
    kept->how.exited = how.exited;
    kept->how.status = std::move(how.status);
    then(std::move(kept->how));
  };
  return core_->open(
      operation::run, whole, [then](error e) { then(std::move(e)); },
      [core = core_.get(), where = std::move(where), what = std::move(what), on,
       whole](call_id id) {
        std::make_shared<process_stream>(*core, id, operation::open_stream, where, what, on)
            ->start(whole);
      });
}

call_id client::start_background(remote where, command what, done<std::uint32_t> then) {
  const auto whole = core_->limits().of(operation::start_background).deadline;
  return core_->open(
      operation::start_background, by_policy, [then](error e) { then(std::move(e)); },
      [core = core_.get(), where = std::move(where), what = std::move(what), then,
       whole](call_id id) {
        process_stream::callbacks on;
        on.on_ready = [core, id, then](std::uint32_t pid) {
          if (core->settle(id)) then(pid);
        };
        on.on_end = [then](command_result) { then(make_error(errc::protocol)); };
        std::make_shared<process_stream>(*core, id, operation::start_background, where, what, on)
            ->start(whole);
      });
}

call_id client::open_stream(remote where, command what, stream_handlers handlers) {
  std::optional<milliseconds> whole;
  if (what.limit.count() > 0) whole = what.limit + core_->limits().command_grace;
  auto shared = std::make_shared<stream_handlers>(std::move(handlers));
  return core_->open(
      operation::open_stream, {}, [shared](error e) { shared->on_end(std::move(e)); },
      [core = core_.get(), where = std::move(where), what = std::move(what), shared,
       whole](call_id id) {
        std::make_shared<process_stream>(*core, id, operation::open_stream, where, what,
                                         callbacks_of(shared))
            ->start(whole);
      });
}

call_id client::send_input(remote where, std::uint32_t pid, std::string data, bool to_pty,
                           done<void> then) {
  return core_->simple<void>(
      operation::send_input, by_policy,
      input_rpc(where, wire::process_body(pid, wire::input_member(data, to_pty))), empty_answer(),
      std::move(then));
}

call_id client::close_stdin(remote where, std::uint32_t pid, done<void> then) {
  return core_->simple<void>(operation::close_stdin, by_policy,
                             close_rpc(where, wire::process_body(pid)), empty_answer(),
                             std::move(then));
}

call_id client::send_signal(remote where, std::uint32_t pid, signal which, done<void> then) {
  return core_->simple<void>(operation::send_signal, by_policy,
                             rpc(std::move(where), "process.Process/SendSignal",
                                 wire::process_body(pid, wire::signal_member(which))),
                             empty_answer(), std::move(then));
}

call_id client::resize_pty(remote where, std::uint32_t pid, command::terminal size,
                           done<void> then) {
  return core_->simple<void>(operation::resize_pty, by_policy,
                             rpc(std::move(where), "process.Process/Update",
                                 wire::process_body(pid, wire::size_member(size))),
                             empty_answer(), std::move(then));
}

call_id client::list_processes(remote where, done<std::vector<process_info>> then) {
  return core_->simple<std::vector<process_info>>(
      operation::list_processes, by_policy, rpc(std::move(where), "process.Process/List", "{}"),
      from_body<std::vector<process_info>>(wire::read_processes), std::move(then));
}

} // namespace skep::sandbox
