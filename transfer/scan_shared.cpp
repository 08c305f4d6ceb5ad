// The engine of scan_rules(). Compiling the rules takes a tenth of a second, which every `skep run`
// and every daemon would spend anew; so they are compiled when Skep is built (compile_rules.cpp)
// and are part of the program, as its code is.
#include "transfer/scan_engine.hpp"

#include <mutex>

// SKEP_COMPILED_RULES: the file that compile_rules wrote. Hyperscan wants eight bytes of alignment.
asm(".pushsection .rodata\n"
    ".balign 64\n"
    ".hidden skep_compiled_rules\n"
    ".hidden skep_compiled_rules_end\n"
    ".global skep_compiled_rules\n"
    ".global skep_compiled_rules_end\n"
    "skep_compiled_rules:\n"
    ".incbin \"" SKEP_COMPILED_RULES "\"\n"
    "skep_compiled_rules_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" const char skep_compiled_rules[], skep_compiled_rules_end[];

namespace skep::transfer {

std::string_view compiled_rules() {
  return {skep_compiled_rules,
          static_cast<std::size_t>(skep_compiled_rules_end - skep_compiled_rules)};
}

result<scan_engine_ptr> scan_engine::shared() {
  static std::mutex mutex;
  static scan_engine_ptr made;
  std::lock_guard lock{mutex};
  if (made) return made;
  auto engine = load(scan_rules(), compiled_rules());
  if (!engine) engine = compile(); // built on a machine that can do more
  if (engine) made = *engine;
  return engine;
}

} // namespace skep::transfer
