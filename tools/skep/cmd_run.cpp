// skep run: start a swarm and follow it to its end.
#include "broker/events_client.hpp"
#include "host/isolation.hpp"
#include "tools/skep/apply_results.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/dry_run.hpp"
#include "tools/skep/results_target.hpp"
#include "tools/skep/run_end.hpp"
#include "tools/skep/run_spec.hpp"
#include "tools/skep/run_view.hpp"
#include "tools/skep/scan_gate.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"
#include "tools/skepd/config.hpp"
#include "transfer/scan.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

namespace skep::cli {

namespace {

using namespace std::chrono_literals;

/// How long Ctrl+C waits for the daemon's word: until then a second one is not heard.
constexpr auto stop_deadline = 5s;

/// Sends the run; a lost answer is asked for again with the same key.
result<run_reply> send_run(broker::control_client& daemon, const swarm_spec& spec) {
  auto key = random_token(20);
  constexpr int attempts = 3;
  for (int i = 1;; ++i) {
    auto reply = daemon.call(run_request{spec}, command_deadline / attempts, key);
    if (reply || reply.err().code != errc::timed_out || i == attempts) return reply;
  }
}

void tell_detached(const app& a, const swarm_id& swarm) {
  if (a.json_mode) return print_json({{"detached", {{"swarm", swarm.value}}}});
  remark(swarm.value + " goes on without this terminal.");
  remark("  watch:  skep logs -f " + swarm.value + "\n  state:  skep status " + swarm.value
         + "\n  end it: skep stop " + swarm.value);
}

/// The same for one that needs nobody to end it. `results`: OUT/SWARM.
void tell_ending(const app& a, const swarm_id& swarm, const std::string& results) {
  if (a.json_mode) return tell_detached(a, swarm);
  remark(swarm.value + " is being stopped; results will be in " + safe_line(results) + ".");
  remark("  state:   skep status " + swarm.value + "\n  at once: skep kill " + swarm.value);
}

/// Follows one swarm until it is closed or the user leaves.
class follower {
public:
  /// `out`: the folder for results that was asked for.
  follower(const app& a, const storage::state_paths& paths, swarm_id swarm,
           broker::control_client daemon, const std::string& out, std::string apply)
      : apply_(std::move(apply)), app_(a), paths_(paths), swarm_(std::move(swarm)),
        results_(out + "/" + swarm_.value), daemon_(std::move(daemon)), view_(a.json_mode) {
    ask_next_daemon(daemon_, paths_);
  }

  int follow(signal_watch& signals, std::uint64_t from) {
    auto stream = broker::event_stream::follow(endpoints_of(paths_), from, {swarm_, {}});
    if (!stream) return leave_with(stream.err());
    while (!progress_.closed) {
      if (auto s = signals.next(); s != 0)
        if (auto code = on_signal(s); code >= 0) return code;
      auto e = stream->next(150ms);
      if (!e) {
        if (auto failure = revive(e.err())) return leave_with(failure);
        signals.wait(200ms);
        continue;
      }
      if (*e) {
        revivals_ = 0;
        if (app_.json_mode) print_json(broker::to_json(**e));
        if (auto lost = unread()) return leave_unread(lost);
        view_.step(progress_.apply(**e));
      }
      view_.draw(progress_);
    }
    return finish();
  }

  /// True for one that has not ended and needs nobody to end it.
  bool ends_itself() const {
    return !progress_.closed && (stop_accepted_ || progress_.state == swarm_phase::stopping);
  }

private:
  void tell_left() const {
    if (ends_itself()) return tell_ending(app_, swarm_, results_);
    tell_detached(app_, swarm_);
  }

  /// Why nobody reads the events any more. Whoever wants the results applied is served all the
  /// same: main tells it at the end.
  error unread() const { return apply_.empty() ? flush_output() : error{}; }
  int leave_unread(const error& e) {
    view_.clear();
    remark(swarm_.value + " goes on without this command. End it: skep stop " + swarm_.value);
    return info(e.code).exit_code;
  }

