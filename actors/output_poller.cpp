#include "actors/output_poller.hpp"

#include "actors/output_log.hpp"

#include <algorithm>
#include <atomic>
#include <optional>

namespace skep::actors {
namespace {

class output_poller_impl : public domain_actor<poller_actor> {
public:
  output_poller_impl(caf::actor_config& cfg, context_ptr context, std::vector<log_key> known,
                     std::optional<last_look> last = std::nullopt)
      : domain_actor(cfg), ctx_(std::move(context)), known_(std::move(known)),
        last_(std::move(last)), forms_(masked_forms(ctx_->svc->known_secrets())),
        limits_(ctx_->svc->limits) {}

  const char* name() const override { return "output_poller"; }

  behavior_type make_behavior() override {
    return {
        [this](begin_a) {
          began_ = clock().now();
          follow_or_poll();
          listen();
        },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    if (stream_ != 0) ctx_->api->cancel(stream_);
    if (no_room_since_) ctx_->output_waits(false);
    tell_last(make_error(errc::timed_out, "the rest was not fetched in time"));
    logs_.clear();
    place_.give_back();
    ctx_.reset();
  }

private:
  // What the engine's thread and this actor share about one stream: bytes that wait for this actor,
  // or for a PANE that it has handed them to.
  struct stream_state {
    std::atomic<std::size_t> waiting{0};
    std::atomic<bool> paused{false};
  };
  /// What a piece costs besides its bytes while it waits for a PANE, and how much a PANE is given
  /// between two questions whether it has taken it.
  static constexpr std::size_t piece_cost = 256, pane_share = 64 * 1024;
  /// In how many parts follow_silence is waited for.
  static constexpr std::uint32_t silent_looks = 4;
  static constexpr std::chrono::seconds truncations_apart{10};

  result<output_log*> log_of(const log_key& key) {
    auto i = logs_.find(key);
    if (i != logs_.end()) return &i->second;
    auto opened = output_log::open(ctx_->log_path(key.first, key.second), forms_);
    if (!opened) return opened.err();
    return &logs_.emplace(key, std::move(*opened)).first->second;
  }

  // A last look is short by itself.
  void follow_or_poll() {
    if (!last_ && !place_.have(ctx_->svc->followers)) begin_polling_for_want_of_streams();
    open_stream();
  }

  void open_stream() {
    sandbox::command what;
    what.argv = {ctx_->guest_path(), "follow",
                 "--root",           std::string{inside::panes},
                 "--epoch",          std::to_string(ctx_->svc->epoch),
                 "--deadline-s",     std::to_string(life().count())};
    heard_ = false;
    spoke_ = false;
    silent_ = 0;
    for (const auto& key : known_) {
      auto log = log_of(key);
      if (!log) return failed(log.err());
      what.argv.push_back("--from");
      what.argv.push_back(key.first.value + ":" + std::to_string(key.second) + ":"
                          + std::to_string((*log)->expected()));
    }
    reader_ = {};
    ++generation_;
    state_ = std::make_shared<stream_state>();
    auto mine = [this, g = generation_, self = me()](auto k) {
      return [this, g, self, k](auto... xs) {
        caf::anon_send(self, done_a::value, continuation{[this, g, k, xs...] {
                         if (g == generation_) k(xs...);
                       }});
      };
    };
    sandbox::stream_handlers handlers;
    handlers.on_stdout = [post = mine([this](const std::shared_ptr<std::string>& s) { take(*s); }),
                          state = state_,
                          bound = limits_.poll_buffer_bytes](std::string_view data) {
      auto waiting = state->waiting += data.size();
      // Paused before the bytes are handed over: the actor may drain them at once.
      auto pause = waiting > bound;
      if (pause) state->paused = true;
      post(std::make_shared<std::string>(data));
      return !pause;
    };
    handlers.on_stderr = [](std::string_view) { return true; };
    handlers.on_end = [post =
                           mine([this](const std::shared_ptr<result<sandbox::command_result>>& r) {
                             ended(*r);
                           })](result<sandbox::command_result> r) {
      post(std::make_shared<result<sandbox::command_result>>(std::move(r)));
    };
    stream_ = ctx_->api->open_stream(ctx_->address(), std::move(what), std::move(handlers));
  }

  std::chrono::seconds life() const {
    if (last_) return limits_.last_look;
    return polling_ ? limits_.poll_life : limits_.follower_life;
  }

  void take(const std::string& data) {
    silent_ = 0;
    reader_.feed(data);
    for (;;) {
      follow_reader::frame f;
      auto got = reader_.next(f);
      if (!got) return broken(breaks({}, got.err()));
      if (!*got) break;
      spoke_ = true;
      if (auto e = on_frame(f)) return broken(e);
    }
    done_with(state_, data.size());
    if (last_ && last_->wanted.empty()) all_is_here();
  }

  // A follower that hangs holds its stream open, and keepalives only prove the connection. Its
  // silence is counted in looks and not taken from a clock: a daemon that was itself stopped for a
  // while has all that came meanwhile still before it. While this side takes nothing, silence is
  // what it asked for. All pollers look at the same moments, as sandboxes tick.
  void listen() {
    const auto flows = stream_ != 0 && !state_->paused && state_->waiting == 0;
    silent_ = flows ? silent_ + 1 : 0;
    if (silent_ > (last_ ? 1 : silent_looks)) {
      auto why = make_error(errc::timed_out, "the follower gave no sign of life");
      last_ ? end_last(why) : broken(why);
    }
    caf::timespan every = caf::timespan{limits_.follow_silence} / silent_looks;
    later(every - clock().now().time_since_epoch() % every, [this] { listen(); });
  }

  void done_with(const std::shared_ptr<stream_state>& state, std::size_t size) {
    if (state->waiting.fetch_sub(size) - size < limits_.poll_buffer_bytes / 2
        && state->paused.exchange(false) && state == state_ && stream_ != 0)
      ctx_->api->resume(stream_);
  }

  error on_frame(const follow_reader::frame& f) {
    switch (f.kind) {
    case follow_kind::hello:
      return {};
    case follow_kind::pulse:
      succeeded();
      return {};
    case follow_kind::data:
      return on_frame_as<follow_data>(f, [this](auto& x) { return on_data(x); });
    case follow_kind::dropped:
      return on_frame_as<follow_dropped>(f, [this](auto& x) { return on_dropped(x); });
    case follow_kind::exit:
      return on_frame_as<follow_exit>(f, [this](auto& x) { return on_exited(x); });
    case follow_kind::failure:
      return on_frame_as<follow_failure>(f, [](auto& x) {
        return make_error(errc::remote_command_failed, "the follower ended", x.text.substr(0, 500));
      });
    }
    return breaks({}, make_error(errc::bad_frame, "unknown kind of frame"));
  }

  template <class T, class F>
  error on_frame_as(const follow_reader::frame& f, F k) {
    T x;
    if (!unpack_value(f.body.get(), x))
      return breaks({}, make_error(errc::bad_frame, "a follower's frame does not fit its kind"));
    return k(x);
  }

  // Everything in a frame is a claim from inside: only panes of this sandbox are believed, and only
  // attempts that were started, since each costs a file and a descriptor of ours.
  bool ours(const pane_id& id) const {
    if (!last_) return static_cast<bool>(ctx_->pane(id));
    return std::any_of(known_.begin(), known_.end(), [&](auto& k) { return k.first == id; });
  }

  error check_attempt(const log_key& key) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) return {};
    auto rows = ctx_->svc->load_panes(ctx_->sandbox);
    if (!rows) return {}; // nobody can tell
    auto row = std::find_if(rows->begin(), rows->end(),
                            [&](const pane_record& p) { return p.pane == key.first; });
    if (row != rows->end() && key.second >= 1 && key.second <= row->attempt) return {};
    return breaks({key.first, 0},
                  make_error(errc::bad_frame, "output of attempt " + std::to_string(key.second)
                                                  + " of " + key.first.value
                                                  + ", which was never started"));
  }

