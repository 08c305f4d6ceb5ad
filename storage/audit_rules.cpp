#include "storage/audit_rules.hpp"

#include "messages/commands.hpp"

#include <bitset>

namespace skep::storage {
namespace {

using maybe_entry = std::optional<audit_entry>;

audit_entry entry_of(audit_level level, audit_category category, std::string operation,
                     json metadata) {
  if (metadata.is_null()) metadata = json::object();
  return {level, category, std::move(operation), std::move(metadata)};
}

audit_level level_of(outcome o) {
  switch (o) {
  case outcome::completed:
  case outcome::cancelled:
    return audit_level::info;
  case outcome::failed:
  case outcome::lost:
    return audit_level::error;
  default:
    return audit_level::warn;
  }
}

// Where an error lies and what kind it is: never its text, which others wrote.
void add_error(json& to, const error& e) {
  if (!e) return;
  to["error"] = std::string{to_string(e.code)};
  if (!e.step.empty()) to["step"] = e.step;
}

// The rest of the events have no line.
template <class E>
std::nullopt_t say(const E&, const audit_terms&) {
  return std::nullopt;
}

// ---- security ----

maybe_entry say(const daemon_started& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, "DAEMON_STARTED",
                  {{"epoch", e.epoch}, {"version", e.version}, {"pid", e.pid}});
}
maybe_entry say(const daemon_stopping& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, "DAEMON_STOPPING",
                  {{"epoch", e.epoch}, {"reason", e.reason}});
}
maybe_entry say(const command_asked& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, "COMMAND_ASKED",
                  {{"command", e.command},
                   {"subject", e.subject},
                   {"key", e.key},
                   {"uid", e.uid},
                   {"pid", e.pid}});
}
maybe_entry say(const command_accepted& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, "COMMAND_ACCEPTED",
                  {{"command", e.command}, {"key", e.key}, {"fingerprint", e.fingerprint}});
}
maybe_entry say(const audit_repaired& e, const audit_terms&) {
  return entry_of(
      e.evidence.empty() ? audit_level::warn : audit_level::error, audit_category::security,
      "AUDIT_REPAIRED",
      {{"line", e.line}, {"lines", e.lines}, {"problem", e.problem}, {"evidence", e.evidence}});
}
maybe_entry say(const done_outside& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, e.operation,
                  {{"subject", e.subject},
                   {"uid", e.uid},
                   {"pid", e.pid},
                   {"done_at_ms", e.done_at.time_since_epoch().count()}});
}
maybe_entry say(const daemon_draining& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::security, e.on ? "DRAINED" : "UNDRAINED",
                  {{"reason", e.reason}});
}
maybe_entry say(const panic_asked& e, const audit_terms&) {
  return entry_of(audit_level::warn, audit_category::security, "PANIC",
                  {{"select", e.select}, {"sandboxes", e.sandboxes}});
}
maybe_entry say(const stop_forced& e, const audit_terms&) {
  return entry_of(audit_level::error, audit_category::security, "STOP_FORCED",
                  {{"after_ms", e.after_ms}, {"refused", e.refused}});
}
maybe_entry say(const notice& e, const audit_terms&) {
  // Of the many notices these are about what may be reached, or what is ours.
  if (e.code == "network_open")
    return entry_of(audit_level::warn, audit_category::security, "NETWORK_OPEN", {});
  constexpr std::pair<std::string_view, const char*> of_resources[] = {
      {"orphan_kill_intended", "ORPHAN_KILL_INTENDED"},
      {"orphan_ended", "ORPHAN_ENDED"},
      {"survivor_kill_intended", "SURVIVOR_KILL_INTENDED"},
      {"near_limit", "RESOURCE_NEAR_LIMIT"},
  };
  for (const auto& [code, operation] : of_resources)
    if (e.code == code)
      return entry_of(audit_level::warn, audit_category::resource, operation, {{"text", e.text}});
  return {};
}

// ---- resources ----

