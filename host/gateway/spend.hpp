// What a sandbox has spent at its models, call by call, and how much it may.
#pragma once

#include "host/gateway/prices.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep::host {

/// Tokens of one call, or of many, as the answers report them.
struct token_usage {
  std::uint64_t input = 0; ///< Neither written to a cache nor read from one.
  std::uint64_t cache_write = 0;
  std::uint64_t cache_read = 0;
  std::uint64_t output = 0;
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

/// What a call may come to at most, as far as its request says.
struct call_estimate {
  std::string model; ///< May be empty.
  token_usage tokens;
};

/// Room that a call under way takes of the allowance; it is given back with the last owner, which
/// may outlive the ledger.
using reservation = std::shared_ptr<void>;

/// How much may be spent; nothing: no limit. It is looked at before a call, so the calls that are
/// under way when it is reached end: of several at a time no more are let in than it has room for,
/// one alone always is, and may go beyond it.
struct allowance {
  std::optional<std::uint64_t> micro_usd; ///< Calls without a known price do not count here.
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
  void allow(allowance most) { most_ = most; }

  const allowance& most() const { return most_; }
  bool used_up() const;
  /// Takes room for a call. Null when it and what is spent and reserved would go beyond the
  /// allowance; never null when no other call has room, for most calls use little of what they may.
  /// In money a call without a known price takes none.
  reservation reserve(const call_estimate& call);
  const std::map<std::string, model_total>& models() const { return models_; }
  std::uint64_t micro_usd() const { return micro_usd_; } ///< Of all calls with a known price.
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
    std::uint64_t micro_usd = 0;
    std::uint64_t tokens = 0;
  };
  std::optional<std::uint64_t> cost_of(const std::string& model, const token_usage& t) const;

  price_table prices_;
  allowance most_;
  std::deque<model_call> calls_;
  std::map<std::string, model_total> models_;
  std::uint64_t next_ = 1;
  std::uint64_t micro_usd_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t unpriced_ = 0;
  std::uint64_t cut_ = 0;
  std::shared_ptr<held> held_ = std::make_shared<held>(); ///< By the calls under way.
};

} // namespace skep::host