  // What breaks a stream at one log, such as a frame that does not fit or a write that fails,
  // counts on whatever arrives for others: only a good frame of its own clears it. Of no log that
  // there is (generation 0): a follower that lived to its end.
  // A full disk is nobody's failure.
  error breaks(const log_key& key, error why) {
    if (why.code == errc::disk_full) return why;
    failures_ = std::max(failures_, breaking_[key]++);
    return why;
  }

  error on_data(follow_data& x) {
    if (!ours(x.pane)) return {};
    log_key key{x.pane, x.generation};
    if (auto e = check_attempt(key)) return e;
    if (!has_room(x.data.data.size()))
      return make_error(errc::disk_full, "too little room for logs on the disk of this machine");
    auto log = log_of(key);
    if (!log) return breaks(key, log.err());
    remember(key);
    auto at = (*log)->position();
    auto written = (*log)->append(x.offset, x.data.data);
    if (!written) return breaks(key, written.err());
    breaking_.erase(key);
    succeeded();
    heard_ = true;
    ctx_->active(x.pane);
    hand_over(x.pane, x.generation, at, std::move(*written));
    trim({x.pane, x.generation}, **log, false);
    return {};
  }

  // An agent wrote faster than its output was fetched, or for long while nobody fetched it, and its
  // log inside has lost its front. What is here lies further back than a log keeps.
  error on_dropped(follow_dropped& x) {
    if (!ours(x.pane)) return {};
    log_key key{x.pane, x.generation};
    if (auto e = check_attempt(key)) return e;
    auto log = log_of(key);
    if (!log) return breaks(key, log.err());
    remember(key);
    if (auto skipped = (*log)->skip_to(x.begin_offset); !skipped) return breaks(key, skipped.err());
    breaking_.erase(key);
    succeeded();
    heard_ = true;
    ctx_->active(x.pane);
    tell_of_truncation(key, **log, false);
    return {};
  }

