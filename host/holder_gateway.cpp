#include "host/holder_gateway.hpp"

#ifdef SKEP_HAVE_GATEWAY
#include "host/gateway/gateway.hpp"

#include <stdexcept>
#endif

namespace skep::host {

#ifdef SKEP_HAVE_GATEWAY
namespace {

class real_gateway final : public holder_gateway {
public:
  real_gateway(asio::io_context& io, int listener, std::vector<gateway_rule> rules)
      : gateway_(io, listener, std::move(rules)) {}
  void start() override { gateway_.start(); }
  void stop() override { gateway_.stop(); }
  json usage() const override {
    auto c = gateway_.counts();
    return {{"requests", c.requests},        {"refused", c.refused},
            {"bytesIn", c.bytes_in},         {"bytesOut", c.bytes_out},
            {"inputTokens", c.input_tokens}, {"outputTokens", c.output_tokens}};
  }

private:
  gateway gateway_;
};

} // namespace

result<std::unique_ptr<holder_gateway>>
holder_gateway::make(asio::io_context& io, unique_fd listener,
                     const std::vector<network_rule>& rules) {
  std::vector<gateway_rule> list;
  for (const auto& rule : rules)
    list.push_back({rule.domain, rule.headers, rule.paths, rule.upstream});
  try {
    return std::unique_ptr<holder_gateway>(
        std::make_unique<real_gateway>(io, listener.release(), std::move(list)));
  } catch (const std::invalid_argument& e) {
    return make_error(errc::bad_argument, std::string{"network.rules: "} + e.what());
  }
}
#else
result<std::unique_ptr<holder_gateway>> holder_gateway::make(asio::io_context&, unique_fd,
                                                             const std::vector<network_rule>&) {
  return make_error(errc::refused, "network.rules: this build has no gateway");
}
#endif

} // namespace skep::host
