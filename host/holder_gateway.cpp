#include "host/holder_gateway.hpp"

#include "host/gateway/rules.hpp"

#include <cstring>
#include <stdexcept>

namespace skep::host {
namespace {

gateway_access access_of(const network_access& from) {
  gateway_access out;
  for (const auto& rule : from.rules)
    out.rules.push_back({rule.domain, rule.headers, rule.paths, rule.upstream});
  for (const auto& x : from.allow)
    (gate::parse_range(x) ? out.tunnels.ranges : out.tunnels.hosts).push_back(x);
  out.tunnels.upstreams = from.upstreams;
  return out;
}

} // namespace

result<std::unique_ptr<gateway>> make_gateway(boost::asio::io_context& io, unique_fd listener,
                                              const network_access& access,
                                              const string_map& prices) {
  auto table = known_prices();
  for (const auto& [model, text] : prices)
    if (auto price = parse_price(text)) table[model] = *price;
  try {
    return std::make_unique<gateway>(io, listener.release(), access_of(access), gateway_policy{},
                                     std::move(table));
  } catch (const std::invalid_argument& e) {
    return make_error(errc::bad_argument, std::string{"network: "} + e.what());
  }
}

result<void> allow(gateway& g, const network_access& access) {
  try {
    g.allow(access_of(access));
    return {};
  } catch (const std::invalid_argument& e) {
    return make_error(errc::bad_argument, std::string{"network: "} + e.what());
  }
}

void forget_keys(network_access& access) {
  for (auto& rule : access.rules)
    for (auto& [name, value] : rule.headers)
      ::explicit_bzero(value.data(), value.size());
}

namespace {

json or_null(const std::optional<std::uint64_t>& x) {
  return x ? json(*x) : json(nullptr);
}

json tokens_of(const token_usage& t) {
  return {{"input", t.input},
          {"cacheWrite", t.cache_write},
          {"cacheRead", t.cache_read},
          {"output", t.output}};
}

json models_of(const spend_ledger& spend) {
  json out = json::object();
  for (const auto& [name, total] : spend.models())
    out[name] = {{"calls", total.calls},
                 {"tokens", tokens_of(total.tokens)},
                 {"microUsd", or_null(total.micro_usd)}};
  return out;
}

json call_of(const model_call& call) {
  return {{"seq", call.seq},
          {"atMs", call.at_ms},
          {"domain", call.domain},
          {"model", call.model},
          {"tokens", tokens_of(call.tokens)},
          {"microUsd", or_null(call.micro_usd)},
          {"complete", call.complete}};
}

} // namespace

json usage_of(const gateway& g, std::uint64_t after) {
  return usage_of(g.counts(), g.spend(), g.keys_revoked(), after);
}

json usage_of(const gateway_counts& c, const spend_ledger& spend, bool keys_revoked,
              std::uint64_t after) {
  json calls = json::array();
  for (const auto& call : spend.after(after))
    calls.push_back(call_of(call));
  json totals = {{"requests", c.requests},
                 {"refused", c.refused},
                 {"tunnels", c.tunnels},
                 {"bytesIn", c.bytes_in},
                 {"bytesOut", c.bytes_out},
                 {"inputTokens", c.input_tokens},
                 {"outputTokens", c.output_tokens},
                 {"models", models_of(spend)},
                 {"microUsd", spend.micro_usd() + spend.under_way_micro_usd()},
                 {"unpricedCalls", spend.unpriced()},
                 {"cutCalls", spend.cut()},
                 {"allowance",
                  {{"microUsd", or_null(spend.most().micro_usd)},
                   {"tokens", or_null(spend.most().tokens)},
                   {"usedUp", spend.used_up()}}},
                 {"keysRevoked", keys_revoked}};
  return {{"gateway", std::move(totals)},
          {"calls", std::move(calls)},
          {"cursor", spend.last()},
          {"oldest", spend.oldest()}};
}

result<allowance> allowance_from(const json& j) {
  allowance out;
  for (auto [name, to] : {std::pair{"microUsd", &out.micro_usd}, {"tokens", &out.tokens}}) {
    auto i = j.find(name);
    if (i == j.end() || i->is_null()) continue;
    if (!i->is_number_unsigned())
      return make_error(errc::bad_argument, std::string{name} + " must be a whole number, or null");
    *to = i->get<std::uint64_t>();
  }
  return out;
}

} // namespace skep::host
