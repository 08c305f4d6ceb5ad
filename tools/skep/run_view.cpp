#include "tools/skep/run_view.hpp"

#include "messages/warnings.hpp"
#include "tools/skep/app.hpp"
#include "tools/skep/money.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"
#include "tools/skep/upload_text.hpp"

#include <algorithm>
#include <vector>

namespace skep::cli {

std::string run_progress::box_name(const sandbox_id& id) const {
  auto i = boxes.find(id);
  return i == boxes.end() ? id.value : "sandbox " + std::to_string(i->second.index);
}

std::string run_progress::pane_name(const pane_id& id) const {
  auto i = panes.find(id);
  return i == panes.end() ? id.value : i->second.name;
}

namespace {

// What a budget's warning says; those of an older daemon have no text of their own.
template <class E>
std::string warning_text(const E& x, std::string_view whose) {
  return x.text.empty() ? budget_text(x.percent, whose, x.limit_usd, {x.spent_usd, true}) : x.text;
}

template <class E, class... Es>
constexpr bool is_among = (std::is_same_v<E, Es> || ...);

/// Whether what an event tells is a warning, and no step of a run that goes well. The ends of panes
/// and sandboxes are none: the table at the end has them.
template <class E>
bool warns([[maybe_unused]] const E& x) {
  if constexpr (std::is_same_v<E, notice>)
    return x.level != severity::info;
  else
    return is_among<E, swarm_budget_warned, pane_budget_warned, create_failed, transfer_failed,
                    swarm_scanned, results_scanned, poll_failed, time_warning, time_limit_reached,
                    pane_idle, sandbox_degraded, sandbox_failing, sandbox_fell_back,
                    sandbox_replaced, collision, supervisor_gave_up>;
}

} // namespace

template <class E>
std::string run_progress::on([[maybe_unused]] const broker::received_event& e,
                             [[maybe_unused]] const E& x) {
  if constexpr (std::is_same_v<E, swarm_phase_changed>) {
    state = x.to;
    return "swarm " + std::string{to_string(x.to)} + (x.reason.empty() ? "" : ": " + x.reason);
  } else if constexpr (std::is_same_v<E, swarm_closed>) {
    closed = true;
    state = swarm_phase::closed;
    result = x.result;
    why = x.why;
    return "swarm " + std::string{to_string(x.result)};
  } else if constexpr (std::is_same_v<E, sandbox_queued>) {
    boxes[e.sandbox].index = x.index;
    return {};
  } else if constexpr (std::is_same_v<E, sandbox_waits>) {
    return box_name(e.sandbox) + " " + waits_sentence(x);
  } else if constexpr (std::is_same_v<E, swarm_budget_warned>) {
    return "WARNING: " + warning_text(x, budget_owner(budget_scope::swarm, {}));
  } else if constexpr (std::is_same_v<E, pane_budget_warned>) {
    return "WARNING: " + warning_text(x, pane_name(x.pane));
  } else if constexpr (std::is_same_v<E, phase_changed>) {
    boxes[e.sandbox].state = x.to;
    return box_name(e.sandbox) + " " + std::string{to_string(x.to)};
  } else if constexpr (std::is_same_v<E, sandbox_closed>) {
    boxes[e.sandbox].state = phase::closed;
    boxes[e.sandbox].result = x.result;
    return box_name(e.sandbox) + " closed: " + std::string{to_string(x.result)}
           + (x.why ? ", " + render(x.why) : "");
  } else if constexpr (std::is_same_v<E, create_failed>) {
    return box_name(e.sandbox) + " was not created: " + render(x.why);
  } else if constexpr (std::is_same_v<E, sandbox_fell_back>) {
    return box_name(e.sandbox) + " falls back from " + x.from + " to " + x.provider + ": "
           + render(x.why);
  } else if constexpr (std::is_same_v<E, pane_created>) {
    panes[x.pane] = {e.sandbox, x.index, x.name};
    return {};
  } else if constexpr (std::is_same_v<E, pane_started>) {
    auto& p = panes[x.pane];
    p.state = pane_phase::running;
    p.attempt = x.attempt;
    return pane_name(x.pane) + " started"
           + (x.attempt > 1 ? ", attempt " + std::to_string(x.attempt) : "");
  } else if constexpr (std::is_same_v<E, pane_exited>) {
    panes[x.pane].state = pane_phase::exited;
    return pane_name(x.pane) + " ended with "
           + (x.signal != 0 ? "signal " + std::to_string(x.signal)
                            : "exit code " + std::to_string(x.exit_code));
  } else if constexpr (std::is_same_v<E, pane_restarting>) {
    panes[x.pane].state = pane_phase::restarting;
    return pane_name(x.pane) + " starts again in " + duration_text(x.delay_ms) + ": " + x.reason;
  } else if constexpr (std::is_same_v<E, pane_closed>) {
    panes[x.pane].state = pane_phase::closed;
    panes[x.pane].result = x.result;
    return pane_name(x.pane) + " " + std::string{to_string(x.result)}
           + (x.why ? ": " + render(x.why) : "");
  } else if constexpr (std::is_same_v<E, pane_usage>) {
    panes[x.pane].cost_usd += x.cost_usd;
    return {};
  } else if constexpr (std::is_same_v<E, agent_block>) {
    if (x.kind != block_kind::text && x.kind != block_kind::tool_use) return {};
    last = pane_name(x.pane) + ": " + (x.name.empty() ? "" : x.name + " ") + x.text;
    return {};
  } else if constexpr (std::is_same_v<E, transfer_progress>) {
    last = box_name(e.sandbox) + " " + upload_text(x);
    return {};
  } else if constexpr (std::is_same_v<E, transfer_failed>) {
    return box_name(e.sandbox) + " transfer failed: " + render(x.why);
  } else if constexpr (std::is_same_v<E, swarm_scanned>) {
    return x.report.alarming() ? "WARNING: the work tree holds " + alarm_text(x.report) : "";
  } else if constexpr (std::is_same_v<E, results_scanned>) {
    return "WARNING: the changes of " + x.tree + " hold " + alarm_text(x.report);
  } else if constexpr (std::is_same_v<E, poll_failed>) {
    return box_name(e.sandbox) + " output stream failed " + std::to_string(x.count) + " of "
           + std::to_string(x.limit) + " times: " + render(x.why);
  } else if constexpr (std::is_same_v<E, time_warning> || std::is_same_v<E, time_limit_reached>) {
    return x.text;
  } else if constexpr (std::is_same_v<E, pane_idle>) {
    if (!x.text.empty()) return x.text;
    return pane_name(x.pane) + " gave no sign of life for " + duration_text(x.idle_ms)
           + "; it is stopped in " + duration_text(x.grace_ms); // an older daemon's
  } else if constexpr (std::is_same_v<E, pane_active>) {
    return pane_name(x.pane) + " is at work again";
  } else if constexpr (std::is_same_v<E, sandbox_degraded>) {
    std::string names;
    for (const auto& p : x.panes)
      names += (names.empty() ? "" : ", ") + pane_name(p);
    return names.empty() ? "" : box_name(e.sandbox) + " is degraded, out: " + names;
  } else if constexpr (std::is_same_v<E, sandbox_failing>) {
    return box_name(e.sandbox) + " fails: " + render(x.why);
  } else if constexpr (std::is_same_v<E, sandbox_replaced>) {
    auto text = "WARNING: " + box_name(x.lost) + " was lost and gets a successor ("
                + std::to_string(x.number) + " of at most " + std::to_string(x.most)
                + "): " + loss_text(x.last_sync_at, x.unsynced.size(), x.unanswered, x.cost_usd);
    boxes.erase(x.lost);
    std::erase_if(panes, [&x](const auto& p) { return p.second.sandbox == x.lost; });
    return text;
  } else if constexpr (std::is_same_v<E, notes_suppressed>) {
    return pane_name(x.pane) + ": " + std::to_string(x.count)
           + " blocks of its output are in its log only";
  } else if constexpr (std::is_same_v<E, sandbox_frozen>) {
    return box_name(e.sandbox) + (x.frozen ? " is frozen" : " goes on");
  } else if constexpr (std::is_same_v<E, log_truncated>) {
    return pane_name(x.pane) + ": its log keeps what is behind byte "
           + std::to_string(x.begin_offset);
  } else if constexpr (std::is_same_v<E, collision>) {
    return x.level < overlap::hunks ? std::string{} : collision_text(x);
  } else if constexpr (std::is_same_v<E, notice>) {
    return (x.level == severity::info ? "" : std::string{to_string(x.level)} + ": ") + x.text;
  } else if constexpr (std::is_same_v<E, supervisor_gave_up>) {
    return x.path + " gave up on " + x.child + ": " + x.reason;
  } else {
    return {};
  }
}

told_step run_progress::apply(const broker::received_event& e) {
  auto x = interpret(e.event);
  if (!x) return {}; // of a newer skepd
  auto stays = std::visit([](const auto& y) { return warns(y); }, *x);
  auto line = std::visit([&](const auto& y) { return on(e, y); }, *x);
  if (!line.empty() && !stays) last = line;
  return {line, stays};
}

// ---- drawing ----------------------------------------------------------------------------------

run_view::run_view(bool quiet) : quiet_(quiet), block_(!quiet && colours(stderr)) {}

void run_view::step(const told_step& s) {
  if (quiet_ || s.line.empty()) return;
  auto text = safe_line(s.line, 500);
  if (!block_) return remark(text);
  if (!s.stays) return;
  clear();
  remark(style(stderr, tint::yellow, text));
  next_draw_ = {}; // below it, at once
}

namespace {

std::string pane_mark(const run_progress::pane& p) {
  auto t = p.state == pane_phase::running   ? tint::cyan
           : p.state != pane_phase::closed  ? tint::dim
           : p.result == outcome::completed ? tint::green
                                            : tint::red;
  auto text = p.state == pane_phase::closed ? to_string(p.result) : to_string(p.state);
  return p.name + " " + style(stderr, t, text);
}

/// Sandboxes that are shown one by one; more are counted by phase.
constexpr std::size_t most_rows = 16;

std::vector<std::string> rows_of(const run_progress& p) {
  std::vector<std::string> out;
  if (p.boxes.size() <= most_rows) {
    std::vector<const std::pair<const sandbox_id, run_progress::box>*> order;
    for (const auto& b : p.boxes)
      order.push_back(&b);
    std::sort(order.begin(), order.end(),
              [](auto* a, auto* b) { return a->second.index < b->second.index; });
    for (const auto* b : order) {
      auto state = b->second.state == phase::closed ? to_string(b->second.result)
                                                    : to_string(b->second.state);
      std::string row = "  " + std::to_string(b->second.index) + "  " + std::string{state};
      row.append(row.size() < 20 ? 20 - row.size() : 1, ' ');
      std::vector<const run_progress::pane*> own;
      for (const auto& [id, pane] : p.panes)
        if (pane.sandbox == b->first) own.push_back(&pane);
      std::sort(own.begin(), own.end(), [](auto* x, auto* y) { return x->index < y->index; });
      constexpr std::size_t most_panes = 4;
      for (std::size_t i = 0; i < std::min(own.size(), most_panes); ++i)
        row += pane_mark(*own[i]) + "   ";
      if (own.size() > most_panes)
        row += "and " + std::to_string(own.size() - most_panes) + " more";
      out.push_back(std::move(row));
    }
    return out;
  }
  std::map<std::string, std::size_t> phases;
  for (const auto& [id, b] : p.boxes)
    ++phases[std::string{b.state == phase::closed ? to_string(b.result) : to_string(b.state)}];
  std::string row = "  sandboxes: ";
  for (const auto& [name, n] : phases)
    row += std::to_string(n) + " " + name + "   ";
  out.push_back(row);
  return out;
}

} // namespace

void run_view::draw(const run_progress& p) {
  auto now = std::chrono::steady_clock::now();
  if (!block_ || now < next_draw_) return;
  next_draw_ = now + std::chrono::milliseconds{200};
  double cost = 0;
  std::size_t done = 0;
  for (const auto& [id, pane] : p.panes) {
    cost += pane.cost_usd;
    done += pane.state == pane_phase::closed;
  }
  auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(now - begun_).count();
  std::vector<std::string> lines{style(stderr, tint::bold, to_string(p.state)) + "  "
                                 + std::to_string(done) + "/" + std::to_string(p.panes.size())
                                 + " panes  " + duration_text(spent)
                                 + (cost > 0 ? "  " + cost_text(cost) : "")};
  for (auto& row : rows_of(p))
    lines.push_back(std::move(row));
  auto width = columns(stderr);
  lines.push_back(style(stderr, tint::dim, safe_line(p.last, width > 8 ? width - 6 : 2)));
  // What has scrolled off cannot be drawn over: every further draw would add to it.
  if (auto most = std::max<std::size_t>(rows(stderr), 2) - 1; lines.size() > most) {
    if (most > 1) lines[most - 1] = lines.back();
    lines.resize(most);
  }
  // From the first column: the terminal may have echoed keys behind the block.
  std::string out = "\r";
  if (drawn_lines_ > 0) out += "\x1b[" + std::to_string(drawn_lines_) + "A";
  // A line stays a line: it is cut, and what takes two columns does not wrap either.
  for (const auto& line : lines)
    out += "\x1b[?7l" + cut_line(line, width > 1 ? width - 1 : 1) + "\x1b[?7h\x1b[K\n";
  out += "\x1b[J";
  drawn_lines_ = lines.size();
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
}

void run_view::clear() {
  if (!block_) return;
  std::string out = "\r";
  if (drawn_lines_ > 0) out += "\x1b[" + std::to_string(drawn_lines_) + "A";
  out += "\x1b[J";
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
  drawn_lines_ = 0;
}

} // namespace skep::cli
