// The control and replay protocols: ROUTER endpoints of skepd, one msgpack map per message.
//
//   request  DEALER -> ROUTER   one frame: packed `request_frame`
//   reply    ROUTER -> DEALER   one frame: packed `reply_frame` with the same id
//
// The body of a request is the packed struct named in the list at the end of this file, the body of
// a reply the packed reply struct, or nothing when `failure.code` is not none. A request with an
// unknown version is answered with errc::wrong_version and the server's version. At most 1 MiB a
// request.
#pragma once

#include "messages/event_io.hpp"
#include "messages/health.hpp"
#include "messages/records.hpp"

namespace skep {

/// Version of frames and commands; a peer with another one is refused with an explanation.
inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::size_t max_request_bytes = 1024 * 1024;
inline constexpr std::size_t max_prompt_bytes = 100'000;
inline constexpr std::uint32_t max_panes_per_sandbox = 100;
inline constexpr std::uint32_t max_sandboxes_per_swarm = 1000;
/// Size of a pane's terminal until somebody who attaches brings another.
inline constexpr std::uint32_t pane_columns = 200, pane_rows = 50;
/// Largest number of columns or rows of a terminal.
inline constexpr std::uint32_t max_terminal_side = 1000;
/// Most bytes of one attach.read or attach.write.
inline constexpr std::uint32_t max_attach_bytes = 64 * 1024;
/// Longest wait of one attach.read.
inline constexpr std::uint32_t max_attach_wait_ms = 10'000;
inline constexpr std::size_t max_allow_hosts = 100;
/// Largest budget, in dollars.
inline constexpr double max_budget_usd = 1'000'000;
inline constexpr std::size_t max_time_warnings = 10;
/// Most successors of lost sandboxes in one run.
inline constexpr std::uint32_t max_replacements = 1000;

struct request_frame {
  std::uint32_t version = protocol_version;
  std::uint64_t id = 0; ///< Chosen by the client; comes back in the reply.
  std::string key;      ///< Idempotency key of a command that changes something; else empty.
  std::uint32_t command = 0;
  bytes body;
  SKEP_FIELDS(field(1, "version", x.version), field(2, "id", x.id), field(3, "key", x.key),
              field(4, "command", x.command), field(5, "body", x.body))
};

struct reply_frame {
  std::uint32_t version = protocol_version;
  std::uint64_t id = 0;
  error failure;
  bytes body;
  SKEP_FIELDS(field(1, "version", x.version), field(2, "id", x.id), field(3, "failure", x.failure),
              field(4, "body", x.body))
};

/// Everything a run is made from. Validated by check_spec() before anything is made.
struct swarm_spec {
  std::string name;
  std::string repo;    ///< Absolute path of a git work tree.
  std::string out_dir; ///< Absolute path; results go to out_dir/SWARM.
  std::string provider = "local";
  std::string template_name = "base";
  agent_kind agent = agent_kind::command;
  std::vector<std::string> argv; ///< For `command`: program and arguments.
  /// None, one for all panes, or one per pane of the whole swarm; prompt_for() fills them in.
  std::vector<std::string> prompts;
  std::uint32_t sandboxes = 1;            ///< 1 .. max_sandboxes_per_swarm
  std::uint32_t panes = 1;                ///< Per sandbox, 1 .. max_panes_per_sandbox
  bool keep = false;                      ///< Leave the sandboxes running at the end.
  bool share_tree = false;                ///< All panes of a sandbox work in one tree.
  std::map<std::string, std::string> env; ///< For agents; never secrets.
  std::int64_t limit_ms = 3'600'000;      ///< Hard limit of a sandbox's life, 1 s .. 24 h.
  std::uint32_t pane_restarts = 0;        ///< Attempts after a failed one, 0 .. 10.
  network_policy network = network_policy::model;
  /// For `packages` and `allowlist`: host names, or "*." before one for all hosts below it
  /// (messages/hosts.hpp). At most max_allow_hosts.
  std::vector<std::string> allow_hosts;
  /// Program and arguments of what runs once in each sandbox before its agents; may be empty.
  std::vector<std::string> setup;
  /// Agents get a terminal of pane_columns x pane_rows; `command` without prompts.
  bool pty = false;
  /// What the whole swarm and each pane may cost, sandbox time and models; 0: no limit. At most
  /// max_budget_usd.
  double budget_usd = 0;
  double pane_budget_usd = 0;
  bool no_queue = false; ///< Refused instead of waiting when a limit is reached.
  /// Soft limits of the run's time, ascending, each 1 s .. 24 h, at most max_time_warnings: passing
  /// one is told. Those at or beyond limit_ms never are.
  std::vector<std::int64_t> warn_at_ms = {1'800'000, 3'000'000};
  /// A pane without output and event for so long is warned of, then stopped; 0: never, else 1 s ..
  /// 24 h.
  std::int64_t idle_limit_ms = 0;
  /// More than so many percent of a sandbox's panes out fail it; 100: never. 0: as the daemon's
  /// policy has it.
  std::uint32_t panes_out_percent = 0;
  /// So many sandboxes that their provider lost get a successor; 0 .. max_replacements.
  std::uint32_t replace_lost = 0;
  /// For credentials in the work tree. The daemon asks nobody: `prompt` is `block` to it.
  scan_policy scan = scan_policy::block;
  /// What fails or runs out of time or money ends at once: what its agents did is not collected.
  bool no_partial = false;
  /// An agent that reports success and changed no file has done its task; else it is suspect.
  bool allow_no_changes = false;
  /// The provider of those sandboxes whose create `provider` refuses for its quota, its rate or
  /// want of room; empty: they wait for it. Another one than `provider`.
  std::string fallback;
  SKEP_FIELDS(field(1, "name", x.name), field(2, "repo", x.repo), field(3, "out_dir", x.out_dir),
              field(4, "provider", x.provider), field(5, "template", x.template_name),
              field(6, "agent", x.agent), field(7, "argv", x.argv), field(8, "prompts", x.prompts),
              field(9, "sandboxes", x.sandboxes), field(10, "panes", x.panes),
              field(11, "keep", x.keep), field(12, "share_tree", x.share_tree),
              field(13, "env", x.env), field(14, "limit_ms", x.limit_ms),
              field(15, "pane_restarts", x.pane_restarts), field(16, "network", x.network),
              field(17, "allow_hosts", x.allow_hosts), field(18, "setup", x.setup),
              field(19, "pty", x.pty), field(20, "budget_usd", x.budget_usd),
              field(21, "pane_budget_usd", x.pane_budget_usd), field(22, "no_queue", x.no_queue),
              field(24, "scan", x.scan), field(25, "warn_at_ms", x.warn_at_ms),
              field(26, "idle_limit_ms", x.idle_limit_ms),
              field(27, "panes_out_percent", x.panes_out_percent),
              field(41, "replace_lost", x.replace_lost), field(42, "no_partial", x.no_partial),
              field(43, "allow_no_changes", x.allow_no_changes), field(44, "fallback", x.fallback))
};

/// Ranges and combinations of a spec; none when it is sound. Touches nothing outside the spec.
error check_spec(const swarm_spec& spec);
/// The spec as it is for sandboxes at its fallback: that is their provider, and they have none
/// beside it. Local ones have the template `base`, others the one that was asked for.
swarm_spec at_fallback(swarm_spec spec);
/// Prompt rules: 1 .. max_prompt_bytes bytes (`{{index}}` counts as `{index}`) of UTF-8, no NUL, no
/// control characters (U+0080 .. U+009F are such) but newline, tab and, for files with CRLF,
/// carriage return. prompt_missing, prompt_too_long, prompt_has_nul for every control character,
/// bad_argument for what is not UTF-8.
error check_prompt(std::string_view prompt);
/// An idempotency key: none, or at most 64 of the characters A-Z a-z 0-9 . _ : - as it goes into
/// sandboxes as well; else bad_argument.
error check_key(std::string_view key);
/// The prompt of one pane: its placeholders `{index}` and `{count}` replaced by its number and the
/// number of panes. In one more pair of braces, `{{index}}`, a placeholder stands for itself.
std::string prompt_for(const swarm_spec& spec, std::uint32_t pane_index);
/// True when prompt_for() puts a number into this prompt of a spec.
bool has_placeholders(std::string_view prompt);
/// The prompt of a spec that prompt_for() makes exactly `text` of, whatever `text` holds.
std::string literal_prompt(std::string_view text);

struct run_request {
  swarm_spec spec;
  SKEP_FIELDS(field(1, "spec", x.spec))
};
/// The intent is on disk.
struct run_reply {
  swarm_id swarm;
  std::uint64_t seq = 0;                 ///< Sequence of swarm.created.
  std::vector<std::string> remarks = {}; ///< What is otherwise than it was asked for.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "seq", x.seq), field(25, "remarks", x.remarks))
};

/// What runs, what stayed of what is over, or what one word names.
struct list_request {
  bool all = false; ///< Closed swarms too; without it those alone that left a sandbox behind.
  /// Nothing but what this may mean, closed or not: swarms of this name, swarms and panes whose id
  /// it is, and from 4 characters on those whose id it begins. No sandboxes. Empty: everything.
  std::string named = {};
  /// Nothing but the swarms of this work tree (an absolute path), closed or not. Empty: of every.
  std::string repo = {};
  SKEP_FIELDS(field(1, "all", x.all), field(2, "named", x.named), field(3, "repo", x.repo))
};
struct list_reply {
  std::vector<swarm_record> swarms; ///< Newest first.
  std::vector<sandbox_record> sandboxes;
  std::vector<pane_record> panes;
  SKEP_FIELDS(field(1, "swarms", x.swarms), field(2, "sandboxes", x.sandboxes),
              field(3, "panes", x.panes))
};

struct status_request {
  swarm_id swarm;
  SKEP_FIELDS(field(1, "swarm", x.swarm))
};
struct status_reply {
  swarm_record swarm;
  std::vector<sandbox_record> sandboxes;
  std::vector<pane_record> panes;
  std::vector<transfer_record> transfers;
  std::uint64_t head_seq = 0;
  health_reply health{};                             ///< Of this swarm and what is in it.
  std::vector<replacement_record> replacements = {}; ///< Oldest first.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "sandboxes", x.sandboxes),
              field(3, "panes", x.panes), field(4, "transfers", x.transfers),
              field(5, "head_seq", x.head_seq), field(23, "health", x.health),
              field(41, "replacements", x.replacements))
};

