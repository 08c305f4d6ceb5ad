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
  if (inputs_.size() >= most_inputs)
    return to_caf(make_error(errc::rate, "earlier input has not been written yet"));
  auto promise = make_response_promise<std::uint64_t>();
  record(
      ctx_->recorder(), now(), input_receipt{rec_.pane, key, bytes.size(), receipt::accepted},
      [this, promise, key, bytes](std::uint64_t seq) mutable {
        promise.deliver(seq);
        queue_input(key, bytes);
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

// One after the other: two requests under way may arrive in the other order.
void pane_impl::queue_input(const std::string& key, const std::string& bytes) {
  inputs_.push_back({key, bytes});
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
    note(ctx_->recorder(), now(),
         input_receipt{rec_.pane, key, size, arrived ? receipt::written : receipt::expired});
    input_over();
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

} // namespace skep::actors