  // A flood is truncated many times a second, and each word says all that those before it said: the
  // journal gets one in a while, and the `last` of a log.
  void tell_of_truncation(const log_key& key, const output_log& log, bool last) {
    auto& [begin, at] = truncations_[key];
    const auto now = clock().now();
    if (log.begin() == begin || (!last && begin > 0 && now < at + truncations_apart)) return;
    begin = log.begin();
    at = now;
    note(ctx_->recorder(), ctx_->svc->wall_now(),
         log_truncated{key.first, key.second, begin, begin});
  }

  // A file system that cannot free a part of a file is told once; streaming goes on.
  void trim(const log_key& key, output_log& log, bool at_once) {
    auto freed = log.trim(limits_.log_cap_bytes, at_once);
    if (freed.ok()) tell_of_truncation(key, log, at_once);
    if (!freed && !std::exchange(told_of_trim_, true))
      note(ctx_->recorder(), ctx_->svc->wall_now(),
           notice{severity::warning, "log_not_trimmed",
                  "the log of " + key.first.value
                      + " grows beyond its cap: " + render(freed.err())});
  }

  error on_exited(const follow_exit& x) {
    if (!ours(x.pane)) return {};
    log_key key{x.pane, x.generation};
    if (auto e = check_attempt(key)) return e;
    auto log = log_of(key);
    if (!log) return breaks(key, log.err());
    if ((*log)->expected() < x.final_offset)
      return breaks(key,
                    make_error(errc::bad_frame, "an agent's end came before the end of its log"));
    remember(key);
    auto at = (*log)->position();
    auto rest = (*log)->finish();
    if (!rest) return breaks(key, rest.err());
    breaking_.erase(key);
    succeeded();
    hand_over(x.pane, x.generation, at, std::move(*rest));
    trim({x.pane, x.generation}, **log, true);
    if (last_)
      last_->wanted.erase(key);
    else
      caf::anon_send(ctx_->pane(x.pane), exited_a::value, x);
    return {};
  }

