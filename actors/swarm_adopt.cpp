// What a SWARM takes up that a former life left: sandboxes that live, those that were not begun
// yet, and successors that are owed.
#include "actors/swarm_actor.hpp"

#include <set>

namespace skep::actors {

void swarm_impl::adopt() {
  auto svc = ctx_->svc;
  in_pool<known_boxes>(
      svc,
      [svc, id = ctx_->swarm]() -> result<known_boxes> {
        auto boxes = svc->load_sandboxes(id);
        if (!boxes) return boxes.err();
        auto replaced = replacements_of(*svc, id);
        if (!replaced) return replaced.err();
        return known_boxes{std::move(*boxes), std::move(*replaced)};
      },
      mine([this](result<known_boxes> r) {
        if (!r) return this->quit(to_caf(r.err()));
        auto& boxes = r->sandboxes;
        if (boxes.empty()) return prepare(); // it ended between swarm.created and its first one
        replaced_ = static_cast<std::uint32_t>(r->replacements.size());
        if (!stop_) {
          missing_ = missing_indices(spec(), boxes);
          owed_ = owed(boxes, r->replacements, spec().replace_lost);
        }
        std::erase_if(boxes, [](const auto& x) { return x.state == phase::closed; });
        if (boxes.empty() && missing_.empty() && owed_.empty()) return finish();
        reach(std::move(boxes));
      }));
}

// Sandboxes live there, so a provider that does not answer is waited for, up to the run's end, and
// so is one whose key is missing, or that this daemon was started without. A daemon that ends has
// no time for that; the one after it has.
void swarm_impl::reach(std::vector<sandbox_record> open) {
  auto places = places_of(open);
  connect_all(std::move(places), [this, open = std::move(open)](const std::string& provider,
                                                                const error& why) mutable {
    if (!why) return with_bundle(std::move(open));
    const auto patient =
        !stop_ || stop_ == stop_mode::graceful || stop_ == stop_mode::former_shutdown;
    if (patient && (retriable(why) || (mendable(why) && !open.empty()))) {
      tell_unreachable(provider, why);
      return later(ctx_->svc->limits.settle_interval,
                   mine([this, open = std::move(open)] { reach(open); }));
    }
    for (const auto& r : open) {
      sandboxes_.add(ctx_->svc, ctx_->spec, nullptr, {r, {}, false, nullptr});
      on_sandbox_closed({r.sandbox, outcome::failed, why, true});
    }
    if (open.empty()) close(outcome::failed, why); // and those that are missing cannot be made
  });
}

std::vector<std::string> swarm_impl::places_of(const std::vector<sandbox_record>& open) const {
  std::set<std::string> out;
  for (const auto& r : open)
    out.insert(r.provider);
  if (!missing_.empty() || !owed_.empty() || spec().replace_lost > 0) out.insert(spec().provider);
  return {out.begin(), out.end()};
}

void swarm_impl::connect_all(std::vector<std::string> providers,
                             std::function<void(const std::string&, const error&)> next) {
  if (providers.empty()) return next({}, {});
  auto one = std::move(providers.back());
  providers.pop_back();
  connect(one, [this, one, rest = std::move(providers), next](const error& why) mutable {
    why ? next(one, why) : connect_all(std::move(rest), next);
  });
}

void swarm_impl::tell_unreachable(const std::string& provider, const error& why) {
  if (std::exchange(told_unreachable_, true)) return;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "provider_unreachable",
              provider
                  + " cannot be asked since the daemon is back, which is tried again until the "
                    "run's time limit; what runs there goes on: "
                  + render(why)});
}

void swarm_impl::with_bundle(std::vector<sandbox_record> open) {
  if (bundle_
      || (missing_.empty() && owed_.empty()
          && std::none_of(open.begin(), open.end(),
                          [](const auto& r) { return r.base_commit.empty(); })))
    return adopt_all(open);
  pack_tree([this, open](result<upload_bundle> r) {
    // Without a bundle those sandboxes fail with their own error.
    if (r.ok() && !r->refused) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
    adopt_all(open);
  });
}

void swarm_impl::adopt_all(const std::vector<sandbox_record>& open) {
  for (const auto& r : open) {
    sandbox_start start{r, {}, false, nullptr, stop_};
    // Panes that are missing are written down by the SANDBOX while they can still be started.
    auto panes = ctx_->svc->load_panes(r.sandbox);
    if (panes.ok() && (!panes->empty() || r.state < phase::starting)) {
      start.panes = std::move(*panes);
      start_sandbox(std::move(start));
    } else {
      sandboxes_.add(ctx_->svc, ctx_->spec, nullptr, start);
      on_sandbox_closed(
          {r.sandbox, outcome::failed, make_error(errc::internal, "its panes are unknown"), true});
    }
  }
  for (auto index : std::exchange(missing_, {})) // it ended while it started them
    start_sandbox(plan_sandbox(spec(), ctx_->swarm, index));
  for (auto& x : std::exchange(owed_, {}))
    x.successor.empty() ? replace(x.lost.sandbox) : start_successor(x.lost.index, x.successor);
}

} // namespace skep::actors
