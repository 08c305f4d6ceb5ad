// The control API as actors use it: create, list, get, kill, lease, network, pause, connect.
#include "sandbox/client.hpp"
#include "sandbox/client_core.hpp"
#include "sandbox/wire.hpp"
#include "sandbox/wire_control.hpp"

#include <algorithm>

namespace skep::sandbox {
namespace {

// The totals are all that is asked for: no call has a number above this one.
constexpr const char* newest_call = "9223372036854775807";

constexpr int page_limit = 1000; // of 100 sandboxes; a provider that never ends is broken

/// A list of several pages on its way.
struct listing {
  list_filter filter;
  std::vector<listed> found;
  std::string token;
  int pages = 0;
};

bool matches(const listed& x, const list_filter& filter) {
  if (x.state == remote_state::running ? !filter.running : !filter.paused) return false;
  return std::all_of(filter.metadata.begin(), filter.metadata.end(), [&](const auto& wanted) {
    auto i = x.metadata.find(wanted.first);
    return i != x.metadata.end() && i->second == wanted.second;
  });
}

void next_page(client_core& core, call_id id, std::shared_ptr<listing> state,
               done<std::vector<listed>> then) {
  exchange page;
  page.path = "/v2/sandboxes" + wire::list_query(state->filter, state->token);
  core.send(
      id, std::move(page), [&core, id, state, then](http_answer& answer, const error& failure) {
        if (failure) return core.fail(id, failure);
        auto part = wire::read_list(answer.body);
        if (!part) return core.fail(id, part.err());
        for (auto& x : *part)
          if (matches(x, state->filter)) state->found.push_back(std::move(x));
        auto token = answer.headers.find("x-next-token");
        if (token == answer.headers.end() || token->second.empty()) {
          if (core.settle(id)) then(std::move(state->found));
          return;
        }
        if (token->second == state->token || ++state->pages >= page_limit)
          return core.fail(id, make_error(errc::protocol, "the pages of the list do not end"));
        state->token = token->second;
        next_page(core, id, state, then);
      });
}

} // namespace

result<exchange> about_sandbox(const std::string& remote_id, std::string method, std::string suffix,
                               result<std::string> body) {
  if (!wire::valid_remote_id(remote_id)) return make_error(errc::bad_argument, "not a sandbox id");
  if (!body) return body.err();
  exchange out;
  out.method = std::move(method);
  out.path = "/sandboxes/" + remote_id + std::move(suffix);
  out.body = std::move(*body);
  return out;
}

client::client(std::shared_ptr<http_engine> engine, endpoint where, policy limits)
    : engine_(std::move(engine)),
      core_(std::make_shared<client_core>(*engine_, std::move(where), limits)) {}

client::~client() {
  core_->close();
}

void client::cancel(call_id id) {
  core_->cancel(id);
}

void client::resume(call_id stream) {
  core_->resume(stream);
}

call_id client::create(create_params params, done<created> then) {
  auto plan = [&]() -> result<exchange> {
    const auto paths = core_->where().paths;
    auto body = wire::create_body(params, paths);
    if (!body) return body.err();
    exchange out;
    out.method = "POST";
    out.path = paths == generation::v2 ? "/v2/sandboxes" : "/sandboxes";
    out.body = std::move(*body);
    out.once = true;
    return out;
  };
  return core_->simple<created>(operation::create, by_policy, plan(),
                                from_body<created>(wire::read_created), std::move(then));
}

call_id client::list(list_filter filter, done<std::vector<listed>> then) {
  auto state = std::make_shared<listing>();
  state->filter = std::move(filter);
  return core_->open(
      operation::list, by_policy, [then](error e) { then(std::move(e)); },
      [core = core_.get(), state, then](call_id id) { next_page(*core, id, state, then); });
}

call_id client::get(std::string remote_id, done<detail> then) {
  return core_->simple<detail>(operation::get, by_policy, about_sandbox(remote_id, "GET"),
                               from_body<detail>(wire::read_detail), std::move(then));
}

call_id client::kill(std::string remote_id, done<bool> then) {
  return core_->simple<bool>(operation::kill, by_policy, about_sandbox(remote_id, "DELETE"),
                             was_there(), std::move(then));
}

call_id client::set_timeout(std::string remote_id, std::chrono::seconds lease, done<void> then) {
  return core_->simple<void>(operation::set_timeout, by_policy,
                             about_sandbox(remote_id, "POST", "/timeout",
                                           "{\"timeout\":" + std::to_string(lease.count()) + "}"),
                             status_only(), std::move(then));
}

call_id client::set_network(std::string remote_id, network_rules rules, done<void> then) {
  return core_->simple<void>(operation::set_network, by_policy,
                             about_sandbox(remote_id, "PUT", "/network", wire::network_body(rules)),
                             status_only(), std::move(then));
}

call_id client::pause(std::string remote_id, bool keep_memory, done<bool> then) {
  auto plan =
      about_sandbox(remote_id, "POST", "/pause",
                    std::string{keep_memory ? R"({"memory":true})" : R"({"memory":false})"});
  if (plan) plan->once = true;
  return core_->simple<bool>(
      operation::pause, by_policy, std::move(plan),
      [](http_answer& answer, const error& failure) -> result<bool> {
        if (failure.code == errc::wrong_phase && answer.status == 409) return false;
        if (failure) return failure;
        return true;
      },
      std::move(then));
}

call_id client::connect(std::string remote_id, std::chrono::seconds lease, done<created> then) {
  auto plan = about_sandbox(remote_id, "POST", "/connect",
                            "{\"timeout\":" + std::to_string(lease.count()) + "}");
  if (plan && core_->where().paths == generation::v2) plan->path = "/v2" + plan->path;
  return core_->simple<created>(
      operation::connect, by_policy, std::move(plan),
      [](http_answer& answer, const error& failure) -> result<created> {
        if (failure) return failure;
        auto out = wire::read_created(answer.body);
        if (out) out->resumed = answer.status == 201;
        return out;
      },
      std::move(then));
}

call_id client::get_model_usage(std::string remote_id, done<model_usage> then) {
  auto plan = about_sandbox(remote_id, "GET");
  if (plan) plan->path = "/skep/v1/sandboxes/" + remote_id + "/usage?after=" + newest_call;
  return core_->simple<model_usage>(operation::get_model_usage, by_policy, std::move(plan),
                                    from_body<model_usage>(wire::read_model_usage),
                                    std::move(then));
}

call_id client::set_allowance(std::string remote_id, std::optional<std::uint64_t> micro_usd,
                              done<void> then) {
  auto most = micro_usd ? std::to_string(*micro_usd) : std::string{"null"};
  auto plan = about_sandbox(remote_id, "PUT", {}, "{\"microUsd\":" + most + "}");
  if (plan) plan->path = "/skep/v1/sandboxes/" + remote_id + "/allowance";
  return core_->simple<void>(operation::set_allowance, by_policy, std::move(plan), status_only(),
                             std::move(then));
}

} // namespace skep::sandbox
