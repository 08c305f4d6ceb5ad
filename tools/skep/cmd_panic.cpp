// skep panic, freeze, thaw, drain: for many sandboxes at once, and for when something is wrong.
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

using clock = std::chrono::steady_clock;

struct selection_options {
  std::string target;
  bool all = false;
};

void add_selection(CLI::App& c, const std::shared_ptr<selection_options>& o) {
  c.add_option("SELECTOR", o->target,
               "A swarm (id, unique beginning, or name), a sandbox (sb_...), or provider:NAME");
  c.add_flag("--all", o->all, "Everything of this installation");
}

result<selection> read_selection(broker::control_client& daemon, const selection_options& o) {
  selection out;
  if (o.target.empty() != o.all)
    return make_error(errc::bad_argument,
                      "give a swarm, a sandbox, provider:NAME, or --all, and one of them");
  out.all = o.all;
  constexpr std::string_view provider = "provider:";
  if (o.target.starts_with(provider)) {
    out.provider = o.target.substr(provider.size());
    if (out.provider.empty()) return make_error(errc::bad_argument, "provider: needs a name");
  } else if (o.target.starts_with("sb_")) {
    out.sandbox.value = o.target;
  } else if (!o.all) {
    auto swarm = find_swarm(daemon, o.target);
    if (!swarm) return swarm.err();
    out.swarm = *swarm;
  }
  if (auto e = check_selection(out)) return e;
  return out;
}

// ---- panic --------------------------------------------------------------------------------------

struct panic_options {
  selection_options select;
  std::string limit = "60s";
};

json panic_document(const selection& s, const panic_reply& asked, const survivors_reply& left,
                    std::chrono::milliseconds took) {
  return {{"select", text_of(s)},
          {"sandboxes", asked.sandboxes},
          {"providers", asked.providers},
          {"survivors", left.listed + left.unlisted},
          {"ids", left.ids},
          {"unanswered", left.unanswered},
          {"took_ms", took.count()}};
}

error survivors_error(const survivors_reply& left) {
  std::string text = std::to_string(left.listed + left.unlisted) + " are left";
  for (std::size_t i = 0; i < left.ids.size() && i < 5; ++i)
    text += (i == 0 ? ": " : ", ") + left.ids[i];
  if (left.ids.size() > 5) text += ", ...";
  for (const auto& x : left.unanswered)
    text += "; not verified: " + x;
  return make_error(errc::survivors, text);
}

/// Kills, then asks the providers until they show none twice in a row: a create that was under way
/// may still come.
int panic(const app& a, const panic_options& o) {
  constexpr std::chrono::seconds again{5}; // then the providers are asked to kill once more
  std::int64_t limit_ms = 0;
  if (!parse_duration(o.limit, limit_ms))
    return fail(a, make_error(errc::bad_argument, "--limit takes a duration such as 60s"));
  signal_watch signals;
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail_unless_left(a, signals, daemon.err());
  auto select = read_selection(*daemon, o.select);
  if (!select) return fail(a, select.err());
  auto began = clock::now();
  auto took = [&] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - began);
  };
  auto asked = daemon->call(panic_request{*select}, command_deadline, random_token(20));
  if (!asked) return fail_unless_left(a, signals, asked.err());
  if (!a.json_mode)
    remark("Killing " + count_text(asked->sandboxes, "sandbox", "sandboxes") + " of "
           + text_of(*select));
  survivors_reply left;
  int none = 0;
  while (none < 2 && took().count() < limit_ms) {
    if (auto s = signals.next(); s != 0) return exit_code_of_signal(s);
    auto now = daemon->call(survivors_request{*select, asked->providers, took() >= again},
                            command_deadline);
    if (!now) return fail_unless_left(a, signals, now.err());
    left = std::move(*now);
    auto count = left.listed + left.unlisted;
    none = count == 0 && left.unanswered.empty() ? none + 1 : 0;
    if (!a.json_mode && count > 0) remark("  " + std::to_string(count) + " live");
    if (none < 2) signals.wait(std::chrono::milliseconds{500});
  }
  auto dead = none >= 2;
  if (a.json_mode && dead) print_json(panic_document(*select, *asked, left, took()));
  if (!dead) return fail(a, survivors_error(left));
  if (!a.json_mode) {
    std::string where;
    for (const auto& x : asked->providers)
      where += (where.empty() ? "" : ", ") + x;
    print_line("0 survivors of " + text_of(*select)
               + (where.empty() ? ": no provider can have any, and none was asked"
                                : ", asked at " + where));
  }
  return 0;
}

