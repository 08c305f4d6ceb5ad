// What uploads and downloads share: one call at a time, cancelled when the actor ends; one report;
// temporary files removed on every path.
//
//   inside:    REMOTE_DIR, a folder of this transfer alone
//   outside:   local_dir(), a folder of this transfer alone
//
// Both go when the actor ends, whatever ended it; but an upload in several parts that was ended
// from outside leaves those inside for the next attempt. After a success the SANDBOX hears of it
// when the folder inside is gone; failing to remove it is a warning.
#pragma once

#include "actors/guest_call.hpp"
#include "actors/transfer.hpp"

namespace skep::actors {

class transfer_base : public domain_actor<transfer_actor> {
public:
  /// `remote_dir`: the folder inside. With `keep_for_next` it outlives an end that is no report:
  /// the next attempt goes on with what is there.
  transfer_base(caf::actor_config& cfg, context_ptr context, transfer_id id, std::string remote_dir,
                bool keep_for_next = false);

  const char* name() const override { return "transfer"; }
  behavior_type make_behavior() override;
  void on_exit() override;

protected:
  /// The first step.
  virtual void start() = 0;

  sandbox::api& api() { return *ctx_->api; }
  const sandbox_context& context() const { return *ctx_; }
  const policies& limits() const { return ctx_->svc->limits; }
  const std::string& remote_dir() const { return remote_dir_; }
  std::filesystem::path local_dir() const;

  /// Runs work in the pool; its error fails the transfer at `step`.
  template <class T, class Next>
  void in_pool_then(const char* step, std::function<result<T>()> work, Next next) {
    in_pool<T>(ctx_->svc, std::move(work), arrived<T>(step, std::move(next)));
  }

  /// Removes a path inside, then goes on.
  void remove_then(std::string path, const char* step, std::function<void()> next);
  /// Calls skep-guest; its answer goes to `next`.
  void guest_then(std::vector<std::string> args, std::chrono::milliseconds limit, const char* step,
                  std::function<void(json)> next);
  /// Runs a command in the sandbox; what it prints goes to `on_output` as it comes, its end to
  /// `next`, also when it ends badly.
  void stream_then(sandbox::command what, std::function<void(const std::string&)> on_output,
                   std::function<void(const result<sandbox::command_result>&)> next);
  /// Sends a file or a part; whatever comes of it goes to `next`. While it takes long, `under_way`
  /// hears how many bytes of it are sent, no more often than policies::upload_progress.
  void send_then(sandbox::file_slice from, std::string to,
                 std::function<void(std::uint64_t)> under_way,
                 std::function<void(const result<void>&)> next);
  /// Fetches a file within `limit`, which is positive.
  void download_then(std::string from, std::filesystem::path to, std::chrono::milliseconds limit,
                     std::function<void()> next);

  /// The last step of success: cleans up inside, reports, ends.
  void finish(transfer_ending x);
  /// The last step otherwise.
  void fail(error why, const char* step);
  /// A step failed that does not give its error to `next`. The transfer fails with it, unless its
  /// kind can do better.
  virtual void step_failed(const error& why, const char* step) { fail(why, step); }

private:
  template <class T, class Next>
  auto arrived(const char* step, Next next) {
    return [this, step, next = std::move(next)](result<T> r) mutable {
      call_ = 0;
      if (!r) return step_failed(r.err(), step);
      if constexpr (std::is_void_v<T>)
        next();
      else
        next(std::move(*r));
    };
  }
  void report(transfer_ending x);

  context_ptr ctx_;
  transfer_id id_;
  std::string remote_dir_;
  sandbox::call_id call_ = 0; ///< Under way, or 0.
  bool keep_ = false;         ///< No report yet, and what is inside serves the next attempt.
  bool cleaned_ = false;      ///< Inside.
};

/// The folder of one transfer inside.
inline std::string own_folder(std::string_view parent, const transfer_id& id) {
  return std::string{parent} + "/" + id.value;
}

/// A TRANSFER as a child: temporary, named by its id, ended by its parent at the deadline.
template <class Transfer, class Plan>
child_spec transfer_child(context_ptr context, Plan plan, std::chrono::milliseconds deadline) {
  auto id = plan.transfer.value;
  return {std::move(id),
          [context = std::move(context), plan = std::move(plan)](caf::scheduled_actor* parent) {
            auto h = parent->spawn<Transfer>(context, plan);
            caf::anon_send(h, begin_a::value);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{5}, deadline};
}

} // namespace skep::actors
