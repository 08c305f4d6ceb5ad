// The stream of a follower, cut into pieces: frames do not depend on the cuts.
#include "messages/follow.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;

namespace follow_target {
namespace {

struct outcome_of_stream {
  std::size_t frames = 0;
  std::size_t data_bytes = 0;
  errc failure = errc::none;
  bool operator==(const outcome_of_stream&) const = default;
};

outcome_of_stream read(std::string_view text, std::size_t piece) {
  outcome_of_stream out;
  follow_reader reader;
  fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
    reader.feed(bytes);
    for (;;) {
      follow_reader::frame f;
      auto got = reader.next(f);
      if (!got) {
        out.failure = got.err().code;
        return false;
      }
      if (!*got) return true;
      ++out.frames;
      follow_data d;
      follow_exit x;
      follow_dropped gap;
      if (f.kind == follow_kind::data && unpack_value(f.body.get(), d))
        out.data_bytes += d.data.data.size();
      if (f.kind == follow_kind::exit) unpack_value(f.body.get(), x);
      if (f.kind == follow_kind::dropped) unpack_value(f.body.get(), gap);
    }
  });
  return out;
}

// libFuzzer does not find checksums: the input is a list of payloads, framed here; a payload that
// begins with 0xff is put into the stream as it is.
std::string framed(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto size = std::min<std::size_t>(static_cast<unsigned char>(text.front()), text.size() - 1);
    auto payload = text.substr(1, size);
    text.remove_prefix(1 + size);
    if (payload.starts_with('\xff')) {
      out += payload.substr(1);
      continue;
    }
    for (auto v : {static_cast<std::uint32_t>(payload.size()), crc32(payload)})
      for (int shift = 24; shift >= 0; shift -= 8)
        out.push_back(static_cast<char>(v >> shift));
    out += payload;
  }
  return out;
}

} // namespace
} // namespace follow_target

void skep::fuzz::run_follow(input in) {
  using namespace follow_target;
  const auto piece = in.choice();
  const auto stream = framed(in.rest());
  fuzz::require(read(stream, 0) == read(stream, piece), "frames do not depend on the cuts");
}
