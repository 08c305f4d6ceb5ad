#include "host/catalog.hpp"
#include "host/control_answers.hpp"
#include "host/create_request.hpp"
#include "host/network_request.hpp"

#include "messages/ids.hpp"

#include <algorithm>

namespace skep::host {
namespace {

constexpr std::int64_t default_timeout_v1_ms = 15'000, default_timeout_v2_ms = 300'000;
constexpr std::int64_t refresh_default_s = 15, refresh_max_s = 3600;

api_reply no_content() {
  return {204, {}, {}};
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

// The body of calls whose fields may all be left out.
std::optional<json> read_body(const std::string& body) {
  if (body.empty()) return json::object();
  auto j = json::parse(body, nullptr, false);
  if (!j.is_object()) return {};
  return j;
}

// What waiting does not lift, or what may have happened: clients that repeat a 429, 503 or 504 by
// themselves read this header.
api_reply not_again(api_reply answer) {
  answer.headers.emplace_back("Should-Retry", "false");
  return answer;
}

} // namespace

api_reply not_found(const std::string& id) {
  return api_error(404, "Sandbox \"" + id + "\" doesn't exist or you don't have access to it");
}

api_reply not_heard() {
  return api_error(503, "The host has not heard from this sandbox yet. Try again in a moment.");
}

api_reply json_answer(unsigned status, const json& j) {
  return {status, dump(j), {}};
}

api_reply failed(const error& e, const std::string& id) {
  switch (e.code) {
  case errc::not_found:
    return not_found(id);
  case errc::bad_argument:
  case errc::too_large:
  case errc::out_of_range:
    return api_error(400, e.message);
  case errc::wrong_phase:
    return api_error(409, e.message);
  case errc::quota: // without Retry-After: a quota, not a rate
    return not_again(api_error(429, e.message));
  case errc::refused:
    return api_error(501, e.message);
  case errc::capacity: // it passes: clients may come again
    return api_error(503, e.message);
  case errc::no_isolation: // E2B has no word for it; clients that know ours pass it on
    return not_again(json_answer(503, {{"code", 503},
                                       {"message", e.message},
                                       {"error_code", to_string(e.code)},
                                       {"cause", e.cause}}));
  case errc::timed_out:
    return not_again(api_error(504, e.message));
  default:
    return api_error(500, render(e));
  }
}

api_reply api_error(unsigned status, const std::string& message) {
  return json_answer(status, {{"code", status}, {"message", message}});
}

control_api::control_api(driver& sandboxes, api_settings settings)
    : sandboxes_(sandboxes), settings_(std::move(settings)) {
  template_use_.since_ms = wall_now_ms();
}

task<api_reply> control_api::handle(api_request request) {
  auto parts = split_path(request.path);
  const auto& method = request.method;
  const bool versioned = parts.size() > 1 && (parts[0] == "v2" || parts[0] == "v3");
  if (const auto words = std::span{parts}.subspan(versioned ? 1 : 0);
      !words.empty() && in_catalog(words[0]))
    co_return catalog_answer(method, words, request.query, template_use_);
  bool v2 = !parts.empty() && parts[0] == "v2";
  if (v2) parts.erase(parts.begin());
  auto n = parts.size();

  if (!v2 && n == 1 && parts[0] == "health" && method == "GET") co_return no_content();
  if (!v2 && n >= 2 && parts[0] == "skep" && parts[1] == "v1") {
    if (n == 3 && parts[2] == "info" && method == "GET") co_return info();
    if (n == 5 && parts[2] == "sandboxes") co_return co_await account(std::move(request), parts);
    co_return api_error(404, "there is no such route");
  }
  if (n == 0 || parts[0] != "sandboxes") co_return api_error(404, "there is no such route");
  if (n == 1 && method == "POST") co_return co_await create(std::move(request), v2);
  if (n == 1 && method == "GET") co_return list(request, v2);
  if (n == 1) co_return api_error(405, "method not allowed");
  if (n == 2 && parts[1] == "metrics" && method == "GET")
    co_return co_await metrics_of_many(std::move(request.query));

  auto id = sandbox_id_of(parts[1]);
  if (!id) co_return api_error(400, "Invalid sandbox ID");
  if (sandboxes_.unknown(*id)) co_return not_heard();
  if (n == 2 && method == "GET") co_return detail(*id);
  if (n == 2 && method == "DELETE") co_return co_await remove(*id);
  if (n == 3 && method == "POST") {
    if (parts[2] == "timeout") co_return co_await set_timeout(*id, std::move(request.body));
    if (parts[2] == "refreshes") co_return co_await refresh(*id, std::move(request.body));
    if (parts[2] == "connect") co_return co_await connect(*id, std::move(request.body), v2);
    if (parts[2] == "pause") co_return co_await pause(*id, std::move(request.body));
    if (parts[2] == "resume") co_return co_await resume(*id, std::move(request.body));
  }
  if (n == 3 && parts[2] == "network" && method == "PUT")
    co_return co_await set_network(*id, std::move(request.body));
  if (!sandboxes_.find(*id)) co_return not_found(*id);
  if (n == 3 && parts[2] == "metrics" && method == "GET")
    co_return co_await metrics(*id, std::move(request.query));
  if (n == 3 && parts[2] == "logs" && method == "GET")
    co_return co_await logs(*id, std::move(request.query), v2);
  if (n == 3)
    for (const char* known : {"snapshots", "fork"})
      if (parts[2] == known) co_return api_error(501, parts[2] + " is not supported by this host");
  co_return api_error(404, "there is no such route");
}

task<api_reply> control_api::create(api_request request, bool v2) {
  auto order = parse_create(request.body, v2 ? default_timeout_v2_ms : default_timeout_v1_ms,
                            settings_.upstreams);
  if (!order) co_return failed(order.err(), {});
  if (settings_.isolation) {
    auto missing = co_await settings_.isolation->look_again();
    if (missing) co_return failed(missing, {});
  }
  if (auto room = check_room(); !room) co_return failed(room.err(), {});
  order->state_dir = settings_.state_path;
  order->sandbox_id = "i" + random_token(20);
  order->access_token = random_token(64);
  if (!order->traffic_token.empty()) order->traffic_token = random_token(64);
  order->limits = settings_.limits;
  order->cgroups = settings_.cgroups;
  order->binds = settings_.binds;
  order->envd_path = settings_.envd_program;
  order->prices = settings_.prices;
  auto made = co_await sandboxes_.create(std::move(*order));
  if (!made) co_return failed(made.err(), {});
  ++template_use_.spawned;
  template_use_.last_spawn_ms = made->started_at_ms;
  co_return json_answer(201, sandbox_json(*made));
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
  if (const auto* x = sandboxes_.find(id); x && seconds == 0 && !x->auto_pause)
    co_return co_await remove(std::move(id));
  auto r = co_await sandboxes_.set_timeout(id, seconds * 1000, false);
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
  const auto* x = sandboxes_.find(id);
  if (x && x->phase != sandbox_phase::running) co_return co_await wake(std::move(id), ms);
  auto r = co_await sandboxes_.set_timeout(id, ms, true);
  co_return r ? json_answer(200, sandbox_json(*r)) : failed(r.err(), id);
}

result<void> control_api::check_room() const {
  if (sandboxes_.occupied() < settings_.max_sandboxes) return {};
  return make_error(errc::quota, "you have reached the maximum number of concurrent E2B sandboxes ("
                                     + std::to_string(settings_.max_sandboxes) + ")");
}

task<api_reply> control_api::wake(std::string id, std::int64_t ms) {
  if (auto room = check_room(); !room) co_return failed(room.err(), id);
  auto r = co_await sandboxes_.resume(id, ms);
  co_return r ? json_answer(201, sandbox_json(*r)) : failed(r.err(), id);
}

task<result<void>> control_api::resume_for_traffic(std::string id) {
  if (auto room = check_room(); !room) co_return room.err();
  auto r = co_await sandboxes_.resume(id, default_timeout_v2_ms);
  if (!r && r.err().code != errc::wrong_phase) co_return r.err(); // somebody else was first
  co_return result<void>{};
}

task<api_reply> control_api::pause(std::string id, std::string body) {
  auto j = read_body(body);
  if (!j) co_return api_error(400, "the body is not a JSON object");
  if (auto i = j->find("memory"); i != j->end() && *i == false)
    co_return api_error(501, "pausing without memory is not supported by this host");
  auto r = co_await sandboxes_.pause(id);
  co_return r ? no_content() : failed(r.err(), id);
}

task<api_reply> control_api::resume(std::string id, std::string body) {
  auto j = read_body(body);
  if (!j) co_return api_error(400, "the body is not a JSON object");
  auto ms = default_timeout_v1_ms;
  if (j->contains("timeout")) {
    auto asked = lifetime_from((*j)["timeout"]);
    if (!asked) co_return failed(asked.err(), id);
    ms = *asked;
  }
  co_return co_await wake(std::move(id), ms);
}

task<api_reply> control_api::set_network(std::string id, std::string body) {
  auto j = read_body(body);
  if (!j) co_return api_error(400, "the body is not a JSON object");
  auto access = parse_network(*j, settings_.upstreams);
  if (!access) co_return failed(access.err(), id);
  auto r = co_await sandboxes_.set_network(id, std::move(*access));
  co_return r ? no_content() : failed(r.err(), id);
}

api_reply control_api::detail(const std::string& id) const {
  const auto* x = sandboxes_.find(id);
  if (!x) return not_found(id);
  return json_answer(200, detail_json(*x));
}

api_reply control_api::info() const {
  const auto missing = settings_.isolation ? settings_.isolation->problem() : error{};
  json j = {{"version", settings_.version},
            {"isolation", missing ? "none" : "bubblewrap"},
            {"sandboxes", sandboxes_.list().size()},
            {"tag", settings_.tag}};
  for (const auto& [name, value] : {std::pair{"cpu", settings_.limits.cpus},
                                    {"memory", settings_.limits.memory_mb},
                                    {"pids", settings_.limits.pids}})
    j["limits"][name] = {{"value", value},
                         {"enforced", value > 0 && settings_.cgroups.contains(name)}};
  auto disk = settings_.limits.disk_mb;
  j["limits"]["disk"] = {{"value", disk}, {"enforced", disk > 0}};
  if (missing) j["isolationError"] = render(missing);
  return json_answer(200, j);
}

} // namespace skep::host
