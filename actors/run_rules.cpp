#include "actors/run_rules.hpp"

#include "actors/lease_plan.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

// A cap holds where the cost of models is seen while they are at work.
error check_price(const swarm_spec& spec, const model_prices& models) {
  if (!models.asked) return {};
  for (const auto& name : {spec.provider, spec.fallback})
    if (!name.empty() && !(models.counted_at && models.counted_at(name)))
      return make_error(errc::price_unknown,
                        "the provider " + name
                            + " counts no calls of models, and agents tell their cost when it is "
                              "spent");
  for (const char* name : {"ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL",
                           "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL"})
    if (auto i = spec.env.find(name);
        i != spec.env.end() && models.known && !models.known(i->second))
      return make_error(errc::price_unknown, "the model " + i->second.substr(0, 80));
  return {};
}

// Each sandbox counts against the limits of those after it.
error check_places(const swarm_spec& spec, const provider_rules& own, const run_question& q) {
  auto load = q.load;
  for (std::uint32_t i = 0; i < spec.sandboxes; ++i) {
    auto h = first_hold(own, load, spec.repo, q.now);
    if (h && !h->passing && !(q.makes_room && q.makes_room(*h))) return refusal(*h);
    load.add(spec.repo, q.now);
  }
  return {};
}

} // namespace

error fit_limit(const policies& p, swarm_spec& spec, std::vector<std::string>& remarks) {
  for (const auto& name : {spec.provider, spec.fallback}) {
    if (name.empty()) continue;
    auto cap = p.create_of(name).lease_cap;
    auto grace = p.lease_grace;
    auto fits = limit_within(std::chrono::milliseconds{spec.limit_ms}, grace, cap);
    if (!fits)
      return make_error(errc::out_of_range, "the lease cap of " + name + ", "
                                                + std::to_string(cap.count())
                                                + " s, leaves no time beside the lease's grace of "
                                                + std::to_string(grace.count()) + " s");
    if (fits->count() == spec.limit_ms) continue;
    spec.limit_ms = fits->count();
    remarks.push_back("the time limit is " + std::to_string(fits->count() / 1000)
                      + " s: sandboxes of " + name + " live at most " + std::to_string(cap.count())
                      + " s, and the last " + std::to_string(grace.count()) + " s are for results");
  }
  return {};
}

error refuse_run(const swarm_spec& spec, const run_question& q) {
  const auto& own = q.table.of(spec.provider);
  auto reserved = reserve_of(own.usd_per_hour, q.limits);
  if (auto e = never_fits(own, spec, spec.sandboxes, reserved)) return e;
  if (!spec.fallback.empty()) { // how many will be there, nobody knows
    const auto& there = q.table.of(spec.fallback);
    reserved = std::max(reserved, reserve_of(there.usd_per_hour, q.limits));
    if (auto e = never_fits(there, spec, 1, reserved)) return e;
  }
  bool capped = spec.budget_usd > 0 || spec.pane_budget_usd > 0;
  for (const auto& b : shared_budgets(q.state, q.table, q.now)) {
    capped = capped || b.in_force();
    if (auto e = room_for(b, reserved)) return e;
  }
  if (capped)
    if (auto e = check_price(spec, q.models)) return e;
  return spec.no_queue ? check_places(spec, own, q) : error{};
}

plan_reply plan_of(swarm_spec spec, const run_question& q) {
  plan_reply out;
  out.refused = fit_limit(q.limits, spec, out.remarks);
  if (!out.refused) out.refused = refuse_run(spec, q);
  out.limit_ms = spec.limit_ms;
  out.limits = limit_lines(spec.provider, q.table.of(spec.provider), q.load, q.now, spec.repo);
  for (const auto& b : shared_budgets(q.state, q.table, q.now))
    out.budgets.push_back(line_of(b));
  return out;
}

std::vector<const storage::placed_sandbox*> holders_of(const hold& h, const storage::spend_state& s,
                                                       const std::string& provider,
                                                       const std::string& repo) {
  std::vector<const storage::placed_sandbox*> out;
  if (!h.rule.starts_with("max_active")) return out; // the others count no places
  for (const auto& x : s.placed)
    if (x.provider == provider && (!h.of_repo || x.repo == repo)) out.push_back(&x);
  return out;
}

bool is_over(const storage::placed_sandbox& x) {
  return x.state == phase::closed && !x.kept;
}

} // namespace skep::actors
