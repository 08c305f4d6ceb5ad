#include "messages/commands.hpp"
#include "tools/skepd/read_policy.hpp"

#include <functional>
#include <map>

namespace skep::tools {
namespace {

error wrong(const std::filesystem::path& file, const toml::node& at, const std::string& what) {
  return make_error(errc::bad_config,
                    file.string() + ":" + std::to_string(at.source().begin.line) + ": " + what);
}

/// A number of [policy]: its range, and where it goes.
struct setting {
  std::int64_t least;
  std::int64_t most;
  std::function<void(actors::policies&, std::int64_t)> set;
};

template <class Unit, class Field>
auto to(Field actors::policies::*member) {
  return [member](actors::policies& p, std::int64_t n) {
    p.*member = std::chrono::duration_cast<Field>(Unit{n});
  };
}
template <class Field>
auto number(Field actors::policies::*member, std::int64_t factor = 1) {
  return [member, factor](actors::policies& p, std::int64_t n) {
    p.*member = static_cast<Field>(n * factor);
  };
}

template <class Unit, class Field>
auto of_restarts(Field actors::restart_policy::*member) {
  return [member](actors::policies& p, std::int64_t n) {
    p.supervision.*member = std::chrono::duration_cast<Field>(Unit{n});
  };
}

const std::map<std::string, setting>& settings() {
  using p = actors::policies;
  using r = actors::restart_policy;
  using s = std::chrono::seconds;
  static const std::map<std::string, setting> all = {
      {"actor_restarts",
       {0, 1000,
        [](p& x, std::int64_t n) { x.supervision.max_restarts = static_cast<std::uint32_t>(n); }}},
      {"actor_restart_period_s", {1, 86'400, of_restarts<s>(&r::period)}},
      {"actor_backoff_min_s", {0, 3600, of_restarts<s>(&r::backoff_min)}},
      {"actor_backoff_max_s", {0, 3600, of_restarts<s>(&r::backoff_max)}},
      {"lease_grace_s", {10, 3600, to<s>(&p::lease_grace)}},
      {"guest_command_s", {1, 600, to<s>(&p::guest_command)}},
      {"upload_deadline_s", {10, 86'400, to<s>(&p::upload_deadline)}},
      {"upload_part_kib", {64, 1024 * 1024, number(&p::upload_part_bytes, 1024)}},
      {"upload_tries", {1, 20, number(&p::upload_tries)}},
      {"download_deadline_s", {10, 86'400, to<s>(&p::download_deadline)}},
      {"download_tries", {1, 20, number(&p::download_tries)}},
      {"setup_s", {1, 86'400, to<s>(&p::setup)}},
      {"unpack_s", {1, 3600, to<s>(&p::unpack)}},
      {"collect_s", {1, 3600, to<s>(&p::collect)}},
      {"stop_grace_s", {1, 600, to<s>(&p::stop_grace)}},
      {"kill_retry_s", {1, 60, to<s>(&p::kill_retry)}},
      {"kill_attempts", {1, 100, number(&p::kill_attempts)}},
      {"reap_interval_s", {1, 3600, to<s>(&p::reap_interval)}},
      {"orphan_grace_s", {1, 3600, to<s>(&p::orphan_grace)}},
      {"loss_looks", {1, 20, number(&p::loss_looks)}},
      {"poll_failures", {1, 100, number(&p::poll_failures)}},
      {"poll_give_up_s", {0, 3600, to<s>(&p::poll_give_up)}},
      {"health_interval_s", {10, 3600, to<s>(&p::health_interval)}},
      {"health_failures", {1, 100, number(&p::health_failures)}},
      {"pane_wait_first_s", {1, 3600, to<s>(&p::pane_wait_first)}},
      {"pane_wait_most_s", {1, 3600, to<s>(&p::pane_wait_most)}},
      {"step_attempts", {1, 20, number(&p::step_attempts)}},
      {"ready_limit_s", {1, 3600, to<s>(&p::ready_limit)}},
      {"idle_grace_s", {0, 3600, to<s>(&p::idle_grace)}},
      {"panes_out_percent", {1, 100, number(&p::panes_out_percent)}},
      {"log_cap_mib", {1, 1024 * 1024, number(&p::log_cap_bytes, 1024 * 1024)}},
      {"shutdown_limit_s", {10, 3600, to<s>(&p::shutdown_limit)}},
      {"shutdown_interrupt_s", {1, 600, to<s>(&p::shutdown_interrupt)}},
      {"shutdown_grace_s", {1, 600, to<s>(&p::shutdown_grace)}},
  };
  return all;
}

error read_warnings(const std::filesystem::path& file, const toml::node& node, policy_config& out) {
  const auto* list = node.as_array();
  if (!list) return wrong(file, node, "warn_at_s takes a list of seconds, such as [1800, 3000]");
  if (list->size() > max_time_warnings)
    return wrong(file, node,
                 "warn_at_s takes at most " + std::to_string(max_time_warnings) + " times");
  out.warn_at_ms.clear();
  for (const auto& x : *list) {
    auto at = x.value<std::int64_t>();
    if (!x.is_integer() || *at < 1 || *at > 86'400)
      return wrong(file, x, "warn_at_s takes 1 to 86400 seconds each");
    if (!out.warn_at_ms.empty() && *at * 1000 <= out.warn_at_ms.back())
      return wrong(file, x, "warn_at_s must ascend, each time given once");
    out.warn_at_ms.push_back(*at * 1000);
  }
  return {};
}

error read_limits(const std::filesystem::path& file, const toml::table& t, policy_config& out) {
  for (const auto& [key, node] : t) {
    auto name = std::string{key.str()};
    if (name == "warn_at_s") {
      if (auto e = read_warnings(file, node, out)) return e;
      continue;
    }
    auto known = settings().find(name);
    if (known == settings().end()) return wrong(file, node, "unknown key '" + name + "'");
    const auto& what = known->second;
    auto n = node.value<std::int64_t>();
    if (!node.is_integer() || *n < what.least || *n > what.most)
      return wrong(file, node,
                   name + " takes a whole number from " + std::to_string(what.least) + " to "
                       + std::to_string(what.most));
    what.set(out.limits, *n);
  }
  // Each number fits by itself; what they say together may not.
  if (auto e = actors::validate(out.limits)) return wrong(file, t, e.message);
  return {};
}

error read_on_stop(const std::filesystem::path& file, const toml::table& t, policy_config& out) {
  const auto* node = t.get("on_stop");
  if (!node) return {};
  auto word = node->value<std::string>();
  if (!word || (*word != "detach" && *word != "kill"))
    return wrong(file, *node, "on_stop takes \"detach\" or \"kill\"");
  out.at_signal = *word == "kill" ? on_stop::kill : on_stop::detach;
  return {};
}

} // namespace

error read_policy(const std::filesystem::path& file, const toml::table& whole, policy_config& out) {
  if (const auto* policy = whole.get("policy")) {
    if (!policy->is_table()) return wrong(file, *policy, "[policy] must be a table");
    if (auto e = read_limits(file, *policy->as_table(), out)) return e;
  }
  if (const auto* daemon = whole.get("daemon")) {
    if (!daemon->is_table()) return wrong(file, *daemon, "[daemon] must be a table");
    if (auto e = read_on_stop(file, *daemon->as_table(), out)) return e;
  }
  return {};
}

} // namespace skep::tools
