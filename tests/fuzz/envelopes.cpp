// Envelopes of the Connect protocol, on both sides: ours as client, cut into pieces, with the
// events in them; and envd's as server, which reads one whole request.
#include "host/envd/connect_rpc.hpp"
#include "sandbox/envelope.hpp"
#include "sandbox/wire.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;

namespace envelopes_target {
namespace {

struct outcome_of_stream {
  std::size_t envelopes = 0;
  std::size_t output_bytes = 0;
  bool ended = false;
  bool bad = false;
  bool operator==(const outcome_of_stream&) const = default;
};

outcome_of_stream read(std::string_view text, std::size_t piece) {
  outcome_of_stream out;
  sandbox::envelope_reader reader{64 * 1024};
  fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
    reader.feed(bytes);
    while (auto x = reader.next()) {
      ++out.envelopes;
      if (x->end_of_stream) {
        (void)sandbox::wire::read_end_of_stream(x->payload);
        continue;
      }
      auto event = sandbox::wire::read_process_event(x->payload);
      if (!event) continue;
      if (auto* o = std::get_if<sandbox::wire::output>(&*event)) out.output_bytes += o->data.size();
    }
    fuzz::require(reader.pending_bytes() <= text.size(), "no more is held than came");
    return true;
  });
  out.ended = reader.ended();
  out.bad = reader.bad();
  return out;
}

void as_server(std::string_view text, bool as_user) {
  try {
    if (as_user) (void)envd::requested_user("/process.Process/Start", "Basic " + std::string{text});
  } catch (const envd::rpc_failure&) {
  }
  try {
    auto j = envd::parse_enveloped(text);
    (void)envd::get_optional_string(j, "cwd");
    if (auto* process = envd::find(j, "process")) {
      (void)envd::get_string(*process, "cmd");
      (void)envd::get_int(*process, "pid");
      (void)envd::get_bytes(*process, "stdin");
    }
  } catch (const envd::rpc_failure& f) {
    (void)envd::end_of_stream(f);
  }
}

} // namespace
} // namespace envelopes_target

void skep::fuzz::run_envelopes(input in) {
  using namespace envelopes_target;
  // From 128 up it is the server's turn: what is thrown is slow.
  const auto piece = in.choice();
  if (piece >= 128) return as_server(in.rest(), piece == 255);
  fuzz::require(read(in.rest(), 0) == read(in.rest(), piece),
                "envelopes do not depend on the cuts");
}
