#include "actors/watch_book.hpp"

namespace skep::actors {
namespace {

constexpr std::size_t most_remembered = 1000;

} // namespace

void watch_book::on_event(const committed_event& e) {
  std::lock_guard guard{mutex_};
  auto& box = e.sandbox.value;
  if (auto* x = std::get_if<agent_block>(&e.what)) {
    auto& p = panes_[x->pane.value];
    p.event_at = e.at;
    p.has_block = true;
    p.kind = x->kind;
    p.name = x->name;
    p.is_error = x->is_error;
  } else if (auto* created = std::get_if<pane_created>(&e.what)) {
    panes_of_[box].push_back(created->pane.value);
  } else if (auto* input = std::get_if<input_receipt>(&e.what)) {
    panes_[input->pane.value].input_at = e.at;
  } else if (auto* start = std::get_if<pane_start_intended>(&e.what)) {
    panes_[start->pane.value] = {}; // signs of a former attempt
  } else if (auto* said = std::get_if<notice>(&e.what)) {
    if (box.empty()) return;
    if (said->code == "unhealthy") ++sandboxes_[box].probe_failures;
    if (said->code == "healthy") sandboxes_[box].probe_failures = 0;
    if (said->code == "output_incomplete") sandboxes_[box].output_lost = true;
  } else if (auto* failed = std::get_if<poll_failed>(&e.what)) {
    sandboxes_[box].poll_failures = failed->count;
  } else if (auto* used = std::get_if<usage_sampled>(&e.what)) {
    auto& s = sandboxes_[box];
    s.usage = *used;
    s.sampled_at = e.at;
    s.poll_failures = s.probe_failures = 0; // the inside answers
  } else if (std::holds_alternative<sandbox_closed>(e.what)) {
    for (const auto& p : panes_of_[box])
      panes_.erase(p);
    panes_of_.erase(box);
    sandboxes_.erase(box);
  } else if (std::holds_alternative<child_restarted>(e.what)) {
    restarts_.push_back(e.at);
    if (restarts_.size() > most_remembered) restarts_.pop_front();
  } else if (auto* up = std::get_if<supervisor_gave_up>(&e.what)) {
    given_up_.emplace_back(e.at, up->path);
    if (given_up_.size() > most_remembered) given_up_.pop_front();
  }
}

void watch_book::on_commit(std::uint64_t, utc_time oldest, utc_time now) {
  std::lock_guard guard{mutex_};
  lag_ms_ = std::max<std::int64_t>(0, (now - oldest).count());
}

pane_signs watch_book::pane(const pane_id& id) const {
  std::lock_guard guard{mutex_};
  auto i = panes_.find(id.value);
  return i == panes_.end() ? pane_signs{} : i->second;
}

sandbox_signs watch_book::sandbox(const sandbox_id& id) const {
  std::lock_guard guard{mutex_};
  auto i = sandboxes_.find(id.value);
  return i == sandboxes_.end() ? sandbox_signs{} : i->second;
}

daemon_signs watch_book::daemon(utc_time now) const {
  std::lock_guard guard{mutex_};
  daemon_signs out;
  for (auto at : restarts_)
    out.restarts += at + recent >= now;
  for (const auto& [at, path] : given_up_)
    if (at + recent >= now) out.given_up.push_back(path);
  out.journal_lag_ms = lag_ms_;
  return out;
}

} // namespace skep::actors
