#include "actors/observed_journal.hpp"

namespace skep::actors {
namespace {

class observed_backend : public journal_backend {
public:
  observed_backend(std::unique_ptr<journal_backend> backend, std::vector<observer_ptr> observers,
                   std::function<utc_time()> wall_now)
      : backend_(std::move(backend)), observers_(std::move(observers)),
        wall_now_(std::move(wall_now)) {}

  result<void> begin() override { return backend_->begin(); }

  result<std::uint64_t> append(chunk& c) override {
    auto first = backend_->append(c);
    if (first) pending_.push_back(c);
    return first;
  }

  result<void> commit() override {
    auto done = backend_->commit();
    auto pending = std::exchange(pending_, {});
    if (done) tell(pending);
    return done;
  }

  bool broken() const override { return backend_->broken(); }
  std::uint64_t head() const override { return backend_->head(); }
  std::string stream_id() const override { return backend_->stream_id(); }
  std::optional<notice> word() override { return backend_->word(); }

private:
  void tell(const std::vector<chunk>& chunks) {
    std::uint64_t events = 0;
    auto oldest = utc_time::max();
    for (const auto& c : chunks) {
      auto seq = c.first_seq;
      for (event_reader r{c.body.data}; !r.done(); ++seq) {
        auto raw = r.next();
        if (!raw) break;
        ++events;
        oldest = std::min(oldest, raw->at);
        auto event = interpret(*raw);
        if (!event) continue;
        for (const auto& o : observers_)
          o->on_event({seq, c.swarm, c.sandbox, raw->at, raw->type, *event});
      }
    }
    if (events == 0) return;
    auto now = wall_now_();
    for (const auto& o : observers_)
      o->on_commit(events, oldest, now);
  }

  std::unique_ptr<journal_backend> backend_;
  std::vector<observer_ptr> observers_;
  std::function<utc_time()> wall_now_;
  std::vector<chunk> pending_; ///< Of the open transaction.
};

} // namespace

std::unique_ptr<journal_backend> observe(std::unique_ptr<journal_backend> backend,
                                         std::vector<observer_ptr> observers,
                                         std::function<utc_time()> wall_now) {
  return std::make_unique<observed_backend>(std::move(backend), std::move(observers),
                                            std::move(wall_now));
}

} // namespace skep::actors
