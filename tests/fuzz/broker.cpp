// Requests as clients send them, and frames as subscribers get them.
#include "broker/frames.hpp"
#include "broker/requests.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;
using namespace skep::broker;

void skep::fuzz::run_broker(input in) {
  const auto text = in.rest();
  for (auto at : {gate::control, gate::replay}) {
    auto parsed = parse_request(at, text, "0");
    if (parsed.refusal) {
      auto refused = unpack<reply_frame>(pack_refusal(parsed.request.id, parsed.refusal));
      fuzz::require(refused.ok() && refused->id == parsed.request.id, "a refusal can be read");
    } else {
      fuzz::require(!command_name(at, parsed.request.command).empty(), "only known commands pass");
      fuzz::require(parsed.request.version == protocol_version, "only our version passes");
    }
  }
  if (auto e = decode_event(text)) {
    fuzz::require(e->count >= 1 && e->last_seq() >= e->first_seq, "sequences do not overflow");
    fuzz::require(e->swarm.empty() || e->swarm.valid(), "ids of a frame are well-formed");
  }
  if (auto o = decode_output(text))
    fuzz::require(o->pane.valid() && o->data.size() <= text.size(), "output lies within its frame");
  (void)decode_head(text);
}