  void hand_over(const pane_id& id, std::uint32_t generation, std::uint64_t at, std::string bytes) {
    if (bytes.empty()) return;
    tell_of_room(); // they are on disk
    auto piece = std::make_shared<output_piece>(
        output_piece{ctx_->swarm, ctx_->sandbox, id, generation, at, std::move(bytes)});
    if (!last_ && ctx_->spec->agent != agent_kind::command) // its adapter reads nothing
      hand_to_pane(*piece);
    if (auto publisher = ctx_->svc->handles->publisher())
      caf::anon_send(publisher, output_a::value, output_ptr{piece});
  }

  // An adapter may be slower than the network: while it has not taken what it was given, nothing
  // more is read from there. Not every piece is asked for: a request costs until its deadline.
  void hand_to_pane(const output_piece& x) {
    auto& given = given_[x.pane];
    given += x.data.size() + piece_cost;
    if (given < pane_share)
      return caf::anon_send(ctx_->pane(x.pane), output_a::value, x.generation, x.offset, x.data);
    auto size = std::exchange(given, 0);
    state_->waiting += size;
    auto taken = [this, state = state_, size] { done_with(state, size); };
    ask<void>(
        this, ctx_->pane(x.pane), record_deadline, taken,
        [taken](caf::error&) { taken(); }, // a PANE that is gone takes nothing more
        output_a::value, x.generation, x.offset, x.data);
  }

  void remember(const log_key& key) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  }

  void broken(const error& why) {
    ctx_->api->cancel(std::exchange(stream_, 0));
    ++generation_; // what is still on its way belongs to a dead stream
    failed(why);
  }

  void ended(const result<sandbox::command_result>& r) {
    stream_ = 0;
    if (!r) return failed(r.err());
    if (!r->exited || r->exit_code != 0)
      return failed(
          make_error(errc::remote_command_failed, "the follower ended with " + r->status));
    // Its first act is a hello. Without a whole frame it had no time to look, or its words were
    // cut off; the same where a last look ends amid the only thing that it had to say.
    if (!spoke_ || (last_ && !heard_ && reader_.amid()))
      return failed(make_error(errc::network, "the follower ended before it had said anything"));
    // Its time was over; a new one goes on.
    std::erase_if(breaking_, [](const auto& x) { return x.first.second == 0; });
    if (last_ && !heard_) return all_is_here();
    polling_ ? poll_again() : open_stream();
  }

  // ---- where streams fail ----

  void begin_polling() {
    poll_from_now();
    note(ctx_->recorder(), ctx_->svc->wall_now(),
         notice{severity::warning, "output_polled",
                "streams of " + ctx_->sandbox.value
                    + " fail: its output is fetched in short calls, and comes later"});
  }

  // Nothing has failed: as many sandboxes as there are streams for are followed already.
  void begin_polling_for_want_of_streams() {
    poll_from_now();
    if (std::exchange(told_of_streams_, true)) return;
    note(ctx_->recorder(), ctx_->svc->wall_now(),
         notice{severity::info, "output_polled",
                "as many sandboxes are followed as skepd may have streams: the output of "
                    + ctx_->sandbox.value + " is fetched in short calls, and comes later"});
  }

  void poll_from_now() {
    polling_ = true;
    polling_since_ = clock().now();
    interval_ = limits_.poll_interval_first;
    place_.give_back();
  }

  // One call at a time: the next one begins after this one's end and a wait.
  void poll_again() {
    succeeded(); // it did all that it was asked for
    if (clock().now() - polling_since_ >= limits_.poll_for) {
      polling_ = false;
      return follow_or_poll();
    }
    auto wait = next_poll(limits_, interval_, heard_);
    interval_ = wait;
    later(wait, [this] { open_stream(); });
  }

  void succeeded() {
    failures_ = 0;
    failing_since_.reset();
    told_ = false;
  }

