#include "sandbox/control.hpp"

#include "sandbox/client_core.hpp"
#include "sandbox/wire_control.hpp"

namespace skep::sandbox {
namespace {

result<exchange> checked(result<exchange> plan, bool good, const char* why) {
  if (!good) return make_error(errc::bad_argument, why);
  return plan;
}

exchange get(std::string path) {
  exchange out;
  out.path = std::move(path);
  return out;
}

std::string unix_seconds(control::time at) {
  return std::to_string(wire::unix_ms(at) / 1000);
}

} // namespace

call_id control::create_all(create_all_params params, done<created> then) {
  auto plan = [&]() -> result<exchange> {
    auto body = wire::create_all_body(params, core_->where().paths);
    if (!body) return body.err();
    exchange out = get(core_->where().paths == generation::v2 ? "/v2/sandboxes" : "/sandboxes");
    out.method = "POST";
    out.body = std::move(*body);
    out.once = true;
    return out;
  };
  return core_->simple<created>(operation::create_all, by_policy, plan(),
                                from_body<created>(wire::read_created), std::move(then));
}

call_id control::resume_paused(std::string remote_id, std::chrono::seconds lease, bool auto_pause,
                               done<created> then) {
  auto body = "{\"timeout\":" + std::to_string(lease.count())
              + ",\"autoPause\":" + (auto_pause ? "true}" : "false}");
  return core_->simple<created>(operation::resume_paused, by_policy,
                                once(about_sandbox(remote_id, "POST", "/resume", body)),
                                from_body<created>(wire::read_created), std::move(then));
}

call_id control::list_page(page_query what, done<listed_page> then) {
  auto plan = get("/v2/sandboxes" + wire::list_query(what.filter, what.token, what.limit));
  return core_->simple<listed_page>(
      operation::list_page, by_policy,
      checked(std::move(plan), what.limit >= 1 && what.limit <= 100, "a page has 1 to 100 entries"),
      [](http_answer& answer, const error& failure) -> result<listed_page> {
        if (failure) return failure;
        auto items = wire::read_list(answer.body);
        if (!items) return items.err();
        listed_page out{std::move(*items), answer.headers["x-next-token"], {}};
        out.total_running = wire::read_number(answer.headers["x-total-running"]);
        return out;
      },
      std::move(then));
}

call_id control::list_running(std::map<std::string, std::string> metadata,
                              done<std::vector<listed>> then) {
  auto query = wire::metadata_query(metadata);
  return core_->simple<std::vector<listed>>(
      operation::list_running, by_policy, get("/sandboxes" + (query.empty() ? query : "?" + query)),
      from_body<std::vector<listed>>(wire::read_list), std::move(then));
}

call_id control::refresh(std::string remote_id, std::chrono::seconds lease, done<void> then) {
  auto body = "{\"duration\":" + std::to_string(lease.count()) + "}";
  return core_->simple<void>(operation::refresh, by_policy,
                             about_sandbox(remote_id, "POST", "/refreshes", body), status_only(),
                             std::move(then));
}

call_id control::metrics(std::string remote_id, std::optional<time> from, std::optional<time> to,
                         done<std::vector<usage_sample>> then) {
  std::string query;
  if (from) query += "?start=" + unix_seconds(*from);
  if (to) query += (query.empty() ? "?end=" : "&end=") + unix_seconds(*to);
  return core_->simple<std::vector<usage_sample>>(
      operation::metrics, by_policy, about_sandbox(remote_id, "GET", "/metrics" + query),
      from_body<std::vector<usage_sample>>(wire::read_metrics), std::move(then));
}

call_id control::metrics_of(std::vector<std::string> remote_ids,
                            done<std::map<std::string, usage_sample>> then) {
  std::string ids;
  bool good = !remote_ids.empty() && remote_ids.size() <= 100;
  for (const auto& id : remote_ids) {
    good = good && wire::valid_remote_id(id);
    ids += (ids.empty() ? "" : ",") + id;
  }
  return core_->simple<std::map<std::string, usage_sample>>(
      operation::metrics_of, by_policy,
      checked(get("/sandboxes/metrics?sandbox_ids=" + ids), good, "1 to 100 sandbox ids"),
      from_body<std::map<std::string, usage_sample>>(wire::read_metrics_of), std::move(then));
}

call_id control::logs(std::string remote_id, log_query what, done<std::vector<log_entry>> then) {
  auto plan = about_sandbox(remote_id, "GET", "/logs" + wire::log_query_text(what));
  if (plan) plan->path = "/v2" + plan->path;
  return core_->simple<std::vector<log_entry>>(
      operation::logs, by_policy,
      checked(std::move(plan), what.limit >= 1 && what.limit <= 1000, "1 to 1,000 entries"),
      from_body<std::vector<log_entry>>(wire::read_logs), std::move(then));
}

call_id control::logs_v1(std::string remote_id, std::optional<time> from, std::uint32_t limit,
                         done<std::vector<log_entry>> then) {
  auto query = "?limit=" + std::to_string(limit);
  if (from) query += "&start=" + std::to_string(wire::unix_ms(*from));
  return core_->simple<std::vector<log_entry>>(
      operation::logs_v1, by_policy, about_sandbox(remote_id, "GET", "/logs" + query),
      from_body<std::vector<log_entry>>(wire::read_logs), std::move(then));
}

call_id control::create_snapshot(std::string remote_id, std::string name, done<snapshot> then) {
  std::vector<std::pair<std::string, std::string>> members;
  if (!name.empty()) members.emplace_back("name", std::move(name));
  return core_->simple<snapshot>(
      operation::create_snapshot, by_policy,
      once(about_sandbox(remote_id, "POST", "/snapshots", wire::text_body(members))),
      from_body<snapshot>(wire::read_snapshot), std::move(then));
}

call_id control::list_snapshots(snapshot_query what, done<snapshot_page> then) {
  auto path = "/snapshots?limit=" + std::to_string(what.limit);
  if (!what.remote_id.empty()) path += "&sandboxID=" + wire::url_encode(what.remote_id);
  if (!what.name.empty()) path += "&name=" + wire::url_encode(what.name);
  if (!what.token.empty()) path += "&nextToken=" + wire::url_encode(what.token);
  return core_->simple<snapshot_page>(
      operation::list_snapshots, by_policy, get(std::move(path)),
      [](http_answer& answer, const error& failure) -> result<snapshot_page> {
        if (failure) return failure;
        auto items = wire::read_snapshots(answer.body);
        if (!items) return items.err();
        return snapshot_page{std::move(*items), answer.headers["x-next-token"]};
      },
      std::move(then));
}

call_id control::delete_snapshot(std::string snapshot_id, done<bool> then) {
  auto plan = get("/templates/" + wire::url_encode(snapshot_id));
  plan.method = "DELETE";
  return core_->simple<bool>(
      operation::delete_snapshot, by_policy,
      checked(std::move(plan), !snapshot_id.empty() && snapshot_id != "." && snapshot_id != "..",
              "not a snapshot's id"),
      was_there(), std::move(then));
}

call_id control::fork(std::string remote_id, std::uint32_t count, std::chrono::seconds lease,
                      done<std::vector<result<created>>> then) {
  auto body = "{\"count\":" + std::to_string(count);
  if (lease.count() > 0) body += ",\"timeout\":" + std::to_string(lease.count());
  return core_->simple<std::vector<result<created>>>(
      operation::fork, by_policy,
      checked(once(about_sandbox(remote_id, "POST", "/fork", body + "}")),
              count >= 1 && count <= 100, "1 to 100 forks"),
      from_body<std::vector<result<created>>>(wire::read_forks), std::move(then));
}

} // namespace skep::sandbox