struct log_read_request {
  pane_id pane;
  std::uint32_t generation = 0; ///< 0: the newest.
  /// Negative: so many bytes before the end, or up to 3 fewer where a UTF-8 character begins.
  std::int64_t offset = 0;
  std::uint32_t max_bytes = 64 * 1024;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "generation", x.generation),
              field(3, "offset", x.offset), field(4, "max_bytes", x.max_bytes))
};
struct log_read_reply {
  std::uint32_t generation = 0;
  std::uint64_t offset = 0; ///< Of the first byte of `data`.
  bytes data;
  std::uint64_t end_offset = 0; ///< Present size of this generation's log.
  bool closed = false;          ///< Nothing more will come in this generation.
  /// First byte that is kept: what was before it has been freed. `offset` is never below it.
  std::uint64_t begin_offset = 0;
  SKEP_FIELDS(field(1, "generation", x.generation), field(2, "offset", x.offset),
              field(3, "data", x.data), field(4, "end_offset", x.end_offset),
              field(5, "closed", x.closed), field(6, "begin_offset", x.begin_offset))
};

struct send_request {
  pane_id pane;
  bytes data; ///< Written to the agent's standard input as it is.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "data", x.data))
};
struct send_reply {
  std::uint64_t seq = 0;
  SKEP_FIELDS(field(1, "seq", x.seq))
};

