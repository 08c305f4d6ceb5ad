#include "host/registry.hpp"

#include "host/cgroups.hpp"
#include "host/holder_link.hpp"
#include "host/spawn_holder.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>

namespace skep::host {
namespace {

json request(const char* op) {
  json j;
  j["op"] = op;
  return j;
}

error no_room(const std::string& id) {
  return make_error(errc::capacity,
                    "Sandbox " + id + " has too many requests at present. Try again in a moment.");
}

} // namespace

// What is removed behind takes one at most: who waits for the end of a sandbox has the other one.
struct registry::workers {
  asio::thread_pool pool{2};
};

struct registry::removal {
  explicit removal(asio::io_context& io) : done(io) {}
  notifier done;
  unique_fd claim;
  bool ended = false;
  sweep_outcome outcome = sweep_outcome::leftover;
};

registry::registry(asio::io_context& io, state_dir& state, std::string holder_program,
                   string_map cgroups, holder_policy policy)
    : io_(io), state_(state), program_(std::move(holder_program)), cgroups_(std::move(cgroups)),
      policy_(policy), workers_(std::make_unique<workers>()) {}

// A removal is cut short, not waited for: the next host finds the rest by its holder's directory.
registry::~registry() {
  stop_removing_ = true;
}

// -- finding what is there ------------------------------------------------------------------------

task<void> registry::adopt() {
  auto ids = list_holders(state_);
  auto open = std::make_shared<std::size_t>(ids.size());
  auto done = std::make_shared<notifier>(io_);
  for (auto& id : ids) {
    unknown_[id] = true;
    spawn(io_, adopt_one(id, open, done));
  }
  while (*open > 0)
    co_await done->wait();
}

task<void> registry::adopt_one(std::string id, std::shared_ptr<std::size_t> open,
                               std::shared_ptr<notifier> done) {
  bool adopted = co_await try_adopt(id, policy_.adopt);
  if (adopted || remove_if_dead(id))
    unknown_.erase(id);
  else
    spawn(io_, keep_asking(id));
  *open -= 1;
  done->notify();
}

task<bool> registry::try_adopt(const std::string& id, std::chrono::milliseconds limit) {
  auto socket = co_await connect_holder(io_, state_, id, "ctl.sock", limit);
  if (!socket) co_return false;
  auto question = request("watch");
  std::string early;
  auto answer = co_await ask(*socket, question, limit, &early);
  if (!answer) co_return false;
  auto info = info_from_json(answer->value("info", json{}));
  if (!info || info->sandbox_id != id) co_return false;
  auto what = std::make_shared<entry>();
  what->info = std::move(*info);
  entries_[id] = what;
  spawn(io_, watch(id, what, std::make_shared<local_socket>(std::move(*socket)), std::move(early)));
  co_return true;
}

// A holder that lives but did not answer in time: it may be starting, or stopped by somebody.
task<void> registry::keep_asking(std::string id) {
  asio::steady_timer timer{io_};
  while (!co_await try_adopt(id, policy_.adopt)) {
    if (remove_if_dead(id)) break;
    error_code ec;
    timer.expires_after(policy_.retry);
    co_await timer.async_wait(into(ec));
  }
  unknown_.erase(id);
}

task<void> registry::watch(std::string id, entry_ptr what, std::shared_ptr<local_socket> socket,
                           std::string early) {
  // A line for every change; the end of the connection is the end of the sandbox.
  for (error_code ec;;) {
    auto size = co_await asio::async_read_until(
        *socket, asio::dynamic_buffer(early, max_order_bytes), '\n', into(ec));
    if (ec) break;
    auto j = json::parse(early.substr(0, size), nullptr, false);
    early.erase(0, size);
    if (!j.is_object()) continue;
    if (auto info = info_from_json(j.value("info", json{})); info && info->sandbox_id == id)
      what->info = std::move(*info);
  }
  auto i = entries_.find(id);
  if (i != entries_.end() && i->second == what) entries_.erase(i);
  // A holder that ended well has removed its files; one that was killed has not.
  asio::steady_timer timer{io_};
  for (int n = 0; n < policy_.sweep_attempts; ++n) {
    if (co_await sweep(id) == sweep_outcome::swept) co_return;
    error_code ec;
    timer.expires_after(policy_.retry);
    co_await timer.async_wait(into(ec));
  }
}

// -- removing what dead ones left -----------------------------------------------------------------

registry::removal_ptr registry::claim_removal(const std::string& id) {
  auto claim = claim_remains(state_, id);
  if (!claim) return nullptr;
  auto what = std::make_shared<removal>(io_);
  what->claim = std::move(*claim);
  removals_[id] = what;
  return what;
}

void registry::begin_removal(const std::string& id, removal_ptr what) {
  asio::post(workers_->pool, [this, what, id] {
    if (before_removal) before_removal(id);
    auto outcome = sweep_claimed(state_, id, what->claim, &stop_removing_);
    if (outcome == sweep_outcome::swept) sweep_cgroups(cgroups_, id);
    asio::post(io_, [this, what, id, outcome] {
      what->claim.reset();
      what->outcome = outcome;
      what->ended = true;
      removals_.erase(id);
      what->done.notify();
    });
  });
}

task<sweep_outcome> registry::sweep(std::string id) {
  removal_ptr what;
  if (auto i = removals_.find(id); i != removals_.end())
    what = i->second;
  else if (what = claim_removal(id); what)
    begin_removal(id, what);
  else
    co_return sweep_outcome::alive;
  while (!what->ended)
    co_await what->done.wait();
  co_return what->outcome;
}

// True: it is dead, and its files go in their turn. Nobody waits for that, however many there are.
bool registry::remove_if_dead(const std::string& id) {
  auto what = claim_removal(id);
  if (!what) return false;
  behind_.emplace_back(id, std::move(what));
  if (!removing_behind_) {
    removing_behind_ = true;
    spawn(io_, remove_behind());
  }
  return true;
}

task<void> registry::remove_behind() {
  asio::steady_timer timer{io_};
  while (!behind_.empty()) {
    auto [id, what] = std::move(behind_.front());
    behind_.pop_front();
    begin_removal(id, what);
    while (!what->ended)
      co_await what->done.wait();
    // Processes of one that has just died may write on for a moment.
    auto outcome = what->outcome;
    for (int n = 1; outcome != sweep_outcome::swept && n < policy_.sweep_attempts; ++n) {
      error_code ec;
      timer.expires_after(policy_.retry);
      co_await timer.async_wait(into(ec));
      outcome = co_await sweep(id);
    }
  }
  removing_behind_ = false;
}

// -- what the control API does --------------------------------------------------------------------

// Nobody was told its id, so nobody else would end it. It occupies a place until it is seen gone.
void registry::discard(std::string id) {
  unknown_[id] = true;
  spawn(io_, keep_ending(std::move(id)));
}

task<void> registry::keep_ending(std::string id) {
  asio::steady_timer timer{io_};
  for (;;) {
    auto ended = co_await end_holder(id);
    if (ended) break;
    error_code ec;
    timer.expires_after(policy_.retry);
    co_await timer.async_wait(into(ec));
  }
  unknown_.erase(id);
}

task<result<sandbox_info>> registry::create(sandbox_order order) {
  struct count {
    explicit count(std::shared_ptr<std::size_t> x) : n(std::move(x)) { ++*n; }
    ~count() { --*n; }
    std::shared_ptr<std::size_t> n;
  } starting{starting_};
  auto id = order.sandbox_id;
  auto child = spawn_holder(program_, id);
  if (!child) co_return child.err();
  asio::posix::stream_descriptor input{io_, child->order.release()};
  asio::posix::stream_descriptor output{io_, child->answer.release()};
  deadline watch_output{output, policy_.create};
  error_code ec;
  auto text = dump(to_json(order));
  co_await asio::async_write(input, asio::buffer(text), into(ec));
  input.close();
  std::string answer;
  if (!ec)
    co_await asio::async_read_until(output, asio::dynamic_buffer(answer, max_order_bytes), '\n',
                                    into(ec));
  if (watch_output.expired()) {
    discard(id);
    co_return make_error(errc::timed_out, "the sandbox did not start in time");
  }
  auto j = json::parse(answer, nullptr, false);
  if (ec || !j.is_object()) {
    if (co_await sweep(id) == sweep_outcome::alive) discard(id);
    co_return make_error(errc::host_failed, "the holder of the sandbox ended at its start");
  }
  if (j.value("ok", false) != true) co_return refusal_from(j);
  if (!co_await try_adopt(id, policy_.answer)) {
    if (co_await sweep(id) != sweep_outcome::alive)
      co_return make_error(errc::gone, "the sandbox ended at its start");
    discard(id);
    co_return no_room(id);
  }
  co_return entries_[id]->info;
}

task<result<void>> registry::kill(std::string id) {
  auto i = entries_.find(id);
  if (i == entries_.end() || i->second->dying) co_return make_error(errc::not_found, id);
  i->second->dying = true;
  auto done = co_await end_holder(id);
  auto again = entries_.find(id);
  if (done)
    entries_.erase(id);
  else if (again != entries_.end())
    again->second->dying = false;
  co_return done;
}

// A connection that is closed without an answer may come from a holder that has too many of them:
// the lock on its directory alone tells that it is dead.
task<result<void>> registry::end_holder(std::string id) {
  const auto began = std::chrono::steady_clock::now();
  asio::steady_timer timer{io_};
  auto wish = request("kill");
  for (;;) {
    auto answer = co_await ask_holder(io_, state_, id, wish, policy_.kill);
    if (answer) co_return result<void>{};
    if (answer.err().code != errc::gone) co_return answer.err();
    if (co_await sweep(id) != sweep_outcome::alive) co_return result<void>{};
    auto spent = std::chrono::steady_clock::now() - began;
    // Without an entry its watch has ended: it is on its way out, and takes no connection any more.
    if (entries_.contains(id) && spent >= policy_.busy) co_return no_room(id);
    if (spent >= policy_.kill) co_return make_error(errc::timed_out, "the holder does not end");
    error_code ec;
    timer.expires_after(policy_.retry);
    co_await timer.async_wait(into(ec));
  }
}

task<result<json>> registry::put_question(std::string id, json question,
                                          std::chrono::milliseconds limit) {
  if (!find(id)) co_return make_error(errc::not_found, id);
  auto answer = co_await ask_holder(io_, state_, id, question, limit);
  if (answer || answer.err().code != errc::gone) co_return answer;
  if (co_await sweep(id) == sweep_outcome::alive && find(id)) co_return no_room(id);
  co_return make_error(errc::not_found, id);
}

task<result<sandbox_info>> registry::set_timeout(std::string id, std::int64_t ms, bool extend) {
  auto wish = request(extend ? "extend" : "set_timeout");
  wish["ms"] = ms;
  auto answer = co_await put_question(id, wish, policy_.answer);
  if (!answer) co_return answer.err();
  auto i = entries_.find(id);
  if (i == entries_.end() || i->second->dying) co_return make_error(errc::not_found, id);
  i->second->info.end_at_ms = answer->value("endAt_ms", i->second->info.end_at_ms);
  co_return i->second->info;
}

task<result<sandbox_info>> registry::change(std::string id, json question) {
  auto answer = co_await put_question(id, question, policy_.pause);
  if (!answer) co_return answer.err();
  auto i = entries_.find(id);
  auto info = info_from_json(answer->value("info", json{}));
  if (i == entries_.end() || i->second->dying || !info) co_return make_error(errc::not_found, id);
  i->second->info = std::move(*info);
  co_return i->second->info;
}

task<result<sandbox_info>> registry::pause(std::string id) {
  return change(std::move(id), request("pause"));
}

task<result<sandbox_info>> registry::resume(std::string id, std::int64_t ms) {
  auto wish = request("resume");
  wish["ms"] = ms;
  return change(std::move(id), std::move(wish));
}

task<result<sandbox_info>> registry::set_network(std::string id, network_access access) {
  auto wish = request("network");
  wish["network"] = to_json(access);
  return change(std::move(id), std::move(wish));
}

task<result<json>> registry::metrics(std::string id) {
  auto question = request("metrics"); // a name of its own: GCC 12 destroys temporaries twice here
  auto answer = co_await put_question(std::move(id), std::move(question), policy_.answer);
  if (!answer) co_return answer.err();
  co_return answer->value("metrics", json::array());
}

task<result<json>> registry::logs(std::string id) {
  auto question = request("logs");
  auto answer = co_await put_question(std::move(id), std::move(question), policy_.answer);
  if (!answer) co_return answer.err();
  co_return answer->value("logs", json::array());
}

task<result<json>> registry::usage(std::string id, std::uint64_t after) {
  auto question = request("usage");
  question["after"] = after;
  return put_question(std::move(id), std::move(question), policy_.answer);
}

task<result<json>> registry::set_allowance(std::string id, json most) {
  auto wish = request("allowance");
  for (const char* name : {"microUsd", "tokens"})
    wish[name] = most.value(name, json{});
  return put_question(std::move(id), std::move(wish), policy_.answer);
}

task<result<json>> registry::revoke_keys(std::string id) {
  return put_question(std::move(id), request("revoke_keys"), policy_.answer);
}

std::size_t registry::occupied() const {
  auto n = *starting_ + unknown_.size();
  for (const auto& [id, x] : entries_)
    n += x->info.phase == sandbox_phase::paused ? 0 : 1;
  return n;
}

task<result<local_socket>> registry::connect_envd(std::string id) {
  const auto* there = find(id);
  if (!there || there->phase != sandbox_phase::running) co_return make_error(errc::gone, id);
  co_return co_await connect_holder(io_, state_, id, "envd.sock", policy_.answer);
}

const sandbox_info* registry::find(const std::string& id) const {
  auto i = entries_.find(id);
  return i != entries_.end() && !i->second->dying ? &i->second->info : nullptr;
}

std::vector<const sandbox_info*> registry::list() const {
  std::vector<const sandbox_info*> out;
  for (const auto& [id, x] : entries_)
    if (!x->dying) out.push_back(&x->info);
  return out;
}

} // namespace skep::host
