// People who attach to panes of the sandbox: which viewer is run for them, and under whom.
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

result<pane_record> find_pane(const pane_records& started, const pane_id& pane) {
  for (const auto& p : started)
    if (p.pane == pane) return p;
  return make_error(errc::wrong_phase, "the pane has not started yet");
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
  if (auto e = nobody_may_attach()) return to_caf(e);
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
    auto p = find_pane(*rows, r.pane);
    if (!p) return to_caf(p.err());
    plan.argv = pane_viewer(*ctx_, *p, r.read_only);
    generation = p->attempt;
  }
  return start_attach(std::move(plan), generation);
}

caf::result<caf::strong_actor_ptr, std::uint32_t>
sandbox_impl::on_shell(const shell_open_request& r) {
  if (auto e = nobody_may_attach()) return to_caf(e);
  std::string name;
  if (!r.pane.empty()) {
    auto rows = started_panes(*ctx_);
    if (!rows) return to_caf(rows.err());
    auto p = find_pane(*rows, r.pane);
    if (!p) return to_caf(p.err());
    name = p->name;
  }
  return start_attach(shell_plan(r, name), 0);
}

error sandbox_impl::nobody_may_attach() const {
  if (destroying_ || rec_.state < phase::starting || rec_.state == phase::closed)
    return make_error(errc::wrong_phase, "the sandbox is " + std::string{to_string(rec_.state)});
  return {};
}

caf::result<caf::strong_actor_ptr, std::uint32_t>
sandbox_impl::start_attach(attach_plan plan, std::uint32_t generation) {
  auto promise = make_response_promise<caf::strong_actor_ptr, std::uint32_t>();
  request(supervisor_, std::chrono::seconds{30}, add_child_a::value,
          attach_child(ctx_, std::move(plan)))
      .then(
          [this, generation, promise](const caf::strong_actor_ptr& h) mutable {
            if (destroying_) remove_attachments(); // the end came first
            promise.deliver(h, generation);
          },
          [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
  return promise;
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
