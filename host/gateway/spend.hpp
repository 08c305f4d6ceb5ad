// What a sandbox has spent at its models, call by call, and how much it may.
#pragma once

#include "host/gateway/prices.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep::host {

/// What one call used, or many, as the answers report it.
struct token_usage {
  std::uint64_t input = 0; ///< Neither written to a cache nor read from one.
  std::uint64_t cache_write = 0;
  std::uint64_t cache_read = 0;
  std::uint64_t output = 0;
  std::uint64_t cache_write_1h = 0; ///< Those of cache_write that are stored for an hour.
  std::uint64_t web_searches = 0;   ///< No tokens: made by the provider, and paid one by one.
  std::uint64_t all() const { return input + cache_write + cache_read + output; }
  void add(const token_usage& more);
};

/// One call of a model, as far as it is known what it used.
struct model_call {
  std::uint64_t seq = 0;  ///< From 1, without gaps, in the order of the calls' ends.
  std::int64_t at_ms = 0; ///< Wall time of its end.
  std::string domain;
  std::string model; ///< As the answer names it, else as the request does; may be empty.
  token_usage tokens;
  std::optional<std::uint64_t> micro_usd; ///< Nothing: the price of the model is not known.
  bool complete = true; ///< false: cut, or without figures; an estimate, and more may be used.
};

/// All calls of a model.
struct model_total {
  std::uint64_t calls = 0;
  token_usage tokens;
  std::optional<std::uint64_t> micro_usd; ///< Nothing: its price is not known.
};

/// What a call may come to at most, as far as its request says: nothing of what it writes to a
/// cache or searches on the web.
struct call_estimate {
  std::string model; ///< May be empty.
  token_usage tokens;
};

/// Room that a call under way takes of the allowance; it is given back with the last owner, which
/// may outlive the ledger.
using reservation = std::shared_ptr<void>;

/// A call's place in the line of those that wait for room; it is left with the last owner, which
/// may outlive the ledger.
using place_in_line = std::shared_ptr<void>;

/// How much may be spent; nothing: no limit. It is looked at before a call, so the calls that are
/// under way when it is reached end: of several at a time no more are let in than it has room for,
/// one alone always is, and may go beyond it.
struct allowance {
  std::optional<std::uint64_t> micro_usd; ///< One call without a known price uses it up.
  std::optional<std::uint64_t> tokens;    ///< All kinds together.
};

/// All from one thread, the gateway's: so looking for room and taking it is one step.
class spend_ledger {
public:
  explicit spend_ledger(price_table prices = known_prices()) : prices_(std::move(prices)) {}
  spend_ledger(const spend_ledger&) = delete;
  spend_ledger& operator=(const spend_ledger&) = delete;

  /// Numbers the call, puts its cost in, and counts it.
  void add(model_call call);
  void allow(allowance most) {
    most_ = most;
    held_->call_first();
  }

  /// What a call under way is known to have cost so far, at the figures of its answer: in place of
  /// `before` (0 at first), which is set to it. An empty model and no tokens: it has ended.
  void under_way(std::uint64_t& before, const std::string& model, const token_usage& t);

  const allowance& most() const { return most_; }
  bool used_up() const;
  /// Takes room for a call. Null when it and what is spent and reserved would go beyond the
  /// allowance; not null for that when no other call has room, for most calls use little of what
  /// they may. Of an allowance in money a call without a known price takes all that is left. Null
  /// also while calls wait, but for the owner of the first place.
  reservation reserve(const call_estimate& call, const place_in_line& mine = nullptr);
  /// Takes the last place of the line. `turn` is called whenever the first place may get room, once
  /// it is this one: it must only see to it that reserve() is asked anew, later.
  place_in_line line_up(std::function<void()> turn);
  const std::map<std::string, model_total>& models() const { return models_; }
  std::uint64_t micro_usd() const { return micro_usd_; } ///< Of all calls with a known price.
  /// So much more is known of calls that have not ended.
  std::uint64_t under_way_micro_usd() const { return under_way_; }
  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t unpriced() const { return unpriced_; } ///< Calls without a known price.
  /// Calls whose answer was cut or told no figures: their count is a guess.
  std::uint64_t cut() const { return cut_; }
  /// The last number given out.
  std::uint64_t last() const { return next_ - 1; }
  /// Calls with a higher number than `seq`, oldest first; the newest `kept` of all are remembered.
  std::vector<model_call> after(std::uint64_t seq) const;
  /// The lowest number that is remembered; last() + 1 when there is none.
  std::uint64_t oldest() const { return calls_.empty() ? next_ : calls_.front().seq; }

  static constexpr std::size_t kept = 1000;
  static constexpr std::size_t most_models = 100; ///< Names beyond are counted as "other".

private:
  struct held {
    std::size_t calls = 0;
    std::size_t unpriced = 0; ///< Of them, without a known price.
    std::uint64_t micro_usd = 0;
    std::uint64_t tokens = 0;
    std::list<std::function<void()>> line; ///< The turns of those that wait, in order.
    void call_first() const {
      if (!line.empty()) line.front()();
    }
  };
  std::optional<std::uint64_t> cost_of(const std::string& model, const token_usage& t) const;

  price_table prices_;
  allowance most_;
  std::deque<model_call> calls_;
  std::map<std::string, model_total> models_;
  std::uint64_t next_ = 1;
  std::uint64_t micro_usd_ = 0;
  std::uint64_t under_way_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t unpriced_ = 0;
  std::uint64_t cut_ = 0;
  std::shared_ptr<held> held_ = std::make_shared<held>(); ///< By the calls under way.
};

} // namespace skep::host