struct stop_request {
  swarm_id swarm;    ///< Empty: all.
  bool kill = false; ///< Do not wait for agents, do not collect results.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "kill", x.kill))
};
struct stop_reply {
  std::vector<swarm_id> swarms; ///< Those that were asked to stop.
  std::uint64_t seq = 0;
  SKEP_FIELDS(field(1, "swarms", x.swarms), field(2, "seq", x.seq))
};

struct daemon_status_request {
  std::uint32_t reserved = 0;
  SKEP_FIELDS(field(1, "reserved", x.reserved))
};
struct daemon_status_reply {
  std::string version;
  std::int64_t pid = 0;
  std::uint64_t epoch = 0;
  std::string stream_id;
  std::uint64_t head_seq = 0;
  std::string state_dir;
  std::uint32_t open_swarms = 0;
  utc_time started_at{};
  bool draining = false; ///< No new runs are taken.
  SKEP_FIELDS(field(1, "version", x.version), field(2, "pid", x.pid), field(3, "epoch", x.epoch),
              field(4, "stream_id", x.stream_id), field(5, "head_seq", x.head_seq),
              field(6, "state_dir", x.state_dir), field(7, "open_swarms", x.open_swarms),
              field(8, "started_at_ms", x.started_at), field(16, "draining", x.draining))
};

