#include "host/sim/world.hpp"

#include "host/history.hpp"
#include "host/holder_gateway.hpp"
#include "host/sim/envd.hpp"

#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>
#include <sys/socket.h>

namespace skep::host::sim {
namespace {

std::chrono::milliseconds ms_of(double ms) {
  return std::chrono::milliseconds{static_cast<std::int64_t>(ms)};
}

scope scope_of(const request_line& request) {
  if (!request.sandbox_id.empty()) return scope::envd;
  bool create = request.method == "POST" && request.path.ends_with("/sandboxes");
  return create ? scope::create : scope::control;
}

/// What a request is about, without ids: "DELETE /sandboxes/{}". And whom: the id, or nothing.
std::pair<std::string, std::string> kind_of(const request_line& request) {
  if (!request.sandbox_id.empty()) return {request.method + " " + request.path, request.sandbox_id};
  constexpr std::string_view mark = "/sandboxes/";
  auto at = request.path.find(mark);
  if (at == request.path.npos) return {request.method + " " + request.path, {}};
  auto begin = at + mark.size();
  auto end = std::min(request.path.find('/', begin), request.path.size());
  return {request.method + " " + request.path.substr(0, begin) + "{}" + request.path.substr(end),
          request.path.substr(begin, end - begin)};
}

/// The head of a request as it came, for a server that reads it once more.
std::string head_text(const request_reader& reader) {
  const auto& head = reader.get();
  auto out = text_of(head.method_string()) + ' ' + text_of(head.target())
             + (head.version() == 10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  for (const auto& field : head)
    out += text_of(field.name_string()) + ": " + text_of(field.value()) + "\r\n";
  return out + "\r\n";
}

} // namespace

world::world(asio::io_context& io, std::uint64_t seed, scenario play, record log,
             std::string version)
    : io_(io), play_(std::move(play)),
      log_(std::move(log)), shared_{io, seed, play_, std::move(version), {}, {}} {
  log_.write({{"event", "start"}, {"seed", seed}});
}

world::~world() {
  for (auto& [id, e] : boxes_)
    e.what->end();
}

std::uint64_t world::ordinal(const std::string& kind, const std::string& subject) {
  return counts_[{kind, subject}]++;
}

void world::note(const char* kind, const request_line& request, std::uint64_t n) {
  auto [what, whom] = kind_of(request);
  json line = {{"event", "fault"}, {"kind", kind}, {"on", what}};
  if (!whom.empty()) line["sandbox"] = whom;
  line["n"] = n;
  log_.write(std::move(line));
}

// -- sandboxes ------------------------------------------------------------------------------------

task<void> world::adopt() {
  for (const auto& f : play_.foreign) {
    sandbox_order order;
    order.template_id = f.template_id;
    order.metadata = f.metadata;
    order.timeout_ms = f.timeout_s * 1000;
    add(std::move(order), true);
  }
  co_return;
}

sandbox_info world::add(sandbox_order order, bool foreign) {
  auto n = ++made_;
  draw luck{shared_.seed, "sandbox", {}, n};
  auto id = "i" + luck.token(20);
  auto& e = boxes_.try_emplace(id, io_).first->second;
  e.what = std::make_shared<box>(shared_, n);
  auto& info = e.what->info;
  info.sandbox_id = id;
  info.access_token = luck.token(64);
  info.template_id = order.template_id;
  info.metadata = std::move(order.metadata);
  info.started_at_ms = wall_now_ms();
  info.end_at_ms = info.started_at_ms + order.timeout_ms;
  info.ready = true;
  info.traffic_token = std::move(order.traffic_token);
  info.auto_pause = order.auto_pause;
  info.auto_resume = order.auto_resume;
  host::set_network(info, order.network);
  e.what->env_vars = std::move(order.env_vars);
  e.what->furnish();
  log_.write({{"event", "create"},
              {"n", n},
              {"sandbox", id},
              {"template", info.template_id},
              {"metadata", info.metadata},
              {"timeout_ms", order.timeout_ms},
              {"foreign", foreign}});
  arm_lease(id, e);
  draw fate{shared_.seed, "death", {}, n};
  if (!foreign && fate.percent(play_.faults.early_death_percent)) {
    e.death.expires_after(ms_of(play_.faults.early_death_ms.sample(fate)));
    e.death.async_wait([this, id](error_code ec) {
      if (!ec) remove(id, "died");
    });
  }
  return info;
}

void world::arm_lease(const std::string& id, entry& e) {
  auto left = std::max<std::int64_t>(e.what->info.end_at_ms - wall_now_ms(), 0);
  e.lease.expires_after(std::chrono::milliseconds{left});
  e.lease.async_wait([this, id](error_code ec) {
    auto there = boxes_.find(id);
    if (ec || there == boxes_.end()) return;
    if (there->second.what->info.auto_pause)
      set_paused(there->second, true);
    else
      remove(id, "lease");
  });
}

void world::remove(const std::string& id, const char* why) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) return;
  auto what = i->second.what;
  boxes_.erase(i);
  if (what->paused()) --paused_;
  log_.write({{"event", "kill"}, {"sandbox", id}, {"why", why}, {"metadata", what->info.metadata}});
  if (play_.faults.list_lag_ms > 0) former_.push_back({what->info, wall_now_ms()});
  what->end();
}

