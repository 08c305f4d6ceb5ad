// What travels into a sandbox and back: the upload before its agents, the downloads after them, one
// at a time. The TRANSFER does the work; here is what is intended, and what follows from its end.
#include "actors/sandbox_actor.hpp"
#include "actors/transfer.hpp"
#include "actors/untold_findings.hpp"

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
  unfetched_.clear();
  still_agents();
}

// After a former life's beginning: whole results are not given up for an attempt that may fail.
void sandbox_impl::collect_rest() {
  in_pool<std::set<pane_id>>(
      ctx_->svc,
      [svc = ctx_->svc, spec = ctx_->spec, box = rec_]() -> result<std::set<pane_id>> {
        return panes_in_place(*svc, *spec, box);
      },
      [this](result<std::set<pane_id>> r) {
        if (r) stored_ = std::move(*r);
        collect();
      });
}

void sandbox_impl::next_download() {
  if (destroying_) return;
  const auto shared = ctx_->spec->share_tree;
  const std::size_t all = shared ? 1 : panes_.all().size();
  while (collect_next_ < all
         && stored_.contains(shared ? pane_id{} : panes_.all()[collect_next_].pane))
    ++collect_next_;
  if (collect_next_ == all) return look_at_output();
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
    if (ending()) return;
    count_models([this] { // before an agent can say what it cost
      if (!ending())
        bound_models([this] {
          if (!ending()) start_panes();
        });
    });
  });
}

// One that failed does not stop the others, and the first of them is the sandbox's error once
// nothing more is collected (destroy()). Not sooner: after a daemon that dies meanwhile the next
// one collects anew, and may bring all of it.
void sandbox_impl::downloaded(const transfer_ending& x) {
  if (!x.why)
    return fact(transfer_done{x.transfer, x.files, x.size_bytes, x.sha256}, [this] {
      tell_stored();
      next_download();
    });
  auto why = at_step(x.why, "download");
  why.sandbox = ctx_->sandbox;
  if (!collect_error_) collect_error_ = why;
  if (why.code != errc::gone) unfetched_.push_back(panes_.all()[collect_next_ - 1].name);
  fact(transfer_failed{x.transfer, why}, [this] { next_download(); });
}

// So that people hear of panes that changed the same paths while the others are still fetched. Of
// the last one the SWARM hears by the sandbox's end.
void sandbox_impl::tell_stored() {
  if (ctx_->spec->share_tree || collect_next_ == panes_.all().size()) return;
  if (auto swarm = swarm_()) caf::anon_send(swarm, stored_a::value, ctx_->sandbox);
}

// Once the results are here, so that it costs them no time. Of an agent that was killed while
// nothing came from its sandbox the end was not seen; the log inside may have it.
void sandbox_impl::look_at_output() {
  auto rows = ctx_->svc->load_panes(ctx_->sandbox);
  if (!rows) return destroy(); // nobody can tell
  std::vector<log_key> known;
  for (const auto& p : *rows)
    for (std::uint32_t g = 1; g <= p.attempt; ++g)
      known.emplace_back(p.pane, g);
  std::set<log_key> wanted;
  output_ends_early_.clear();
  for (const auto& key : unseen_ends(*ctx_, *rows)) {
    wanted.insert(key);
    output_ends_early_.push_back(key.first);
  }
  const auto was_lost = static_cast<bool>(output_lost_);
  if (wanted.empty()) {
    output_lost_ = {};
    return destroy();
  }
  if (!was_lost) // as it is where the sandbox ends meanwhile
    output_lost_ =
        at_step(make_error(errc::timed_out,
                           "output incomplete: the sandbox ended before its rest was here"),
                "output");
  // Two pollers must not write one log.
  remove_child("poller", [this, was_lost, known = std::move(known), wanted = std::move(wanted)] {
    if (destroying_) return;
    auto over = home<last_looked>(
        [this, was_lost](const result<last_looked>& r) { looked_at_output(*r, was_lost); });
    add_child(last_look_child(ctx_, known, {wanted, std::move(over)}),
              [this, was_lost, missing = output_ends_early_](const error& why) {
                looked_at_output({missing, why}, was_lost);
              });
  });
}

void sandbox_impl::looked_at_output(const last_looked& x, bool was_lost) {
  if (destroying_) return; // that was told
  output_ends_early_ = x.missing;
  if (x.missing.empty()) {
    output_lost_ = {};
    if (was_lost)
      note(ctx_->recorder(), now(),
           notice{severity::info, "output_completed",
                  "the rest of the output of " + ctx_->sandbox.value
                      + " was fetched after its results: its logs are whole"});
  } else if (!was_lost) {
    auto why = at_step(x.why, "output");
    why.message = "output incomplete" + (why.message.empty() ? "" : ": " + why.message);
    output_lost_ = std::move(why);
  }
  destroy();
}

void sandbox_impl::cancel_transfer() {
  if (!transfer_) return;
  auto was = *std::exchange(transfer_, std::nullopt);
  note(ctx_->recorder(), now(),
       transfer_failed{was.id, make_error(errc::cancelled, "the sandbox ends")});
  remove_child(was.id.value);
}

} // namespace skep::actors
