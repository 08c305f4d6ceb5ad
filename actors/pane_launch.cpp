#include "actors/pane_launch.hpp"

#include "actors/guest_call.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

/// A launch takes a part of a second, and more where a machine is busy.
constexpr std::chrono::seconds min_launch_limit{1};

launch_plan plan_of(const sandbox_context& ctx, const pane_record& pane, agent_adapter& adapter) {
  pane_context about;
  about.pane = pane.pane;
  about.index = pane.index;
  about.count = ctx.spec->sandboxes * ctx.spec->panes;
  about.name = pane.name;
  about.gateway_url = ctx.svc->gateway_url(ctx.spec->provider);
  return adapter.plan(*ctx.spec, about);
}

} // namespace

std::string prompt_of(const sandbox_context& ctx, const pane_record& pane, agent_adapter& adapter) {
  return plan_of(ctx, pane, adapter).stdin_data;
}

std::string prompt_path(const pane_record& pane) {
  return std::string{inside::inbox} + "/" + pane.pane.value + "." + std::to_string(pane.attempt)
         + ".stdin";
}

std::string input_path(const pane_record& pane, const std::string& key) {
  return std::string{inside::inbox} + "/" + pane.pane.value + ".input."
         + transfer::sha256_of(key).substr(0, 16);
}

sandbox::command launch_command(const sandbox_context& ctx, const pane_record& pane,
                                agent_adapter& adapter) {
  auto plan = plan_of(ctx, pane, adapter);
  std::vector<std::string> args = {"pane",
                                   "--dir",
                                   ctx.pane_dir(pane.pane, pane.attempt),
                                   "--cwd",
                                   ctx.tree_of(pane.name),
                                   "--epoch",
                                   std::to_string(ctx.svc->epoch)};
  if (!plan.stdin_data.empty()) {
    args.push_back("--stdin-file");
    args.push_back(prompt_path(pane));
  } else if (plan.stdin_open) {
    args.push_back("--stdin");
    args.push_back("open");
  }
  if (ctx.spec->pty) {
    args.push_back("--pty");
    args.push_back(std::to_string(pane_columns) + "x" + std::to_string(pane_rows));
  }
  args.push_back("--log-cap-bytes");
  args.push_back(std::to_string(ctx.svc->limits.log_cap_inside()));
  args.push_back("--");
  for (auto& a : plan.argv)
    args.push_back(std::move(a));
  // Shorter than the time that its word has: where an answer is lost, it is asked for again.
  const auto& limits = ctx.svc->limits;
  auto limit = std::min(limits.guest_command, std::max(limits.ready_limit / 3, min_launch_limit));
  auto what = guest_command(ctx, std::move(args), limit);
  what.env = std::move(plan.env);
  return what;
}

sandbox::command changed_command(const sandbox_context& ctx, const pane_record& pane) {
  return guest_command(ctx,
                       {"changed", "--tree", ctx.tree_of(pane.name), "--base", ctx.base_commit()},
                       ctx.svc->limits.guest_command);
}

sandbox::command signal_command(const sandbox_context& ctx, const pane_id& pane,
                                std::uint32_t attempt, const std::string& name) {
  return guest_command(ctx, {"signal", "--dir", ctx.pane_dir(pane, attempt), "--signal", name},
                       ctx.svc->limits.guest_command);
}

std::chrono::milliseconds signal_wait(const policies& limits, std::uint32_t tries) {
  return std::min<std::chrono::milliseconds>(limits.kill_retry * (1 << std::min(tries, 6u)),
                                             limits.pane_wait_most);
}

} // namespace skep::actors