// ---- freeze, thaw -------------------------------------------------------------------------------

int freeze(const app& a, const selection_options& o, bool frozen) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto select = read_selection(*daemon, o);
  if (!select) return fail(a, select.err());
  auto reply = daemon->call(freeze_request{*select, frozen}, command_deadline, random_token(20));
  if (!reply) return fail(a, reply.err());
  if (a.json_mode) {
    print_json(to_json(*reply));
    return 0;
  }
  print_line("Agents of " + count_text(reply->sandboxes.size(), "sandbox", "sandboxes") + " "
             + (frozen ? "are stopped where they are." : "go on."));
  if (frozen)
    remark("Their sandboxes run on, and so do time limits and prices: skep thaw "
           + (o.all ? std::string{"--all"} : o.target));
  return 0;
}

// ---- drain --------------------------------------------------------------------------------------

int drain(const app& a, bool undo) {
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = ensure_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto reply = daemon->client.call(drain_request{!undo}, command_deadline, random_token(20));
  if (!reply) return fail(a, reply.err());
  if (a.json_mode) {
    print_json(to_json(*reply));
    return 0;
  }
  print_line(undo ? "New runs are taken again."
                  : "No new runs are taken; " + std::to_string(reply->open_swarms) + " go on.");
  if (!undo) remark("This holds until: skep drain --undo");
  return 0;
}

} // namespace

void add_panic(CLI::App& cli, app& a) {
  auto p = std::make_shared<panic_options>();
  auto* c = add_command(
      cli, a, "panic", "Kill at once, and count at the provider what is left",
      "  skep panic --all\n  skep panic provider:cloud\n  skep panic sw_x\n\n"
      "Nothing is collected. It ends with 0 once the providers themselves show no sandbox of the\n"
      "selection any more, and with 75 when some are left after --limit or a provider does not\n"
      "answer; kills go on in the daemon all the same. With --all every provider is asked that\n"
      "has a key or was ever used; a local host that has no sandbox is not started for it.",
      [&a, p] { return panic(a, *p); });
  auto o = std::shared_ptr<selection_options>(p, &p->select);
  add_selection(*c, o);
  c->add_option("--limit", p->limit, "How long survivors are looked for")->capture_default_str();
  for (bool frozen : {true, false}) {
    auto f = std::make_shared<selection_options>();
    auto* x = frozen
                  ? add_command(cli, a, "freeze", "Stop agents where they are, for a look",
                                "  skep freeze sw_x\n  skep freeze --all\n\n"
                                "Their processes are stopped and lose nothing. Sandboxes run on:\n"
                                "time limits and prices, too. Go on with skep thaw.",
                                [&a, f] { return freeze(a, *f, true); })
                  : add_command(cli, a, "thaw", "Let frozen agents go on",
                                "  skep thaw sw_x\n  skep thaw --all",
                                [&a, f] { return freeze(a, *f, false); });
    add_selection(*x, f);
  }
  auto undo = std::make_shared<bool>(false);
  auto* d = add_command(cli, a, "drain", "Take no new runs; those that run go on",
                        "  skep drain\n  skep drain --undo\n\n"
                        "It holds until it is undone, also when skepd is started again.",
                        [&a, undo] { return drain(a, *undo); });
  d->add_flag("--undo", *undo, "Take new runs again");
}

} // namespace skep::cli
