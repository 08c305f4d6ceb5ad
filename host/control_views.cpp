// What the control API only tells: lists, details, figures and logs.
#include "host/control_answers.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace skep::host {
namespace {

/// E2B's envd whose behaviour skep-envd has.
constexpr const char* envd_version = "0.6.13";
constexpr const char* client_id = "00000000";
constexpr std::size_t page_max = 100;
constexpr std::size_t metrics_ids_max = 100;
constexpr std::size_t log_page_max = 1000;

struct list_order {
  bool ascending;
  bool operator()(const sandbox_info* a, const sandbox_info* b) const {
    auto key = [](const sandbox_info* x) { return std::tie(x->started_at_ms, x->sandbox_id); };
    return ascending ? key(a) < key(b) : key(b) < key(a);
  }
};

bool is_paused(const sandbox_info& x) {
  return x.phase == sandbox_phase::paused;
}

json log_entry(const json& line) {
  return {{"timestamp", format_time(line.value("ts_ms", std::int64_t{0}))},
          {"level", line.value("level", "info")},
          {"message", line.value("message", "")},
          {"fields", line.value("fields", json::object())}};
}

// debug < info < warn < error; nothing for another word.
std::optional<int> level_of(std::string_view name) {
  constexpr std::string_view names[] = {"debug", "info", "warn", "error"};
  for (int i = 0; i < 4; ++i)
    if (names[i] == name) return i;
  return std::nullopt;
}

} // namespace

std::string param(const query_params& list, std::string_view name) {
  for (const auto& [key, value] : list)
    if (key == name) return value;
  return {};
}

std::optional<std::int64_t> number_param(const std::string& text, std::int64_t low,
                                         std::int64_t high) {
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || value < low || value > high)
    return std::nullopt;
  return value;
}

json sandbox_json(const sandbox_info& x) {
  return {{"templateID", x.template_id},
          {"sandboxID", x.sandbox_id},
          {"clientID", client_id},
          {"envdVersion", envd_version},
          {"envdAccessToken", x.access_token},
          {"trafficAccessToken", x.traffic_token.empty() ? json(nullptr) : json(x.traffic_token)},
          {"domain", nullptr}};
}

json listed_json(const sandbox_info& x) {
  static const auto cpus = std::max(1u, std::thread::hardware_concurrency());
  static const auto memory_mb =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE) / (1 << 20);
  auto held = [&x](std::string_view name) {
    return std::find(x.enforced.begin(), x.enforced.end(), name) != x.enforced.end();
  };
  return {{"templateID", x.template_id},
          {"sandboxID", x.sandbox_id},
          {"clientID", client_id},
          {"startedAt", format_time(x.started_at_ms)},
          {"endAt", format_time(x.end_at_ms)},
          {"envdVersion", envd_version},
          {"cpuCount", held("cpu") ? x.limits.cpus : static_cast<std::int64_t>(cpus)},
          {"memoryMB", held("memory") ? x.limits.memory_mb : memory_mb},
          {"diskSizeMB", held("disk") ? x.limits.disk_mb : 0},
          {"metadata", x.metadata},
          {"state", is_paused(x) ? "paused" : "running"}};
}

json detail_json(const sandbox_info& x) {
  auto j = listed_json(x);
  j["envdAccessToken"] = x.access_token;
  j["allowInternetAccess"] =
      std::find(x.allow.begin(), x.allow.end(), "0.0.0.0/0") != x.allow.end();
  j["domain"] = nullptr;
  j["lifecycle"] = {{"autoResume", x.auto_resume}, {"onTimeout", x.auto_pause ? "pause" : "kill"}};
  j["network"] = {{"allowPublicTraffic", x.traffic_token.empty()}};
  if (!x.allow.empty()) j["network"]["allowOut"] = x.allow;
  j["network"]["denyOut"] = {"0.0.0.0/0"};
  for (const auto& domain : x.domains)
    j["network"]["rules"][domain] = json::array({json::object()}); // headers are keys
  return j;
}

