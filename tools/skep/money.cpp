#include "tools/skep/money.hpp"

#include "tools/skep/term.hpp"

#include <charconv>

namespace skep::cli {

bool parse_money(std::string_view text, double& usd) {
  if (text.starts_with('$')) text.remove_prefix(1);
  for (std::string_view unit : {"usd", "USD"})
    if (text.ends_with(unit)) {
      text.remove_suffix(unit.size());
      if (text.ends_with(' ')) text.remove_suffix(1);
      break;
    }
  if (text.empty() || text.front() == '-' || text.front() == '+') return false;
  double value = 0;
  auto [end, bad] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (bad != std::errc{} || end != text.data() + text.size()) return false;
  if (!(value >= 0 && value <= max_budget_usd)) return false;
  usd = value;
  return true;
}

namespace {
std::string estimate(std::int64_t wait_ms) {
  return wait_ms > 0 ? "about " + duration_text(wait_ms) : std::string{"unknown"};
}
} // namespace

std::string waiting_text(const std::vector<waiting_line>& lines) {
  if (lines.empty()) return {};
  std::vector<std::vector<std::string>> rows{
      {"WAITS", "SWARM", "PLACE", "RULE", "NOW", "WAIT", "SETTING"}};
  constexpr std::size_t most = 20;
  for (const auto& l : lines) {
    if (rows.size() > most) break;
    rows.push_back({l.sandbox.value, l.swarm.value, std::to_string(l.position), l.rule,
                    std::to_string(l.count) + " of " + std::to_string(l.limit), estimate(l.wait_ms),
                    safe_line(l.setting, 60)});
  }
  auto out = "\n" + table(rows);
  if (lines.size() > most) out += "and " + std::to_string(lines.size() - most) + " more wait\n";
  return out;
}

std::string waits_sentence(const sandbox_waits& w) {
  return "waits in place " + std::to_string(w.position) + ": " + w.rule + " "
         + std::to_string(w.count) + " of " + std::to_string(w.limit)
         + (w.wait_ms > 0 ? ", about " + duration_text(w.wait_ms) : "") + " (" + w.setting + ")";
}

} // namespace skep::cli