maybe_entry say(const supervisor_gave_up& e, const audit_terms&) {
  return entry_of(audit_level::error, audit_category::resource, "SUPERVISOR_GAVE_UP",
                  {{"path", e.path}, {"child", e.child}});
}
json of_budget(std::string_view scope, std::uint32_t percent, double spent_usd, double limit_usd) {
  return {
      {"scope", scope}, {"percent", percent}, {"spent_usd", spent_usd}, {"limit_usd", limit_usd}};
}
maybe_entry say(const budget_set& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::cost, "BUDGET_SET",
                  {{"scope", std::string{to_string(e.scope)}}, {"limit_usd", e.limit_usd}});
}
maybe_entry say(const budget_warned& e, const audit_terms&) {
  auto about = of_budget(to_string(e.scope), e.percent, e.spent_usd, e.limit_usd);
  about["period"] = e.period;
  return entry_of(audit_level::warn, audit_category::cost, "BUDGET_WARNED", std::move(about));
}
maybe_entry say(const swarm_budget_warned& e, const audit_terms&) {
  return entry_of(audit_level::warn, audit_category::cost, "BUDGET_WARNED",
                  of_budget("swarm", e.percent, e.spent_usd, e.limit_usd));
}
maybe_entry say(const pane_budget_warned& e, const audit_terms&) {
  auto about = of_budget("pane", e.percent, e.spent_usd, e.limit_usd);
  about["pane"] = e.pane.value;
  return entry_of(audit_level::warn, audit_category::cost, "BUDGET_WARNED", std::move(about));
}
maybe_entry say(const swarm_created& e, const audit_terms&) {
  json about{{"name", e.name},           {"repo", e.repo},
             {"provider", e.provider},   {"agent", std::string{to_string(e.agent)}},
             {"sandboxes", e.sandboxes}, {"panes", e.panes},
             {"keep", e.keep},           {"out_dir", e.out_dir}};
  if (auto spec = unpack<swarm_spec>(e.spec.data)) {
    about["limit_ms"] = spec->limit_ms;
    about["network"] = std::string{to_string(spec->network)};
    about["allow_hosts"] = spec->allow_hosts;
    about["restarts"] = spec->pane_restarts;
  }
  return entry_of(audit_level::info, audit_category::resource, "SWARM_CREATED", std::move(about));
}
maybe_entry say(const swarm_closed& e, const audit_terms&) {
  json about{{"result", std::string{to_string(e.result)}},
             {"panes_completed", e.panes_completed},
             {"panes_failed", e.panes_failed},
             {"cost_usd", e.cost_usd}};
  add_error(about, e.why);
  return entry_of(level_of(e.result), audit_category::resource, "SWARM_CLOSED", std::move(about));
}
maybe_entry say(const create_intended& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "SANDBOX_CREATE_INTENDED",
                  {{"intent", e.intent}, {"template", e.template_name}, {"lease_ms", e.lease_ms}});
}
maybe_entry say(const sandbox_created& e, const audit_terms& terms) {
  return entry_of(audit_level::info, audit_category::resource, "SANDBOX_CREATED",
                  {{"intent", e.intent},
                   {"remote_id", e.remote_id},
                   {"timeout_ms", terms.limit_ms},
                   {"rate_usd_per_hour", terms.rate_usd_per_hour}});
}
maybe_entry say(const create_failed& e, const audit_terms&) {
  json about{{"intent", e.intent}};
  add_error(about, e.why);
  return entry_of(audit_level::error, audit_category::resource, "SANDBOX_CREATE_FAILED",
                  std::move(about));
}
maybe_entry say(const sandbox_fell_back& e, const audit_terms&) {
  json about{{"provider", e.provider}, {"from", e.from}, {"rate_usd_per_hour", e.usd_per_hour}};
  add_error(about, e.why);
  return entry_of(audit_level::warn, audit_category::resource, "SANDBOX_FELL_BACK",
                  std::move(about));
}
maybe_entry say(const lease_intended& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "SANDBOX_LEASE_SET",
                  {{"end_at_ms", e.end_at.time_since_epoch().count()}});
}
maybe_entry say(const sandbox_failing& e, const audit_terms&) {
  json about = json::object();
  add_error(about, e.why);
  return entry_of(audit_level::error, audit_category::resource, "SANDBOX_FAILING",
                  std::move(about));
}
maybe_entry say(const sandbox_replaced& e, const audit_terms&) {
  return entry_of(audit_level::warn, audit_category::resource, "SANDBOX_REPLACED",
                  {{"lost", e.lost.value},
                   {"successor", e.successor.value},
                   {"number", e.number},
                   {"cost_usd", e.cost_usd}});
}
maybe_entry say(const kill_intended& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "SANDBOX_KILL_INTENDED",
                  {{"reason", e.reason}});
}
maybe_entry say(const kill_confirmed& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "SANDBOX_KILLED",
                  {{"remote_id", e.remote_id}});
}
maybe_entry say(const sandbox_closed& e, const audit_terms&) {
  json about{{"result", std::string{to_string(e.result)}}, {"kept", e.kept}};
  add_error(about, e.why);
  return entry_of(level_of(e.result), audit_category::resource, "SANDBOX_CLOSED", std::move(about));
}
maybe_entry say(const time_warning& e, const audit_terms&) {
  return entry_of(audit_level::warn, audit_category::resource, "TIME_WARNING",
                  {{"threshold_ms", e.threshold_ms},
                   {"elapsed_ms", e.elapsed_ms},
                   {"limit_ms", e.limit_ms},
                   {"cost_usd", e.cost_usd}});
}
maybe_entry say(const time_limit_reached& e, const audit_terms&) {
  return entry_of(
      audit_level::warn, audit_category::resource, "TIME_LIMIT_REACHED",
      {{"elapsed_ms", e.elapsed_ms}, {"limit_ms", e.limit_ms}, {"cost_usd", e.cost_usd}});
}
maybe_entry say(const output_incomplete& e, const audit_terms&) {
  json panes = json::array();
  for (const auto& p : e.panes)
    panes.push_back(p.value);
  json about{{"panes", std::move(panes)}};
  add_error(about, e.why);
  return entry_of(audit_level::error, audit_category::data, "OUTPUT_INCOMPLETE", std::move(about));
}
maybe_entry say(const sandbox_frozen& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, e.frozen ? "FROZEN" : "THAWED",
                  {{"reason", e.reason}});
}
maybe_entry say(const log_truncated& e, const audit_terms&) {
  return entry_of(
      audit_level::info, audit_category::data, "LOG_TRUNCATED",
      {{"pane", e.pane.value}, {"attempt", e.generation}, {"freed_bytes", e.freed_bytes}});
}
maybe_entry say(const collision& e, const audit_terms&) {
  return entry_of(
      e.level == overlap::conflict ? audit_level::warn : audit_level::info, audit_category::data,
      "COLLISION",
      {{"path", e.path}, {"panes", e.panes}, {"level", std::string{to_string(e.level)}}});
}
maybe_entry say(const pane_idle& e, const audit_terms&) {
  json about{{"pane", e.pane.value}, {"idle_ms", e.idle_ms}, {"limit_ms", e.limit_ms}};
  if (!e.text.empty()) about["cost_usd"] = e.cost_usd; // an older daemon did not say
  return entry_of(audit_level::warn, audit_category::resource, "AGENT_IDLE", std::move(about));
}
maybe_entry say(const pane_active& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "AGENT_ACTIVE",
                  {{"pane", e.pane.value}});
}
maybe_entry say(const pane_started& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::resource, "AGENT_STARTED",
                  {{"pane", e.pane.value}, {"attempt", e.attempt}});
}
maybe_entry say(const pane_restarting& e, const audit_terms&) {
  return entry_of(audit_level::warn, audit_category::resource, "AGENT_RESTARTING",
                  {{"pane", e.pane.value}, {"attempt", e.attempt}, {"delay_ms", e.delay_ms}});
}
maybe_entry say(const pane_closed& e, const audit_terms&) {
  json about{
      {"pane", e.pane.value}, {"result", std::string{to_string(e.result)}}, {"attempt", e.attempt}};
  add_error(about, e.why);
  return entry_of(level_of(e.result), audit_category::resource, "AGENT_CLOSED", std::move(about));
}

