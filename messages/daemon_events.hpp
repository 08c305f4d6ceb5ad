// Events above swarms: of the daemon itself, its commands, its budgets. Numbers, names and what an
// event is: events.hpp, which includes this.
#pragma once

#include "messages/enums.hpp"
#include "messages/error.hpp"
#include "messages/fields.hpp"
#include "messages/ids.hpp"

namespace skep {

/// A daemon took the state directory over. First event of every epoch.
struct daemon_started {
  std::uint64_t epoch = 0; ///< Grows by one with every daemon of this state directory.
  std::string version;
  std::int64_t pid = 0;
  SKEP_FIELDS(field(1, "epoch", x.epoch), field(2, "version", x.version), field(3, "pid", x.pid))
};

/// The daemon ends in order; nothing follows in this epoch.
struct daemon_stopping {
  std::uint64_t epoch = 0;
  std::string reason;
  SKEP_FIELDS(field(1, "epoch", x.epoch), field(2, "reason", x.reason))
};

/// A command was accepted; its key is kept for 24 h (same key, other command: conflict).
struct command_accepted {
  std::string key;         ///< Idempotency key, 1 to 64 characters.
  std::string command;     ///< Name of the command.
  std::string fingerprint; ///< SHA-256 (hex) of the command's body.
  bytes reply;             ///< Packed reply (msgpack) to give again.
  utc_time expires_at{};
  SKEP_FIELDS(field(1, "key", x.key), field(2, "command", x.command),
              field(3, "fingerprint", x.fingerprint), field(4, "reply", x.reply),
              field(5, "expires_at_ms", x.expires_at))
};

/// A child of the supervision tree was restarted.
struct child_restarted {
  std::string path; ///< Place in the tree, such as "root/work/swarms/sw_x/sb_y/poller".
  std::string reason;
  std::uint32_t restarts = 0; ///< Restarts in the present window, this one included.
  std::int64_t delay_ms = 0;  ///< Backoff before the start.
  SKEP_FIELDS(field(1, "path", x.path), field(2, "reason", x.reason),
              field(3, "restarts", x.restarts), field(4, "delay_ms", x.delay_ms))
};

/// A supervisor exceeded its restart intensity and gave up; its parent decides.
struct supervisor_gave_up {
  std::string path;
  std::string child;
  std::string reason;
  SKEP_FIELDS(field(1, "path", x.path), field(2, "child", x.child), field(3, "reason", x.reason))
};

/// Something people should read, without a state of its own.
struct notice {
  severity level = severity::info;
  std::string code; ///< Stable name, such as "poll_error".
  std::string text;
  SKEP_FIELDS(field(1, "level", x.level), field(2, "code", x.code), field(3, "text", x.text))
};

/// What all swarms together may cost in a day or a month (UTC) was set by a command.
struct budget_set {
  budget_scope scope = budget_scope::day; ///< day or month.
  double limit_usd = -1;                  ///< Below 0: none.
  SKEP_FIELDS(field(1, "scope", x.scope), field(2, "limit_usd", x.limit_usd))
};

/// A share of the budget of a day or a month is spent; told once for each.
struct budget_warned {
  budget_scope scope = budget_scope::day; ///< day or month.
  std::string period;                     ///< "2026-11-26" or "2026-11".
  std::uint32_t percent = 0;              ///< 50 or 80.
  double spent_usd = 0;                   ///< The cost so far of all swarms in it.
  double limit_usd = 0;
  std::string text = {}; ///< The same for people; empty in older journals.
  SKEP_FIELDS(field(1, "scope", x.scope), field(2, "period", x.period),
              field(3, "percent", x.percent), field(4, "spent_usd", x.spent_usd),
              field(5, "limit_usd", x.limit_usd), field(6, "text", x.text))
};

/// Somebody asked for a command that changes something; recorded as it arrives, whatever becomes of
/// it. Who: the peer of the control socket as the kernel names it.
struct command_asked {
  std::string command;   ///< Name of the command.
  std::string key;       ///< Its idempotency key, or empty.
  std::string subject;   ///< Id of the swarm, sandbox or pane concerned, or empty.
  std::int64_t uid = -1; ///< -1: not known.
  std::int64_t pid = 0;  ///< 0: not known.
  SKEP_FIELDS(field(1, "command", x.command), field(2, "key", x.key),
              field(3, "subject", x.subject), field(4, "uid", x.uid), field(5, "pid", x.pid))
};

/// The audit log was not what its anchor says when the daemon started; it was written anew from
/// the journal.
struct audit_repaired {
  std::uint64_t line = 0;  ///< First line that was damaged or missing.
  std::uint64_t lines = 0; ///< Lines that were written again.
  std::string problem;
  std::string evidence; ///< File that holds what was found, or empty.
  SKEP_FIELDS(field(1, "line", x.line), field(2, "lines", x.lines), field(3, "problem", x.problem),
              field(4, "evidence", x.evidence))
};

/// Something was done to the state directory without the daemon: a secret, a schema, a binding.
struct done_outside {
  std::string operation; ///< Stable name, such as "SECRET_SET".
  std::string subject;   ///< What it was done to; never a value.
  std::int64_t uid = -1;
  std::int64_t pid = 0;
  utc_time done_at{};
  SKEP_FIELDS(field(1, "operation", x.operation), field(2, "subject", x.subject),
              field(3, "uid", x.uid), field(4, "pid", x.pid), field(5, "done_at_ms", x.done_at))
};

/// No new runs are taken (or again): those that run go on. Holds across restarts of the daemon.
struct daemon_draining {
  bool on = false;
  std::string reason;
  SKEP_FIELDS(field(1, "on", x.on), field(2, "reason", x.reason))
};

/// Note: somebody asked for the end of everything that `select` means, at once.
struct panic_asked {
  std::string select;          ///< As text: "all", "provider:NAME", or an id.
  std::uint32_t sandboxes = 0; ///< That were known to live then.
  SKEP_FIELDS(field(1, "select", x.select), field(2, "sandboxes", x.sandboxes))
};

/// Note: the daemon ended with on_stop = "kill", and these did not end in their time. What lives at
/// a provider has its kill intent on disk: the next daemon's REAPER goes on.
struct stop_forced {
  std::int64_t after_ms = 0;
  std::vector<std::string> refused; ///< "sw_x sb_y p0": swarm, sandbox, panes.
  SKEP_FIELDS(field(1, "after_ms", x.after_ms), field(2, "refused", x.refused))
};

} // namespace skep