task<result<sandbox_info>> world::create(sandbox_order order) {
  auto made = add(std::move(order), false);
  const auto& after = play_.faults.restart_after_creates;
  if (std::find(after.begin(), after.end(), made_) != after.end()) restart();
  co_return made;
}

task<result<void>> world::kill(std::string id) {
  if (!boxes_.contains(id)) co_return make_error(errc::not_found, id);
  remove(id, "request");
  co_return result<void>{};
}

task<result<sandbox_info>> world::set_timeout(std::string id, std::int64_t ms, bool extend) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  auto& info = i->second.what->info;
  if (info.phase != sandbox_phase::running)
    co_return make_error(errc::wrong_phase, "Sandbox " + id + " is not running");
  auto end = wall_now_ms() + ms;
  info.end_at_ms = extend ? std::max(info.end_at_ms, end) : end;
  info.end_at_ms = std::min(info.end_at_ms, info.started_at_ms + max_lifetime_ms);
  log_.write({{"event", "lease"}, {"sandbox", id}, {"asked_ms", ms}, {"extend", extend}});
  arm_lease(id, i->second);
  co_return info;
}

task<result<sandbox_info>> world::set_network(std::string id, network_access access) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  auto& info = i->second.what->info;
  if (info.phase != sandbox_phase::running)
    co_return make_error(errc::wrong_phase, "Sandbox " + id + " is not running");
  host::set_network(info, access);
  i->second.what->spent.renew_keys();
  log_.write({{"event", "network"},
              {"sandbox", id},
              {"domains", info.domains.size()},
              {"allowed", info.allow.size()}});
  co_return info;
}

task<result<json>> world::usage(std::string id, std::uint64_t after) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  co_return i->second.what->spent.figures(after);
}

task<result<json>> world::set_allowance(std::string id, json most) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  auto wanted = allowance_from(most);
  if (!wanted) co_return wanted.err();
  i->second.what->spent.allow(*wanted);
  log_.write({{"event", "allowance"},
              {"sandbox", id},
              {"micro_usd", most.value("microUsd", json{})},
              {"tokens", most.value("tokens", json{})}});
  co_return i->second.what->spent.figures(0);
}

task<result<json>> world::revoke_keys(std::string id) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  i->second.what->spent.revoke_keys();
  log_.write({{"event", "keys_revoked"}, {"sandbox", id}});
  co_return i->second.what->spent.figures(0);
}

task<result<local_socket>> world::connect_envd(std::string id) {
  co_return make_error(errc::refused, "no program of a simulated sandbox listens on a port: " + id);
}

task<result<sandbox_info>> world::pause(std::string id) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  auto what = i->second.what;
  if (what->info.phase != sandbox_phase::running)
    co_return make_error(errc::wrong_phase, "Sandbox " + id + " is already paused");
  set_paused(i->second, true);
  co_return what->info;
}

task<result<json>> world::metrics(std::string id) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  history now;
  now.add_metrics(dump(usage_figures(*i->second.what)), wall_now_ms(), {});
  co_return now.metrics();
}

task<result<sandbox_info>> world::resume(std::string id, std::int64_t ms) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return make_error(errc::not_found, id);
  auto what = i->second.what;
  if (what->info.phase != sandbox_phase::paused)
    co_return make_error(errc::wrong_phase, "Sandbox " + id + " is already running");
  what->info.phase = sandbox_phase::resuming;
  draw luck{shared_.seed, "resume", id, ordinal("resume", id)};
  asio::steady_timer slow{io_, ms_of(play_.faults.resume_ms.sample(luck))};
  error_code ec;
  co_await slow.async_wait(into(ec));
  auto again = boxes_.find(id);
  if (again == boxes_.end()) co_return make_error(errc::not_found, id);
  what->info.end_at_ms = wall_now_ms() + ms;
  set_paused(again->second, false);
  arm_lease(id, again->second);
  co_return what->info;
}

void world::set_paused(entry& e, bool paused) {
  log_.write({{"event", paused ? "pause" : "resume"}, {"sandbox", e.what->info.sandbox_id}});
  e.what->info.phase = paused ? sandbox_phase::paused : sandbox_phase::running;
  if (paused) e.lease.cancel();
  e.what->set_paused(paused);
  paused ? ++paused_ : --paused_;
}

std::size_t world::occupied() const {
  return boxes_.size() - paused_;
}

const sandbox_info* world::find(const std::string& id) const {
  auto i = boxes_.find(id);
  return i == boxes_.end() ? nullptr : &i->second.what->info;
}

std::vector<const sandbox_info*> world::list() const {
  std::vector<const sandbox_info*> out;
  auto lag = play_.faults.list_lag_ms;
  auto as_of = wall_now_ms() - lag;
  for (const auto& [id, e] : boxes_)
    if (lag == 0 || e.what->info.started_at_ms <= as_of) out.push_back(&e.what->info);
  for (const auto& f : former_)
    if (f.info.started_at_ms <= as_of && f.ended_at_ms > as_of) out.push_back(&f.info);
  return out;
}

