#include "actors/pane_set.hpp"

#include <algorithm>

namespace skep::actors {

pane_set::pane_set(std::vector<pane_record> panes)
    : panes_(std::move(panes)), ready_(panes_.size()) {
  const pane_record* first = nullptr;
  for (const auto& p : panes_)
    if (!p.error_code.empty() && (!first || p.closed_at < first->closed_at)) first = &p;
  if (!first) return;
  first_error_ = error_of(first->error_code, first->error_message, first->error_cause);
  first_error_.sandbox = first->sandbox;
  first_error_.step = first->error_step;
}

void pane_set::add(pane_record pane) {
  panes_.push_back(std::move(pane));
  ready_.push_back(false);
}

bool pane_set::stopped_by(outcome how) const {
  return std::any_of(panes_.begin(), panes_.end(), [how](const auto& p) {
    return p.state != pane_phase::closed || p.result == how;
  });
}

std::size_t pane_set::find(const pane_id& id) const {
  return static_cast<std::size_t>(
      std::find_if(panes_.begin(), panes_.end(), [&](const auto& p) { return p.pane == id; })
      - panes_.begin());
}

void pane_set::ready(const pane_id& id) {
  if (auto i = find(id); i < panes_.size()) ready_[i] = true;
}

bool pane_set::closed(const pane_id& id, outcome result, const error& why) {
  auto i = find(id);
  if (i == panes_.size() || panes_[i].state == pane_phase::closed) return false;
  panes_[i].state = pane_phase::closed;
  panes_[i].result = result;
  if (why && !first_error_) first_error_ = why;
  return true;
}

bool pane_set::all_settled() const {
  for (std::size_t i = 0; i < panes_.size(); ++i)
    if (!ready_[i] && panes_[i].state != pane_phase::closed) return false;
  return true;
}

bool pane_set::all_closed() const {
  return std::all_of(panes_.begin(), panes_.end(),
                     [](const auto& p) { return p.state == pane_phase::closed; });
}

std::vector<pane_id> pane_set::out() const {
  std::vector<pane_id> ids;
  for (const auto& p : panes_)
    if (p.state == pane_phase::closed && p.result != outcome::completed) ids.push_back(p.pane);
  return ids;
}

std::vector<pane_id> pane_set::failed() const {
  std::vector<pane_id> ids;
  for (const auto& p : panes_)
    if (p.state == pane_phase::closed
        && (p.result == outcome::failed || p.result == outcome::timed_out))
      ids.push_back(p.pane);
  return ids;
}

std::vector<pane_id> pane_set::open() const {
  std::vector<pane_id> ids;
  for (const auto& p : panes_)
    if (p.state != pane_phase::closed) ids.push_back(p.pane);
  return ids;
}

outcome pane_set::verdict(error& why) const {
  why = first_error_;
  auto worst = outcome::completed;
  for (const auto& p : panes_) {
    if (p.result == outcome::completed) continue;
    if (worst == outcome::completed || p.result == outcome::failed)
      worst = p.result == outcome::none ? outcome::failed : p.result;
  }
  return worst;
}

} // namespace skep::actors