api_reply control_api::list(const api_request& request, bool v2) const {
  auto query = parse_query(request.query);
  if (!query) return api_error(400, "the query string is malformed");
  auto filter = parse_metadata_filter(param(*query, "metadata"));
  if (!filter) return api_error(400, "metadata filter is malformed");
  auto wanted = param(*query, "state"), name = param(*query, "template");
  bool running = !v2 || wanted.empty();
  bool paused = v2 && wanted.empty();
  for (std::size_t at = 0; at < wanted.size();) {
    auto end = std::min(wanted.find(',', at), wanted.size());
    auto state = wanted.substr(at, end - at);
    if (state != "running" && state != "paused") return api_error(400, "unknown state " + state);
    running = running || state == "running";
    paused = paused || (v2 && state == "paused");
    at = end + 1;
  }
  auto found = sandboxes_.list();
  std::size_t total = 0;
  std::erase_if(found, [&](const sandbox_info* x) {
    bool matches = name.empty() || x->template_id == name;
    for (const auto& [key, value] : *filter) {
      auto i = x->metadata.find(key);
      matches = matches && i != x->metadata.end() && i->second == value;
    }
    if (!matches || !(is_paused(*x) ? paused : running)) return true;
    total += is_paused(*x) ? 0 : 1;
    return false;
  });
  if (auto after = param(*query, "startedAfter"); v2 && !after.empty()) {
    auto t = parse_time(after);
    if (!t) return api_error(400, "startedAfter is not a time");
    std::erase_if(found, [&](const auto* x) { return x->started_at_ms <= *t; });
  }
  auto order = param(*query, "order");
  if (!order.empty() && order != "asc" && order != "desc") return api_error(400, "unknown order");
  list_order by{v2 && order == "asc"};

  api_reply out;
  if (v2) {
    std::size_t limit = page_max;
    if (auto text = param(*query, "limit"); !text.empty()) {
      limit = text.size() <= 3 && text.find_first_not_of("0123456789") == text.npos
                  ? static_cast<std::size_t>(std::stoul(text))
                  : 0;
      if (limit < 1 || limit > page_max) return api_error(400, "limit must be 1 to 100");
    }
    if (auto text = param(*query, "nextToken"); !text.empty()) {
      auto token = parse_token(text);
      if (!token || token->ascending != by.ascending) return api_error(400, "Invalid next token");
      sandbox_info last;
      last.started_at_ms = token->started_at_ms;
      last.sandbox_id = token->sandbox_id;
      std::erase_if(found, [&](const auto* x) { return !by(&last, x); });
    }
    if (running) out.headers.emplace_back("X-Total-Running", std::to_string(total));
    if (found.size() > limit) { // only the page is put in order
      auto end = found.begin() + static_cast<std::ptrdiff_t>(limit);
      std::partial_sort(found.begin(), end, found.end(), by);
      found.erase(end, found.end());
      out.headers.emplace_back(
          "X-Next-Token",
          format_token({found.back()->started_at_ms, found.back()->sandbox_id, by.ascending}));
    }
  }
  std::sort(found.begin(), found.end(), by);
  json rows = json::array();
  for (const auto* x : found)
    rows.push_back(listed_json(*x));
  out.body = dump(rows);
  return out;
}

task<api_reply> control_api::metrics(std::string id, std::string query) {
  auto params = parse_query(query);
  if (!params) co_return api_error(400, "the query string is malformed");
  std::int64_t start = 0, end = std::numeric_limits<std::int64_t>::max();
  for (auto [name, value] : {std::pair{"start", &start}, {"end", &end}}) {
    auto text = param(*params, name);
    if (text.empty()) continue;
    auto n = number_param(text, 0, end);
    if (!n) co_return api_error(400, std::string{name} + " is no time");
    *value = *n;
  }
  auto all = co_await sandboxes_.metrics(id);
  if (!all) co_return failed(all.err(), id);
  json out = json::array();
  for (const auto& m : *all)
    if (auto at = m.value("timestampUnix", std::int64_t{0}); at >= start && at <= end)
      out.push_back(m);
  co_return json_answer(200, out);
}

task<api_reply> control_api::metrics_of_many(std::string query) {
  auto params = parse_query(query);
  if (!params) co_return api_error(400, "the query string is malformed");
  json out = json::object();
  auto ids = param(*params, "sandbox_ids");
  std::size_t count = 0;
  for (std::size_t at = 0; at < ids.size();) {
    auto end = std::min(ids.find(',', at), ids.size());
    auto id = ids.substr(at, end - at);
    at = end + 1;
    if (++count > metrics_ids_max) co_return api_error(400, "at most 100 sandbox ids");
    if (!valid_sandbox_id(id)) co_return api_error(400, "Invalid sandbox ID");
    if (auto all = co_await sandboxes_.metrics(id); all && !all->empty()) out[id] = all->back();
  }
  co_return json_answer(200, {{"sandboxes", out}});
}

task<api_reply> control_api::logs(std::string id, std::string query, bool v2) {
  auto params = parse_query(query);
  if (!params) co_return api_error(400, "the query string is malformed");
  std::int64_t from = 0, limit = log_page_max;
  auto position = param(*params, v2 ? "cursor" : "start");
  if (!position.empty()) {
    auto n = number_param(position, 0, std::numeric_limits<std::int64_t>::max());
    if (!n) co_return api_error(400, "the position is no number of milliseconds");
    from = *n;
  }
  if (auto text = param(*params, "limit"); !text.empty()) {
    auto n = number_param(text, 1, log_page_max);
    if (!n) co_return api_error(400, "limit must be 1 to 1000");
    limit = *n;
  }
  auto direction = param(*params, "direction"), level = param(*params, "level"),
       search = param(*params, "search");
  if (!direction.empty() && direction != "forward" && direction != "backward")
    co_return api_error(400, "unknown direction");
  auto least = level.empty() ? std::optional<int>{0} : level_of(level);
  if (!least) co_return api_error(400, "unknown level");
  if (search.size() > 256) co_return api_error(400, "search is longer than 256 characters");
  auto all = co_await sandboxes_.logs(id);
  if (!all) co_return failed(all.err(), id);
  bool backward = v2 && direction == "backward";
  std::vector<json> found;
  for (const auto& line : *all) {
    auto at = line.value("ts_ms", std::int64_t{0});
    if (position.empty() ? false : backward ? at > from : at < from) continue;
    if (level_of(line.value("level", "info")).value_or(1) < *least) continue;
    if (line.value("message", "").find(search) == std::string::npos) continue;
    found.push_back(line);
  }
  if (backward) std::reverse(found.begin(), found.end());
  json entries = json::array(), lines = json::array();
  for (const auto& line : found) {
    if (entries.size() >= static_cast<std::size_t>(limit)) break;
    entries.push_back(log_entry(line));
    lines.push_back({{"timestamp", entries.back()["timestamp"]}, {"line", dump(entries.back())}});
  }
  if (v2) co_return json_answer(200, {{"logs", entries}});
  co_return json_answer(200, {{"logs", lines}, {"logEntries", entries}});
}

} // namespace skep::host
