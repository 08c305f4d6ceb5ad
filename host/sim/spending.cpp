#include "host/sim/spending.hpp"

#include "host/holder_gateway.hpp"

namespace skep::host::sim {

namespace {
constexpr std::uint64_t input_price = 1, output_price = 5; // micro-dollars for a token

spend_ledger empty_ledger() {
  return spend_ledger{{{std::string{simulated_model}, {input_price, output_price, 0, 0}}}};
}
} // namespace

struct spending::books {
  spend_ledger ledger = empty_ledger();
  gateway_counts counts;
};

spending::spending() = default;
spending::~spending() = default;

spending::books& spending::open() {
  if (!books_) books_ = std::make_unique<books>();
  return *books_;
}

std::string_view spending::refusal() {
  std::string_view why;
  if (revoked_)
    why = "403 gateway: the keys of this sandbox were revoked";
  else if (books_ && books_->ledger.used_up())
    why = "402 gateway: the allowance of this sandbox is used up";
  if (!why.empty()) ++open().counts.refused;
  return why;
}

token_usage spending::pay(std::uint64_t micro_usd, std::string_view domain) {
  auto& b = open();
  ++b.counts.requests;
  if (micro_usd == 0) return {}; // an answer without usage
  model_call call;
  call.at_ms = wall_now_ms();
  call.domain = domain;
  call.model = simulated_model;
  call.tokens.output = micro_usd / (2 * output_price);
  call.tokens.input = micro_usd - call.tokens.output * output_price;
  b.counts.input_tokens += call.tokens.input;
  b.counts.output_tokens += call.tokens.output;
  const auto used = call.tokens;
  b.ledger.add(std::move(call));
  return used;
}

void spending::allow(allowance most) {
  open().ledger.allow(most);
}

json spending::figures(std::uint64_t after) const {
  static const books none;
  const auto& b = books_ ? *books_ : none;
  return usage_of(b.counts, b.ledger, revoked_, after);
}

} // namespace skep::host::sim
