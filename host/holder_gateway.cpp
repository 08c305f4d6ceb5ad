#include "host/holder_gateway.hpp"

#include <stdexcept>

namespace skep::host {

result<std::unique_ptr<gateway>> make_gateway(boost::asio::io_context& io, unique_fd listener,
                                              const std::vector<network_rule>& rules) {
  std::vector<gateway_rule> list;
  for (const auto& rule : rules)
    list.push_back({rule.domain, rule.headers, rule.paths, rule.upstream});
  try {
    return std::make_unique<gateway>(io, listener.release(), std::move(list));
  } catch (const std::invalid_argument& e) {
    return make_error(errc::bad_argument, std::string{"network.rules: "} + e.what());
  }
}

json usage_of(const gateway& g) {
  auto c = g.counts();
  return {{"requests", c.requests},        {"refused", c.refused},
          {"bytesIn", c.bytes_in},         {"bytesOut", c.bytes_out},
          {"inputTokens", c.input_tokens}, {"outputTokens", c.output_tokens}};
}

} // namespace skep::host
