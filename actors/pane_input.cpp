// Input for an agent: acknowledged once its receipt is on disk, written one after the other, its
// fate told.
#include "actors/guest_call.hpp"
#include "actors/pane_actor.hpp"
#include "actors/pane_launch.hpp"

namespace skep::actors {
namespace {

/// Inputs that may wait for an earlier one to be written.
constexpr std::size_t most_inputs = 64;

} // namespace

caf::result<std::uint64_t> pane_impl::on_input(const std::string& key, const std::string& bytes) {
  if (!takes_input(ctx_->spec->agent))
    return to_caf(make_error(errc::cannot_send, "this pane's agent reads no input"));
  if (rec_.state != pane_phase::running)
    return to_caf(
        make_error(errc::wrong_phase, "the pane is " + std::string{to_string(rec_.state)}));
  for (const auto& x : inputs_)
    if (x.key == key) return x.seq; // asked again while it is under way
  if (inputs_.size() >= most_inputs)
    return to_caf(make_error(errc::rate, "earlier input has not been written yet"));
  if (!settled_) taken_.insert(key);
  auto promise = make_response_promise<std::uint64_t>();
  record(
      ctx_->recorder(), now(), input_receipt{rec_.pane, key, bytes.size(), receipt::accepted},
      [this, promise, key, bytes](std::uint64_t seq) mutable {
        promise.deliver(seq);
        queue_input(key, bytes, seq);
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

// One after the other: two requests under way may arrive in the other order.
void pane_impl::queue_input(const std::string& key, const std::string& bytes, std::uint64_t seq) {
  inputs_.push_back({key, bytes, seq});
  if (inputs_.size() == 1) write_input(key, bytes);
}

void pane_impl::input_over() {
  inputs_.erase(inputs_.begin());
  if (!inputs_.empty()) write_input(inputs_.front().key, inputs_.front().bytes);
}

void pane_impl::write_input(const std::string& key, const std::string& bytes) {
  auto file = input_path(rec_, key);
  auto settle = [this, key, size = bytes.size()](const result<json>& answer) {
    auto arrived = answer.ok() && read_input_arrived(*answer);
    if (!answer)
      note(ctx_->recorder(), now(),
           notice{severity::warning, "input_not_written",
                  rec_.name + " (" + rec_.pane.value + "): " + render(answer.err())});
    // Over when that is on disk: who asks again with this key meanwhile finds it here.
    record(
        ctx_->recorder(), now(),
        input_receipt{rec_.pane, key, size, arrived ? receipt::written : receipt::expired},
        [this](std::uint64_t) { input_over(); }, [this](const error&) { input_over(); });
  };
  ctx_->api->write_file(
      ctx_->address(), file, bytes, {}, home<void>([this, key, file, settle](result<void> r) {
        if (!r) return settle(r.err());
        ctx_->api->run(ctx_->address(),
                       guest_command(*ctx_,
                                     {"input", "--dir", ctx_->pane_dir(rec_.pane, rec_.attempt),
                                      "--key", key, "--file", file},
                                     limits().guest_command),
                       home<sandbox::command_result>([settle](result<sandbox::command_result> a) {
                         settle(read_guest_answer(a));
                       }));
      }));
}

// ---- of a former life -----------------------------------------------------------------------
// The bytes of what it had accepted died with it. Whoever was told "accepted" is told the fate.

void pane_impl::look_for_former_inputs() {
  auto none = rec_.state == pane_phase::queued || rec_.state == pane_phase::closed
              || !takes_input(ctx_->spec->agent) || !ctx_->svc->read_chunks;
  if (none) {
    settled_ = true;
    return;
  }
  in_pool<std::vector<open_input>>(
      ctx_->svc,
      [svc = ctx_->svc, swarm = ctx_->swarm, sandbox = ctx_->sandbox,
       pane = rec_.pane]() -> result<std::vector<open_input>> {
        return inputs_without_fate(*svc, swarm, sandbox, pane);
      },
      [this](result<std::vector<open_input>> former) {
        if (former)
          std::erase_if(*former, [this](const auto& x) { return taken_.contains(x.key); });
        taken_.clear();
        settled_ = true;
        if (former && !former->empty()) ask_about(std::move(*former));
      });
}

// The holder inside records a key before it writes, and never writes one twice. What it has not
// recorded may still be on its way to it: a call of the former life's needs no daemon any more.
void pane_impl::ask_about(std::vector<open_input> former) {
  if (rec_.state != pane_phase::running || closing_) return settle_former(former, {});
  ctx_->api->read_file(
      ctx_->address(), ctx_->pane_dir(rec_.pane, rec_.attempt) + "/inputs", 0, 0, {},
      home<sandbox::file_piece>([this, former = std::move(former)](result<sandbox::file_piece> r) {
        settle_former(former, r ? r->data : std::string{});
      }));
}

// `recorded`: a line for each key, which begins with it.
void pane_impl::settle_former(const std::vector<open_input>& former, const std::string& recorded) {
  auto lines = "\n" + recorded;
  for (const auto& x : former) {
    auto written = lines.find("\n" + x.key + " ") != std::string::npos;
    if (!written)
      note(
          ctx_->recorder(), now(),
          notice{severity::warning, "input_not_written",
                 rec_.name + " (" + rec_.pane.value + "): the input of event "
                     + std::to_string(x.seq) + " may not have been written: who was to write it "
                     + "ended before its fate was known. Look at the agent's output; a client that "
                     + "asks again with the same key has it written, and never twice"});
    if (closing_) continue; // a closed pane takes no receipt any more
    record(
        ctx_->recorder(), now(),
        input_receipt{rec_.pane, x.key, x.size_bytes,
                      written ? receipt::written : receipt::expired},
        [](std::uint64_t) {}, [](const error&) {});
  }
}

} // namespace skep::actors
