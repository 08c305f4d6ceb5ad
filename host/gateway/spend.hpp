// What a sandbox has spent at its models, call by call, and how much it may.
#pragma once

#include "host/gateway/prices.hpp"

#include <cstdint>
#include <deque>
#include <map>
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

/// One call of a model that reported what it used.
struct model_call {
  std::uint64_t seq = 0;  ///< From 1, without gaps, in the order of the calls' ends.
  std::int64_t at_ms = 0; ///< Wall time of its end.
  std::string domain;
  std::string model; ///< As the answer names it; may be empty.
  token_usage tokens;
  std::optional<std::uint64_t> micro_usd; ///< Nothing: the price of the model is not known.
  bool complete = true; ///< false: the answer was cut, and more may have been used.
};

/// All calls of a model.
struct model_total {
  std::uint64_t calls = 0;
  token_usage tokens;
  std::optional<std::uint64_t> micro_usd; ///< Nothing: its price is not known.
};

/// How much may be spent; nothing: no limit. It is looked at before a call, so the calls that are
/// under way when it is reached end, and go beyond it.
struct allowance {
  std::optional<std::uint64_t> micro_usd; ///< Calls without a known price do not count here.
  std::optional<std::uint64_t> tokens;    ///< All kinds together.
};

class spend_ledger {
public:
  explicit spend_ledger(price_table prices = known_prices()) : prices_(std::move(prices)) {}

  /// Numbers the call, puts its cost in, and counts it.
  void add(model_call call);
  void allow(allowance most) { most_ = most; }

  const allowance& most() const { return most_; }
  bool used_up() const;
  const std::map<std::string, model_total>& models() const { return models_; }
  std::uint64_t micro_usd() const { return micro_usd_; } ///< Of all calls with a known price.
  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t unpriced() const { return unpriced_; } ///< Calls without a known price.
  std::uint64_t cut() const {
    return cut_;
  } ///< Calls whose answer was cut: their count is a guess.
  /// The last number given out.
  std::uint64_t last() const { return next_ - 1; }
  /// Calls with a higher number than `seq`, oldest first; the newest `kept` of all are remembered.
  std::vector<model_call> after(std::uint64_t seq) const;
  /// The lowest number that is remembered; last() + 1 when there is none.
  std::uint64_t oldest() const { return calls_.empty() ? next_ : calls_.front().seq; }

  static constexpr std::size_t kept = 1000;
  static constexpr std::size_t most_models = 100; ///< Names beyond are counted as "other".

private:
  price_table prices_;
  allowance most_;
  std::deque<model_call> calls_;
  std::map<std::string, model_total> models_;
  std::uint64_t next_ = 1;
  std::uint64_t micro_usd_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t unpriced_ = 0;
  std::uint64_t cut_ = 0;
};

} // namespace skep::host
