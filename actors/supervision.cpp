#include "actors/supervisor.hpp"

#include <algorithm>
#include <exception>

namespace skep::actors {

error restart_policy::validate() const {
  auto bad = [](const char* what) { return make_error(errc::out_of_range, what); };
  if (max_restarts > 1'000'000) return bad("max_restarts must be at most 1,000,000");
  if (period <= caf::timespan{0}) return bad("period must be more than 0");
  if (backoff_min < caf::timespan{0}) return bad("backoff_min must not be negative");
  if (backoff_max < backoff_min) return bad("backoff_max must not be below backoff_min");
  if (!(jitter >= 0 && jitter <= 1)) return bad("jitter must be between 0 and 1");
  return {};
}

caf::timespan restart_policy::backoff(std::uint32_t fails) const {
  auto d = backoff_min;
  for (; fails > 0 && d < backoff_max; --fails) {
    if (d > backoff_max / 2) return backoff_max; // doubling must not overflow
    d *= 2;
  }
  return std::min(d, backoff_max);
}

bool gave_up(const caf::error& why) {
  return why.category() == caf::atom("skep") && from_caf(why).code == errc::gave_up;
}

std::string describe(const caf::error& why) {
  if (!why) return "normal";
  if (why.category() == caf::atom("exit")) return to_string(caf::exit_reason{why.code()});
  if (why.category() == caf::atom("system")) {
    auto text = to_string(caf::sec{why.code()});
    if (!why.context().empty()) text += " " + to_string(why.context());
    return text;
  }
  const auto e = from_caf(why);
  auto text = std::string{to_string(e.code)};
  if (!e.message.empty()) text += ": " + e.message;
  return text;
}

supervision::supervision(host h, supervisor_options o)
    : host_(std::move(h)), options_(std::move(o)),
      random_(options_.seed != 0
                  ? static_cast<std::minstd_rand::result_type>(options_.seed)
                  : static_cast<std::minstd_rand::result_type>(std::random_device{}())) {}

caf::actor_clock::time_point supervision::now() const {
  return host_.self->clock().now();
}

std::string supervision::path_of(const child& k) const {
  return options_.path.empty() ? k.spec.id : options_.path + "/" + k.spec.id;
}

std::uint64_t supervision::arm(timer_kind kind, std::uint64_t child_key, caf::timespan delay) {
  const auto token = next_token_++;
  timers_.emplace(token, timer{kind, child_key});
  host_.set_timer(delay, token);
  return token;
}

void supervision::disarm(std::uint64_t& token) {
  timers_.erase(token);
  token = 0;
}

// ---- adding, removing, finding --------------------------------------------------------------

void supervision::add(child_spec s, start_waiter done) {
  auto refuse = [&](error e) {
    if (done) done(std::move(e));
  };
  if (stopping_) return refuse(make_error(errc::shutting_down));
  if (contains(s.id)) return refuse(make_error(errc::exists, "there is a child " + s.id));
  const auto key = next_key_++;
  const auto deadline = s.deadline;
  by_id_.emplace(s.id, key);
  auto& k = kids_[key];
  k.spec = std::move(s);
  if (deadline > caf::timespan{0}) k.deadline_timer = arm(timer_kind::deadline, key, deadline);
  if (group_) {
    if (done) k.on_started.push_back(std::move(done));
    return;
  }
  if (auto why = start_child(key, k)) {
    if (!done) return failed(key, why);
    k.on_started.clear();
    forget(key, why);
    return refuse(from_caf(why));
  }
  if (done) done(k.handle);
}

void supervision::remove(const std::string& id, stop_waiter done) {
  auto i = by_id_.find(id);
  if (i == by_id_.end()) {
    if (done) done(make_error(errc::not_found, "there is no child " + id));
    return;
  }
  const auto key = i->second;
  auto& k = kids_.at(key);
  if (done) k.on_stopped.push_back(std::move(done));
  k.removed = true;
  if (k.handle)
    stop_child(key, k);
  else
    forget(key, caf::exit_reason::user_shutdown);
}

caf::strong_actor_ptr supervision::find(const std::string& id) const {
  auto i = by_id_.find(id);
  return i == by_id_.end() ? nullptr : kids_.at(i->second).handle;
}

std::vector<std::string> supervision::ids() const {
  std::vector<std::string> out;
  out.reserve(kids_.size());
  for (const auto& [key, k] : kids_)
    out.push_back(k.spec.id);
  return out;
}

// ---- one child ------------------------------------------------------------------------------

// An error when there is nothing to monitor; the caller decides what that means.
caf::error supervision::start_child(std::uint64_t key, child& k) {
  disarm(k.timer);
  k.started = now();
  k.handle = nullptr;
  caf::error why;
  try {
    k.handle = k.spec.start(host_.self);
    if (!k.handle) why = to_caf(make_error(errc::internal, k.spec.id + " could not be started"));
  } catch (const std::exception& e) {
    why = to_caf(make_error(errc::internal, k.spec.id + " could not be started", e.what()));
  }
  if (!k.handle) {
    k.at = state::waiting;
    return why;
  }
  k.at = state::running;
  by_address_[k.handle->address()] = key;
  host_.self->monitor(k.handle);
  return {};
}

void supervision::stop_child(std::uint64_t key, child& k) {
  if (k.at != state::running) return;
  k.at = state::stopping;
  k.timer = arm(timer_kind::grace, key, k.spec.grace);
  caf::anon_send_exit(k.handle, caf::exit_reason::user_shutdown);
}

bool supervision::on_down(const caf::down_msg& d) {
  auto i = by_address_.find(d.source);
  if (i == by_address_.end()) return false;
  const auto key = i->second;
  by_address_.erase(i);
  gone(key, d.reason);
  return true;
}

// The child runs no more, for whatever reason.
void supervision::gone(std::uint64_t key, const caf::error& why) {
  auto& k = kids_.at(key);
  disarm(k.timer);
  k.handle = nullptr;
  k.at = state::waiting;
  if (stopping_) {
    forget(key, why);
    return advance_stop();
  }
  if (k.removed) {
    const auto reason = k.end_reason ? k.end_reason : why;
    forget(key, reason);
    return advance_group();
  }
  if (group_ && key >= group_first_) {
    // Its restart is part of the group's; a second one of the group that dies does not count anew.
    if (k.spec.restart == restart_kind::temporary) forget(key, why);
    return advance_group();
  }
  const bool orderly = !why || why == caf::exit_reason::user_shutdown;
  if (k.spec.restart == restart_kind::temporary
      || (k.spec.restart == restart_kind::transient && orderly))
    return forget(key, why);
  failed(key, why);
}

// Counts the failure and arranges the restart that the strategy asks for.
void supervision::failed(std::uint64_t key, const caf::error& why) {
  auto& k = kids_.at(key);
  if (k.spec.restart == restart_kind::temporary) return forget(key, why);
  const auto t = now();
  restarts_.push_back(t);
  std::erase_if(restarts_, [&](auto at) { return t - at > options_.policy.period; });
  if (restarts_.size() > options_.policy.max_restarts) {
    const auto reason = describe(why);
    if (options_.on_gave_up) options_.on_gave_up({options_.path, k.spec.id, reason});
    return stop(to_caf(make_error(errc::gave_up, path_of(k) + " was restarted too often", reason)));
  }
  if (t - k.started > options_.policy.period) k.fails = 0; // it was sound: forget the past
  const auto delay = delay_for(k);
  if (options_.on_restarted)
    options_.on_restarted({path_of(k), describe(why), static_cast<std::uint32_t>(restarts_.size()),
                           std::chrono::duration_cast<std::chrono::milliseconds>(delay).count()});
  switch (options_.plan) {
  case strategy::one_for_one:
    k.timer = arm(timer_kind::restart, key, delay);
    return;
  case strategy::one_for_all:
    return join_group(kids_.begin()->first, delay);
  case strategy::rest_for_one:
    return join_group(key, delay);
  }
}

caf::timespan supervision::delay_for(child& k) {
  const auto whole = options_.policy.backoff(k.fails++);
  const double part = std::uniform_real_distribution<double>{0, options_.policy.jitter}(random_);
  return whole
         - caf::timespan{
             static_cast<caf::timespan::rep>(static_cast<double>(whole.count()) * part)};
}

// The child leaves the list for good.
void supervision::forget(std::uint64_t key, const caf::error& why) {
  auto i = kids_.find(key);
  auto k = std::move(i->second);
  disarm(k.timer);
  disarm(k.deadline_timer);
  by_id_.erase(k.spec.id);
  kids_.erase(i);
  for (auto& w : k.on_started)
    w(make_error(errc::shutting_down, k.spec.id + " was removed before it started"));
  for (auto& w : k.on_stopped)
    w({});
  if (!stopping_ && options_.on_ended) options_.on_ended(k.spec.id, why);
}

// ---- group restarts -------------------------------------------------------------------------

void supervision::join_group(std::uint64_t first, caf::timespan delay) {
  group_first_ = group_ ? std::min(group_first_, first) : first;
  group_delay_ = group_ ? std::max(group_delay_, delay) : delay;
  group_ = true;
  disarm(group_timer_);
  advance_group();
}

// Stops the rightmost child of the group that still runs; when none does, the backoff begins.
void supervision::advance_group() {
  if (!group_ || stopping_ || group_timer_ != 0) return;
  for (auto i = kids_.rbegin(); i != kids_.rend() && i->first >= group_first_; ++i) {
    if (i->second.handle) return stop_child(i->first, i->second);
  }
  group_timer_ = arm(timer_kind::group, 0, group_delay_);
}

void supervision::start_group() {
  group_ = false;
  // Starting may fail and change the list: go by key.
  for (auto i = kids_.lower_bound(group_first_); i != kids_.end();) {
    const auto key = i->first;
    auto& k = i->second;
    if (!k.handle) {
      if (auto why = start_child(key, k)) {
        // Somebody waits for the first start of a child that was just added: the answer is no.
        if (k.on_started.empty() && k.spec.restart != restart_kind::temporary)
          return failed(key, why);
        forget(key, why);
      } else {
        for (auto& w : std::exchange(k.on_started, {}))
          w(k.handle);
      }
    }
    i = kids_.upper_bound(key);
  }
}

// ---- timers ---------------------------------------------------------------------------------

void supervision::on_timer(std::uint64_t token) {
  auto i = timers_.find(token);
  if (i == timers_.end()) return; // disarmed meanwhile
  const auto t = i->second;
  timers_.erase(i);
  if (t.kind == timer_kind::group) {
    group_timer_ = 0;
    return start_group();
  }
  auto found = kids_.find(t.child);
  if (found == kids_.end()) return;
  auto& k = found->second;
  switch (t.kind) {
  case timer_kind::restart:
    k.timer = 0;
    if (auto why = start_child(t.child, k)) failed(t.child, why);
    return;
  case timer_kind::grace:
    k.at = state::killed;
    k.timer = arm(timer_kind::lost, t.child, options_.kill_wait);
    if (options_.on_refused) options_.on_refused(path_of(k), false);
    caf::anon_send_exit(k.handle, caf::exit_reason::kill);
    return;
  case timer_kind::lost: {
    k.timer = 0;
    if (options_.on_refused) options_.on_refused(path_of(k), true);
    host_.self->demonitor(k.handle->address());
    by_address_.erase(k.handle->address());
    return gone(t.child, caf::exit_reason::kill);
  }
  case timer_kind::deadline:
    k.deadline_timer = 0;
    k.removed = true;
    k.end_reason = to_caf(make_error(errc::timed_out, path_of(k) + " reached its deadline"));
    if (k.handle) return stop_child(t.child, k);
    forget(t.child, caf::error{k.end_reason});
    return advance_group();
  case timer_kind::group:
    return;
  }
}

// ---- the end --------------------------------------------------------------------------------

void supervision::stop(caf::error why) {
  if (stopping_) return;
  stopping_ = true;
  why_ = std::move(why);
  group_ = false;
  disarm(group_timer_);
  advance_stop();
}

void supervision::advance_stop() {
  while (!kids_.empty()) {
    auto last = std::prev(kids_.end());
    if (!last->second.handle) {
      forget(last->first, caf::exit_reason::user_shutdown);
      continue;
    }
    if (options_.stop_together && !all_asked_) {
      all_asked_ = true;
      for (auto i = kids_.rbegin(); i != kids_.rend(); ++i)
        if (i->second.handle) stop_child(i->first, i->second);
    }
    return stop_child(last->first, last->second);
  }
  if (std::exchange(finished_, true)) return;
  if (host_.finished) host_.finished(why_);
}

void supervision::kill_all() noexcept {
  stopping_ = finished_ = true;
  timers_.clear();
  by_address_.clear();
  by_id_.clear();
  auto kids = std::exchange(kids_, {});
  for (auto i = kids.rbegin(); i != kids.rend(); ++i) {
    auto& k = i->second;
    if (k.handle) caf::anon_send_exit(k.handle, caf::exit_reason::kill);
    for (auto& w : k.on_started)
      w(make_error(errc::shutting_down));
    for (auto& w : k.on_stopped)
      w({});
  }
  // Who reports to somebody may be held by him; what is over holds nobody.
  options_.on_restarted = {};
  options_.on_gave_up = {};
  options_.on_ended = {};
  options_.on_refused = {};
}

} // namespace skep::actors
