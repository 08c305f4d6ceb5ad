#include "actors/limit_rules.hpp"

#include "actors/policy.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

using std::chrono::milliseconds;

struct window {
  const char* rule;
  milliseconds length;
  max_count provider_rules::*most;
};
constexpr std::array<window, 3> windows{{
    {"creates_per_minute", std::chrono::minutes{1}, &provider_rules::creates_per_minute},
    {"creates_per_hour", std::chrono::hours{1}, &provider_rules::creates_per_hour},
    {"creates_per_day", std::chrono::hours{24}, &provider_rules::creates_per_day},
}};

std::string seconds_text(milliseconds t) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(t).count()) + " s";
}

// Those that are in the window at `now`: [first, end).
std::size_t first_inside(const std::vector<utc_time>& creates, utc_time now, milliseconds length) {
  return static_cast<std::size_t>(std::upper_bound(creates.begin(), creates.end(), now - length)
                                  - creates.begin());
}

// The (ahead + 1)th lease that ends lets the one with `ahead` before it through: once the provider
// has said that it is gone, of which one that is over already is asked at the REAPER's next look.
milliseconds next_end(const provider_load& load, utc_time now, std::size_t ahead) {
  if (ahead >= load.lease_ends.size()) return milliseconds{0};
  auto left = load.lease_ends[ahead] - now;
  return left.count() > 0 ? left : milliseconds{policies{}.reap_interval};
}

std::uint64_t active_of(const provider_load& load, const std::string& repo) {
  auto i = load.active_of.find(repo);
  return i == load.active_of.end() ? 0 : i->second;
}

std::uint64_t most_of_one(const provider_load& load) {
  std::uint64_t most = 0;
  for (const auto& [repo, n] : load.active_of)
    most = std::max(most, n);
  return most;
}

hold slot_hold(const provider_rules& rules, const char* rule, std::uint64_t most,
               std::uint64_t count, milliseconds wait) {
  return {rule, most, count, wait, rules.section + "." + rule, false, false};
}

bool is_starting(const storage::placed_sandbox& x) {
  return x.state < phase::starting && !x.kill_intended;
}

} // namespace

provider_rules metered_rules(std::string section) {
  provider_rules out;
  out.usd_per_hour = 0.10;
  out.max_active = 10;
  out.max_active_per_repo = 5;
  out.creates_per_minute = 10;
  out.creates_per_hour = 20;
  out.creates_per_day = 50;
  out.section = std::move(section);
  return out;
}

const provider_rules& limit_table::of(const std::string& provider) const {
  static const provider_rules none;
  auto i = providers.find(provider);
  return i == providers.end() ? none : i->second;
}

std::string text_of(const hold& h) {
  auto out = std::to_string(h.count) + " of " + std::to_string(h.limit) + " (" + h.rule + ")";
  if (h.wait.count() > 0) out += ", about " + seconds_text(h.wait);
  return out + "; " + h.setting + " in skep.toml would let it go on";
}

error refusal(const hold& h) {
  auto e = make_error(h.rule.starts_with("creates_") ? errc::rate : errc::quota, text_of(h));
  e.retry_after_ms = h.wait.count();
  return e;
}

void provider_load::add(const std::string& repo, utc_time now, milliseconds longest) {
  ++active;
  ++starting;
  ++active_of[repo];
  creates.push_back(creates.empty() ? now : std::max(creates.back(), now));
  if (longest.count() == 0) return;
  auto end = now + longest;
  lease_ends.insert(std::upper_bound(lease_ends.begin(), lease_ends.end(), end), end);
}

provider_load load_of(const storage::spend_state& s, const std::string& provider) {
  provider_load out;
  for (const auto& x : s.placed) {
    if (x.provider != provider) continue;
    ++out.active;
    if (is_starting(x)) ++out.starting;
    ++out.active_of[x.repo];
    if (x.lease_end != utc_time{}) out.lease_ends.push_back(x.lease_end);
  }
  std::sort(out.lease_ends.begin(), out.lease_ends.end());
  if (auto i = s.creates.find(provider); i != s.creates.end()) out.creates = i->second;
  return out;
}

