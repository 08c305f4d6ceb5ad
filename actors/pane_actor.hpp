// The PANE's class, for the files that define it and nobody else:
//
//   pane.cpp        its messages, its life: taking up, output, an attempt's end, its own
//   pane_start.cpp  an attempt's launch, until the holder inside says that its agent runs
//   pane_stop.cpp   stops, freezing, signals
//   pane_input.cpp  input that is sent to the agent
#pragma once

#include "actors/input_fates.hpp"
#include "actors/note_bucket.hpp"
#include "actors/pane.hpp"
#include "actors/pane_output.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace skep::actors {

class pane_impl : public domain_actor<pane_actor> {
public:
  pane_impl(caf::actor_config& cfg, context_ptr context, pane_record record);

  const char* name() const override { return "pane"; }
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  // ---- helpers ----
  utc_time now() const { return ctx_->svc->wall_now(); }
  const policies& limits() const { return ctx_->svc->limits; }
  static error with_step(error e, const char* step);

  // ---- life (pane.cpp) ----
  void begin();
  void adopt();
  void make_output();
  void replay_log();
  void on_output(std::uint32_t generation, std::uint64_t offset, const std::string& bytes);
  void tell_blocks(std::vector<agent_block> blocks);
  void tell_suppressed();
  void tell_usage();
  void on_exited(const follow_exit& x);
  void judge();
  void ask_if_spent(const verdict& end, std::uint32_t attempt);
  void conclude(const verdict& end);
  void ask_for_changes(std::uint32_t attempt);
  void restart(const error& why);
  void close(outcome result, error why);
  void tell_closed();
  /// Nothing that is still heard of this attempt counts: its exit was seen, or it was given up.
  bool is_over(std::uint32_t attempt) const {
    return exit_seen_ == attempt || given_up_ == attempt;
  }

  // ---- an attempt's launch (pane_start.cpp) ----
  void start_attempt(std::uint32_t attempt);
  void next_attempt();
  void attempt_over(std::uint32_t attempt);
  void admit();
  void release_place();
  bool over_before_launch();
  void prepare();
  void await_ready();
  void no_word(std::uint32_t attempt);
  bool has_written() const;
  void start_agent();
  void on_launched(std::uint32_t attempt, const result<std::int64_t>& answer);
  void launched(std::int64_t pid);
  void try_again(error why, std::function<void()> step);
  void repeat(std::uint32_t attempt, const std::function<void()>& step);

  // ---- its end by force (pane_stop.cpp) ----
  void on_stop(stop_mode how);
  void take_reason(stop_mode how);
  void interrupt();
  void freeze(bool frozen);
  void tell_freeze(std::uint32_t tries);
  void send_signal(const char* signal_name);
  void kill_attempt(std::uint32_t attempt, std::uint32_t tries = 0);
  void kill_unheard(bool asked);

  // ---- input (pane_input.cpp) ----
  caf::result<std::uint64_t> on_input(const std::string& key, const std::string& bytes);
  void queue_input(const std::string& key, const std::string& bytes, std::uint64_t seq);
  void input_over();
  void write_input(const std::string& key, const std::string& bytes);
  void look_for_former_inputs();
  void ask_about(std::vector<open_input> former);
  void settle_former(const std::vector<open_input>& former, const std::string& recorded);

  context_ptr ctx_;
  pane_record rec_;
  std::optional<pane_output> output_; ///< Of the present attempt.
  note_bucket notes_;
  std::unique_ptr<follow_exit> early_exit_; ///< It came before the fact of its attempt's start.
  error why_;
  outcome stop_outcome_ = outcome::cancelled;
  error stop_why_;
  std::chrono::seconds interrupt_grace_{10}, kill_grace_{10}; ///< Of the stop that was asked for.
  std::uint32_t interrupted_ = 0; ///< The attempt that was asked to end.
  std::uint32_t awaited_ = 0;     ///< The attempt whose word is awaited, see await_ready().
  std::uint32_t asked_ = 0;       ///< The attempt whose launch was asked for in this life.
  std::uint32_t former_ = 0;      ///< The attempt whose launch a former life may have asked for.
  std::uint32_t word_ = 0;        ///< The attempt of which is known that its agent was started.
  std::uint32_t exit_seen_ = 0;   ///< The attempt whose exit was taken.
  std::uint32_t given_up_ = 0;    ///< The attempt that gave no word in its time.
  std::uint32_t over_ = 0; ///< The attempt that is known to have ended inside, or never began.
  std::uint32_t tries_ = 0;
  bool next_waits_ = false; ///< For the end of the attempt before.
  bool began_ = false;
  bool stopping_ = false;
  bool closing_ = false;
  bool has_turn_ = false;       ///< At the LIMITER: a place, or one in its queue.
  std::optional<bool> frozen_;  ///< What was asked for last of the present attempt.
  std::uint32_t freezes_ = 0;   ///< What was asked for so often: an answer knows whether it is old.
  bool telling_freeze_ = false; ///< A signal for it has no answer yet.
  bool may_stand_ = false;      ///< The present attempt's agent was stopped, in whatever life.
  struct input {
    std::string key;
    std::string bytes;
    std::uint64_t seq = 0; ///< The event that accepted it.
  };
  std::vector<input> inputs_;   ///< Accepted, their fate not yet on disk; the first is under way.
  bool settled_ = false;        ///< What a former life accepted has its fate, or there was nothing.
  std::set<std::string> taken_; ///< Keys of this life, until that is so.
};

} // namespace skep::actors
