#include "actors/attach.hpp"

#include "actors/output_log.hpp"

#include <algorithm>
#include <mutex>
#include <optional>

namespace skep::actors {
namespace {

/// Largest piece of input of one call to envd.
constexpr std::size_t input_piece_bytes = 16 * 1024;
/// What may be the beginning of a secret is kept from the terminal so long at most: a person who
/// types waits for the echo.
constexpr std::chrono::milliseconds hold_back{50};
/// Between the end of an attachment's life and the moment at which others end it in its place.
constexpr std::chrono::seconds life_grace{60};

/// What the engine's thread and the ATTACH share about the viewer inside.
class viewer_link {
public:
  /// The viewer has started; false when nobody wants it any more.
  bool started(std::uint32_t pid) {
    std::lock_guard guard{mutex_};
    pid_ = pid;
    return !left_;
  }
  /// Nobody wants it any more: its pid, or 0 while it has not started.
  std::uint32_t leave() {
    std::lock_guard guard{mutex_};
    left_ = true;
    return pid_;
  }
  /// Output came: false when so much waits that the network should not be read.
  bool came(std::size_t size, std::size_t bound) {
    std::lock_guard guard{mutex_};
    waiting_ += size;
    if (waiting_ <= bound) return true;
    paused_ = true;
    return false;
  }
  /// The client has output: true when the network should be read again.
  bool went(std::size_t size, std::size_t bound) {
    std::lock_guard guard{mutex_};
    waiting_ -= size;
    return waiting_ < bound / 2 && std::exchange(paused_, false);
  }

private:
  std::mutex mutex_;
  std::uint32_t pid_ = 0;
  bool left_ = false;
  bool paused_ = false;
  std::size_t waiting_ = 0;
};

class attach_impl : public domain_actor<attach_actor> {
public:
  attach_impl(caf::actor_config& cfg, context_ptr context, attach_plan plan)
      : domain_actor(cfg), ctx_(std::move(context)), plan_(std::move(plan)),
        mask_(masked_forms(ctx_->svc->known_secrets())), size_(plan_.size), told_size_(plan_.size) {
    // Its sandbox ends, or the daemon: whoever waits for output hears of it.
    set_exit_handler([this](caf::exit_msg& x) {
      finish(make_error(errc::gone, "the sandbox or the daemon ends"));
      quit(std::move(x.reason));
    });
  }

  const char* name() const override { return "attach"; }