  // Where the network is away for some seconds, five tries are soon over, and the work of a night
  // with them: the last failure of a kind that may pass counts only when nothing has come for
  // policies::poll_give_up.
  bool counts(const error& why) {
    auto at = clock().now();
    if (!failing_since_) failing_since_ = at;
    auto may_pass = retriable(why) && why.code != errc::gone;
    return !may_pass || failures_ + 1 < limits_.poll_failures
           || at - *failing_since_ >= limits_.poll_give_up;
  }

  // ---- a full disk of this machine ----

  bool has_room(std::size_t bytes) const {
    const auto& room = ctx_->svc->room;
    return !room || room->take(bytes, limits_.log_room_bytes, limits_.disk_look);
  }

  // What agents write is safe inside, and the room that is left is the journal's. Nothing has
  // failed, so nothing is counted. A last look waits no longer than it may take.
  void wait_for_room(const error& why) {
    succeeded();
    const auto wait = last_ ? std::min(limits_.disk_wait, limits_.last_look) : limits_.disk_wait;
    if (last_ && clock().now() - began_ + wait >= limits_.last_look_limit) return end_last(why);
    if (!no_room_since_) {
      no_room_since_ = ctx_->svc->boot_now();
      note(ctx_->recorder(), ctx_->svc->wall_now(),
           notice{severity::warning, "output_waits_for_room",
                  "the disk has no room for the output of " + ctx_->sandbox.value
                      + ": it stays inside and is fetched once there is some: " + render(why)});
    }
    ctx_->output_waits(true);
    later(wait, [this, why] {
      if (!has_room(1)) return wait_for_room(why);
      ctx_->output_waits(false);
      open_stream();
    });
  }

  // A nearly full disk may not have taken the first word of it.
  void tell_of_room() {
    auto since = std::exchange(no_room_since_, std::nullopt);
    if (!since) return;
    auto waited = std::chrono::ceil<std::chrono::seconds>(ctx_->svc->boot_now() - *since);
    note(ctx_->recorder(), ctx_->svc->wall_now(),
         notice{severity::info, "output_waited",
                "the output of " + ctx_->sandbox.value + " waited " + std::to_string(waited.count())
                    + " s for room on the disk of this machine; it goes on where it was"});
  }

  // ---- a last look ----

  void last_failed(const error& why) {
    if (!retriable(why) || why.code == errc::gone || ++failures_ >= limits_.step_attempts)
      return end_last(why);
    later(limits_.step_wait * (1u << failures_), [this] { open_stream(); });
  }

  // Nobody looks there again, so nothing more comes to what maskers hold back: it is written as at
  // a log's end.
  void all_is_here() {
    for (auto& [key, log] : logs_) {
      auto at = log.position();
      auto rest = log.finish();
      if (!rest) return stream_ != 0 ? broken(rest.err()) : failed(rest.err());
      if (rest->empty()) continue;
      hand_over(key.first, key.second, at, std::move(*rest));
      trim(key, log, true);
    }
    end_last({});
  }

  void end_last(const error& why) {
    tell_last(why);
    this->quit();
  }

  // Once, whatever ends it.
  void tell_last(error why) {
    if (!last_ || !last_->over) return;
    last_looked x;
    if (why)
      for (const auto& key : last_->wanted)
        x.missing.push_back(key.first);
    x.why = std::move(why);
    std::exchange(last_->over, nullptr)(std::move(x));
  }

  // Logs are opened again: what was held back by a masker of the broken stream will be sent once
  // more.
  void failed(error why) {
    logs_.clear();
    if (why.code == errc::disk_full) return wait_for_room(why);
    if (last_) return last_failed(why);
    if (!counts(why)) return later(limits_.poll_wait_most, [this] { open_stream(); });
    ++failures_;
    why.sandbox = ctx_->sandbox;
    if (why.step.empty()) why.step = "output";
    if (!told_)
      note(ctx_->recorder(), ctx_->svc->wall_now(),
           poll_failed{failures_, limits_.poll_failures, why});
    if (failures_ >= limits_.poll_failures || why.code == errc::stale_epoch)
      return tell_keeper(why);
    if (!polling_ && failures_ >= limits_.poll_after_failures) begin_polling();
    auto wait = std::min<caf::timespan>(
        limits_.poll_wait_most, limits_.poll_wait_first * (1u << std::min(failures_ - 1, 10u)));
    later(wait, [this] { open_stream(); });
  }