std::optional<hold> first_hold(const provider_rules& rules, const provider_load& load,
                               const std::string& repo, utc_time now, std::size_t ahead) {
  if (rules.max_active && load.active >= *rules.max_active)
    return slot_hold(rules, "max_active", *rules.max_active, load.active,
                     next_end(load, now, ahead));
  auto of_repo = active_of(load, repo);
  if (rules.max_active_per_repo && of_repo >= *rules.max_active_per_repo) {
    auto out = slot_hold(rules, "max_active_per_repo", *rules.max_active_per_repo, of_repo,
                         next_end(load, now, ahead));
    out.of_repo = true;
    return out;
  }
  for (const auto& w : windows) {
    const auto& most = rules.*w.most;
    if (!most) continue;
    auto first = first_inside(load.creates, now, w.length);
    auto count = load.creates.size() - first;
    if (count < *most) continue;
    auto out = slot_hold(rules, w.rule, *most, count, milliseconds{0});
    // It goes on when the create that is `most` before its turn leaves the window.
    auto leaves = first + count - *most + ahead;
    if (*most > 0 && leaves < load.creates.size())
      out.wait = std::max(load.creates[leaves] + w.length - now, milliseconds{1});
    return out;
  }
  if (rules.max_starting && load.starting >= *rules.max_starting) {
    auto out =
        slot_hold(rules, "max_starting", *rules.max_starting, load.starting, milliseconds{0});
    out.passing = true;
    return out;
  }
  return std::nullopt;
}

error never_fits(const provider_rules& rules, const swarm_spec& spec, std::uint32_t sandboxes,
                 double reserved_usd) {
  auto no = [&](const std::string& rule, const std::string& why) {
    return make_error(errc::never_fits, rule + ": " + why);
  };
  for (auto [rule, most] : {std::pair{"max_active", rules.max_active},
                            std::pair{"max_active_per_repo", rules.max_active_per_repo}}) {
    if (most && *most == 0) return no(rule, rules.section + "." + rule + " is 0");
    if (most && spec.keep && sandboxes > *most)
      return no(rule, std::to_string(sandboxes) + " sandboxes are to be kept, and " + rules.section
                          + "." + rule + " is " + std::to_string(*most));
  }
  if (rules.max_starting && *rules.max_starting == 0)
    return no("max_starting", rules.section + ".max_starting is 0");
  for (const auto& w : windows) {
    const auto& most = rules.*w.most;
    if (!most) continue;
    if (*most == 0) return no(w.rule, rules.section + "." + w.rule + " is 0");
    auto wait = w.length * ((sandboxes - 1) / *most);
    if (wait >= milliseconds{spec.limit_ms})
      return no(w.rule, "the last of " + std::to_string(sandboxes) + " sandboxes would wait "
                            + seconds_text(wait) + ", beyond the time limit (" + rules.section + "."
                            + w.rule + " is " + std::to_string(*most) + ")");
  }
  for (auto [rule, usd] : {std::pair{"budget", spec.budget_usd},
                           std::pair{"pane budget", spec.pane_budget_usd * spec.panes}})
    if (usd > 0 && usd < reserved_usd)
      return no(rule, "one sandbox needs " + std::to_string(reserved_usd)
                          + " dollars to begin and to end");
  return {};
}

bool passes(std::string_view rule) {
  return rule == "max_starting";
}

std::vector<limit_line> limit_lines(const std::string& provider, const provider_rules& rules,
                                    const provider_load& load, utc_time now,
                                    const std::string& repo) {
  std::vector<limit_line> out;
  auto add = [&](const char* rule, const max_count& most, std::uint64_t count) {
    out.push_back({provider, rule, most ? static_cast<std::int64_t>(*most) : -1, count,
                   rules.section + "." + rule});
  };
  add("max_active", rules.max_active, load.active);
  add("max_active_per_repo", rules.max_active_per_repo,
      repo.empty() ? most_of_one(load) : active_of(load, repo));
  for (const auto& w : windows)
    add(w.rule, rules.*w.most, load.creates.size() - first_inside(load.creates, now, w.length));
  add("max_starting", rules.max_starting, load.starting);
  return out;
}

} // namespace skep::actors
