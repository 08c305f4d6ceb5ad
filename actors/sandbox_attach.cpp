// People who attach to panes of the sandbox: which viewer is run for them, and under whom.
#include "actors/attach.hpp"
#include "actors/sandbox_actor.hpp"

namespace skep::actors {
namespace {

using pane_records = std::vector<pane_record>;

/// The rows say which attempt is the newest; the PANE actors do not tell.
result<pane_records> started_panes(const sandbox_context& ctx) {
  auto rows = ctx.svc->load_panes(ctx.sandbox);
  if (rows) std::erase_if(*rows, [](const pane_record& p) { return p.attempt == 0; });
  if (rows && rows->empty()) return make_error(errc::wrong_phase, "no pane has started yet");
  return rows;
}

std::vector<std::string> pane_viewer(const sandbox_context& ctx, const pane_record& p,
                                     bool read_only) {
  std::vector<std::string> out{ctx.guest_path(), "view", "--dir", ctx.pane_dir(p.pane, p.attempt),
                               "--detach-key",   "0"};
  if (read_only) out.push_back("--read-only");
  return out;
}

std::vector<std::string> windows_viewer(const sandbox_context& ctx, const pane_records& all,
                                        bool read_only) {
  std::vector<std::string> out{ctx.guest_path(), "windows", "--session",
                               "skep-" + ctx.sandbox.value};
  for (const auto& p : all) {
    out.push_back("--pane");
    out.push_back(p.name + ":" + ctx.pane_dir(p.pane, p.attempt));
  }
  if (read_only) out.push_back("--read-only");
  return out;
}

} // namespace

caf::result<caf::strong_actor_ptr, std::uint32_t>
sandbox_impl::on_attach(const attach_open_request& r) {
  if (destroying_ || rec_.state < phase::starting || rec_.state == phase::closed)
    return to_caf(
        make_error(errc::wrong_phase, "the sandbox is " + std::string{to_string(rec_.state)}));
  auto rows = started_panes(*ctx_);
  if (!rows) return to_caf(rows.err());
  attach_plan plan{r.attachment,
                   {},
                   {static_cast<std::uint16_t>(r.columns), static_cast<std::uint16_t>(r.rows)},
                   r.read_only};
  std::uint32_t generation = 0;
  if (r.pane.empty()) {
    plan.argv = windows_viewer(*ctx_, *rows, r.read_only);
  } else {
    auto p = std::find_if(rows->begin(), rows->end(),
                          [&](const pane_record& x) { return x.pane == r.pane; });
    if (p == rows->end())
      return to_caf(make_error(errc::wrong_phase, "the pane has not started yet"));
    plan.argv = pane_viewer(*ctx_, *p, r.read_only);
    generation = p->attempt;
  }
  auto promise = make_response_promise<caf::strong_actor_ptr, std::uint32_t>();
  start_attach(attach_child(ctx_, std::move(plan)), generation, promise);
  return promise;
}

void sandbox_impl::start_attach(child_spec child, std::uint32_t generation, attached promise) {
  request(supervisor_, std::chrono::seconds{30}, add_child_a::value, std::move(child))
      .then(
          [this, generation, promise](const caf::strong_actor_ptr& h) mutable {
            if (destroying_) remove_attachments(); // the end came first
            promise.deliver(h, generation);
          },
          [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
}

void sandbox_impl::remove_attachments() {
  request(supervisor_, std::chrono::seconds{30}, ids_a::value)
      .then(
          [this](const std::vector<std::string>& ids) {
            for (const auto& id : ids)
              if (attachment_id{id}.valid()) remove_child(id);
          },
          [](caf::error&) {});
}

} // namespace skep::actors
