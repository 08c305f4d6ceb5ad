#include "host/gateway/spend.hpp"

#include <algorithm>
#include <cmath>

namespace skep::host {

void token_usage::add(const token_usage& more) {
  input += more.input;
  cache_write += more.cache_write;
  cache_read += more.cache_read;
  output += more.output;
  cache_write_1h += more.cache_write_1h;
  web_searches += more.web_searches;
}

std::optional<std::uint64_t> spend_ledger::cost_of(const std::string& model,
                                                   const token_usage& t) const {
  auto price = price_of(prices_, model);
  if (!price) return std::nullopt;
  auto times = [](std::uint64_t n, double each) { return static_cast<double>(n) * each; };
  auto for_an_hour = std::min(t.cache_write_1h, t.cache_write);
  // Rounded up: many small calls must not come for nothing.
  return static_cast<std::uint64_t>(std::ceil(
      times(t.input, price->input) + times(t.cache_write - for_an_hour, price->cache_write)
      + times(for_an_hour, hour_cache_write_factor * price->input)
      + times(t.cache_read, price->cache_read) + times(t.output, price->output)
      + times(t.web_searches, web_search_micro_usd)));
}

void spend_ledger::add(model_call call) {
  call.seq = next_++;
  call.micro_usd = cost_of(call.model, call.tokens);
  if (call.micro_usd)
    micro_usd_ += *call.micro_usd;
  else
    ++unpriced_;
  tokens_ += call.tokens.all();
  if (!call.complete) ++cut_;
  auto name = call.model.empty() ? std::string{"unknown"} : call.model;
  if (models_.size() >= most_models && !models_.contains(name)) name = "other";
  auto& total = models_[name];
  ++total.calls;
  total.tokens.add(call.tokens);
  if (call.micro_usd) total.micro_usd = total.micro_usd.value_or(0) + *call.micro_usd;
  calls_.push_back(std::move(call));
  if (calls_.size() > kept) calls_.pop_front();
}

void spend_ledger::under_way(std::uint64_t& before, const std::string& model,
                             const token_usage& t) {
  under_way_ -= before;
  before = cost_of(model, t).value_or(0);
  under_way_ += before;
}

bool spend_ledger::used_up() const {
  // What a call without a known price has cost, nobody knows: all of it, to be safe.
  return (most_.micro_usd && (micro_usd_ >= *most_.micro_usd || unpriced_ > 0))
         || (most_.tokens && tokens_ >= *most_.tokens);
}

reservation spend_ledger::reserve(const call_estimate& call, const place_in_line& mine) {
  if (!held_->line.empty() && mine.get() != &held_->line.front()) return nullptr;
  auto cost = cost_of(call.model, call.tokens);
  auto micro_usd = cost.value_or(0);
  auto tokens = call.tokens.all();
  std::size_t unpriced = cost ? 0 : 1;
  bool too_dear = most_.micro_usd
                  && (unpriced + held_->unpriced > 0
                      || micro_usd_ + held_->micro_usd + micro_usd > *most_.micro_usd);
  bool too_long = most_.tokens && tokens_ + held_->tokens + tokens > *most_.tokens;
  if (held_->calls > 0 && (too_dear || too_long)) return nullptr;
  ++held_->calls;
  held_->unpriced += unpriced;
  held_->micro_usd += micro_usd;
  held_->tokens += tokens;
  return reservation(held_.get(), [all = held_, unpriced, micro_usd, tokens](void*) {
    --all->calls;
    all->unpriced -= unpriced;
    all->micro_usd -= micro_usd;
    all->tokens -= tokens;
    all->call_first();
  });
}

place_in_line spend_ledger::line_up(std::function<void()> turn) {
  auto at = held_->line.insert(held_->line.end(), std::move(turn));
  return place_in_line(&*at, [all = held_, at](void*) {
    bool was_first = at == all->line.begin();
    all->line.erase(at);
    if (was_first) all->call_first();
  });
}

std::vector<model_call> spend_ledger::after(std::uint64_t seq) const {
  std::vector<model_call> out;
  for (const auto& call : calls_)
    if (call.seq > seq) out.push_back(call);
  return out;
}

} // namespace skep::host
