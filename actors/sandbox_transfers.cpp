// What travels into a sandbox and back: the upload before its agents, the downloads after them, one
// at a time. The TRANSFER does the work; here is what is intended, and what follows from its end.
#include "actors/sandbox_actor.hpp"
#include "actors/transfer.hpp"

namespace skep::actors {

void sandbox_impl::upload() {
  enter(phase::uploading, [this] {
    if (destroying_) return; // its end began while the phase was on its way to the disk
    if (!bundle_)
      return fail(at_step(make_error(errc::internal, "there is nothing to upload"), "upload"));
    upload_plan plan{transfer_id::make(), bundle_, {}};
    if (!ctx_->spec->share_tree)
      for (const auto& p : panes_.all())
        plan.trees.push_back(p.name);
    transfer_intended intent{
        plan.transfer, transfer_direction::upload, {}, bundle_->files, bundle_->size_bytes};
    begin_transfer(intent, upload_child(ctx_, std::move(plan)));
  });
}

// The pollers have said all they had to say, and would only stand between a download and its
// supervisor: a restart of theirs would take along what was started after them.
void sandbox_impl::collect() {
  remove_child("health");
  remove_child("poller");
  collect_next_ = 0;
  next_download();
}

void sandbox_impl::next_download() {
  if (destroying_) return;
  auto shared = ctx_->spec->share_tree;
  if (collect_next_ == (shared ? 1 : panes_.all().size())) return destroy();
  const auto& p = panes_.all()[collect_next_++];
  download_plan plan{transfer_id::make(),
                     shared ? "sandbox-" + std::to_string(ctx_->index) : p.name, rec_.base_commit};
  transfer_intended intent{plan.transfer, transfer_direction::download, shared ? pane_id{} : p.pane,
                           0, 0};
  begin_transfer(intent, download_child(ctx_, std::move(plan)));
}

// The intent is on disk before the actor is there.
void sandbox_impl::begin_transfer(const transfer_intended& what, child_spec child) {
  transfer_ = transfer{what.transfer, what.direction};
  fact(what, [this, id = what.transfer, child = std::move(child)] {
    if (!transfer_ || transfer_->id != id) return; // cancelled meanwhile
    add_child(child, [this, id](error why) {
      transfer_ending x;
      x.transfer = id;
      x.why = std::move(why);
      on_transfer_over(x);
    });
  });
}

void sandbox_impl::on_transfer_over(const transfer_ending& x) {
  if (!transfer_ || transfer_->id != x.transfer) return; // cancelled, or heard of before
  auto was = *std::exchange(transfer_, std::nullopt);
  if (was.direction == transfer_direction::upload) return uploaded(x);
  downloaded(x);
}

void sandbox_impl::uploaded(const transfer_ending& x) {
  if (x.why) {
    auto why = at_step(x.why, "upload");
    why.sandbox = ctx_->sandbox;
    return fact(transfer_failed{x.transfer, why}, [this, why] { fail(why); });
  }
  rec_.base_commit = x.base_commit;
  note(ctx_->recorder(), now(), transfer_done{x.transfer, x.files, x.size_bytes, x.sha256});
  fact(base_recorded{x.base_commit, x.is_head, x.files, x.size_bytes, x.sha256}, [this] {
    if (!ending())
      bound_models([this] {
        if (!ending()) start_panes();
      });
  });
}

// One that failed does not stop the others, and the first of them is the sandbox's error once
// nothing more is collected (destroy()). Not sooner: after a daemon that dies meanwhile the next
// one collects anew, and may bring all of it.
void sandbox_impl::downloaded(const transfer_ending& x) {
  if (!x.why)
    return fact(transfer_done{x.transfer, x.files, x.size_bytes, x.sha256},
                [this] { next_download(); });
  auto why = at_step(x.why, "download");
  why.sandbox = ctx_->sandbox;
  if (!collect_error_) collect_error_ = why;
  fact(transfer_failed{x.transfer, why}, [this] { next_download(); });
}

void sandbox_impl::cancel_transfer() {
  if (!transfer_) return;
  auto was = *std::exchange(transfer_, std::nullopt);
  note(ctx_->recorder(), now(),
       transfer_failed{was.id, make_error(errc::cancelled, "the sandbox ends")});
  remove_child(was.id.value);
}

} // namespace skep::actors
