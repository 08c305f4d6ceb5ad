#include "host/history.hpp"

#include "host/web_text.hpp"

#include <algorithm>

namespace skep::host {
namespace {
constexpr std::size_t kept_samples = 2000; // two hours and a half at 5 s
constexpr std::size_t kept_lines = 2000;
constexpr std::size_t kept_lines_bytes = max_order_bytes / 2; // printed: one answer has them all
constexpr std::size_t line_limit_bytes = 4096;
constexpr std::size_t most_fields = 32; // of a line; each costs many times its letters

// Keeps JSON valid and lines short whatever the sandbox says.
std::string clipped(std::string_view text) {
  return std::string{text.substr(0, line_limit_bytes)};
}

double number(const json& j, const char* name) {
  auto i = j.find(name);
  return i != j.end() && i->is_number() ? std::max(0.0, i->get<double>()) : 0.0;
}

std::int64_t whole(const json& j, const char* name) {
  constexpr double most = 9e15; // beyond it doubles are no whole numbers
  return static_cast<std::int64_t>(std::min(number(j, name), most));
}
} // namespace

void history::add_metrics(std::string_view envd_answer, std::int64_t now_ms,
                          const resource_limits& held) {
  auto j = json::parse(envd_answer, nullptr, false);
  if (!j.is_object()) return;
  auto cpus = std::max<std::int64_t>(1, whole(j, "cpu_count"));
  auto percent = std::min(number(j, "cpu_used_pct"), 1e6);
  if (held.cpus > 0) {
    percent = percent * static_cast<double>(cpus) / static_cast<double>(held.cpus);
    cpus = held.cpus;
  }
  auto memory = held.memory_mb > 0 ? held.memory_mb << 20 : whole(j, "mem_total");
  metrics_.push_back({{"timestamp", format_time(now_ms)},
                      {"timestampUnix", now_ms / 1000},
                      {"cpuCount", cpus},
                      {"cpuUsedPct", percent},
                      {"memUsed", whole(j, "mem_used")},
                      {"memTotal", memory},
                      {"memCache", whole(j, "mem_cache")},
                      {"diskUsed", whole(j, "disk_used")},
                      {"diskTotal", whole(j, "disk_total")}});
  if (metrics_.size() > kept_samples) metrics_.pop_front();
  last_metrics_ms_ = now_ms;
}

json history::metrics() const {
  json out = json::array();
  for (const auto& m : metrics_)
    out.push_back(m);
  return out;
}

void history::add_output(std::string_view bytes, std::int64_t now_ms) {
  partial_ += bytes;
  for (std::size_t end; (end = partial_.find('\n')) != partial_.npos;) {
    auto line = partial_.substr(0, end);
    partial_.erase(0, end + 1);
    // envd's own entries are JSON; anything else is somebody's plain words.
    auto j = json::parse(line, nullptr, false);
    if (j.is_object() && j.contains("message") && j["message"].is_string()) {
      auto level = j.contains("level") && j["level"] == "warn" ? "warn" : "info";
      string_map fields;
      if (j.contains("fields")) read_string_map(j["fields"], fields);
      if (fields.size() > most_fields) fields.clear();
      add_line(level, j["message"].get<std::string>(), fields, now_ms);
    } else if (!line.empty()) {
      add_line("info", line, json::object(), now_ms);
    }
  }
  if (partial_.size() > line_limit_bytes) {
    add_line("info", partial_, json::object(), now_ms);
    partial_.clear();
  }
}

void history::add_line(std::string_view level, std::string_view message, json fields,
                       std::int64_t now_ms) {
  log_line line{{{"ts_ms", now_ms},
                 {"level", std::string{level}},
                 {"message", clipped(message)},
                 {"fields", std::move(fields)}}};
  line.bytes = dump(line.what).size() + 1;
  lines_bytes_ += line.bytes;
  lines_.push_back(std::move(line));
  while (lines_.size() > kept_lines || lines_bytes_ > kept_lines_bytes) {
    lines_bytes_ -= lines_.front().bytes;
    lines_.pop_front();
  }
}

json history::logs() const {
  json out = json::array();
  for (const auto& line : lines_)
    out.push_back(line.what);
  return out;
}

} // namespace skep::host
