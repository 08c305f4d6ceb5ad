#include "actors/replacement.hpp"

#include "actors/journal_events.hpp"
#include "messages/cost.hpp"

#include <algorithm>
#include <set>

namespace skep::actors {
namespace {

bool is_plain(const std::string& path) {
  return !path.empty() && path.size() <= longest_path
         && std::all_of(path.begin(), path.end(),
                        [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

// The path in the arguments of a tool that writes files. They may have been cut, so that they are
// no whole document: then the value is taken where it stands.
std::string written_path(const agent_block& b) {
  if (b.kind != block_kind::tool_use) return {};
  if (b.name != "Write" && b.name != "Edit" && b.name != "MultiEdit" && b.name != "NotebookEdit")
    return {};
  auto key = b.name == "NotebookEdit" ? "notebook_path" : "file_path";
  if (auto j = json::parse(b.text, nullptr, false); j.is_object())
    return j.contains(key) && j[key].is_string() ? j[key].get<std::string>() : std::string{};
  auto mark = '"' + std::string{key} + "\":\"";
  auto at = b.text.find(mark);
  if (at == std::string::npos) return {};
  at += mark.size();
  auto end = b.text.find('"', at);
  auto path = end == std::string::npos ? std::string{} : b.text.substr(at, end - at);
  return path.find('\\') == std::string::npos ? path : std::string{};
}

/// Reads one sandbox's events in their order.
class loss_reader {
public:
  explicit loss_reader(bool prompts) : prompts_(prompts) {}

  void take(const any_event& e, utc_time at) {
    if (std::holds_alternative<transfer_done>(e)) {
      last_sync_ = at;
      paths_.clear();
    } else if (auto* b = std::get_if<agent_block>(&e)) {
      if (auto path = written_path(*b); is_plain(path) && paths_.size() < most_unsynced)
        paths_.insert(std::move(path));
    } else if (auto* i = std::get_if<input_receipt>(&e)) {
      if (i->state == receipt::answered || i->state == receipt::expired)
        inputs_.erase({i->pane.value, i->key});
      else
        inputs_.insert({i->pane.value, i->key});
    } else if (auto* c = std::get_if<pane_created>(&e)) {
      if (prompts_) unanswered_.insert(c->pane.value);
    } else if (auto* x = std::get_if<pane_exited>(&e)) {
      unanswered_.erase(x->pane.value);
      std::erase_if(inputs_, [x](const auto& known) { return known.first == x->pane.value; });
    }
  }
  void give(sandbox_replaced& out) const {
    out.last_sync_at = last_sync_;
    out.unsynced.assign(paths_.begin(), paths_.end());
    out.unanswered = static_cast<std::uint32_t>(unanswered_.size() + inputs_.size());
  }

private:
  bool prompts_;
  utc_time last_sync_{};
  std::set<std::string> paths_;
  std::set<std::string> unanswered_;                     ///< Panes whose prompt is.
  std::set<std::pair<std::string, std::string>> inputs_; ///< Pane and key.
};

std::uint64_t log_bytes(const services& svc, const sandbox_record& lost) {
  std::uint64_t sum = 0;
  auto panes = svc.load_panes(lost.sandbox);
  if (!panes) return 0;
  for (const auto& p : *panes)
    for (std::uint32_t n = 1; n <= p.attempt; ++n) {
      std::error_code ec;
      auto size =
          std::filesystem::file_size(svc.state_dir / "logs" / lost.swarm.value
                                         / (p.pane.value + "." + std::to_string(n) + ".log"),
                                     ec);
      if (!ec) sum += size;
    }
  return sum;
}

} // namespace

void leave_out_replaced(const std::vector<replacement_record>& known,
                        std::vector<sandbox_record>& sandboxes, std::vector<pane_record>& panes) {
  auto replaced = [&](const auto& x) {
    return std::any_of(known.begin(), known.end(), [&](const auto& r) {
      return r.lost == x.sandbox
             && std::any_of(sandboxes.begin(), sandboxes.end(),
                            [&](const auto& s) { return s.sandbox == r.successor; });
    });
  };
  std::erase_if(panes, replaced);
  auto kept = sandboxes;
  std::erase_if(kept, replaced);
  sandboxes = std::move(kept);
}

sandbox_replaced what_was_lost(const services& svc, const swarm_spec& spec,
                               const sandbox_record& lost) {
  sandbox_replaced out;
  out.lost = lost.sandbox;
  out.base_commit = lost.base_commit;
  out.cost_usd = cost_usd(lost, svc.wall_now());
  out.output_bytes = log_bytes(svc, lost);
  loss_reader reader{!spec.prompts.empty()};
  each_event(svc, lost.swarm, lost.sandbox, [&](const any_event& e, utc_time at) {
    reader.take(e, at);
    return true;
  });
  reader.give(out);
  return out;
}

} // namespace skep::actors
