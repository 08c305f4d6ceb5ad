// The scripted agent: what a pane's program does in a rehearsal. It says lines, changes files, may
// stall, ask or fail, and names what it cost; its calls stand in the books of its sandbox, which
// may refuse them. What it does depends on the seed, on the pane's index and on the attempt, and on
// nothing else.
#include "host/sim/box.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace skep::host::sim {
namespace {

/// The script with the options of `sim-agent --lines 5 ...` applied; text of what is wrong, or
/// empty.
std::string apply_options(const std::vector<std::string>& argv, agent_script& s) {
  for (std::size_t i = 1; i < argv.size(); i += 2) {
    const auto& name = argv[i];
    if (i + 1 >= argv.size()) return name + " needs a value";
    const auto& text = argv[i + 1];
    char* end = nullptr;
    auto value = std::strtod(text.c_str(), &end);
    bool good = end != text.c_str() && *end == '\0' && value >= 0;
    if (name == "--ask") {
      s.question = text;
      s.question_percent = 100;
      continue;
    }
    if (!good) return name + " " + text + ": expected a number";
    spread exactly{value, value, 0};
    if (name == "--lines")
      s.lines = exactly;
    else if (name == "--interval-ms")
      s.interval_ms = exactly;
    else if (name == "--line-bytes")
      s.line_bytes = exactly;
    else if (name == "--files")
      s.files = exactly;
    else if (name == "--cost")
      s.cost_usd = exactly;
    else if (name == "--exit")
      s.exit_code = static_cast<int>(value) & 0xff;
    else if (name == "--stall-ms") {
      s.stall_ms = exactly;
      s.stall_percent = value > 0 ? 100 : 0;
    } else
      return "unknown option " + name;
  }
  return {};
}

std::string padded(std::string text, std::size_t bytes) {
  if (text.size() + 1 < bytes) text.append(bytes - text.size() - 1, '.');
  return text + '\n';
}

bool is_small_text(const node& n) {
  return n.type == node::kind::file && n.data && !n.data->empty() && n.data->size() < 65536
         && n.data->find('\0') == std::string::npos && n.data->ends_with('\n');
}

/// Adds `count` files and changes as many of the uploaded ones; other panes change others.
void change_files(const program& p, const std::string& name, std::uint64_t index,
                  std::size_t count) {
  auto& files = p.home->files;
  for (std::size_t k = 0; k < count; ++k)
    files.write(normal_path(p.cwd, "sim/" + name + "-" + std::to_string(k) + ".txt"),
                std::make_shared<std::string>("written by " + name + " in a simulation\n"));
  auto mounted = files.mounted_at(p.cwd);
  if (!mounted || mounted->files.empty()) return;
  std::size_t at = 0, seen = 0;
  for (const auto& [path, n] : mounted->files) {
    if (!is_small_text(n)) continue;
    if (seen++ < index * count) continue;
    if (at++ >= count) break;
    files.append(p.cwd + '/' + path, "changed by " + name + " in a simulation\n");
  }
}

struct report {
  bool as_claude = false;
  std::string say(const std::string& text) const {
    if (!as_claude) return text;
    json block = {{"type", "text"}, {"text", text}};
    json message = {{"model", "simulated"}, {"content", json::array({block})}};
    return dump(json{{"type", "assistant"}, {"message", message}}) + "\n";
  }
  /// `why`: what stopped it before its end; empty for nothing.
  std::string end(bool failed, double cost, std::size_t turns, const token_usage& used,
                  const std::string& why) const {
    char number[32];
    std::snprintf(number, sizeof number, "%.4f", cost);
    if (!as_claude)
      return (why.empty() ? std::string{"finished"} : "stopped: " + why) + ", cost_usd=" + number
             + "\n";
    auto text = !why.empty() ? "API Error: " + why
                : failed     ? std::string{"the simulation wants it to fail"}
                             : std::string{"simulated"};
    json usage = {{"input_tokens", used.input}, {"output_tokens", used.output}};
    return dump(json{{"type", "result"},
                     {"subtype", failed ? "error_during_execution" : "success"},
                     {"is_error", failed},
                     {"result", text},
                     {"total_cost_usd", cost},
                     {"num_turns", turns},
                     {"usage", usage}})
           + "\n";
  }
};

/// What the agent spends on its way: a call of its model for each line, one when it has none.
class bill {
public:
  bill(box& home, double cost_usd, std::size_t calls)
      : home_(home), whole_(static_cast<std::uint64_t>(std::llround(cost_usd * 1e6))),
        calls_(std::max<std::size_t>(calls, 1)) {}
  /// Makes the next call. False: it was refused, see why().
  bool call() {
    if (made_ == calls_) return true;
    why_ = home_.spent.refusal();
    if (!why_.empty()) return false;
    auto share = whole_ * (made_ + 1) / calls_ - whole_ * made_ / calls_;
    ++made_;
    paid_ += share;
    used_.add(home_.spent.pay(share, home_.info.domains.empty() ? "" : home_.info.domains.front()));
    return true;
  }
  const std::string& why() const { return why_; }
  const token_usage& used() const { return used_; }
  std::size_t made() const { return made_; }
  double paid_usd() const { return static_cast<double>(paid_) / 1e6; }

private:
  box& home_;
  std::uint64_t whole_, paid_ = 0;
  std::size_t calls_, made_ = 0;
  token_usage used_;
  std::string why_;
};

} // namespace