struct daemon_stop_request {
  bool force =
      false; ///< Also while swarms run: they go on at the provider and are re-adopted later.
  SKEP_FIELDS(field(1, "force", x.force))
};
struct daemon_stop_reply {
  std::uint32_t open_swarms = 0;
  SKEP_FIELDS(field(1, "open_swarms", x.open_swarms))
};

/// What a command for many sandboxes means; exactly one of the four.
struct selection {
  bool all = false;     ///< Everything of this installation.
  std::string provider; ///< Everything at this provider.
  swarm_id swarm;
  sandbox_id sandbox;
  SKEP_FIELDS(field(1, "all", x.all), field(2, "provider", x.provider), field(3, "swarm", x.swarm),
              field(4, "sandbox", x.sandbox))
};

/// bad_argument unless exactly one is given and ids are ids.
error check_selection(const selection& s);
/// "all", "provider:NAME", or the id.
std::string text_of(const selection& s);
/// True when it means a sandbox with these properties.
bool selects(const selection& s, const std::string& provider, const swarm_id& swarm,
             const sandbox_id& sandbox);
/// True when it means this run as a whole: of a provider, each run that may make sandboxes there,
/// be it as its fallback.
bool selects(const selection& s, const swarm_spec& spec, const swarm_id& swarm);

/// Takes no new runs from here on (or again); those that run go on. Holds across restarts.
struct drain_request {
  bool on = false;
  SKEP_FIELDS(field(1, "on", x.on))
};
struct drain_reply {
  std::uint32_t open_swarms = 0;
  std::uint64_t seq = 0;
  SKEP_FIELDS(field(1, "open_swarms", x.open_swarms), field(2, "seq", x.seq))
};

/// Stops agents where they are, or lets them go on. Sandboxes run on: time limits and prices too.
struct freeze_request {
  selection select;
  bool frozen = false;
  SKEP_FIELDS(field(1, "select", x.select), field(2, "frozen", x.frozen))
};
struct freeze_reply {
  std::vector<sandbox_id> sandboxes; ///< Whose agents were told; the intents are on disk.
  SKEP_FIELDS(field(1, "sandboxes", x.sandboxes))
};

/// Kills at once. The reply comes when the wishes are on disk; `survivors` counts what is left.
struct panic_request {
  selection select;
  SKEP_FIELDS(field(1, "select", x.select))
};
struct panic_reply {
  std::uint32_t sandboxes = 0;        ///< Known to live at that moment.
  std::vector<std::string> providers; ///< Where survivors are to be looked for.
  std::uint64_t seq = 0;
  SKEP_FIELDS(field(1, "sandboxes", x.sandboxes), field(2, "providers", x.providers),
              field(3, "seq", x.seq))
};

/// Asks the providers themselves, by our labels, what still lives; with `end` those are killed
/// (again), which only follows a panic of the same selection.
struct survivors_request {
  selection select;
  std::vector<std::string> providers; ///< Besides those at which sandboxes of it may live.
  bool end = false;
  SKEP_FIELDS(field(1, "select", x.select), field(2, "providers", x.providers),
              field(3, "end", x.end))
};
struct survivors_reply {
  std::uint32_t listed = 0;            ///< In the providers' lists.
  std::uint32_t unlisted = 0;          ///< In no list, and yet answered by a GET.
  std::vector<std::string> ids;        ///< The providers' ids of the first 100 of both.
  std::vector<std::string> unanswered; ///< Providers that could not be asked, with the reason.
  SKEP_FIELDS(field(1, "listed", x.listed), field(2, "unlisted", x.unlisted),
              field(3, "ids", x.ids), field(4, "unanswered", x.unanswered))
};

