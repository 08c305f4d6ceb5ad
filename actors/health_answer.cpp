#include "actors/health_answer.hpp"

#include <set>
#include <sys/statvfs.h>

namespace skep::actors {
namespace {

class health_reader {
public:
  /// `head`: characters that are shown of a prompt.
  health_reader(storage::reader& rows, const daemon_facts& facts, directory& handles,
                std::size_t head)
      : rows_(rows), facts_(facts), now_(handles.wall_now()), head_(head) {}

  result<void> swarm(const swarm_record& w, health_reply& out) {
    auto boxes = rows_.sandboxes(w.swarm);
    if (!boxes) return boxes.err();
    auto panes = rows_.panes(w.swarm);
    if (!panes) return panes.err();
    auto spec = read_spec(w.swarm);
    std::vector<sandbox_health> judged;
    for (const auto& box : *boxes) {
      auto below = judge_panes(box, *panes, spec);
      judged.push_back(judge_box(box, below));
      out.panes.insert(out.panes.end(), below.begin(), below.end());
    }
    auto one = judge(w, *boxes, spec.limit_ms, judged, now_);
    out.state = worse(out.state, one.state);
    out.sandboxes.insert(out.sandboxes.end(), judged.begin(), judged.end());
    out.swarms.push_back(std::move(one));
    return {};
  }

  /// Closed swarms with a sandbox that its provider has not confirmed to be gone. Of them nothing
  /// else is told.
  result<void> unconfirmed(health_reply& out) {
    auto kills = rows_.unconfirmed_kills();
    if (!kills) return kills.err();
    std::set<swarm_id> having;
    for (const auto& box : *kills)
      if (is_unconfirmed(box)) having.insert(box.swarm);
    for (const auto& id : having) {
      auto row = rows_.swarm(id);
      if (!row) return row.err();
      if (row->state != swarm_phase::closed) continue; // told with its other parts
      auto boxes = rows_.sandboxes(id);
      if (!boxes) return boxes.err();
      out.swarms.push_back(judge_unconfirmed(*row, *boxes, read_spec(id).limit_ms, now_));
      out.state = worse(out.state, out.swarms.back().state);
    }
    return {};
  }

  result<void> sandbox(const sandbox_id& id, health_reply& out) {
    auto box = rows_.sandbox(id);
    if (!box) return box.err();
    auto panes = rows_.panes(id);
    if (!panes) return panes.err();
    auto below = judge_panes(*box, *panes, read_spec(box->swarm));
    out.sandboxes.push_back(judge_box(*box, below));
    out.state = out.sandboxes.back().state;
    out.panes = std::move(below);
    return {};
  }

  result<void> pane(const pane_id& id, health_reply& out) {
    auto row = rows_.pane(id);
    if (!row) return row.err();
    auto box = rows_.sandbox(row->sandbox);
    if (!box) return box.err();
    out.panes = judge_panes(*box, {*row}, read_spec(row->swarm));
    out.state = out.panes.front().state;
    return {};
  }

private:
  swarm_spec read_spec(const swarm_id& id) {
    auto packed = rows_.spec(id);
    if (packed)
      if (auto spec = unpack<swarm_spec>(packed->data)) return *spec;
    return {};
  }

  std::vector<pane_health> judge_panes(const sandbox_record& box,
                                       const std::vector<pane_record>& panes,
                                       const swarm_spec& spec) {
    std::vector<pane_health> out;
    auto failing = signs_of(box.sandbox).probe_failures >= facts_.judged_by.probe_failures;
    for (const auto& p : panes) {
      if (p.sandbox != box.sandbox) continue;
      auto log = facts_.state_dir / "logs" / p.swarm.value
                 / (p.pane.value + "." + std::to_string(p.attempt) + ".log");
      auto signs = facts_.watch ? facts_.watch->pane(p.pane) : pane_signs{};
      auto one = judge(p, signs, look_at_log(log), failing, now_, facts_.judged_by);
      if (!spec.prompts.empty()) one.prompt_head = head_of(prompt_for(spec, p.index), head_);
      out.push_back(std::move(one));
    }
    return out;
  }

  sandbox_health judge_box(const sandbox_record& box, const std::vector<pane_health>& panes) {
    return judge(box, signs_of(box.sandbox), panes, now_, facts_.judged_by);
  }

  sandbox_signs signs_of(const sandbox_id& id) const {
    return facts_.watch ? facts_.watch->sandbox(id) : sandbox_signs{};
  }

  storage::reader& rows_;
  const daemon_facts& facts_;
  utc_time now_;
  std::size_t head_;
};

/// The daemon alone.
daemon_health health_of_daemon(storage::reader& rows, const daemon_facts& facts,
                               directory& handles) {
  daemon_parts d;
  auto now = handles.wall_now();
  if (facts.watch) d.signs = facts.watch->daemon(now);
  auto need = [&d](const auto& handle, const char* name) {
    if (!handle) d.down.emplace_back(name);
  };
  need(handles.journal(), "the journal");
  need(handles.recorder(), "the recorder");
  need(handles.commands(), "the desk of commands");
  need(handles.publisher(), "the publisher");
  need(handles.control(), "the control");
  d.uptime_ms = std::max<std::int64_t>(0, (now - facts.started_at).count());
  if (auto open = rows.count_open()) d.open_swarms = static_cast<std::uint32_t>(open->swarms);
  d.waiting_bytes = handles.credit().used();
  if (facts.published_seq)
    if (auto sent = facts.published_seq(), head = handles.head_seq(); head > sent)
      d.publisher_lag = head - sent;
  struct statvfs disk {};
  if (::statvfs(facts.state_dir.c_str(), &disk) == 0)
    d.free_disk_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  return judge(d, facts.judged_by);
}

} // namespace

result<health_reply> answer_health(storage::reader& rows, const daemon_facts& facts,
                                   directory& handles, const health_request& what) {
  health_reply out;
  out.daemon = health_of_daemon(rows, facts, handles);
  const bool all = what.swarm.empty() && what.sandbox.empty() && what.pane.empty();
  health_reader look{rows, facts, handles, all ? head_in_list : head_of_one};
  result<void> done;
  if (!what.pane.empty()) {
    done = look.pane(what.pane, out);
  } else if (!what.sandbox.empty()) {
    done = look.sandbox(what.sandbox, out);
  } else if (!what.swarm.empty()) {
    auto row = rows.swarm(what.swarm);
    done = row ? look.swarm(*row, out) : result<void>{row.err()};
  } else {
    out.state = out.daemon.state;
    auto open = rows.swarms(false);
    if (!open) return open.err();
    for (const auto& w : *open)
      if (done = look.swarm(w, out); !done) break;
    if (done) done = look.unconfirmed(out);
  }
  if (!done) return done.err();
  return out;
}

} // namespace skep::actors