// ---- cost ----

maybe_entry say(const pane_usage& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::cost, "COST_REPORTED",
                  {{"pane", e.pane.value},
                   {"cost_usd", e.cost_usd},
                   {"input_tokens", e.input_tokens},
                   {"output_tokens", e.output_tokens}});
}
maybe_entry say(const model_spend& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::cost, "MODEL_COST_COUNTED",
                  {{"calls", e.calls},
                   {"cost_usd", e.cost_usd},
                   {"unpriced_calls", e.unpriced_calls},
                   {"input_tokens", e.input_tokens},
                   {"output_tokens", e.output_tokens}});
}

// ---- data ----

// Paths and rules of at most 20 findings: a line stays short. The journal names more of them.
json of_scan(const scan_report& r) {
  constexpr std::size_t most = 20;
  json named = json::array();
  for (const auto& f : r.findings)
    if (named.size() < most)
      named.push_back({{"path", f.path},
                       {"line", f.line},
                       {"rule", f.rule},
                       {"severity", std::string{to_string(f.severity)}}});
  return {
      {"files", r.files},     {"high", r.high},       {"medium", r.medium},          {"low", r.low},
      {"allowed", r.allowed}, {"problem", r.problem}, {"findings", std::move(named)}};
}
maybe_entry say(const swarm_scanned& e, const audit_terms&) {
  auto about = of_scan(e.report);
  about["policy"] = std::string{to_string(e.policy)};
  return entry_of(e.report.alarming() ? audit_level::warn : audit_level::info,
                  audit_category::security, e.blocked ? "SCAN_BLOCKED" : "SCAN_FOUND",
                  std::move(about));
}
maybe_entry say(const results_scanned& e, const audit_terms&) {
  auto about = of_scan(e.report);
  about["transfer"] = e.transfer.value;
  about["tree"] = e.tree;
  return entry_of(e.report.alarming() ? audit_level::warn : audit_level::info,
                  audit_category::security, "RESULTS_SCAN_FOUND", std::move(about));
}