/// Opens a person's terminal on one pane, or on all panes of a sandbox (in tmux, where it is
/// there). The client draws the id; the same request again is the same attachment. It ends when
/// nobody reads it for a while, when its sandbox ends, or at a deadline (docs/configuration.md).
struct attach_open_request {
  attachment_id attachment;
  pane_id pane;       ///< Or empty:
  sandbox_id sandbox; ///< All its panes.
  bool read_only = false;
  std::uint32_t columns = 80, rows = 24; ///< 1 .. max_terminal_side
  SKEP_FIELDS(field(1, "attachment", x.attachment), field(2, "pane", x.pane),
              field(3, "sandbox", x.sandbox), field(4, "read_only", x.read_only),
              field(5, "columns", x.columns), field(6, "rows", x.rows))
};
struct attach_open_reply {
  std::uint32_t generation = 0; ///< The pane's attempt that is shown; 0 for a sandbox.
  SKEP_FIELDS(field(1, "generation", x.generation))
};

/// Output of the terminal. Bytes before `offset` are taken as received and forgotten; the same
/// offset again gives the same bytes. They may act on a terminal: filter them before they reach
/// one.
struct attach_read_request {
  attachment_id attachment;
  std::uint64_t offset = 0;
  std::uint32_t wait_ms = 0;                  ///< For output to come, 0 .. max_attach_wait_ms.
  std::uint32_t max_bytes = max_attach_bytes; ///< 1 .. max_attach_bytes
  SKEP_FIELDS(field(1, "attachment", x.attachment), field(2, "offset", x.offset),
              field(3, "wait_ms", x.wait_ms), field(4, "max_bytes", x.max_bytes))
};
struct attach_read_reply {
  bytes data;         ///< From the offset on; may be empty when the wait is over.
  bool ended = false; ///< Nothing comes after `data`.
  error why;          ///< Of the end; none when the viewer ended by itself.
  SKEP_FIELDS(field(1, "data", x.data), field(2, "ended", x.ended), field(3, "why", x.why))
};

/// What was typed, and the present size of the terminal.
struct attach_write_request {
  attachment_id attachment;
  std::uint64_t offset = 0; ///< Of the first byte of `data` in all that was typed.
  bytes data;               ///< At most max_attach_bytes; none when only the size changes.
  std::uint32_t columns = 0, rows = 0; ///< 1 .. max_terminal_side; both 0: as before.
  SKEP_FIELDS(field(1, "attachment", x.attachment), field(2, "offset", x.offset),
              field(3, "data", x.data), field(4, "columns", x.columns), field(5, "rows", x.rows))
};
struct attach_write_reply {
  std::uint64_t next_offset = 0; ///< Where to go on; what is before was taken, once.
  SKEP_FIELDS(field(1, "next_offset", x.next_offset))
};

/// Ends the viewer, never the agent. One that is not there is closed.
struct attach_close_request {
  attachment_id attachment;
  SKEP_FIELDS(field(1, "attachment", x.attachment))
};
struct attach_close_reply {
  bool was_open = false;
  SKEP_FIELDS(field(1, "was_open", x.was_open))
};

/// Opens a shell for a person, as the sandbox's user: in the folder of a pane's agent, or in the
/// user's home. The sandbox runs, or was kept after its run. attach.read, .write and .close go on
/// from here; the shell ends with its attachment.
struct shell_open_request {
  attachment_id attachment; ///< As attach_open_request::attachment.
  pane_id pane;             ///< Or empty:
  sandbox_id sandbox;
  std::uint32_t columns = 80, rows = 24; ///< 1 .. max_terminal_side
  SKEP_FIELDS(field(1, "attachment", x.attachment), field(2, "pane", x.pane),
              field(3, "sandbox", x.sandbox), field(4, "columns", x.columns),
              field(5, "rows", x.rows))
};
struct shell_open_reply {
  utc_time kept_until{}; ///< When a kept sandbox ends; 0 for one whose run goes on.
  SKEP_FIELDS(field(1, "kept_until_ms", x.kept_until))
};

/// Forms and ranges of the requests about attachments; none when sound.
error check_attach(const attach_open_request& r);
error check_attach(const shell_open_request& r);
error check_attach(const attach_read_request& r);
error check_attach(const attach_write_request& r);
error check_attach(const attach_close_request& r);

