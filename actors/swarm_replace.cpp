// Successors of sandboxes that their provider lost.
#include "actors/swarm_actor.hpp"

namespace skep::actors {

// Only while the run goes on: what a stop or the end of its time has reached is not begun again.
bool swarm_impl::may_replace() const {
  return !stop_ && !closing_ && !finishing_ && !clients_.empty() && !ctx_->limit()->over(boot_now())
         && replaced_ + unnumbered_ < spec().replace_lost;
}

// The intent names the successor, so that a daemon that dies now starts this one and no other.
void swarm_impl::replace(const sandbox_id& lost) {
  ++replacing_;
  ++unnumbered_;
  in_pool<known_loss>(
      ctx_->svc,
      [svc = ctx_->svc, spec = ctx_->spec, lost]() -> result<known_loss> {
        auto row = svc->load_sandbox(lost);
        if (!row) return row.err();
        return known_loss{row->index, what_was_lost(*svc, *spec, *row)};
      },
      mine([this](result<known_loss> r) {
        --replacing_;
        --unnumbered_;
        if (!r) return this->quit(to_caf(r.err()));
        if (!may_replace()) return finish_when_empty();
        r->event.successor = sandbox_id::make();
        r->event.number = ++replaced_;
        r->event.most = spec().replace_lost;
        ++replacing_;
        fact(r->event, mine([this, index = r->index, id = r->event.successor] {
               --replacing_;
               stop_ ? finish_when_empty() : start_successor(index, id);
             }));
      }));
}

void swarm_impl::start_successor(std::uint32_t index, const sandbox_id& id) {
  if (clients_.count(spec().provider) == 0) return reach_for_successor(index, id);
  if (bundle_) return start_sandbox(plan_sandbox(spec(), ctx_->swarm, index, id));
  ++replacing_;
  pack_tree([this, index, id](result<upload_bundle> r) {
    --replacing_;
    // Without a bundle it fails with its own error.
    if (r.ok()) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
    stop_ ? finish_when_empty() : start_sandbox(plan_sandbox(spec(), ctx_->swarm, index, id));
  });
}

void swarm_impl::reach_for_successor(std::uint32_t index, const sandbox_id& id) {
  ++replacing_;
  connect(spec().provider, [this, index, id](const error& why) {
    if (!why || stop_) {
      --replacing_;
      return stop_ ? finish_when_empty() : start_successor(index, id);
    }
    tell_unreachable(spec().provider, why);
    later(ctx_->svc->limits.settle_interval, mine([this, index, id] {
            --replacing_;
            stop_ ? finish_when_empty() : reach_for_successor(index, id);
          }));
  });
}

void swarm_impl::finish_when_empty() {
  if (!sandboxes_.any_open() && replacing_ == 0 && unreached_ == 0) finish();
}

} // namespace skep::actors
