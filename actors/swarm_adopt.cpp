// What a SWARM takes up that a former life left: sandboxes that live, those that were not begun
// yet, and successors that are owed.
#include "actors/swarm_actor.hpp"

#include <map>

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
        reach_all(std::move(boxes));
      }));
}

void swarm_impl::reach_all(std::vector<sandbox_record> open) {
  std::map<std::string, std::vector<sandbox_record>> at;
  for (auto& r : open) {
    const bool fell_back = fallback_ && r.provider == fallback_->provider();
    at[fell_back ? r.provider : spec().provider].push_back(std::move(r));
  }
  if (!missing_.empty() || !owed_.empty()) at[spec().provider];
  unreached_ = static_cast<std::uint32_t>(at.size());
  for (auto& [provider, rows] : at)
    reach(provider, std::move(rows));
}

// Sandboxes live there, so a provider that does not answer is waited for, up to the run's end, and
// so is one whose key is missing, or that this daemon was started without. A daemon that ends has
// no time for that; the one after it has.
void swarm_impl::reach(const std::string& provider, std::vector<sandbox_record> open) {
  connect(provider, [this, provider, open = std::move(open)](const error& why) mutable {
    if (!why) return with_bundle(provider, std::move(open));
    const auto patient =
        !stop_ || stop_ == stop_mode::graceful || stop_ == stop_mode::former_shutdown;
    const auto pointless = stop_ && open.empty(); // nothing is there, and nothing new is begun
    if (patient && !pointless && (retriable(why) || (mendable(why) && !open.empty()))) {
      tell_unreachable(provider, why);
      return later(ctx_->svc->limits.settle_interval,
                   mine([this, provider, open = std::move(open)] { reach(provider, open); }));
    }
    unreachable(provider, open, why);
  });
}

void swarm_impl::unreachable(const std::string& provider, const std::vector<sandbox_record>& open,
                             const error& why) {
  --unreached_;
  for (const auto& r : open) {
    sandboxes_.add(ctx_->svc, ctx_->spec, nullptr, {r, {}, false, nullptr});
    on_sandbox_closed({r.sandbox, outcome::failed, why, true});
  }
  if (provider != spec().provider || (missing_.empty() && owed_.empty())) return;
  missing_.clear();
  owed_.clear();
  unmade_ = why;
  if (!first_error_) first_error_ = why;
  finish_when_empty(); // what lives elsewhere goes on
}

void swarm_impl::tell_unreachable(const std::string& provider, const error& why) {
  if (!told_unreachable_.insert(provider).second) return;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "provider_unreachable",
              provider
                  + " cannot be asked since the daemon is back, which is tried again until the "
                    "run's time limit; what runs there goes on: "
                  + render(why)});
}

// Packed once, whoever needs it.
void swarm_impl::with_bundle(const std::string& provider, std::vector<sandbox_record> open) {
  const bool begins = provider == spec().provider && (!missing_.empty() || !owed_.empty());
  if (bundle_ || (!begins && std::none_of(open.begin(), open.end(), [](const auto& r) {
        return r.base_commit.empty();
      })))
    return adopt_all(provider, open);
  waiting_for_tree_.push_back(
      [this, provider, open = std::move(open)] { adopt_all(provider, open); });
  if (waiting_for_tree_.size() > 1) return;
  pack_tree([this](result<upload_bundle> r) {
    // Without a bundle those sandboxes fail with their own error.
    if (r.ok() && !r->refused) bundle_ = std::make_shared<const upload_bundle>(std::move(*r));
    for (auto& go_on : std::exchange(waiting_for_tree_, {}))
      go_on();
  });
}

void swarm_impl::adopt_all(const std::string& provider, const std::vector<sandbox_record>& open) {
  --unreached_;
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
  if (provider != spec().provider) return;
  for (auto index : std::exchange(missing_, {})) // it ended while it started them
    start_sandbox(plan_sandbox(spec(), ctx_->swarm, index));
  for (auto& x : std::exchange(owed_, {}))
    x.successor.empty() ? replace(x.lost.sandbox) : start_successor(x.lost.index, x.successor);
}

} // namespace skep::actors