/// A budget and what counts against it.
struct budget_line {
  budget_scope scope = budget_scope::day;
  std::string id;          ///< "2026-11-26", "2026-11", or the swarm.
  double limit_usd = -1;   ///< Below 0: none.
  double spent_usd = 0;    ///< Time and models.
  double reserved_usd = 0; ///< Kept free for sandboxes that have not cost it yet.
  double usd_per_hour = 0; ///< What the time of its sandboxes costs now.
  double model_usd = 0;    ///< The part of spent_usd that is models.
  std::string set_by;      ///< "skep.toml", "command", "run", or empty.
  SKEP_FIELDS(field(1, "scope", x.scope), field(2, "id", x.id), field(3, "limit_usd", x.limit_usd),
              field(4, "spent_usd", x.spent_usd), field(5, "reserved_usd", x.reserved_usd),
              field(6, "usd_per_hour", x.usd_per_hour), field(7, "model_usd", x.model_usd),
              field(8, "set_by", x.set_by))
};
/// A limit of a provider and what counts against it.
struct limit_line {
  std::string provider;
  std::string rule;        ///< "max_active", "creates_per_hour", ...
  std::int64_t limit = -1; ///< Below 0: none.
  std::uint64_t count = 0;
  std::string setting; ///< Its name in skep.toml.
  SKEP_FIELDS(field(1, "provider", x.provider), field(2, "rule", x.rule),
              field(3, "limit", x.limit), field(4, "count", x.count),
              field(5, "setting", x.setting))
};
/// A sandbox that waits for its creation; the fields of sandbox_waits.
struct waiting_line {
  swarm_id swarm;
  sandbox_id sandbox;
  std::string provider;
  std::uint32_t position = 0;
  std::string rule;
  std::uint64_t limit = 0;
  std::uint64_t count = 0;
  std::int64_t wait_ms = 0;
  std::string setting;
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "sandbox", x.sandbox),
              field(3, "provider", x.provider), field(4, "position", x.position),
              field(5, "rule", x.rule), field(6, "limit", x.limit), field(7, "count", x.count),
              field(8, "wait_ms", x.wait_ms), field(9, "setting", x.setting))
};

/// Money and limits as they are now.
struct budget_request {
  swarm_id swarm; ///< Only what waits of this swarm, and its budget; empty: all that are open.
  SKEP_FIELDS(field(1, "swarm", x.swarm))
};
struct budget_reply {
  std::vector<budget_line> budgets; ///< Day, month, then swarms, newest first.
  std::vector<limit_line> limits;
  std::vector<waiting_line> waiting; ///< In line.
  SKEP_FIELDS(field(1, "budgets", x.budgets), field(2, "limits", x.limits),
              field(3, "waiting", x.waiting))
};

/// What would become of a run that was asked for at this moment. Nothing is made, and no sandbox
/// loses its place for it.
struct plan_request {
  swarm_spec spec;
  SKEP_FIELDS(field(1, "spec", x.spec))
};
struct plan_reply {
  error refused;                         ///< Why it would be refused; none: it would begin.
  std::vector<std::string> remarks = {}; ///< As in run_reply.
  std::int64_t limit_ms = 0;             ///< The time limit that it would have.
  /// Of its provider; of max_active_per_repo what counts is of its own repository.
  std::vector<limit_line> limits = {};
  std::vector<budget_line> budgets = {}; ///< Day and month.
  /// How fast the last uploads to its provider were: the median, of files before compression. 0 of
  /// 0: none was measured.
  std::uint64_t upload_bytes_per_s = 0;
  std::uint32_t uploads_measured = 0;
  SKEP_FIELDS(field(1, "refused", x.refused), field(2, "remarks", x.remarks),
              field(3, "limit_ms", x.limit_ms), field(4, "limits", x.limits),
              field(5, "budgets", x.budgets), field(6, "upload_bytes_per_s", x.upload_bytes_per_s),
              field(7, "uploads_measured", x.uploads_measured))
};

/// Sets what all swarms together may cost in a day or a month; stronger than skep.toml.
struct budget_set_request {
  budget_scope scope = budget_scope::day; ///< day or month.
  double limit_usd = -1;                  ///< 0 .. max_budget_usd; below 0: no limit.
  SKEP_FIELDS(field(1, "scope", x.scope), field(2, "limit_usd", x.limit_usd))
};
struct budget_set_reply {
  std::uint64_t seq = 0;
  SKEP_FIELDS(field(1, "seq", x.seq))
};