  // What is given up is the SANDBOX's to say, which ends this actor then. It may as well wait for
  // a network, and then output goes on when there is one.
  void tell_keeper(const error& why) {
    caf::anon_send(ctx_->keeper(), note_a::value, why);
    if (!retriable(why)) return;
    told_ = true;
    failures_ = 0;
    failing_since_.reset();
    later(limits_.poll_wait_most, [this] { open_stream(); });
  }

  context_ptr ctx_;
  std::vector<log_key> known_;
  std::optional<last_look> last_;
  std::vector<std::string> forms_;
  policies limits_;
  std::map<log_key, output_log> logs_;
  std::map<pane_id, std::size_t> given_;      ///< To a PANE since it was asked last.
  std::map<log_key, std::uint32_t> breaking_; ///< In a row; see breaks().
  follow_reader reader_;
  std::shared_ptr<stream_state> state_;
  sandbox::call_id stream_ = 0;
  std::uint64_t generation_ = 0;
  std::uint32_t failures_ = 0;                                ///< In a row, those that count.
  std::optional<caf::actor_clock::time_point> failing_since_; ///< Nothing has come since.
  std::uint32_t silent_ = 0; ///< Looks in a row that found nothing new; see listen().
  caf::actor_clock::time_point began_{};
  std::optional<std::chrono::milliseconds> no_room_since_; ///< Output waits for the disk.
  bool told_of_trim_ = false;
  std::map<log_key, std::pair<std::uint64_t, caf::actor_clock::time_point>> truncations_; ///< Told.
  bool told_of_streams_ = false;
  bool told_ = false; ///< The SANDBOX, and nothing has come since.

  follower_place place_; ///< While its followers last.
  bool polling_ = false; ///< Streams fail, or there are too few: followers are short.
  bool heard_ = false;   ///< The present one brought bytes.
  bool spoke_ = false;   ///< It sent a whole frame of any kind.
  caf::actor_clock::time_point polling_since_{};
  std::chrono::milliseconds interval_{}; ///< Before the present one.
};

} // namespace

std::chrono::milliseconds next_poll(const policies& p, std::chrono::milliseconds last,
                                    bool anything_came) {
  return anything_came ? p.poll_interval_first : std::min(last * 2, p.poll_interval_most);
}

caf::strong_actor_ptr spawn_output_poller(caf::scheduled_actor* parent, context_ptr context,
                                          std::vector<log_key> known) {
  auto h = parent->spawn<output_poller_impl>(std::move(context), std::move(known));
  caf::anon_send(h, begin_a::value);
  return caf::actor_cast<caf::strong_actor_ptr>(h);
}

child_spec last_look_child(context_ptr context, std::vector<log_key> known, last_look what) {
  auto deadline = context->svc->limits.last_look_limit;
  return {last_look_name,
          [context = std::move(context), known = std::move(known),
           what = std::move(what)](caf::scheduled_actor* parent) {
            auto h = parent->spawn<output_poller_impl>(context, known, what);
            caf::anon_send(h, begin_a::value);
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{5}, deadline};
}

std::vector<log_key> unseen_ends(const sandbox_context& context,
                                 const std::vector<pane_record>& panes) {
  std::vector<log_key> out;
  for (const auto& p : panes) {
    if (p.attempt == 0) continue;
    std::error_code ec;
    auto size = std::filesystem::file_size(context.log_path(p.pane, p.attempt), ec);
    const bool short_of_it = (ec ? 0 : size) < p.final_offset;
    if (short_of_it || (p.exit_code == -1 && p.signal == 0)) out.emplace_back(p.pane, p.attempt);
  }
  return out;
}

} // namespace skep::actors
