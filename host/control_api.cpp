#include "host/control_api.hpp"

#include "host/create_request.hpp"

#include "messages/ids.hpp"

#include <algorithm>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace skep::host {
namespace {

/// E2B's envd whose behaviour skep-envd has.
constexpr const char* envd_version = "0.6.13";
constexpr const char* client_id = "00000000";
constexpr std::int64_t default_timeout_v1_ms = 15'000, default_timeout_v2_ms = 300'000;
constexpr std::int64_t refresh_default_s = 15, refresh_max_s = 3600;
constexpr std::size_t page_max = 100;

using params = std::vector<std::pair<std::string, std::string>>;

std::string param(const params& list, std::string_view name) {
  for (const auto& [key, value] : list)
    if (key == name) return value;
  return {};
}

api_reply no_content() {
  return {204, {}, {}};
}

api_reply not_found(const std::string& id) {
  return api_error(404, "Sandbox \"" + id + "\" doesn't exist or you don't have access to it");
}

api_reply answer(unsigned status, const json& j) {
  return {status, dump(j), {}};
}

// The API's status for an error of ours.
api_reply failed(const error& e, const std::string& id) {
  switch (e.code) {
  case errc::not_found:
    return not_found(id);
  case errc::bad_argument:
  case errc::too_large:
  case errc::out_of_range:
    return api_error(400, e.message);
  case errc::refused:
    return api_error(501, e.message);
  case errc::no_isolation: // E2B has no word for it; clients that know ours pass it on
    return answer(503, {{"code", 503},
                        {"message", e.message},
                        {"error_code", to_string(e.code)},
                        {"cause", e.cause}});
  case errc::timed_out:
    return api_error(504, e.message);
  default:
    return api_error(500, render(e));
  }
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    path.remove_prefix(1); // the slash
    auto end = std::min(path.find('/'), path.size());
    out.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

// The old composite form SANDBOX-CLIENT is still accepted: its second part is dropped.
std::optional<std::string> sandbox_id_of(const std::string& text) {
  auto dash = text.find('-');
  auto id = text.substr(0, dash);
  if (!valid_sandbox_id(id)) return {};
  if (dash != text.npos && !valid_sandbox_id(text.substr(dash + 1))) return {};
  return id;
}

json sandbox_json(const sandbox_info& x) {
  return {{"templateID", x.template_id},
          {"sandboxID", x.sandbox_id},
          {"clientID", client_id},
          {"envdVersion", envd_version},
          {"envdAccessToken", x.access_token},
          {"trafficAccessToken", nullptr},
          {"domain", nullptr}};
}

json listed_json(const sandbox_info& x) {
  static const auto cpus = std::max(1u, std::thread::hardware_concurrency());
  static const auto memory_mb =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE) / (1 << 20);
  return {{"templateID", x.template_id},
          {"sandboxID", x.sandbox_id},
          {"clientID", client_id},
          {"startedAt", format_time(x.started_at_ms)},
          {"endAt", format_time(x.end_at_ms)},
          {"envdVersion", envd_version},
          {"cpuCount", cpus},
          {"memoryMB", memory_mb},
          {"diskSizeMB", 0},
          {"metadata", x.metadata},
          {"state", "running"}};
}

// The body of calls whose fields may all be left out.
std::optional<json> read_body(const std::string& body) {
  if (body.empty()) return json::object();
  auto j = json::parse(body, nullptr, false);
  if (!j.is_object()) return {};
  return j;
}

struct list_order {
  bool ascending;
  bool operator()(const sandbox_info& a, const sandbox_info& b) const {
    auto key = [](const sandbox_info& x) { return std::tie(x.started_at_ms, x.sandbox_id); };
    return ascending ? key(a) < key(b) : key(b) < key(a);
  }
};

} // namespace

api_reply api_error(unsigned status, const std::string& message) {
  return answer(status, {{"code", status}, {"message", message}});
}

