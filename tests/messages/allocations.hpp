// Counts what the calling thread allocates, so that a test can bound it.
#pragma once

#include <cstddef>

namespace skep::test {

/// False under a sanitizer that has an allocator of its own: bytes are not counted then, and
/// allocations() is always 0.
extern const bool counts_allocations;

/// Bytes that malloc, calloc, realloc and operator new were asked for in this thread since it
/// started; what was freed is not subtracted.
std::size_t allocations();

} // namespace skep::test
