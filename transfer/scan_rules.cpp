#include "transfer/scan_rules.hpp"

namespace skep::transfer {

const std::vector<scan_rule>& scan_rules() {
  static const std::vector<scan_rule> list{
#define SKEP_SCAN_RULE(name, kind, severity, chars, least, most, entropy, check, pattern)          \
  scan_rule{#name,  #kind, finding_severity::severity, value_chars::chars,                         \
            least,  most,  (entropy) / 10.0,           scan_check::check,                          \
            pattern},
#include "transfer/scan_rules.def"
#undef SKEP_SCAN_RULE
  };
  return list;
}

const scan_rule* find_scan_rule(std::string_view name) {
  for (const auto& r : scan_rules())
    if (r.name == name) return &r;
  return nullptr;
}

} // namespace skep::transfer
