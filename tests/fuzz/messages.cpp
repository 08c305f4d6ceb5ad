// Every registered message from msgpack and from JSON. What was read is written and read again, and
// must be the same.
#include "tests/fuzz/targets.hpp"
#include "tests/messages/all_messages.hpp"

using namespace skep;
using skep::test::reads;

namespace messages_target {
namespace {

template <message T>
void packed(std::string_view data) {
  T x, again;
  if (reads(data, x))
    fuzz::require(reads(pack(x), again) && same(x, again), "a message survives msgpack");
}

template <message T>
void document(const json& j) {
  T x, again;
  if (from_json_value(j, x))
    fuzz::require(from_json_value(to_json(x), again) && same(x, again), "a message survives JSON");
}

void events(std::string_view body) {
  event_reader reader{body};
  for (std::size_t n = 0; !reader.done(); ++n) {
    fuzz::require(n <= body.size(), "reading events makes progress");
    auto raw = reader.next();
    if (!raw) return;
    auto line = to_line(event_to_json(*raw));
    fuzz::require(line.find('\n') == std::string::npos, "an event is one line");
  }
}

} // namespace
} // namespace messages_target

void skep::fuzz::run_messages(input in) {
  using namespace messages_target;
  unsigned wanted = in.choice();
  if (wanted == 127) {
    events(in.rest());
    return;
  }
  // 127 types by the first byte, as the corpus has them; the others by the one after 255.
  const unsigned further = wanted == 255 ? 127 : 0;
  if (further > 0) wanted = in.choice();
  const bool as_json = wanted >= 128;
  wanted = wanted % 128 + further;
  json j;
  if (as_json) j = json::parse(in.rest(), nullptr, false);
  if (j.is_discarded()) return;
  unsigned index = 0;
  test::for_each_message([&]<class T>(std::string_view) {
    if (index++ != wanted) return;
    if (as_json)
      document<T>(j);
    else
      packed<T>(in.rest());
  });
}
