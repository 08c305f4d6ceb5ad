// compile_rules FILE: writes what scan_rules() compile to, on the processor that it runs on. A step
// of the build (scan_shared.cpp).
#include "transfer/scan_engine.hpp"

#include <cstdio>
#include <fstream>

int main(int argc, char** argv) {
  using namespace skep;
  if (argc != 2) {
    std::fputs("usage: compile_rules FILE\n", stderr);
    return 64;
  }
  auto engine = transfer::scan_engine::compile();
  auto bytes = engine ? (*engine)->compiled() : result<std::string>{engine.err()};
  // Without it the programs compile the rules themselves, or say why they cannot.
  if (!bytes) std::fprintf(stderr, "compile_rules: %s\n", render(bytes.err()).c_str());
  std::ofstream out{argv[1], std::ios::binary | std::ios::trunc};
  if (bytes) out.write(bytes->data(), static_cast<std::streamsize>(bytes->size()));
  out.close();
  return out.good() ? 0 : 74;
}
