#include "sandbox/policy.hpp"

namespace skep::sandbox {

std::string_view to_string(operation op) {
  static constexpr std::array<std::string_view, operation_count> names{
#define SKEP_OPERATION(name, deadline_ms, attempts, why) #name,
      SKEP_OPERATIONS
#undef SKEP_OPERATION
  };
  return names[static_cast<std::size_t>(op)];
}

std::array<operation_limits, operation_count> policy::default_limits() {
  return {{
#define SKEP_OPERATION(name, deadline_ms, attempts, why)                                           \
  {std::chrono::milliseconds{deadline_ms}, attempts},
      SKEP_OPERATIONS
#undef SKEP_OPERATION
  }};
}

} // namespace skep::sandbox