task<int> run_agent(program_ptr p) {
  auto script = p->home->world.play.agent;
  auto program_name = p->argv[0].substr(p->argv[0].rfind('/') + 1);
  if (program_name == "sim-agent")
    if (auto wrong = apply_options(p->argv, script); !wrong.empty()) {
      co_await p->write(channel::err, "sim-agent: " + wrong + "\n");
      co_return 64;
    }
  auto index = p->env.contains("SKEP_PANE_INDEX") ? p->env["SKEP_PANE_INDEX"] : std::string{"0"};
  auto name = p->env.contains("SKEP_PANE_NAME") ? p->env["SKEP_PANE_NAME"] : "p" + index;
  draw luck{p->home->world.seed, "agent", index, p->attempt};
  auto lines = static_cast<std::size_t>(script.lines.sample(luck));
  auto files = static_cast<std::size_t>(script.files.sample(luck));
  auto cost = script.cost_usd.sample(luck);
  bool fails = luck.percent(script.fail_percent);
  bool stalls = luck.percent(script.stall_percent);
  bool asks = luck.percent(script.question_percent);
  report how{program_name == "claude"};
  if (how.as_claude) {
    co_await p->write(channel::out, "{\"type\":\"system\",\"subtype\":\"init\"}\n");
    auto prompt = co_await p->read_all();
  }
  bill costs{*p->home, cost, lines};
  for (std::size_t i = 0; i < lines && p->signalled() == 0; ++i) {
    if (!costs.call()) break;
    auto text = padded(name + " line " + std::to_string(i + 1) + " of " + std::to_string(lines),
                       static_cast<std::size_t>(script.line_bytes.sample(luck)));
    co_await p->write(channel::out, how.say(text));
    auto pause =
        std::chrono::milliseconds{static_cast<std::int64_t>(script.interval_ms.sample(luck))};
    if (pause.count() > 0) co_await p->nap(pause);
    if (i != lines / 2) continue;
    if (stalls)
      co_await p->nap(
          std::chrono::milliseconds{static_cast<std::int64_t>(script.stall_ms.sample(luck))});
    if (asks && p->input_open()) {
      co_await p->write(channel::out, how.say(script.question + "\n"));
      auto line = co_await p->read_line();
      if (!line.empty()) co_await p->write(channel::out, how.say("answered: " + line));
    }
  }
  if (p->signalled() != 0) co_return 1;
  if (lines == 0) costs.call();
  if (!costs.why().empty()) {
    co_await p->write(channel::out,
                      how.end(true, costs.paid_usd(), costs.made(), costs.used(), costs.why()));
    co_return 1;
  }
  change_files(*p, name, std::strtoull(index.c_str(), nullptr, 10), files);
  co_await p->write(channel::out, how.end(fails, cost, lines, costs.used(), {}));
  co_return fails ? 1 : script.exit_code;
}

} // namespace skep::host::sim
