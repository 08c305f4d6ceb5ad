#include "tools/skepd/event_log.hpp"

namespace skep::tools {
namespace {

log_level by_outcome(outcome o) {
  return o == outcome::completed || o == outcome::cancelled ? log_level::info : log_level::warn;
}

template <class E, class... Ts>
constexpr bool one_of = (std::is_same_v<E, Ts> || ...);

} // namespace

log_level level_of(const any_event& e) {
  return std::visit(
      []<class E>(const E& x) {
        if constexpr (std::is_same_v<E, notice>)
          return x.level == severity::error     ? log_level::error
                 : x.level == severity::warning ? log_level::warn
                                                : log_level::info;
        else if constexpr (one_of<E, supervisor_gave_up, stop_forced>)
          return log_level::error;
        else if constexpr (one_of<E, child_restarted, create_failed, poll_failed, transfer_failed,
                                  pane_restarting, sandbox_degraded, audit_repaired, panic_asked,
                                  time_warning, time_limit_reached, output_incomplete, pane_idle,
                                  sandbox_failing, sandbox_fell_back, sandbox_replaced,
                                  notes_suppressed, results_scanned>)
          return log_level::warn;
        else if constexpr (one_of<E, swarm_closed, sandbox_closed, pane_closed>)
          return by_outcome(x.result);
        else if constexpr (one_of<E, agent_block, usage_sampled, input_receipt, pane_usage>)
          return log_level::debug;
        else
          return log_level::info;
      },
      e);
}

json fields_of(const actors::committed_event& e) {
  json out = json::object();
  if (!e.swarm.empty()) out["swarm"] = e.swarm.value;
  if (!e.sandbox.empty()) out["sandbox"] = e.sandbox.value;
  out["seq"] = e.seq;
  auto body = std::visit([](const auto& x) { return to_json(x); }, e.what);
  for (auto& [key, value] : body.items()) {
    // What agents and people wrote, and what is packed.
    if (key == "spec" || key == "reply" || key == "fingerprint" || key == "summary") continue;
    if (key == "text" && std::holds_alternative<agent_block>(e.what)) continue;
    if (value.is_string() && value.get_ref<const std::string&>().empty()) continue;
    if (value.is_object() && value.value("code", std::string{}) == "none") continue;
    out[key == "level" ? "severity" : key] = std::move(value);
  }
  return out;
}

void event_log::on_event(const actors::committed_event& e) {
  auto level = level_of(e.what);
  auto log = process_log();
  if (!log || !log->wants(level)) return;
  const auto* known = find_event(e.type);
  if (known == nullptr) return;
  auto component = known->name.substr(0, known->name.find('.'));
  log->write(level, component, known->name, fields_of(e));
}

} // namespace skep::tools
