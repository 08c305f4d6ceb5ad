// The edges of HTTP that are ours and not Beast's or libcurl's: targets, queries, times, ranges,
// page tokens, the gateway's routes and tunnels, and the usage it reads as answers pass.
#include "host/gateway/tunnels.hpp"
#include "host/gateway/usage.hpp"
#include "host/web_text.hpp"
#include "sandbox/wire.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;

namespace http_edges_target {
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

// What a proxy is asked for: nothing may be reached that is not listed, however it is spelled.
void tunnels(std::string_view text) {
  using namespace host::gate;
  host::gateway_access access;
  access.tunnels.hosts = {"files.example.com"};
  access.tunnels.ranges = {"8.8.8.0/24"};
  auto check = [&](const authority& to) {
    fuzz::require(to.port != 0 && !to.host.empty(), "an authority has a host and a port");
    fuzz::require(to.host.find_first_of("@/\\ \r\n") == std::string::npos,
                  "a host is read in one way");
    auto shown = to.host.find(':') == std::string::npos ? to.host : "[" + to.host + "]";
    auto again = parse_authority(shown + ":" + std::to_string(to.port));
    fuzz::require(again && again->host == to.host && again->port == to.port,
                  "an authority survives its text");
    endpoint where;
    if (find_tunnel(to, access, where)) return;
    fuzz::require(where.port == "443" || where.port == "80", "only listed ports pass");
    fuzz::require(to.host == "files.example.com" || !where.only.empty(),
                  "a host that is not listed is bound to the listed addresses");
  };
  if (auto to = parse_authority(text)) check(*to);
  authority to;
  std::string path;
  if (split_absolute(text, to, path)) {
    check(to);
    fuzz::require(path.starts_with('/'), "a path begins with a slash");
  }
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
} // namespace http_edges_target

void skep::fuzz::run_http_edges(input in) {
  using namespace http_edges_target;
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
    tunnels(text);
    break;
  case 3:
    usage(text, wanted / 4);
    break;
  }
}
