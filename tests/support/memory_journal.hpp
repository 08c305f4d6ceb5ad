// A journal backend in memory, for tests of actors: numbers chunks as the real one does, and can be
// told to refuse or to fail.
#pragma once

#include "actors/journal.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace skep::test {

/// What the backend holds; shared with the test, which outlives the actor.
struct memory_log {
  std::vector<chunk> committed;
  std::vector<std::uint32_t> commits; ///< Chunks of each commit.
  std::function<error(const chunk&)> refuse;
  std::function<void()> on_commit; ///< After each commit, in the journal's turn.
  error begin_failure;
  error commit_failure;
  std::optional<notice> word; ///< What the backend says after its next commit.
  bool broken = false;
  bool open = false; ///< A backend lives.

  /// Every event in order: "seq:name" (a notice's code instead of its name).
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    for (const auto& c : committed) {
      event_reader r{c.body.data};
      for (auto seq = c.first_seq; !r.done(); ++seq) {
        auto raw = r.next();
        if (!raw) return {"unreadable"};
        auto e = interpret(*raw);
        std::string name{find_event(raw->type)->name};
        if (e && std::holds_alternative<notice>(*e)) name = std::get<notice>(*e).code;
        out.push_back(std::to_string(seq) + ":" + name);
      }
    }
    return out;
  }
};

class memory_backend : public actors::journal_backend {
public:
  explicit memory_backend(std::shared_ptr<memory_log> log) : log_(std::move(log)) {
    log_->open = true;
    for (const auto& c : log_->committed)
      number(c);
  }
  ~memory_backend() override { log_->open = false; }

  result<void> begin() override {
    if (log_->begin_failure) return log_->begin_failure;
    return {};
  }
  result<std::uint64_t> append(chunk& c) override {
    if (log_->refuse)
      if (auto e = log_->refuse(c)) return e;
    c.first_seq = head_ + 1;
    c.previous_in_sandbox = last_[c.sandbox.value];
    c.previous_in_swarm = last_[c.swarm.value];
    number(c);
    pending_.push_back(c);
    return c.first_seq;
  }
  result<void> commit() override {
    if (log_->commit_failure) return log_->commit_failure;
    log_->commits.push_back(static_cast<std::uint32_t>(pending_.size()));
    for (auto& c : pending_)
      log_->committed.push_back(std::move(c));
    pending_.clear();
    return {};
  }
  bool broken() const override { return log_->broken; }
  std::uint64_t head() const override { return head_; }
  std::string stream_id() const override { return "memory"; }
  std::optional<notice> word() override { return std::exchange(log_->word, std::nullopt); }

private:
  void number(const chunk& c) {
    head_ = c.last_seq();
    if (!c.sandbox.empty()) last_[c.sandbox.value] = head_;
    if (!c.swarm.empty()) last_[c.swarm.value] = head_;
  }
  std::shared_ptr<memory_log> log_;
  std::vector<chunk> pending_;
  std::map<std::string, std::uint64_t> last_;
  std::uint64_t head_ = 0;
};

inline actors::open_backend in_memory(std::shared_ptr<memory_log> log) {
  return [log]() -> result<std::unique_ptr<actors::journal_backend>> {
    return std::unique_ptr<actors::journal_backend>{std::make_unique<memory_backend>(log)};
  };
}

} // namespace skep::test