// -- mishaps --------------------------------------------------------------------------------------

void world::restart() {
  log_.write({{"event", "restart"}});
  down_until_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds{play_.faults.restart_down_ms};
  for (int fd : open_)
    ::shutdown(fd, SHUT_RDWR);
}

mishap world::befall(const request_line& request) {
  mishap out;
  if (std::chrono::steady_clock::now() < down_until_) {
    out.instead = api_error(503, "The host is re-adopting its sandboxes. Try again in a moment.");
    return out;
  }
  const auto& f = play_.faults;
  auto where = scope_of(request);
  auto [what, whom] = kind_of(request);
  auto n = ordinal(what, whom);
  draw luck{shared_.seed, what, whom, n};
  auto hit = [&](double percent, const char* kind) {
    if (!luck.percent(percent)) return false;
    note(kind, request, n);
    return true;
  };
  for (const auto& x : f.requests) {
    if (x.what != what || n < x.after) continue;
    note(x.hangs ? "hang" : "error", request, n);
    if (x.hangs)
      out.hang = true;
    else
      out.instead = api_error(500, "a simulated failure of this step");
    return out;
  }
  out.delay = ms_of(f.latency_ms[where].sample(luck));
  if (where == scope::create && hit(f.late_create_percent, "late_create"))
    out.delay += ms_of(f.late_create_ms.sample(luck));
  if (hit(f.hang_percent[where], "hang")) {
    out.hang = true;
  } else if (where != scope::envd && hit(f.rate_percent[where], "rate")) {
    auto wait = std::to_string(f.retry_after_s);
    out.instead = api_error(429, "Rate limit exceeded");
    out.instead->headers = {{"Retry-After", wait},
                            {"RateLimit-Limit", "1"},
                            {"RateLimit-Remaining", "0"},
                            {"RateLimit-Reset", wait}};
  } else if (where == scope::create && hit(f.quota_percent, "quota")) {
    out.instead = api_error(429, "you have reached the maximum number of concurrent E2B sandboxes");
  } else if (hit(f.error_percent[where], "error")) {
    out.instead = api_error(luck.percent(50) ? 500 : 503, "a simulated failure");
  } else if (hit(f.bad_gateway_percent[where], "bad_gateway")) {
    out.instead = {
        502, "<html><body>502 Bad Gateway</body></html>", {{"Content-Type", "text/html"}}};
  } else if (hit(f.garbage_percent[where], "garbage")) {
    out.instead = {200, std::string{"\x00\xff{\"sandboxID\":", 15} + luck.token(40), {}};
  } else if ((where == scope::create && hit(f.lost_create_percent, "lost_reply"))
             || (request.method == "DELETE" && hit(f.lost_kill_percent, "lost_reply"))) {
    out.lose_answer = luck.percent(50) ? mishap::loss::closed : mishap::loss::silent;
  }
  return out;
}

// -- envd -----------------------------------------------------------------------------------------

// The connection is lent to envd's own HTTP code for one request and taken back: one descriptor a
// stream, and no second HTTP server.
task<bool> world::serve_envd(std::string id, client_connection& client, request_reader& reader) {
  auto i = boxes_.find(id);
  if (i == boxes_.end()) co_return false;
  auto where = i->second.what;
  auto early = head_text(reader);
  auto rest = client.buffer.data();
  early.append(static_cast<const char*>(rest.data()), rest.size());
  client.buffer.consume(client.buffer.size());
  auto& lent = client.stream.socket();
  error_code ec;
  auto protocol = lent.local_endpoint(ec).protocol();
  auto fd = lent.release(ec);
  if (ec) co_return false;
  local_socket socket{io_};
  // Only its type says "local": nothing that is done with it depends on the address family.
  socket.assign(asio::local::stream_protocol{}, fd, ec);
  open_.insert(fd);
  exchange x{std::move(socket), early};
  bool more = false;
  try {
    if (co_await x.next()) {
      envd_call call{where, x, {}};
      call.mishap.repeat_percent = play_.faults.repeat_percent;
      if (x.path().starts_with("/process.Process/")) {
        call.mishap.number = ordinal("stream", id);
        draw luck{shared_.seed, "cut", id, call.mishap.number};
        if (luck.percent(play_.faults.cut_percent))
          call.mishap.cut_after_bytes =
              static_cast<std::uint64_t>(play_.faults.cut_after_bytes.sample(luck));
      }
      co_await answer_envd(call);
      more = co_await x.finish();
    }
  } catch (const envd::peer_gone&) {
    more = false;
  }
  open_.erase(fd);
  std::string unread;
  auto back = x.release(unread);
  back.release(ec);
  lent.assign(protocol, fd, ec);
  auto room = client.buffer.prepare(unread.size());
  std::copy(unread.begin(), unread.end(), static_cast<char*>(room.data()));
  client.buffer.commit(unread.size());
  co_return more && !ec;
}

} // namespace skep::host::sim
