// multipart/form-data as envd takes uploads: parts do not depend on the cuts.
#include "host/envd/multipart.hpp"
#include "tests/fuzz/targets.hpp"

using namespace skep;

namespace multipart_target {
namespace {

struct outcome_of_body {
  std::size_t parts = 0, ended = 0;
  std::string data;
  bool good = true;
  bool done = false;
  bool operator==(const outcome_of_body&) const = default;
};

outcome_of_body read(std::string_view text, std::size_t piece) {
  outcome_of_body out;
  envd::multipart_reader reader{
      "xYz",
      {[&](const std::map<std::string, std::string>& headers) {
         ++out.parts;
         std::string value;
         for (const auto& [name, line] : headers) {
           fuzz::require(name.find('\n') == std::string::npos, "a header is one line");
           (void)envd::header_parameter(line, "filename", value);
         }
       },
       [&](std::string_view bytes) { out.data += bytes; }, [&] { ++out.ended; }}};
  fuzz::in_pieces(text, piece, [&](std::string_view bytes) {
    out.good = reader.feed(bytes);
    return out.good;
  });
  out.done = reader.done();
  fuzz::require(out.ended <= out.parts && out.parts <= out.ended + 1,
                "parts begin and end in turn");
  fuzz::require(out.data.size() <= text.size(), "no byte is made up");
  return out;
}

} // namespace
} // namespace multipart_target

void skep::fuzz::run_multipart(input in) {
  using namespace multipart_target;
  const auto piece = in.choice();
  auto whole = read(in.rest(), 0), cut = read(in.rest(), piece);
  fuzz::require(whole.good == cut.good && whole.done == cut.done,
                "the verdict does not depend on the cuts");
  if (whole.good) fuzz::require(whole == cut, "parts do not depend on the cuts");
  std::string value;
  (void)envd::header_parameter(in.rest(), "name", value);
}
