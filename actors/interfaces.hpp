// The map of the running system: every typed actor interface, in the order of the supervision tree.
// A signature's comment says what the handler promises; INTERNAL marks messages an actor sends to
// itself. Names of actors in prose are in capitals (the JOURNAL).
//
// Rules for everybody here: requests have a deadline from a policy struct and an error handler;
// nothing blocks but the detached actors (JOURNAL, READER, PUBLISHER, CONTROL); time comes from the
// actor's clock; answers to strangers are typed results, never exceptions.
#pragma once

#include "messages/caf_inspect.hpp"
#include "messages/commands.hpp"
#include "messages/event_io.hpp"
#include "messages/follow.hpp"
#include "messages/masking.hpp"

#include <caf/all.hpp>

#include <functional>
#include <memory>

namespace skep::actors {

// ---- atoms: at most 10 characters of [0-9A-Za-z_] -------------------------------------------
using append_a = caf::atom_constant<caf::atom("append")>;
using flush_a = caf::atom_constant<caf::atom("flush")>;
using publish_a = caf::atom_constant<caf::atom("publish")>;
using output_a = caf::atom_constant<caf::atom("output")>;
using record_a = caf::atom_constant<caf::atom("record")>;
using note_a = caf::atom_constant<caf::atom("note")>;
using handle_a = caf::atom_constant<caf::atom("handle")>;
using pump_a = caf::atom_constant<caf::atom("pump")>;
using tick_a = caf::atom_constant<caf::atom("tick")>;
using begin_a = caf::atom_constant<caf::atom("begin")>;
using stop_a = caf::atom_constant<caf::atom("stop")>;
using input_a = caf::atom_constant<caf::atom("input")>;
using exited_a = caf::atom_constant<caf::atom("exited")>;
using admit_a = caf::atom_constant<caf::atom("admit")>;
using release_a = caf::atom_constant<caf::atom("release")>;
using position_a = caf::atom_constant<caf::atom("position")>;
using done_a = caf::atom_constant<caf::atom("done")>;
using reply_a = caf::atom_constant<caf::atom("reply")>;
using start_a = caf::atom_constant<caf::atom("start")>;
using adopt_a = caf::atom_constant<caf::atom("adopt")>;
using ready_a = caf::atom_constant<caf::atom("ready")>;
using lines_a = caf::atom_constant<caf::atom("lines")>;
using kill_a = caf::atom_constant<caf::atom("kill")>;
using lost_a = caf::atom_constant<caf::atom("lost")>;
using attach_a = caf::atom_constant<caf::atom("attach")>;
using read_a = caf::atom_constant<caf::atom("read")>;
using write_a = caf::atom_constant<caf::atom("write")>;
using close_a = caf::atom_constant<caf::atom("close")>;
using check_a = caf::atom_constant<caf::atom("check")>;
using freeze_a = caf::atom_constant<caf::atom("freeze")>;
using keepers_a = caf::atom_constant<caf::atom("keepers")>;
using stored_a = caf::atom_constant<caf::atom("stored")>;

// ---- what travels by reference inside the process -------------------------------------------

/// A chunk on its way to the JOURNAL (which fills in the numbers) and then to the PUBLISHER. The
/// sender gives it up: nobody but the present holder touches it.
using chunk_ptr = std::shared_ptr<chunk>;

/// One event as it will stand in a chunk: [type, at_ms, body], packed where it arose.
struct packed_event {
  std::string bytes;
};

/// Errors and texts of an event that may quote somebody else, through the mask of this process
/// (messages/masking.hpp).
template <event E>
void mask_quotes(E& e) {
  if constexpr (requires { e.why.cause; }) e.why = masked(std::move(e.why));
  if constexpr (std::is_same_v<E, notice>) e.text = masked_text(e.text);
  if constexpr (std::is_same_v<E, pane_usage>) e.summary = masked_text(e.summary);
  if constexpr (std::is_same_v<E, pane_restarting>) e.reason = masked_text(e.reason);
  if constexpr (std::is_same_v<E, agent_block>) {
    e.text = masked_text(e.text);
    e.name = masked_text(e.name);
  }
}

/// Packs an event, masked, so that no secret reaches the journal or a subscriber.
template <event E>
packed_event pack_now(utc_time at, E e) {
  packed_event out;
  mask_quotes(e);
  pack_event(out.bytes, at, e);
  return out;
}

/// Events that are stored together or not at all.
struct packed_events {
  std::vector<packed_event> all;
  template <event E>
  void add(utc_time at, const E& e) {
    all.push_back(pack_now(at, e));
  }
};

/// A piece of a pane's output for live subscribers; already appended to the daemon's log, secrets
/// masked.
struct output_piece {
  swarm_id swarm;
  sandbox_id sandbox;
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t offset = 0;
  std::string data;
};
using output_ptr = std::shared_ptr<const output_piece>;

/// A continuation that runs in its actor's own mailbox: how callbacks of other threads come home.
struct continuation {
  std::function<void()> run;
};

/// How a swarm, sandbox or pane is asked to end.
enum class stop_mode : std::uint8_t {
  graceful,    ///< Interrupt agents, collect results, then kill.
  timed_out,   ///< As graceful; the outcome is timed_out.
  kill,        ///< Kill at once; nothing is collected.
  idle,        ///< Of a pane: as timed_out, since it gave no sign of life.
  shutdown,    ///< As graceful, within the time that the daemon has for its own end.
  budget,      ///< As graceful; the outcome is budget.
  budget_kill, ///< As kill; the outcome is budget.
  limit_kill,  ///< As kill; the outcome is timed_out.
  /// As graceful, with all of its time, and nothing is kept: a former daemon had begun it as
  /// shutdown, and the present one goes on.
  former_shutdown
};

/// True for the modes that wait for nobody.
constexpr bool at_once(stop_mode how) {
  return how == stop_mode::kill || how == stop_mode::budget_kill || how == stop_mode::limit_kill;
}
/// What whoever is stopped like this ends with.
constexpr outcome outcome_of(stop_mode how) {
  switch (how) {
  case stop_mode::timed_out:
  case stop_mode::idle:
  case stop_mode::limit_kill:
    return outcome::timed_out;
  case stop_mode::kill:
    return outcome::killed;
  case stop_mode::budget:
  case stop_mode::budget_kill:
    return outcome::budget;
  case stop_mode::graceful:
  case stop_mode::shutdown:
  case stop_mode::former_shutdown:
    break;
  }
  return outcome::cancelled;
}

/// A SANDBOX asks for a place: it may be created when `then` is called without an error.
struct admission_request {
  swarm_id swarm;
  sandbox_id sandbox;
  std::string provider;
  std::string repo;
  std::chrono::milliseconds longest{0}; ///< It may live this long; for estimates.
  double reserved_usd = 0;              ///< What the sandbox needs free of every budget.
  bool no_queue = false;                ///< Refused instead of waiting.
  bool falls_back = false;     ///< Refused instead of waiting for the provider's own limit.
  caf::strong_actor_ptr asker; ///< Its death gives the place back until the intent is on disk.
  std::function<void(result<void>)> then;            ///< Any thread; posts to the asker.
  std::function<void(const sandbox_waits&)> waiting; ///< Any thread; posts to the asker.
};

/// What a SANDBOX gives back: its place in line, or a grant that it does not need any more.
struct place_given_back {
  sandbox_id sandbox;
  std::string provider;
  error refused = {}; ///< The provider's answer to its create, for want of room; else none.
};

/// What the SWARM learns when one of its sandboxes is closed.
struct sandbox_ending {
  sandbox_id sandbox;
  outcome result = outcome::none;
  error why;
  bool gave_up = false; ///< Its supervisor ended; the SWARM closes it in the journal.
};

/// Sandboxes of a swarm that have an actor at present.
struct open_sandboxes {
  std::vector<std::pair<sandbox_id, caf::strong_actor_ptr>> all;
};

/// What the SANDBOX learns when one of its transfers is over: from the TRANSFER itself, or from the
/// supervisor when the TRANSFER died or reached its deadline. The first word about a transfer
/// counts.
struct transfer_ending {
  transfer_id transfer;
  error why;                    ///< With its step; none: the transfer is done.
  std::uint64_t files = 0;      ///< That travelled.
  std::uint64_t size_bytes = 0; ///< Of the tree (upload) or of the patch (download).
  std::string sha256;           ///< Of the manifest (upload) or of the patch (download).
  std::string base_commit = {}; ///< Upload: what changes are compared with.
  bool is_head = false;         ///< Upload: the base is the user's own HEAD.
};

// ---- errors ---------------------------------------------------------------------------------

/// Our error as a caf::error: code = 1, category "skep", context = the whole skep::error.
caf::error to_caf(const error& e);
/// The other way; CAF's own errors become timed_out, shutting_down or internal.
error from_caf(const caf::error& e);

// ---- the tree -------------------------------------------------------------------------------

/// The JOURNAL: detached, owns the database's write side. Child of the root.
using journal_actor = caf::typed_actor<
    // Numbers and stores the chunk; answers its first sequence after COMMIT, then hands the chunk
    // to the PUBLISHER. Errors: those of this chunk alone. A failed COMMIT ends the process.
    caf::replies_to<append_a, chunk_ptr>::with<std::uint64_t>,
    // INTERNAL: commit what was collected.
    caf::reacts_to<flush_a>>;

/// Whoever answers requests of the control protocol: the READER (queries) and the SWARMS
/// (commands). A failure is part of the reply_frame; the handler itself fails only when the actor
/// dies.
using desk_actor = caf::typed_actor<caf::replies_to<handle_a, request_frame>::with<reply_frame>>;

/// Takes events of one sandbox (or swarm) into its chunk builder, in order of arrival.
using recorder_actor = caf::typed_actor<
    // Answers the event's sequence once it is on disk.
    caf::replies_to<record_a, packed_event>::with<std::uint64_t>,
    // In one chunk, however many they are: all are stored or none. Answers the sequence of the last
    // one. Errors: bad_argument without an event.
    caf::replies_to<record_a, packed_events>::with<std::uint64_t>,
    // Stored with the next chunk; nobody waits.
    caf::reacts_to<note_a, packed_event>>;

/// The LIMITER: admits starts of agents, about two per core at a time over all swarms.
using limiter_actor = caf::typed_actor<
    // Answers when the start may begin; the place is held until released (or the holder dies). One
    // sandbox never holds all places.
    caf::replies_to<admit_a, pane_id, sandbox_id>::with<void>,
    // Gives the place back, or the place in the queue.
    caf::reacts_to<release_a, pane_id>,
    // 0: holds a place; n: nth in the queue; errc::not_found otherwise.
    caf::replies_to<position_a, pane_id>::with<std::uint64_t>>;

/// ADMISSION: every limit of providers, all enforced together, and every budget. What counts is
/// read from the tables, so a restart changes nothing.
using admission_actor = caf::typed_actor<
    // In line, first come first served for each provider; see admission_request.
    caf::reacts_to<admit_a, admission_request>,
    // The intent of this sandbox is on disk, or it wants no place any more, or its place is free.
    caf::reacts_to<release_a, place_given_back>,
    // Whether this run may begin. Errors: never_fits, price_unknown, budget_spent; with no_queue
    // also rate and quota.
    caf::replies_to<check_a, swarm_spec>::with<void>,
    // The commands `budget` and `budget.set`.
    caf::replies_to<handle_a, request_frame>::with<reply_frame>,
    // INTERNAL: once a second while somebody waits or a budget is in force.
    caf::reacts_to<tick_a>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The SWARM: one per run. Owns the packing of the work tree, its sandboxes, its summary.
using swarm_actor = caf::typed_actor<
    // Starts the run (or goes on after a restart). Answers the sequence of swarm.created once on
    // disk.
    caf::replies_to<begin_a>::with<std::uint64_t>,
    // Asks for the end; answers the sequence of that wish once on disk. The outcome is
    // swarm.closed.
    caf::replies_to<stop_a, stop_mode>::with<std::uint64_t>,
    // Input for a pane of this swarm; answers the sequence of its receipt. Errors: cannot_send,
    // wrong_phase.
    caf::replies_to<input_a, pane_id, std::string, std::string>::with<std::uint64_t>,
    // Starts an ATTACH in the sandbox concerned; see the SANDBOX.
    caf::replies_to<attach_a, attach_open_request>::with<caf::strong_actor_ptr, std::uint32_t>,
    // The SANDBOX of this id, or all that are open for an empty one.
    caf::replies_to<keepers_a, sandbox_id>::with<open_sandboxes>,
    // From a SANDBOX: it is closed.
    caf::reacts_to<exited_a, sandbox_ending>,
    // From a SANDBOX: what one of its panes did is stored; others are still to be collected.
    caf::reacts_to<stored_a, sandbox_id>,
    // INTERNAL: limits of the run's time, once a second.
    caf::reacts_to<tick_a>,
    // INTERNAL: a callback of another thread.
    caf::reacts_to<done_a, continuation>>;

/// The SANDBOX: the life of one sandbox at its provider, phase by phase.
using sandbox_actor = caf::typed_actor<
    // Begins or re-adopts, as the state tables say.
    caf::reacts_to<begin_a>,
    // Asks for the end.
    caf::reacts_to<stop_a, stop_mode>,
    // Input for a pane: key, bytes.
    caf::replies_to<input_a, pane_id, std::string, std::string>::with<std::uint64_t>,
    // Starts an ATTACH; answers its handle and the attempt that it shows (0: all panes). Errors:
    // wrong_phase, no_such_pane.
    caf::replies_to<attach_a, attach_open_request>::with<caf::strong_actor_ptr, std::uint32_t>,
    // Stops its agents where they are (true), or lets them go on; answers the sequence of that
    // intent once on disk. Twice is once. Errors: wrong_phase.
    caf::replies_to<freeze_a, bool>::with<std::uint64_t>,
    // From a PANE: its agent runs.
    caf::reacts_to<ready_a, pane_id>,
    // From a PANE: it is closed with this outcome.
    caf::reacts_to<exited_a, pane_id, outcome, error>,
    // From the OUTPUT POLLER: output is incomplete from here on.
    caf::reacts_to<note_a, error>,
    // From the HEALTH POLLER: the provider has confirmed that the sandbox is gone.
    caf::reacts_to<lost_a, error>,
    // From ADMISSION: others need its place, and it was found dead; it fails with this error.
    caf::reacts_to<kill_a, error>,
    // From a TRANSFER, or from the supervisor in its place: it is over.
    caf::reacts_to<exited_a, transfer_ending>,
    // INTERNAL: the sandbox's one tick, policies::tick apart; handed on to the HEALTH POLLER.
    caf::reacts_to<tick_a>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The TRANSFER: one upload or download; temporary. Ends by itself when it has reported to the
/// SANDBOX. Its deadline belongs to the supervisor. However it ends, its calls are cancelled and
/// its temporary files are removed, here and inside.
using transfer_actor = caf::typed_actor<caf::reacts_to<begin_a>,
                                        // INTERNAL
                                        caf::reacts_to<done_a, continuation>>;

/// The ATTACH: a person's terminal on panes; temporary. Runs a viewer inside on a terminal of
/// envd and relays both ways. Ends when nobody reads it for a while, when it is closed, at its
/// deadline, or with its sandbox; however it ends, the viewer inside does too, and never an agent.
using attach_actor = caf::typed_actor<
    caf::reacts_to<begin_a>,
    // Output from an offset on, as attach_read_request says; one reader at a time, a newer one
    // takes the place of an older one. Errors: out_of_range for an offset that is gone or to come.
    caf::replies_to<read_a, attach_read_request>::with<attach_read_reply>,
    // Input and size. Takes what there is room for. Errors: cannot_send (read-only), out_of_range.
    caf::replies_to<write_a, attach_write_request>::with<attach_write_reply>,
    // Ends it.
    caf::reacts_to<close_a>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The PANE: one agent, attempt by attempt.
using pane_actor = caf::typed_actor<
    // Starts the first attempt, or takes up a recorded one.
    caf::reacts_to<begin_a>,
    // Bytes of the log of this generation that begin at this offset; in order, secrets masked.
    // Those that the PANE has read before are left out.
    caf::reacts_to<output_a, std::uint32_t, std::uint64_t, std::string>,
    // The agent of a generation ended, all of its bytes came before.
    caf::reacts_to<exited_a, follow_exit>,
    // Key and bytes for the agent's standard input. Errors: cannot_send, wrong_phase.
    caf::replies_to<input_a, std::string, std::string>::with<std::uint64_t>,
    caf::reacts_to<stop_a, stop_mode>,
    // Stops its agent where it is, or lets it go on.
    caf::reacts_to<freeze_a, bool>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The OUTPUT POLLER: one stream a sandbox, all panes' logs by byte offset.
using poller_actor = caf::typed_actor<caf::reacts_to<begin_a>,
                                      // INTERNAL
                                      caf::reacts_to<done_a, continuation>>;

/// The HEALTH POLLER: asks envd now and then whether it is alive, and the provider before it calls
/// a sandbox lost. Has no timer of its own.
using health_actor = caf::typed_actor<
    // From the SANDBOX: its tick.
    caf::reacts_to<tick_a>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The REAPER: repeats kills until they are confirmed, settles creates whose SANDBOX has ended,
/// ends sandboxes of ours that nobody knows.
using reaper_actor = caf::typed_actor<
    // See now to what the tables tell of (directory::wake_reaper); several at once are one.
    caf::reacts_to<kill_a>,
    // INTERNAL: once in 15 s.
    caf::reacts_to<tick_a>,
    // INTERNAL
    caf::reacts_to<done_a, continuation>>;

/// The PUBLISHER: detached, owns the XPUB socket.
using publisher_actor = caf::typed_actor<
    // Sends a committed chunk to subscribers of its swarm and sandbox.
    caf::reacts_to<publish_a, chunk_ptr>,
    // Sends output bytes to subscribers.
    caf::reacts_to<output_a, output_ptr>,
    // INTERNAL: poll the socket.
    caf::reacts_to<pump_a>,
    // INTERNAL: head beacon, once a second.
    caf::reacts_to<tick_a>>;

/// The CONTROL: detached, owns the ROUTER sockets (control, replay).
using control_actor = caf::typed_actor<
    // INTERNAL: poll the sockets.
    caf::reacts_to<pump_a>>;

} // namespace skep::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::chunk_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::output_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::packed_event)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::packed_events)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::continuation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::stop_mode)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::admission_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::place_given_back)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::swarm_spec)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::sandbox_ending)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::transfer_ending)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::actors::open_sandboxes)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::sandbox_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::attach_open_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::attach_read_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::attach_read_reply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::attach_write_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::attach_write_reply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::follow_exit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::pane_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::request_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::reply_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(skep::error)