task<api_reply> control_api::handle(api_request request) {
  auto parts = split_path(request.path);
  bool v2 = !parts.empty() && parts[0] == "v2";
  if (v2) parts.erase(parts.begin());
  const auto& method = request.method;
  auto n = parts.size();

  if (!v2 && n == 1 && parts[0] == "health" && method == "GET") co_return no_content();
  if (!v2 && n >= 2 && parts[0] == "skep" && parts[1] == "v1") {
    if (n == 3 && parts[2] == "info" && method == "GET") co_return info();
    if (n == 5 && parts[2] == "sandboxes" && parts[4] == "usage" && method == "GET")
      co_return co_await usage(parts[3]);
    co_return api_error(404, "there is no such route");
  }
  if (n == 0 || parts[0] != "sandboxes") {
    if (n > 0
        && (parts[0] == "templates" || parts[0] == "snapshots" || parts[0] == "volumes"
            || parts[0] == "secrets" || parts[0] == "events"))
      co_return api_error(501, parts[0] + " are not supported by this host");
    co_return api_error(404, "there is no such route");
  }
  if (n == 1 && method == "POST") co_return co_await create(std::move(request), v2);
  if (n == 1 && method == "GET") co_return list(request, v2);
  if (n == 1) co_return api_error(405, "method not allowed");
  if (n == 2 && parts[1] == "metrics" && method == "GET")
    co_return answer(200, {{"sandboxes", json::object()}});

  auto id = sandbox_id_of(parts[1]);
  if (!id) co_return api_error(400, "Invalid sandbox ID");
  if (sandboxes_.unknown(*id))
    co_return api_error(503,
                        "The host has not heard from this sandbox yet. Try again in a moment.");
  if (n == 2 && method == "GET") co_return detail(*id);
  if (n == 2 && method == "DELETE") co_return co_await remove(*id);
  if (n == 3 && method == "POST") {
    if (parts[2] == "timeout") co_return co_await set_timeout(*id, std::move(request.body));
    if (parts[2] == "refreshes") co_return co_await refresh(*id, std::move(request.body));
    if (parts[2] == "connect") co_return co_await connect(*id, std::move(request.body), v2);
  }
  if (!sandboxes_.find(*id)) co_return not_found(*id);
  if (n == 3 && parts[2] == "metrics" && method == "GET") co_return answer(200, json::array());
  if (n == 3)
    for (const char* known : {"pause", "resume", "snapshots", "fork", "network", "logs"})
      if (parts[2] == known) co_return api_error(501, parts[2] + " is not supported by this host");
  co_return api_error(404, "there is no such route");
}

task<api_reply> control_api::create(api_request request, bool v2) {
  auto order = parse_create(request.body, v2 ? default_timeout_v2_ms : default_timeout_v1_ms,
                            settings_.upstreams);
  if (!order) co_return failed(order.err(), {});
  if (settings_.isolation) co_return failed(settings_.isolation, {});
  if (sandboxes_.occupied() >= settings_.max_sandboxes)
    // Without Retry-After: a quota, not a rate.
    co_return api_error(429, "you have reached the maximum number of concurrent E2B sandboxes ("
                                 + std::to_string(settings_.max_sandboxes) + ")");
  order->state_dir = settings_.state_path;
  order->sandbox_id = "i" + random_token(20);
  order->access_token = random_token(64);
  order->binds = settings_.binds;
  order->envd_path = settings_.envd_program;
  auto made = co_await sandboxes_.create(std::move(*order));
  if (!made) co_return failed(made.err(), {});
  co_return answer(201, sandbox_json(*made));
}

task<api_reply> control_api::remove(std::string id) {
  auto r = co_await sandboxes_.kill(id);
  co_return r ? no_content() : failed(r.err(), id);
}

task<api_reply> control_api::set_timeout(std::string id, std::string body) {
  auto j = read_body(body);
  if (!j || !j->contains("timeout") || !(*j)["timeout"].is_number_integer())
    co_return api_error(400, "timeout must be an integer");
  auto seconds =
      std::clamp<std::int64_t>((*j)["timeout"].get<std::int64_t>(), 0, max_lifetime_ms / 1000);
  // At once: the answer is that it is over, not that it will be.
  if (seconds == 0) co_return co_await remove(std::move(id));
  auto r = co_await sandboxes_.set_timeout(id, seconds * 1000, false);
  if (!r && r.err().code == errc::refused) co_return api_error(400, r.err().message);
  co_return r ? no_content() : failed(r.err(), id);
}

task<api_reply> control_api::refresh(std::string id, std::string body) {
  auto j = read_body(body);
  auto seconds = refresh_default_s;
  if (j && j->contains("duration")) {
    if (!(*j)["duration"].is_number_integer())
      j.reset();
    else
      seconds = (*j)["duration"].get<std::int64_t>();
  }
  if (!j || seconds < 0 || seconds > refresh_max_s)
    co_return api_error(400, "duration must be 0 to 3600 seconds");
  auto r = co_await sandboxes_.set_timeout(id, std::max(seconds, refresh_default_s) * 1000, true);
  if (!r && r.err().code == errc::refused) co_return api_error(400, r.err().message);
  co_return r ? no_content() : failed(r.err(), id);
}

