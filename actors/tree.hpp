// The supervision tree of the daemon (docs/ARCHITECTURE.md, "Supervision tree").
//
//   root                 rest_for_one
//   |- journal           detached; its failure restarts everything below
//   |- recorder          events above swarms
//   |- limiter
//   |- queries           detached; the read side
//   |- work              one_for_all
//   |  |- swarms         dynamic: one supervisor a run
//   |  |- commands       the desk that starts and stops them
//   |  |- attachments    the desk of people's terminals
//   |  |- safety         the desk of drain, freeze, panic
//   |  `- reaper
//   `- edge              one_for_one, last: no command before the tree is up
//      |- publisher
//      `- control
//
// The http engine is a thread of sandbox/, shared by the clients of all providers; it lives as long
// as the process and restarts no actor.
#pragma once

#include "actors/command_desk.hpp"
#include "actors/journal.hpp"
#include "actors/query_desk.hpp"
#include "actors/reaper.hpp"
#include "actors/supervisor.hpp"

namespace skep::actors {

struct tree_parts {
  services_ptr svc;
  open_backend journal;
  journal_options journal_how; ///< With what is done when a COMMIT fails.
  daemon_facts facts;
  std::function<result<storage::reader>()> open_reader;
  reaper_tables tables;
  /// All runs that a former daemon left open; asked for again when `work` restarts. While they
  /// cannot be read, COMMANDS does not start.
  std::function<result<std::vector<open_run>>()> open_runs;
  std::shared_ptr<swarm_registry> registry;
  /// broker/ is above this room: its actors come in as factories.
  std::function<publisher_actor(caf::actor_system&)> start_publisher;
  std::function<control_actor(caf::actor_system&)> start_control;
  /// JOURNAL and QUERIES have threads of their own; false only under a virtual clock.
  bool own_threads = true;
  /// Called for every restart and give-up, in some supervisor's context.
  std::function<void(const child_restarted&)> on_restarted;
  std::function<void(const supervisor_gave_up&)> on_gave_up;
};

/// Starts the tree; an exit message to the answer stops it in order, right to left.
supervisor_actor start_tree(caf::actor_system& sys, tree_parts parts);

} // namespace skep::actors
