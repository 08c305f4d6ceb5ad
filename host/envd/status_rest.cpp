// GET /metrics and GET /envs.
#include "host/envd/handlers.hpp"

#include "host/envd/sandbox_usage.hpp"

#include <algorithm>
#include <ctime>
#include <unistd.h>

namespace skep::envd {

namespace {
/// Asked again within this time, the answer is the same: a shorter span says nothing of the cpu.
constexpr std::chrono::milliseconds sample_span{250};

std::uint64_t page_bytes(int what) {
  return static_cast<std::uint64_t>(::sysconf(what))
         * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Percent of all cores used since the sample before this one.
struct cpu_meter {
  clock::time_point at{};
  std::uint64_t ticks = 0;
  double percent = 0;

  void feed(const pause_clock& time, std::uint64_t now_ticks) {
    auto now = time.now();
    auto seconds = std::chrono::duration<double>(now - at).count();
    auto used = static_cast<double>(now_ticks > ticks ? now_ticks - ticks : 0)
                / static_cast<double>(::sysconf(_SC_CLK_TCK));
    bool first = at == clock::time_point{};
    auto cores = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
    percent = first || seconds <= 0 ? 0 : 100.0 * used / seconds / cores;
    at = now;
    ticks = now_ticks;
  }
};
} // namespace

task<void> metrics_get(services& s, exchange& x) {
  static cpu_meter cpu;
  static sandbox_usage usage;
  if (s.time.now() - cpu.at >= sample_span) {
    usage = read_usage(s.user.home().c_str());
    cpu.feed(s.time, usage.cpu_ticks);
  }
  auto total = page_bytes(_SC_PHYS_PAGES);
  json out;
  out["ts"] = std::time(nullptr);
  out["cpu_count"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  out["cpu_used_pct"] = cpu.percent;
  out["mem_total_mib"] = total >> 20;
  out["mem_used_mib"] = usage.memory_bytes >> 20;
  out["mem_total"] = total;
  out["mem_used"] = usage.memory_bytes;
  out["mem_cache"] = usage.cache_bytes;
  out["disk_used"] = usage.disk_used_bytes;
  out["disk_total"] = usage.disk_total_bytes;
  auto body = dump(out);
  co_await x.reply(200, "application/json", body, "Cache-Control: no-store\r\n");
}

task<void> envs_get(services& s, exchange& x) {
  json out = json::object();
  for (const auto& [name, value] : s.user.defaults())
    out[name] = value;
  auto body = dump(out);
  co_await x.reply(200, "application/json", body, "Cache-Control: no-store\r\n");
}

} // namespace skep::envd
