// All fuzz targets in one program, for libFuzzer gives main():
//
//   skep_fuzz TARGET [libFuzzer's options] [CORPUS...]
//
// One program links once and shares the parsers; which target runs is its first word.
#include "tests/fuzz/targets.hpp"

#include <string_view>

namespace {

using namespace skep::fuzz;

struct target {
  std::string_view name;
  void (*run)(input);
};
constexpr target targets[] = {
    {"broker", run_broker},         {"claude", run_claude},
    {"envelopes", run_envelopes},   {"follow", run_follow},
    {"git_output", run_git_output}, {"guest_answers", run_guest_answers},
    {"http_edges", run_http_edges}, {"json_bodies", run_json_bodies},
    {"manifest", run_manifest},     {"messages", run_messages},
    {"multipart", run_multipart},   {"results", run_results},
    {"unpack", run_unpack},
};

const target* chosen = nullptr;

} // namespace

// Takes the target's name out of the arguments; argv[0] must stay what it is.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::string_view wanted = *argc > 1 ? (*argv)[1] : "";
  for (const auto& t : targets)
    if (t.name == wanted) chosen = &t;
  if (!chosen) {
    std::fprintf(stderr, "skep_fuzz: the first word names a target:");
    for (const auto& t : targets)
      std::fprintf(stderr, " %.*s", static_cast<int>(t.name.size()), t.name.data());
    std::fprintf(stderr, "\n");
    std::exit(64);
  }
  for (int i = 1; i < *argc; ++i)
    (*argv)[i] = (*argv)[i + 1];
  --*argc;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run(input{data, size});
  return 0;
}
