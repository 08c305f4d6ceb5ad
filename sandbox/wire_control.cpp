#include "sandbox/wire_control.hpp"

#include "sandbox/wire_json.hpp"

#include <algorithm>
#include <array>

namespace skep::sandbox::wire {
namespace {

constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warn", "error"};

bool fill_sample(const value& x, usage_sample& out) {
  reader r{x};
  if (r.member("timestampUnix"))
    out.at = std::chrono::system_clock::time_point{
        std::chrono::seconds{r.integer<std::uint32_t>("timestampUnix")}};
  out.at = r.time("timestamp").value_or(out.at);
  out.cpu_count = r.integer<std::uint32_t>("cpuCount");
  out.cpu_used_percent = r.number("cpuUsedPct");
  out.memory_used_bytes = r.integer<std::uint64_t>("memUsed");
  out.memory_total_bytes = r.integer<std::uint64_t>("memTotal");
  out.memory_cache_bytes = r.integer<std::uint64_t>("memCache");
  out.disk_used_bytes = r.integer<std::uint64_t>("diskUsed");
  out.disk_total_bytes = r.integer<std::uint64_t>("diskTotal");
  return r.good();
}

bool fill_snapshot(const value& x, snapshot& out) {
  reader r{x};
  out.snapshot_id = r.text("snapshotID");
  out.names = r.texts("names");
  return r.good() && !out.snapshot_id.empty();
}

} // namespace

std::string_view to_string(log_level level) {
  return level_names[static_cast<std::size_t>(level)];
}

bool fill_log(const value& x, log_entry& out) {
  reader r{x};
  out.at = r.time("timestamp").value_or(out.at);
  out.message = r.text("message");
  auto name = r.text("level");
  auto level = std::find(level_names.begin(), level_names.end(), name);
  if (level != level_names.end()) out.level = static_cast<log_level>(level - level_names.begin());
  out.fields = r.text_map("fields");
  return r.good();
}

std::string log_query_text(const log_query& what) {
  std::string out = "?limit=" + std::to_string(what.limit);
  if (what.cursor) out += "&cursor=" + std::to_string(unix_ms(*what.cursor));
  out += what.backward ? "&direction=backward" : "&direction=forward";
  if (what.at_least) out += "&level=" + std::string{to_string(*what.at_least)};
  if (!what.search.empty()) out += "&search=" + url_encode(what.search);
  return out;
}

result<std::vector<usage_sample>> read_metrics(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<usage_sample> out;
  for (const auto& x : parsed)
    if (!fill_sample(x, out.emplace_back())) return not_understood(body);
  return out;
}

result<std::map<std::string, usage_sample>> read_metrics_of(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  auto* all = r.member("sandboxes");
  if (!all || !all->is_object()) return not_understood(body);
  std::map<std::string, usage_sample> out;
  for (const auto& [id, x] : all->items())
    if (!fill_sample(x, out[id])) return not_understood(body);
  return out;
}

result<usage_sample> read_usage(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  usage_sample out;
  out.at =
      std::chrono::system_clock::time_point{std::chrono::seconds{r.integer<std::uint32_t>("ts")}};
  out.cpu_count = r.integer<std::uint32_t>("cpu_count");
  out.cpu_used_percent = r.number("cpu_used_pct");
  out.memory_used_bytes = r.integer<std::uint64_t>("mem_used");
  out.memory_total_bytes = r.integer<std::uint64_t>("mem_total");
  out.memory_cache_bytes = r.integer<std::uint64_t>("mem_cache");
  out.disk_used_bytes = r.integer<std::uint64_t>("disk_used");
  out.disk_total_bytes = r.integer<std::uint64_t>("disk_total");
  if (!r.good()) return not_understood(body);
  return out;
}

result<model_usage> read_model_usage(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  model_usage out;
  out.calls = r.integer<std::uint64_t>("cursor");
  auto* counted = r.member("gateway");
  if (!r.good() || !counted || !counted->is_object()) return not_understood(body);
  reader g{*counted};
  out.micro_usd = g.integer<std::uint64_t>("microUsd");
  out.unpriced_calls = g.integer<std::uint64_t>("unpricedCalls");
  out.input_tokens = g.integer<std::uint64_t>("inputTokens");
  out.output_tokens = g.integer<std::uint64_t>("outputTokens");
  if (auto* cut = g.member("cutCalls"); cut && cut->is_number_unsigned())
    out.cut_calls = cut->get<std::uint64_t>(); // older hosts do not tell
  if (auto* most = g.member("allowance"); most && most->is_object()) {
    auto used = most->find("usedUp");
    out.used_up = used != most->end() && used->is_boolean() && used->get<bool>();
  }
  if (!g.good()) return not_understood(body);
  return out;
}

result<std::vector<log_entry>> read_logs(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  std::vector<log_entry> out;
  r.each(r.member("logEntries") ? "logEntries" : "logs", [&](const value& x) {
    if (!fill_log(x, out.emplace_back())) r.bad();
  });
  if (!r.good()) return not_understood(body);
  return out;
}

result<snapshot> read_snapshot(std::string_view body) {
  snapshot out;
  if (!fill_snapshot(parse(body), out)) return not_understood(body);
  return out;
}

result<std::vector<snapshot>> read_snapshots(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<snapshot> out;
  for (const auto& x : parsed)
    if (!fill_snapshot(x, out.emplace_back())) return not_understood(body);
  return out;
}

result<std::vector<result<created>>> read_forks(std::string_view body) {
  auto parsed = parse(body);
  // Without the body: it holds tokens.
  const error bad = make_error(errc::protocol, "the answer to fork is not understood");
  if (!parsed.is_array()) return bad;
  std::vector<result<created>> out;
  for (const auto& x : parsed) {
    reader r{x};
    if (auto* failure = r.member("error")) {
      reader e{*failure};
      // The element stands for an answer of its own.
      out.emplace_back(classify(e.integer<int>("code"), {}, failure->dump(-1, ' ', true)));
      continue;
    }
    auto* made = r.member("sandbox");
    auto fork = made ? created_of(*made) : std::nullopt;
    if (!fork) return bad;
    out.emplace_back(std::move(*fork));
  }
  return out;
}

} // namespace skep::sandbox::wire
