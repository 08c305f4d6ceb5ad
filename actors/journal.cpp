#include "actors/journal.hpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace skep::actors {

namespace {

[[noreturn]] void end_process(const error& e) {
  // Straight to the descriptor: the log may share the full disk that brought us here.
  std::fprintf(stderr, "skepd: the journal could not be committed, ending at once: %s\n",
               render(e).c_str());
  std::fflush(stderr);
  std::_Exit(74);
}

class journal_impl : public journal_actor::base {
  using super = journal_actor::base;

public:
  journal_impl(caf::actor_config& cfg, directory_ptr dir, open_backend open,
               journal_options options)
      : super(cfg), dir_(std::move(dir)), open_(std::move(open)), options_(std::move(options)) {}

  const char* name() const override { return "journal"; }

  // What was appended is committed and answered even when the exit message overtook the flush.
  void on_exit() override {
    leaving_ = true;
    if (backend_ && !failed_) commit();
    backend_.reset();
    dir_.reset();
  }

  behavior_type make_behavior() override {
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
    auto backend = open_();
    open_ = nullptr;
    if (!backend) {
      failed_ = true;
      quit(to_caf(backend.err()));
      return behavior_type::make_empty_behavior();
    }
    backend_ = std::move(*backend);
    dir_->set_head_seq(backend_->head());
    return {
        [this](append_a, chunk_ptr& c) -> caf::result<std::uint64_t> {
          return append(std::move(c));
        },
        [this](flush_a) {
          flush_sent_ = false;
          commit();
        },
    };
  }

private:
  struct pending {
    chunk_ptr c;
    std::uint64_t first_seq;
    caf::typed_response_promise<std::uint64_t> promise;
  };

  caf::result<std::uint64_t> append(chunk_ptr c) {
    if (failed_) return to_caf(make_error(errc::shutting_down, "the journal has failed"));
    if (!c || c->count == 0) return to_caf(make_error(errc::bad_frame, "an empty chunk"));
    if (!open_transaction_) {
      if (auto begun = backend_->begin(); !begun) return to_caf(begun.err());
      open_transaction_ = true;
      opened_at_ = clock().now();
    }
    auto first = backend_->append(*c);
    if (!first) {
      if (backend_->broken()) return fail(first.err());
      ask_for_flush();
      return to_caf(first.err());
    }
    events_ += c->count;
    auto promise = make_response_promise<std::uint64_t>();
    batch_.push_back({std::move(c), *first, promise});
    if (events_ >= options_.commit_events || clock().now() - opened_at_ >= options_.commit_after)
      commit();
    else
      ask_for_flush();
    return promise;
  }

  // The message comes back when all that was in the mailbox by now has been appended: natural group
  // commit without looking at the mailbox.
  void ask_for_flush() {
    if (std::exchange(flush_sent_, true)) return;
    send(caf::actor_cast<journal_actor>(this), flush_a::value);
  }

  void commit() {
    if (!std::exchange(open_transaction_, false)) return;
    events_ = 0;
    auto batch = std::exchange(batch_, {});
    if (auto committed = backend_->commit(); !committed) {
      fail(committed.err());
      for (auto& p : batch)
        p.promise.deliver(to_caf(committed.err()));
      return;
    }
    if (batch.empty()) return;
    dir_->set_head_seq(batch.back().c->last_seq());
    for (auto& p : batch)
      p.promise.deliver(p.first_seq);
    if (auto publisher = dir_->publisher())
      for (auto& p : batch)
        caf::anon_send(publisher, publish_a::value, std::move(p.c));
    if (!leaving_) tell_word();
  }

  // What the backend has to say of itself goes the way of every event. Refused, as notes are on a
  // nearly full disk, it is said again after a later commit, unless something newer is.
  void tell_word() {
    if (auto news = backend_->word()) word_ = std::move(news);
    if (!word_) return;
    auto said = *std::exchange(word_, std::nullopt);
    chunk_ptr c = std::make_shared<chunk>();
    c->count = 1;
    c->body.data = pack_now(dir_->wall_now(), said).bytes;
    request(caf::actor_cast<journal_actor>(this), word_deadline, append_a::value, c)
        .then([](std::uint64_t) {},
              [this, said](caf::error&) {
                if (!word_) word_ = said;
              });
  }

  caf::error fail(const error& e) {
    failed_ = true;
    if (!options_.fatal) end_process(e);
    options_.fatal(e);
    for (auto& p : std::exchange(batch_, {}))
      p.promise.deliver(to_caf(e));
    quit(to_caf(e));
    return to_caf(e);
  }

  directory_ptr dir_;
  open_backend open_;
  journal_options options_;
  std::unique_ptr<journal_backend> backend_;
  std::vector<pending> batch_;
  std::uint32_t events_ = 0;
  caf::actor_clock::time_point opened_at_{};
  bool open_transaction_ = false;
  bool flush_sent_ = false;
  bool failed_ = false;
  bool leaving_ = false;
  /// For an answer of its own: longer than a commit takes.
  static constexpr auto word_deadline = std::chrono::seconds{30};
  std::optional<notice> word_; ///< Of the backend, and not told yet.
};

} // namespace

journal_actor spawn_journal(caf::actor_system& sys, directory_ptr dir, open_backend open,
                            journal_options options) {
  return sys.spawn<journal_impl, caf::detached>(std::move(dir), std::move(open),
                                                std::move(options));
}

journal_actor spawn_journal(caf::scheduled_actor* parent, directory_ptr dir, open_backend open,
                            journal_options options) {
  return parent->spawn<journal_impl, caf::detached>(std::move(dir), std::move(open),
                                                    std::move(options));
}

journal_actor spawn_journal_undetached(caf::actor_system& sys, directory_ptr dir, open_backend open,
                                       journal_options options) {
  return sys.spawn<journal_impl>(std::move(dir), std::move(open), std::move(options));
}

journal_actor spawn_journal_undetached(caf::scheduled_actor* parent, directory_ptr dir,
                                       open_backend open, journal_options options) {
  return parent->spawn<journal_impl>(std::move(dir), std::move(open), std::move(options));
}

} // namespace skep::actors
