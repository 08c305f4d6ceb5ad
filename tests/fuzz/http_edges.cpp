// The edges of HTTP that are ours and not Beast's or libcurl's: targets, queries, times, ranges,
// page tokens, the gateway's routes, and the usage it reads as answers pass.
#include "host/gateway/rules.hpp"
#include "host/gateway/usage.hpp"
#include "host/web_text.hpp"
#include "sandbox/wire.hpp"
#include "tests/fuzz/input.hpp"

using namespace skep;

namespace {

void routes(std::string_view target) {
  host::gateway_rule rule;
  rule.domain = "api.example.com";
  rule.paths = {"/v1/messages"};
  const std::vector<host::gateway_rule> rules{rule};
  host::gate::route out;
  if (host::gate::find_route(target, rules, out)) return;
  fuzz::require(out.rule == &rules.front(), "a route has a rule");
  fuzz::require(out.target.starts_with("/v1/messages"), "only listed paths pass");
  for (const auto* bad : {"..", "\\", "\r", "\n", "%"})
    fuzz::require(out.target.substr(0, out.target.find('?')).find(bad) == std::string::npos,
                  "nothing in a path is read in two ways");
}

void usage(std::string_view text, std::size_t piece) {
  for (const auto* type : {"text/event-stream", "application/json"}) {
    host::gate::usage_reader whole{type, false}, cut{type, false};
    whole.feed(text);
    fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
      cut.feed(bytes);
      return true;
    });
    whole.finish();
    cut.finish();
    fuzz::require(whole.input_tokens() == cut.input_tokens()
                      && whole.output_tokens() == cut.output_tokens(),
                  "usage does not depend on the cuts");
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
  const auto wanted = in.choice();
  const auto text = in.rest();
  switch (wanted % 4) {
  case 0:
    (void)host::url_decode(text);
    (void)host::parse_query(text);
    (void)host::parse_metadata_filter(text);
    (void)host::valid_template_id(text);
    break;
  case 1: {
    if (auto t = host::parse_time(text))
      fuzz::require(host::parse_time(host::format_time(*t)) == t, "times survive their text");
    if (auto t = host::parse_token(text)) {
      auto again = host::parse_token(host::format_token(*t));
      fuzz::require(again && again->sandbox_id == t->sandbox_id, "page tokens survive their text");
    }
    (void)sandbox::wire::read_time(text);
    (void)sandbox::wire::read_content_range(text);
    (void)sandbox::wire::valid_remote_id(text);
    auto encoded = sandbox::wire::url_encode(text);
    auto decoded = host::url_decode(encoded);
    fuzz::require(decoded && *decoded == text, "what is encoded is decoded");
    break;
  }
  case 2:
    routes(text);
    break;
  case 3:
    usage(text, wanted / 4);
    break;
  }
  return 0;
}