/// Replay endpoint: chunks whose last sequence is >= from, in order.
struct replay_request {
  std::uint64_t from = 1;
  swarm_id swarm;                ///< Only this swarm, or all.
  sandbox_id sandbox;            ///< Only this sandbox, or all.
  std::uint32_t max_chunks = 64; ///< 1 .. 256
  SKEP_FIELDS(field(1, "from", x.from), field(2, "swarm", x.swarm), field(3, "sandbox", x.sandbox),
              field(4, "max_chunks", x.max_chunks))
};
struct replay_reply {
  std::string stream_id;
  std::uint64_t oldest = 1;  ///< Oldest sequence that is kept.
  std::uint64_t head = 0;    ///< Last sequence that is on disk.
  std::vector<chunk> chunks; ///< The first may begin before `from`.
  std::uint64_t next = 0;    ///< Where to go on; > head when everything was given.
  SKEP_FIELDS(field(1, "stream_id", x.stream_id), field(2, "oldest", x.oldest),
              field(3, "head", x.head), field(4, "chunks", x.chunks), field(5, "next", x.next))
};

// SKEP_COMMAND(number, request, reply, "name"): numbers are never reused.
#define SKEP_COMMANDS(SKEP_COMMAND)                                                                \
  SKEP_COMMAND(1, run_request, run_reply, "run")                                                   \
  SKEP_COMMAND(2, list_request, list_reply, "list")                                                \
  SKEP_COMMAND(3, status_request, status_reply, "status")                                          \
  SKEP_COMMAND(4, log_read_request, log_read_reply, "log.read")                                    \
  SKEP_COMMAND(5, send_request, send_reply, "send")                                                \
  SKEP_COMMAND(6, stop_request, stop_reply, "stop")                                                \
  SKEP_COMMAND(7, daemon_status_request, daemon_status_reply, "daemon.status")                     \
  SKEP_COMMAND(8, daemon_stop_request, daemon_stop_reply, "daemon.stop")                           \
  SKEP_COMMAND(9, attach_open_request, attach_open_reply, "attach.open")                           \
  SKEP_COMMAND(10, attach_read_request, attach_read_reply, "attach.read")                          \
  SKEP_COMMAND(11, attach_write_request, attach_write_reply, "attach.write")                       \
  SKEP_COMMAND(12, attach_close_request, attach_close_reply, "attach.close")                       \
  SKEP_COMMAND(13, budget_request, budget_reply, "budget")                                         \
  SKEP_COMMAND(14, budget_set_request, budget_set_reply, "budget.set")                             \
  SKEP_COMMAND(16, drain_request, drain_reply, "drain")                                            \
  SKEP_COMMAND(17, freeze_request, freeze_reply, "freeze")                                         \
  SKEP_COMMAND(18, panic_request, panic_reply, "panic")                                            \
  SKEP_COMMAND(19, survivors_request, survivors_reply, "survivors")                                \
  SKEP_COMMAND(20, replay_request, replay_reply, "replay")                                         \
  SKEP_COMMAND(23, health_request, health_reply, "health")                                         \
  SKEP_COMMAND(24, plan_request, plan_reply, "plan")                                               \
  SKEP_COMMAND(25, shell_open_request, shell_open_reply, "shell.open")

template <class Request>
struct command_traits;

#define SKEP_COMMAND_TRAITS(nr, Request, Reply, text)                                              \
  template <>                                                                                      \
  struct command_traits<Request> {                                                                 \
    static constexpr std::uint32_t number = nr;                                                    \
    static constexpr std::string_view name = text;                                                 \
    using reply = Reply;                                                                           \
    static_assert(check_fields<Request>() && check_fields<Reply>());                               \
  };
SKEP_COMMANDS(SKEP_COMMAND_TRAITS)
#undef SKEP_COMMAND_TRAITS

/// A packed request frame for one of the requests of the list.
template <message R>
std::string pack_request(std::uint64_t id, std::string key, const R& r) {
  return pack(
      request_frame{protocol_version, id, std::move(key), command_traits<R>::number, {pack(r)}});
}

} // namespace skep