task<api_reply> control_api::connect(std::string id, std::string body, bool v2) {
  auto j = read_body(body);
  if (!j) co_return api_error(400, "the body is not a JSON object");
  std::int64_t ms = default_timeout_v2_ms;
  if (j->contains("timeout")) {
    if (!(*j)["timeout"].is_number_integer())
      co_return api_error(400, "timeout must be an integer");
    auto seconds = (*j)["timeout"].get<std::int64_t>();
    if (seconds > max_lifetime_ms / 1000)
      co_return api_error(400, "Timeout cannot be greater than 24 hours");
    ms = std::max<std::int64_t>(seconds, 0) * 1000;
  } else if (!v2) {
    co_return api_error(400, "timeout is missing");
  }
  auto r = co_await sandboxes_.set_timeout(id, ms, true);
  if (!r && r.err().code == errc::refused) co_return api_error(400, r.err().message);
  co_return r ? answer(200, sandbox_json(*r)) : failed(r.err(), id);
}

task<api_reply> control_api::usage(std::string id) {
  if (!valid_sandbox_id(id)) co_return api_error(400, "Invalid sandbox ID");
  auto r = co_await sandboxes_.usage(id);
  if (!r) co_return r.err().code == errc::gone ? not_found(id) : failed(r.err(), id);
  co_return answer(200, {{"sandboxID", id}, {"gateway", r->value("gateway", json{})}});
}

api_reply control_api::list(const api_request& request, bool v2) const {
  auto query = parse_query(request.query);
  if (!query) return api_error(400, "the query string is malformed");
  auto filter = parse_metadata_filter(param(*query, "metadata"));
  if (!filter) return api_error(400, "metadata filter is malformed");
  auto wanted = param(*query, "state"), name = param(*query, "template");
  bool running = !v2 || wanted.empty();
  for (std::size_t at = 0; at < wanted.size();) {
    auto end = std::min(wanted.find(',', at), wanted.size());
    auto state = wanted.substr(at, end - at);
    if (state != "running" && state != "paused") return api_error(400, "unknown state " + state);
    running = running || state == "running";
    at = end + 1;
  }
  std::vector<sandbox_info> found;
  if (running)
    for (auto& x : sandboxes_.list())
      if ((name.empty() || x.template_id == name)
          && std::all_of(filter->begin(), filter->end(), [&](const auto& pair) {
               auto i = x.metadata.find(pair.first);
               return i != x.metadata.end() && i->second == pair.second;
             }))
        found.push_back(std::move(x));
  auto total = found.size();
  if (auto after = param(*query, "startedAfter"); v2 && !after.empty()) {
    auto t = parse_time(after);
    if (!t) return api_error(400, "startedAfter is not a time");
    std::erase_if(found, [&](const auto& x) { return x.started_at_ms <= *t; });
  }
  auto order = param(*query, "order");
  if (!order.empty() && order != "asc" && order != "desc") return api_error(400, "unknown order");
  list_order by{v2 && order == "asc"};
  std::sort(found.begin(), found.end(), by);

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
      std::erase_if(found, [&](const auto& x) { return !by(last, x); });
    }
    if (running) out.headers.emplace_back("X-Total-Running", std::to_string(total));
    if (found.size() > limit) {
      found.resize(limit);
      out.headers.emplace_back(
          "X-Next-Token",
          format_token({found.back().started_at_ms, found.back().sandbox_id, by.ascending}));
    }
  }
  json rows = json::array();
  for (const auto& x : found)
    rows.push_back(listed_json(x));
  out.body = dump(rows);
  return out;
}

api_reply control_api::detail(const std::string& id) const {
  const auto* x = sandboxes_.find(id);
  if (!x) return not_found(id);
  auto j = listed_json(*x);
  j["envdAccessToken"] = x->access_token;
  j["allowInternetAccess"] = false;
  j["domain"] = nullptr;
  j["lifecycle"] = {{"autoResume", false}, {"onTimeout", "kill"}};
  j["network"] = {{"allowPublicTraffic", false}};
  return answer(200, j);
}

api_reply control_api::info() const {
  json j = {{"version", settings_.version},
            {"isolation", settings_.isolation ? "none" : "bubblewrap"},
            {"sandboxes", sandboxes_.list().size()},
            {"tag", settings_.tag}};
  if (settings_.isolation) j["isolationError"] = render(settings_.isolation);
  return answer(200, j);
}

} // namespace skep::host