maybe_entry say(const input_receipt& e, const audit_terms&) {
  if (e.state != receipt::accepted) return {};
  return entry_of(audit_level::info, audit_category::data, "AGENT_INPUT",
                  {{"pane", e.pane.value}, {"key", e.key}, {"size_bytes", e.size_bytes}});
}
maybe_entry say(const transfer_intended& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::data, "TRANSFER_INTENDED",
                  {{"transfer", e.transfer.value},
                   {"direction", std::string{to_string(e.direction)}},
                   {"pane", e.pane.value},
                   {"files", e.files},
                   {"size_bytes", e.size_bytes}});
}
maybe_entry say(const transfer_done& e, const audit_terms&) {
  return entry_of(audit_level::info, audit_category::data, "TRANSFER_DONE",
                  {{"transfer", e.transfer.value},
                   {"files", e.files},
                   {"size_bytes", e.size_bytes},
                   {"sha256", e.sha256}});
}
maybe_entry say(const transfer_failed& e, const audit_terms&) {
  json about{{"transfer", e.transfer.value}};
  add_error(about, e.why);
  return entry_of(audit_level::error, audit_category::data, "TRANSFER_FAILED", std::move(about));
}

/// Whether one of the functions above, and not the first, is for E.
template <class E>
constexpr bool has_line =
    !std::is_same_v<std::nullopt_t,
                    decltype(say(std::declval<const E&>(), std::declval<audit_terms>()))>;

constexpr std::uint32_t types_end = 256;

const std::bitset<types_end>& audited_types() {
  static const std::bitset<types_end> set = [] {
    std::bitset<types_end> out;
#define SKEP_AUDITED(number, Type, text, cls)                                                      \
  if (has_line<Type>) out.set(number);
    SKEP_EVENTS(SKEP_AUDITED)
#undef SKEP_AUDITED
    return out;
  }();
  return set;
}

} // namespace

std::string_view to_string(audit_category x) {
  static constexpr std::string_view names[] = {"SECURITY", "COST", "RESOURCE", "DATA"};
  return names[static_cast<std::size_t>(x)];
}

std::string_view to_string(audit_level x) {
  static constexpr std::string_view names[] = {"INFO", "WARN", "ERROR"};
  return names[static_cast<std::size_t>(x)];
}

bool audited(std::uint32_t type) {
  return type < types_end && audited_types()[type];
}

std::optional<audit_entry> audit_entry_of(const any_event& e, const audit_terms& terms) {
  return std::visit([&](const auto& x) -> maybe_entry { return say(x, terms); }, e);
}

} // namespace skep::storage
