#include "sandbox/client_core.hpp"

#include "messages/crash_point.hpp"
#include "messages/json.hpp"
#include "sandbox/connect_stream.hpp"
#include "sandbox/errors.hpp"
#include "sandbox/wire.hpp"

#include <algorithm>
#include <array>
#include <future>
#include <random>

namespace skep::sandbox {
namespace {

using std::chrono::milliseconds;

std::string without_slash(std::string url) {
  while (!url.empty() && url.back() == '/')
    url.pop_back();
  return url;
}

/// E2B's own domains serve every sandbox's envd on one shared host.
bool has_shared_host(std::string_view domain) {
  constexpr std::array<std::string_view, 4> known{"e2b.app", "e2b.dev", "e2b.pro",
                                                  "e2b-staging.dev"};
  return std::find(known.begin(), known.end(), domain) != known.end();
}

milliseconds backoff(milliseconds base, int attempt) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_real_distribution<double> spread{0.75, 1.25};
  return milliseconds{static_cast<std::int64_t>(static_cast<double>(base.count())
                                                * static_cast<double>(1U << (attempt - 1))
                                                * spread(random))};
}

std::string no_answer_within(milliseconds deadline) {
  return "no answer within " + std::to_string(deadline.count()) + " ms";
}

void replace_all(std::string& text, const std::string& what, std::string_view by) {
  if (what.empty()) return;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

} // namespace

exchange rpc(remote where, std::string method, std::string body, const std::string& user) {
  exchange out;
  out.method = "POST";
  out.path = "/" + std::move(method);
  out.envd = std::move(where);
  out.content_type = "application/json";
  out.body = std::move(body);
  out.headers.emplace_back("Connect-Protocol-Version: 1");
  if (!user.empty()) out.headers.push_back(user_header(user));
  return out;
}

std::string user_header(const std::string& user) {
  return "Authorization: Basic " + base64_encode(user + ":");
}

client_core::client_core(http_engine& engine, endpoint where, policy limits)
    : engine_(engine), endpoint_(std::move(where)), limits_(limits) {}

call_id client_core::open(operation op, std::optional<milliseconds> deadline,
                          std::function<void(error)> fail, std::function<void(call_id)> first) {
  const auto id = next_id_++;
  if (deadline && deadline->count() <= 0) deadline = limits_.of(op).deadline;
  call c{op, {}, deadline.value_or(milliseconds{0}), std::move(fail), {}, 0, {}, engine_.now()};
  if (deadline) c.due = engine_.now() + *deadline;
  auto kept = std::make_shared<call>(std::move(c));
  engine_.post([weak = weak_from_this(), id, kept, first = std::move(first)] {
    auto self = weak.lock();
    if (!self) return kept->fail(make_error(errc::cancelled));
    self->calls_.emplace(id, std::move(*kept));
    if (self->closed_) return self->fail(id, make_error(errc::cancelled));
    first(id);
  });
  return id;
}

void client_core::cancel(call_id id) {
  engine_.post([weak = weak_from_this(), id] {
    if (auto self = weak.lock()) self->fail(id, make_error(errc::cancelled));
  });
}

void client_core::resume(call_id id) {
  engine_.post([weak = weak_from_this(), id] {
    auto self = weak.lock();
    if (!self) return;
    auto i = self->calls_.find(id);
    if (i == self->calls_.end() || !i->second.stream) return;
    const auto request = i->second.stream_request;
    auto stream = i->second.stream; // resume() may end the call
    if (stream->resume()) self->engine_.resume(request);
  });
}

void client_core::close() {
  std::promise<void> closed;
  engine_.post([this, &closed] {
    closed_ = true;
    while (!calls_.empty())
      fail(calls_.begin()->first, make_error(errc::cancelled));
    closed.set_value();
  });
  closed.get_future().wait();
}

void client_core::fail(call_id id, error why) {
  auto i = calls_.find(id);
  if (i == calls_.end()) return;
  auto c = std::move(i->second);
  calls_.erase(i);
  end_requests(c, true);
  tell(c, why.code);
  if (why.step.empty()) why.step = to_string(c.op);
  if (why.code == errc::timed_out && c.deadline.count() > 0 && why.message.empty())
    why.message = no_answer_within(c.deadline);
  if (!endpoint_.name.empty())
    why.message = endpoint_.name + (why.message.empty() ? "" : ": ") + why.message;
  c.fail(std::move(why));
}

bool client_core::settle(call_id id) {
  auto i = calls_.find(id);
  if (i == calls_.end()) return false;
  auto c = std::move(i->second);
  calls_.erase(i);
  end_requests(c, !(c.stream && c.stream->at_end()));
  tell(c, errc::none);
  return true;
}

void client_core::tell(const call& c, errc how) const {
  if (const auto& told = engine_.on_call())
    told(to_string(c.op), std::chrono::duration_cast<milliseconds>(engine_.now() - c.begun), how);
}

void client_core::set_stream(call_id id, std::shared_ptr<connect_stream> stream) {
  if (auto i = calls_.find(id); i != calls_.end()) i->second.stream = std::move(stream);
}

void client_core::end_requests(const call& c, bool with_stream) {
  for (auto request : c.requests)
    engine_.cancel(request);
  if (with_stream && c.stream_request) engine_.cancel(c.stream_request);
}

void client_core::send(call_id id, exchange plan, on_answer then) {
  auto state = std::make_shared<attempt_state>();
  state->plan = std::move(plan);
  state->then = std::move(then);
  attempt(id, std::move(state));
}

std::string client_core::base_url(const exchange& plan) const {
  if (!plan.url.empty()) return plan.url;
  if (!plan.envd)
    return without_slash(endpoint_.api_url.empty() ? "https://api." + endpoint_.domain
                                                   : endpoint_.api_url);
  const auto& domain = plan.envd->domain.empty() ? endpoint_.domain : plan.envd->domain;
  if (endpoint_.sandbox_url.empty() && has_shared_host(domain)) return "https://sandbox." + domain;
  return sandbox_host_url(*plan.envd);
}

std::string client_core::sandbox_host_url(const remote& where) const {
  if (!endpoint_.sandbox_url.empty()) return without_slash(endpoint_.sandbox_url);
  const auto& domain = where.domain.empty() ? endpoint_.domain : where.domain;
  return "https://49983-" + where.remote_id + "." + domain;
}

std::string client_core::token_of(const remote& where) const {
  auto i = tokens_.find(where.remote_id);
  return i != tokens_.end() && i->second.old_token == where.access_token ? i->second.new_token
                                                                         : where.access_token;
}

std::string client_core::present_key() {
  auto key = endpoint_.api_key();
  if (!key.empty() && std::find(sent_keys_.begin(), sent_keys_.end(), key) == sent_keys_.end())
    sent_keys_.push_back(key);
  return key;
}

http_request client_core::make_request(const call& c, const exchange& plan) {
  auto limits = plan.stream_limits;
  if (!limits) {
    auto left = plan.deadline.count() > 0 ? plan.deadline : limits_.of(c.op).deadline;
    if (c.due) left = std::chrono::ceil<milliseconds>(*c.due - engine_.now());
    left = std::max(left, milliseconds{0});
    limits = plan.silence.count() > 0 ? http_limits::streaming(plan.silence, plan.silence, left)
                                      : http_limits::within(left);
  }
  http_request out{plan.method, base_url(plan) + plan.path, *limits};
  if (plan.stream_limits) out.in = lane::stream;
  out.headers = plan.headers;
  out.headers.emplace_back("User-Agent: skep");
  if (plan.method == "POST" || plan.method == "PUT" || !plan.body.empty())
    out.headers.push_back("Content-Type: "
                          + (plan.content_type.empty() ? "application/json" : plan.content_type));
  if (plan.envd) {
    out.headers.push_back("E2b-Sandbox-Id: " + plan.envd->remote_id);
    out.headers.emplace_back("E2b-Sandbox-Port: 49983");
    if (auto token = token_of(*plan.envd); !token.empty())
      out.headers.push_back("X-Access-Token: " + token);
  } else if (plan.url.empty()) {
    if (auto key = present_key(); !key.empty()) out.headers.push_back("X-API-Key: " + key);
  }
  out.body = plan.body;
  out.body_file = plan.body_file;
  out.once = plan.once;
  out.body_cap_bytes = plan.answer_cap_bytes ? plan.answer_cap_bytes : limits_.answer_cap_bytes;
  return out;
}

void client_core::attempt(call_id id, std::shared_ptr<attempt_state> state) {
  auto i = calls_.find(id);
  if (i == calls_.end()) return;
  auto& plan = state->plan;
  if (plan.envd && !wire::valid_remote_id(plan.envd->remote_id)) {
    http_answer none;
    return state->then(none, make_error(errc::bad_argument, "not a sandbox id"));
  }
  const auto op = to_string(i->second.op);
  crash_point(crash_kind::call, op);
  http_handlers handlers;
  handlers.on_data = plan.on_data;
  handlers.on_sent = plan.on_sent;
  if (plan.stream_limits && plan.on_data && crash_points_armed())
    handlers.on_data = [op, on_data = plan.on_data, first = true](std::string_view data) mutable {
      if (std::exchange(first, false)) crash_point(crash_kind::answer, op, "begins");
      return on_data(data);
    };
  auto request = std::make_shared<request_id>(0);
  handlers.on_done = [weak = weak_from_this(), id, op, state, request](http_answer answer) {
    crash_point(crash_kind::answer, op, answer.failure ? "failed" : "");
    auto self = weak.lock();
    if (!self) return;
    auto c = self->calls_.find(id);
    if (c == self->calls_.end()) return;
    std::erase(c->second.requests, *request);
    if (c->second.stream_request == *request) c->second.stream_request = 0;
    self->answered(id, state, std::move(answer));
  };
  *request = engine_.submit(make_request(i->second, plan), std::move(handlers));
  if (plan.stream_limits)
    i->second.stream_request = *request;
  else
    i->second.requests.push_back(*request);
}

void client_core::answered(call_id id, std::shared_ptr<attempt_state> state, http_answer answer) {
  auto& c = calls_.at(id);
  error failure = answer.failure;
  if (!failure && answer.status / 100 != 2)
    failure = classify(answer.status, answer.headers, answer.body,
                       state->plan.envd ? answerer::envd : answerer::control);
  // One that was silent says so; the others are named by the deadline of their call.
  const bool silent = state->plan.silence.count() > 0 && c.due && engine_.now() < *c.due;
  if (failure.code == errc::timed_out && !state->plan.stream_limits && !silent)
    failure.message.clear();
  if (failure.code == errc::too_large && !state->plan.on_data) failure.code = errc::protocol;

  const bool waits = failure.code == errc::rate && failure.retry_after_ms > 0;
  if ((failure.code == errc::network || waits) && state->attempt < limits_.of(c.op).attempts) {
    auto delay = backoff(limits_.retry_backoff, state->attempt);
    if (waits) delay = milliseconds{failure.retry_after_ms};
    if (!c.due || engine_.now() + delay < *c.due) {
      ++state->attempt;
      return engine_.after(delay, [weak = weak_from_this(), id, state] {
        if (auto self = weak.lock()) self->attempt(id, state);
      });
    }
  }
  if (failure && state->attempt > 1) {
    if (failure.code == errc::timed_out && failure.message.empty() && c.deadline.count() > 0)
      failure.message = no_answer_within(c.deadline);
    failure.message += (failure.message.empty() ? "after " : ", after ")
                       + std::to_string(state->attempt) + " attempts";
  }
  if (answer.status == 401 && state->plan.envd && !std::exchange(state->token_fetched, true))
    return fetch_token(id, std::move(state), std::move(answer), std::move(failure));
  if (failure.code == errc::gone && state->plan.envd) tokens_.erase(state->plan.envd->remote_id);
  scrub(failure, state->plan);
  state->then(answer, failure);
}

void client_core::fetch_token(call_id id, std::shared_ptr<attempt_state> state, http_answer answer,
                              error failure) {
  exchange get;
  get.path = "/sandboxes/" + state->plan.envd->remote_id;
  get.deadline = limits_.of(operation::get).deadline;
  auto kept = std::make_shared<http_answer>(std::move(answer));
  send(id, std::move(get), [this, id, state, kept, failure](http_answer& found, const error& bad) {
    const auto& where = *state->plan.envd;
    auto info = bad ? result<detail>{bad} : wire::read_detail(found.body);
    if (info && info->address.access_token != token_of(where)) {
      tokens_[where.remote_id] = {where.access_token, info->address.access_token};
      return attempt(id, state);
    }
    auto e = failure;
    scrub(e, state->plan);
    state->then(*kept, e);
  });
}

/// A provider's message may repeat what we sent it.
void client_core::scrub(error& e, const exchange& plan) const {
  for (auto* text : {&e.message, &e.cause}) {
    for (const auto& key : sent_keys_)
      replace_all(*text, key, "[key]");
    replace_all(*text, plan.url, "[url]");
    if (!plan.envd) continue;
    replace_all(*text, plan.envd->access_token, "[token]");
    replace_all(*text, token_of(*plan.envd), "[token]");
  }
}

} // namespace skep::sandbox
