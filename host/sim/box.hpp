// One simulated sandbox: files, processes, panes.
#pragma once

#include "host/sim/memory_files.hpp"
#include "host/sim/process.hpp"
#include "host/sim/program.hpp"
#include "host/sim/scenario.hpp"
#include "host/sim/spending.hpp"
#include "messages/ids.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace skep::host::sim {

inline constexpr const char* home_path = "/home/user";

/// What all sandboxes of a world share.
struct surroundings {
  asio::io_context& io;
  std::uint64_t seed;
  const scenario& play;
  std::string version;
  /// Contents that were seen, so that the same upload to many sandboxes is kept once.
  std::map<std::string, std::weak_ptr<const std::string>> contents;
  /// Work trees by the hash of their archive.
  std::map<std::string, std::weak_ptr<const tree>> trees;

  /// `text`, or an equal one that some sandbox has already.
  content share(std::string text);
};

/// One attempt of an agent (guest/layout.hpp). Its log and its exit.json are files of the sandbox.
struct pane {
  std::string dir;
  pane_id id;
  std::uint32_t generation = 0;
  program_ptr agent;
  bool ended = false;
  std::map<std::string, bool> inputs; ///< Keys that were written.
};

class box : public std::enable_shared_from_this<box> {
public:
  box(surroundings& w, std::uint64_t n) : world(w), ordinal(n), processes(w.io), changed(w.io) {}

  surroundings& world;
  const std::uint64_t ordinal; ///< Counted over all creates of the world.
  sandbox_info info;
  string_map env_vars;
  memory_files files;
  process_table processes;
  spending spent;
  bool dead = false;
  std::map<std::string, std::uint64_t> runs; ///< Of programs that the scenario breaks.

  // What skep-guest keeps.
  std::map<std::string, std::shared_ptr<pane>> panes; ///< By directory.
  std::uint64_t epoch = 0;
  std::uint64_t followers = 0; ///< How many were started: the last one follows.
  notifier changed;            ///< A log grew, a pane came or ended, a follower took over.

  /// Makes the home directory and what every sandbox has.
  void furnish();
  /// The environment of a process, before its own variables.
  string_map environment() const;
  /// Paused programs stop at their next wait or output and go on from there.
  void set_paused(bool paused);
  bool paused() const { return paused_; }
  /// Ends every program in it.
  void end();

private:
  bool paused_ = false;
};

} // namespace skep::host::sim