  int leave_with(const error& e) {
    view_.clear();
    auto code = fail(app_, e);
    if (!app_.json_mode) tell_left();
    return code;
  }

  /// The daemon may be killed and started at any time; its swarms go on. None when following can go
  /// on.
  error revive(const error& e) {
    constexpr int most = 5; // without an event in between
    if (e.code != errc::no_daemon) return daemon_may_return(e.code) ? error{} : e;
    if (revivals_ >= most) return e;
    view_.clear();
    // A request that found it away has had the next one started, and has said so.
    if (!reach_daemon(paths_)) remark("skepd is away; starting it again");
    auto again = ensure_daemon(paths_);
    if (!again && again.err().code == errc::cancelled) return {}; // the signal is looked at next
    ++revivals_;
    if (!again) {
      // A start that had its whole time and failed is told; one that met another is tried again.
      auto busy = again.err().code != errc::no_daemon && daemon_may_return(again.err().code);
      return busy ? error{} : again.err();
    }
    daemon_ = std::move(again->client);
    ask_next_daemon(daemon_, paths_);
    return {};
  }

  /// The exit code when the user leaves with this signal, or -1.
  int on_signal(int s) {
    view_.clear();
    if (s != SIGINT) {
      tell_left();
      return exit_hangup;
    }
    if (stopping_) {
      tell_left();
      return exit_interrupted;
    }
    remark("Stopping " + swarm_.value
           + "; its results are kept. Ctrl+C again only ends the wait for that.");
    // With one key, however often it is asked: what was accepted without an answer counts once.
    auto reply = daemon_.call(stop_request{swarm_, false}, stop_deadline, stop_key_);
    // Who pressed again meanwhile wanted to leave. Else the next one asks again: a swarm that was
    // not stopped costs money, and is not left for having been asked.
    stop_accepted_ = reply.ok();
    stopping_ = stop_accepted_ || signal_watch::pending();
    if (!reply)
      remark("the stop was not accepted: " + safe_line(render(reply.err()))
             + (stopping_ ? ""
                          : "\nCtrl+C asks again; SIGTERM, or closing the terminal, leaves it "
                            "to itself."));
    return -1;
  }

  int finish() {
    view_.clear();
    auto code = exit_code_of(progress_.result, progress_.why.code);
    auto status = daemon_.call(status_request{swarm_}, call_deadline);
    if (!status) return leave_with(status.err());
    status->swarm = where_results_are(paths_, std::move(status->swarm));
    if (app_.json_mode) {
      auto summary = to_json(*status);
      summary["exit_code"] = code;
      print_json({{"summary", summary}});
    } else {
      look_at_logs(paths_, *status);
      const auto folder = status->swarm.out_dir + "/" + swarm_.value;
      auto text = summary_text(*status) + collisions_text(folder);
      if (apply_.empty()) text += next_step(folder, swarm_.value);
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    }
    return apply_.empty() ? code : take_over(status->swarm, code);
  }

  /// Only what a run that went well brought: the rest waits for somebody to look at it.
  int take_over(const swarm_record& swarm, int code) {
    if (code != 0) {
      remark("Not applied, because the run did not go well. `skep diff " + swarm_.value
             + "` shows what there is, `skep apply " + swarm_.value + "` takes it over.");
      return code;
    }
    auto results = results_in((std::filesystem::path{swarm.out_dir} / swarm_.value).string());
    if (!results) return fail(app_, results.err());
    apply_options o;
    o.mode = apply_;
    auto done = apply_results(app_, *results, o);
    return done ? tell_applied(app_, *done, true) : fail(app_, done.err());
  }