  behavior_type make_behavior() override {
    return {
        [this](begin_a) { begin(); },
        [this](read_a, const attach_read_request& r) { return on_read(r); },
        [this](write_a, const attach_write_request& r) { return on_write(r); },
        [this](close_a) { close(); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    answer_reader();
    leave_viewer();
    output_ = {};
    input_ = {};
    ctx_.reset();
  }

private:
  const policies& limits() const { return ctx_->svc->limits; }
  sandbox::api& api() { return *ctx_->api; }
  caf::actor_clock::time_point clock_now() { return this->clock().now(); }

  // ---- the viewer inside ----
  void begin() {
    last_seen_ = clock_now();
    began_ = last_seen_;
    watch_later();
    sandbox::command what;
    what.argv = plan_.argv;
    what.env["TERM"] = "xterm-256color"; // what the command line's filter knows
    what.pty = plan_.size;
    what.limit = limits().attach_life + life_grace;
    stream_ = api().open_stream(ctx_->address(), std::move(what), handlers());
  }

  sandbox::stream_handlers handlers() {
    sandbox::stream_handlers out;
    auto post = [self = me()](std::function<void()> work) {
      caf::anon_send(self, done_a::value, continuation{std::move(work)});
    };
    out.on_start = [this, post, link = link_, api = std::weak_ptr{ctx_->api},
                    where = ctx_->address()](std::uint32_t pid) {
      if (link->started(pid)) return post([this, pid] { started(pid); });
      if (auto a = api.lock()) end_viewer(*a, where, pid);
    };
    out.on_stdout = [this, post, link = link_,
                     bound = limits().attach_buffer_bytes](std::string_view data) {
      auto room = link->came(data.size(), bound);
      post([this, piece = std::string{data}] { output(piece); });
      return room;
    };
    out.on_stderr = [](std::string_view) { return true; };
    out.on_end = home<sandbox::command_result>(
        [this](const result<sandbox::command_result>& r) { ended(r); });
    return out;
  }

  static void end_viewer(sandbox::api& api, const sandbox::remote& where, std::uint32_t pid) {
    api.send_signal(where, pid, sandbox::signal::kill, [](const result<void>&) {});
  }

  /// One that has not started yet is ended by on_start, so its stream is kept until then.
  void leave_viewer() {
    if (stream_ == 0) return;
    if (auto pid = link_->leave()) {
      end_viewer(api(), ctx_->address(), pid);
      api().cancel(stream_);
    }
    stream_ = 0;
  }

  void started(std::uint32_t pid) {
    pid_ = pid;
    tell_size();
    send_input();
  }

  void output(const std::string& piece) {
    if (ended_) return;
    ++pieces_;
    show(mask_.feed(piece));
    if (mask_.held() > 0)
      later(hold_back, [this, nr = pieces_] {
        if (nr == pieces_ && !ended_) show(mask_.show());
      });
  }

  void show(std::string_view masked) {
    if (masked.empty()) return;
    output_ += masked;
    answer_reader();
  }

  void ended(const result<sandbox::command_result>& r) {
    stream_ = 0;
    if (!r)
      return finish(sandbox_goes() ? make_error(errc::gone, "its sandbox has ended") : r.err());
    auto well = r->exited && (plan_.is_shell || r->exit_code == 0);
    finish(well ? error{}
                : make_error(errc::remote_command_failed,
                             plan_.is_shell ? "the shell ended" : "the viewer ended", r->status));
  }

  /// Why a stream broke: nobody else tells an ATTACH of the ATTACH DESK.
  bool sandbox_goes() const {
    auto row = ctx_->svc->load_sandbox(ctx_->sandbox);
    return row && (row->kill_intended || (row->state == phase::closed && !row->kept));
  }

  /// Nothing comes any more; what came before can still be read.
  void finish(error why) {
    if (std::exchange(ended_, true)) return;
    output_ += mask_.flush();
    why_ = std::move(why);
    input_.clear();
    answer_reader();
    leave_viewer();
  }

  void close() {
    finish({});
    quit();
  }

  // ---- the client ----
  caf::timespan silence() {
    return reader_ ? caf::timespan{0} : clock_now() - last_seen_; // one that waits is there
  }

  /// One timer for both limits, so that nothing of a short visit is kept for hours.
  void watch_later() {
    caf::timespan wait = limits().attach_idle - silence();
    if (!ended_) wait = std::min<caf::timespan>(wait, began_ + limits().attach_life - clock_now());
    later(wait, [this] { watch(); });
  }

  void watch() {
    if (silence() >= limits().attach_idle) return close();
    if (clock_now() - began_ >= limits().attach_life)
      finish(make_error(errc::timed_out, "an attachment lives "
                                             + std::to_string(limits().attach_life.count())
                                             + " s at most"));
    watch_later();
  }

  caf::result<attach_read_reply> on_read(const attach_read_request& r) {
    last_seen_ = clock_now();
    answer_reader_with({}); // a newer question takes its place
    if (r.offset < taken_ || r.offset > taken_ + output_.size())
      return to_caf(make_error(errc::out_of_range,
                               "offset: output from " + std::to_string(taken_) + " to "
                                   + std::to_string(taken_ + output_.size()) + " is here"));
    auto received = static_cast<std::size_t>(r.offset - taken_);
    output_.erase(0, received);
    taken_ = r.offset;
    if (link_->went(received, limits().attach_buffer_bytes) && stream_ != 0) api().resume(stream_);
    reader_ = waiting_reader{make_response_promise<attach_read_reply>(), r.max_bytes, ++readers_};
    auto promise = reader_->promise;
    if (!output_.empty() || ended_)
      answer_reader();
    else if (r.wait_ms == 0)
      answer_reader_with({});
    else
      later(std::chrono::milliseconds{r.wait_ms}, [this, nr = readers_] {
        if (reader_ && reader_->number == nr) answer_reader_with({});
      });
    return promise;
  }

  void answer_reader() {
    if (!reader_) return;
    attach_read_reply x;
    x.data.data = output_.substr(0, reader_->max_bytes);
    x.ended = ended_ && x.data.data.size() == output_.size();
    if (x.ended) x.why = why_;
    answer_reader_with(std::move(x));
  }

  void answer_reader_with(attach_read_reply x) {
    if (!reader_) return;
    last_seen_ = clock_now();
    auto promise = std::exchange(reader_, std::nullopt)->promise;
    promise.deliver(std::move(x));
  }

  caf::result<attach_write_reply> on_write(const attach_write_request& r) {
    last_seen_ = clock_now();
    if (plan_.read_only && !r.data.data.empty())
      return to_caf(make_error(errc::cannot_send, "this attachment is read-only"));
    if (r.offset > typed_)
      return to_caf(
          make_error(errc::out_of_range, "offset: the next is " + std::to_string(typed_)));
    if (ended_) return attach_write_reply{typed_};
    if (r.columns != 0) {
      size_ = {static_cast<std::uint16_t>(r.columns), static_cast<std::uint16_t>(r.rows)};
      tell_size();
    }
    auto known =
        static_cast<std::size_t>(std::min<std::uint64_t>(typed_ - r.offset, r.data.data.size()));
    auto room = limits().attach_input_bytes - input_.size();
    auto fresh = r.data.data.substr(known, room);
    input_ += fresh;
    typed_ += fresh.size();
    send_input();
    return attach_write_reply{typed_};
  }

  /// One call at a time, so that order holds; each is sent once.
  void send_input() {
    if (sending_ || pid_ == 0 || input_.empty()) return;
    sending_ = true;
    auto piece = input_.substr(0, input_piece_bytes);
    input_.erase(0, piece.size());
    api().send_input(ctx_->address(), pid_, std::move(piece), true,
                     home<void>([this](const result<void>& r) {
                       sending_ = false;
                       if (ended_) return;
                       if (!r) return finish(r.err());
                       send_input();
                     }));
  }

  /// The newest size counts; one call at a time.
  void tell_size() {
    if (resizing_ || pid_ == 0) return;
    if (size_.columns == told_size_.columns && size_.rows == told_size_.rows) return;
    resizing_ = true;
    told_size_ = size_;
    api().resize_pty(ctx_->address(), pid_, size_, home<void>([this](const result<void>&) {
                       resizing_ = false;
                       if (!ended_) tell_size();
                     }));
  }

  struct waiting_reader {
    caf::typed_response_promise<attach_read_reply> promise;
    std::uint32_t max_bytes;
    std::uint64_t number;
  };

  context_ptr ctx_;
  attach_plan plan_;
  std::shared_ptr<viewer_link> link_ = std::make_shared<viewer_link>();
  sandbox::call_id stream_ = 0;
  std::uint32_t pid_ = 0;
  caf::actor_clock::time_point began_{}, last_seen_{};

  masker mask_;
  std::uint64_t pieces_ = 0; ///< Of output that came.
  std::string output_;       ///< Not acknowledged yet.
  std::uint64_t taken_ = 0;  ///< Offset of its first byte.
  std::optional<waiting_reader> reader_;
  std::uint64_t readers_ = 0;

  std::string input_;       ///< Not sent yet.
  std::uint64_t typed_ = 0; ///< All that was taken.
  bool sending_ = false;
  sandbox::command::terminal size_, told_size_;
  bool resizing_ = false;

  bool ended_ = false;
  error why_;
};

} // namespace

attach_actor spawn_attach(caf::scheduled_actor* parent, context_ptr context, attach_plan plan) {
  auto h = parent->spawn<attach_impl>(std::move(context), std::move(plan));
  caf::anon_send(h, begin_a::value);
  return h;
}

child_spec attach_child(context_ptr context, attach_plan plan) {
  auto id = plan.attachment.value;
  auto deadline = context->svc->limits.attach_life + life_grace;
  return {std::move(id),
          [context = std::move(context), plan = std::move(plan)](caf::scheduled_actor* parent) {
            return caf::actor_cast<caf::strong_actor_ptr>(spawn_attach(parent, context, plan));
          },
          restart_kind::temporary, std::chrono::seconds{5}, deadline};
}

} // namespace skep::actors
