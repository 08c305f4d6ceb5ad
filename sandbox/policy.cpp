#include "sandbox/policy.hpp"

namespace skep::sandbox {

std::string_view to_string(operation op) {
  static constexpr std::array<std::string_view, operation_count> names{
#define SKEP_OPERATION(name, deadline_ms, attempts, guard, why) #name,
      SKEP_OPERATIONS
#undef SKEP_OPERATION
  };
  return names[static_cast<std::size_t>(op)];
}

step_limit limit_of(step use) {
  static constexpr std::array limits{
#define SKEP_STEP(name, op, deadline_ms, why)                                                      \
  step_limit{operation::op, std::chrono::milliseconds{deadline_ms}},
      SKEP_STEPS
#undef SKEP_STEP
  };
  return limits[static_cast<std::size_t>(use)];
}

// A second attempt needs something that makes it harmless.
#define SKEP_OPERATION(name, deadline_ms, attempts, kind, why)                                     \
  static_assert((attempts) == 1 || guard::kind != guard::once, #name " must not be repeated");
SKEP_OPERATIONS
#undef SKEP_OPERATION

std::array<operation_limits, operation_count> policy::default_limits() {
  return {{
#define SKEP_OPERATION(name, deadline_ms, attempts, kind, why)                                     \
  {std::chrono::milliseconds{deadline_ms}, attempts, guard::kind},
      SKEP_OPERATIONS
#undef SKEP_OPERATION
  }};
}

} // namespace skep::sandbox