  std::string apply_;
  const app& app_;
  const storage::state_paths& paths_;
  swarm_id swarm_;
  std::string results_; ///< OUT/SWARM, as it was asked for.
  broker::control_client daemon_;
  run_progress progress_;
  run_view view_;
  const std::string stop_key_ = random_token(20);
  bool stopping_ = false; ///< The stop was accepted, or the user did not wait for that.
  bool stop_accepted_ = false;
  int revivals_ = 0; ///< Daemons that were started since the last event.
};

/// What becomes of the placeholders in its prompts, or that nothing does: both may be meant
/// otherwise. Empty where there are none.
std::string remark_on_prompts(const run_options& o, const swarm_spec& spec) {
  bool filled = false, kept = false;
  for (std::uint32_t i = 0; i < spec.prompts.size(); ++i)
    if (has_placeholders(spec.prompts[i]))
      filled = true;
    else
      kept = kept || prompt_for(spec, i) != spec.prompts[i];
  if (filled)
    return "Note: in the prompt, {index} and {count} become the pane's number and the number of "
           "panes; {{index}} and {{count}} stand for {index} and {count} themselves.";
  if (kept && !o.prompt_files.empty() && !o.prompt_template)
    return "Note: in a prompt file, {index} and {count} stay as they are; with --prompt-template "
           "they become the pane's number and the number of panes.";
  return {};
}

/// The exit code of a run that `signal` ended before the daemon was asked for it.
int leave_unasked(const app& a, int signal) {
  const auto code = exit_code_of_signal(signal);
  if (a.json_mode) {
    auto document = error_document(make_error(errc::cancelled, "the run was not asked for yet"));
    document["error"]["exit_code"] = code; // this command's, not that of a request
    print_json(document);
  } else {
    remark("Left before the run was asked for: nothing of it was started.");
  }
  return code;
}

int run(const app& a, const run_options& o) {
  apply_options later;
  if (!o.apply.empty()) {
    later.mode = o.apply;
    if (auto e = check_apply(later)) return fail(a, e);
    if (o.detach)
      return fail(a, make_error(errc::bad_argument,
                                "--apply needs somebody who waits for the end: without --detach"));
  }
  auto planned = state_of(a);
  if (!planned) return fail(a, planned.err());
  auto spec = make_spec(o, a.trailing, *planned);
  if (!spec) return fail(a, spec.err());
  // Known now, and not after hours that cost money.
  if (later.mode == "pr")
    if (auto e = check_forge(a, spec->repo, later)) return fail(a, e);
  // Asked here as well, so that nothing is made where no sandbox could be.
  if (spec->provider == "local" || spec->fallback == "local") {
    for (const auto* name : {"skep-host", "skep-envd"})
      if (beside_self(name).empty())
        return fail(
            a, make_error(errc::program_missing, std::string{name} + " should stand beside skep"));
    if (auto possible = host::check_isolation(); !possible) return fail(a, possible.err());
  }
  if (spec->network == network_policy::open)
    remark("WARNING: --network open: the sandboxes may reach every public address of the internet, "
           "and send there whatever they hold.");
  auto files = transfer::take_inventory(spec->repo);
  if (!files) return fail(a, files.err());
  auto settings = tools::load_config_of(planned->root);
  if (!settings) return fail(a, settings.err());
  if (auto text = remark_on_prompts(o, *spec); !text.empty() && !a.json_mode) remark(text);
  auto scanned = scan_upload(*spec, *files, settings->scan_limit);
  if (auto text = remark_on_allowed(*spec, scanned); !text.empty()) remark(text);
  if (o.dry_run) {
    auto plan = plan_run(*spec, *planned, *files, scanned);
    if (!plan) return fail(a, plan.err());
    return show_plan(a, *plan, transfer::scan_refusal(spec->scan, scanned));
  }
  if (!a.json_mode)
    for (const auto& text : remarks_on_upload(*spec, *files))
      remark("Note: " + safe_line(text, 500));
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  if (auto refused = pass_gate(a, *paths, *spec, scanned)) {
    if (a.json_mode) print_json({{"scan", to_json(scanned)}});
    return fail(a, refused);
  }
  // Up to here nothing was asked of the daemon, and a signal simply ends this process, at a
  // question and during a long scan as well. From here on they are values: a run is never left
  // halfway.
  signal_watch signals;
  auto daemon = ensure_daemon(*paths);
  if (auto s = signals.next(); s != 0) return leave_unasked(a, s);
  if (!daemon) return fail(a, daemon.err());
  auto reply = send_run(daemon->client, *spec);
  if (!reply) {
    auto code = fail(a, reply.err());
    if (daemon->started_now) tell_what_runs(a, *paths);
    return code;
  }
  if (a.json_mode)
    print_json({{"run", to_json(*reply)}});
  else
    remark("Swarm " + reply->swarm.value + ": " + std::to_string(spec->sandboxes) + " x "
           + std::to_string(spec->panes) + " panes on " + safe_line(spec->repo));
  if (a.json_mode && scanned.telling()) print_json({{"scan", to_json(scanned)}});
  for (const auto& text : reply->remarks)
    if (!a.json_mode) remark("Note: " + safe_line(text, 500));
  if (o.detach) {
    if (a.json_mode) return 0;
    print_line(reply->swarm.value);
    tell_detached(a, reply->swarm);
    return 0;
  }
  follower following{a, *paths, reply->swarm, std::move(daemon->client), spec->out_dir, o.apply};
  auto code = following.follow(signals, reply->seq);
  // What is being stopped is not told to be running as well.
  if (code != exit_hangup && !following.ends_itself()) tell_what_runs(a, *paths);
  return code;
}

/// Words behind "--" are no option, and so nothing that CLI11 would show.
class run_help : public CLI::Formatter {
public:
  std::string make_usage(const CLI::App* command, std::string name) const override {
    auto out = CLI::Formatter::make_usage(command, std::move(name));
    return out.insert(out.find_last_not_of('\n') + 1, " [-- COMMAND...]");
  }
};

} // namespace

void add_run(CLI::App& cli, app& a) {
  auto o = std::make_shared<run_options>();
  auto* c = add_command(
      cli, a, "run", "Run a swarm of agents on a git repository and bring their changes back",
      "  skep run --sandboxes 2 --panes 2 -- ./fix.sh\n"
      "  skep run --agent claude --prompt \"Write the missing tests\"\n"
      "  skep run --sandboxes 4 --agent claude --prompt-file task.md --limit 30min --detach\n"
      "  skep run --budget 5usd --agent claude --prompt \"Update the dependencies\"\n"
      "  skep run --dry-run --sandboxes 10 --agent claude --prompt-file task.md\n\n"
      "Ctrl+C stops the swarm and keeps its results; a second one only ends the wait for that.\n"
      "A closed terminal leaves the swarm running.\n\n"
      "In --prompt, {index} and {count} are the pane's number, from 0, and the number of panes;\n"
      "{{index}} and {{count}} stand for {index} and {count} themselves. Prompt files arrive byte\n"
      "for byte, unless --prompt-template is given. A command finds both numbers in\n"
      "SKEP_PANE_INDEX and SKEP_PANE_COUNT.\n\n"
      "Exit code: 0 completed, 77 key refused, 79 time limit, 80 budget, 81 an agent failed,\n"
      "82 credentials in the work tree, 130 cancelled or left, 137 killed.",
      [&a, o] { return run(a, *o); });
  c->formatter(std::make_shared<run_help>());
  c->add_option("--repo", o->repo, "Git work tree to work on")->capture_default_str();
  c->add_option("--sandboxes", o->sandboxes, "Number of sandboxes, 1 to 1000")
      ->capture_default_str();
  c->add_option("--panes", o->panes, "Agents in each sandbox, 1 to 100")->capture_default_str();
  c->add_option("--agent", o->agent, "command or claude (default: command, when one is given)");
  c->add_option_function<std::string>(
      "--prompt",
      [o](const std::string& text) {
        o->prompt = text;
        o->prompt_given = true;
      },
      "What the agents shall do");
  c->add_option("--prompt-file", o->prompt_files,
                "The prompt from a file, byte for byte; repeated: one for each pane")
      ->expected(1)
      ->allow_extra_args(false) // one value each time it is given
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_flag("--prompt-template", o->prompt_template,
              "Fill in {index} and {count} in prompt files as well");
  c->add_option("--provider", o->provider, "Where the sandboxes are made")->capture_default_str();
  c->add_option("--fallback", o->fallback,
                "Where a sandbox is made that --provider refuses for its quota, its rate or want\n"
                "of room: a provider, or none, and it waits\n"
                "(default: fallback of [providers.NAME] of skep.toml, else none)");
  c->add_option("--template", o->template_name, "Sandbox template")->capture_default_str();
  c->add_option("--limit", o->limit, "Longest life of a sandbox, such as 90s, 30min, 2h")
      ->capture_default_str();
  c->add_option("--warn-at", o->warn_at,
                "Tell when so much of the time is over: 30min,50min, or none\n"
                "(default: [policy] warn_at_s of skep.toml, else 30min,50min)");
  c->add_option("--idle-limit", o->idle_limit,
                "Warn of an agent without a sign of life for so long, then stop it, such as 10min\n"
                "(default: never)");
  c->add_option_function<std::int64_t>(
      "--fail-above", [o](std::int64_t percent) { o->panes_out_percent = percent; },
      "Percent of a sandbox's panes, 1 to 100: more of them out fail it; 100: never\n"
      "(default: [policy] panes_out_percent of skep.toml, else 50)");
  c->add_option("--replace-lost", o->replace_lost,
                "So many sandboxes that their provider loses get a successor, which starts from\n"
                "the uploaded tree; 0 to 1000")
      ->capture_default_str();
  c->add_option("--budget", o->budget,
                "What the run may cost, sandbox time and models, such as 5usd; at its end the run\n"
                "is stopped with the outcome budget");
  c->add_option("--pane-budget", o->pane_budget, "What each pane may cost, such as 1usd");
  c->add_flag("--no-queue", o->no_queue,
              "Refuse the run where a limit would make its sandboxes wait");
  c->add_flag("--no-partial", o->no_partial,
              "Do not collect from sandboxes that fail, or whose time or money is over");
  c->add_flag("--allow-no-changes", o->allow_no_changes,
              "For tasks that need no change, such as a review: an agent that reports success\n"
              "and changed no file is completed, not suspect");
  c->add_option("--restarts", o->restarts, "Attempts after a failed one, 0 to 10")
      ->capture_default_str();
  c->add_option("--env", o->env, "NAME=VALUE for the agents; repeatable; never secrets")
      ->expected(1)
      ->allow_extra_args(false) // one value each time it is given
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--network", o->network,
                "What sandboxes may reach: none, model, packages, allowlist or open\n"
                "(default: model, which is nothing for an agent without one)");
  c->add_option("--allow", o->allow,
                "A host for --network allowlist or packages, such as api.example.com or\n"
                "*.example.com; repeatable; alone it means allowlist")
      ->expected(1)
      ->allow_extra_args(false) // one value each time it is given
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--setup", o->setup,
                "A word of the command that prepares each sandbox before its agents;\n"
                "repeatable: --setup npm --setup ci")
      ->expected(1)
      ->allow_extra_args(false) // one value each time it is given
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--name", o->name, "A name for this run");
  c->add_option("--out", o->out_dir, "Folder for results (default: REPO/skep-out)");
  c->add_option("--apply", o->apply,
                "At the end of a run that went well: files, patch, branch or pr, as skep apply");
  c->add_option("--scan", o->scan,
                "What credentials in the work tree mean: block, warn or prompt\n"
                "(default: [scan] policy of skep.toml, else block)");
  c->add_flag("--dry-run", o->dry_run,
              "Show files, findings, cost and limits of the run; make nothing");
  c->add_flag("--detach", o->detach, "Start it and return at once");
  c->add_flag("--keep", o->keep, "Leave the sandboxes running at the end");
  c->add_flag("--pty", o->pty, "Each agent gets a terminal, for programs that draw or ask");
  c->add_flag("--share-tree", o->share_tree, "All panes of a sandbox work in one tree");
}

} // namespace skep::cli
