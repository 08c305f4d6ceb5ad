#include "tests/messages/allocations.hpp"

// msgpack takes its zones from malloc and the standard library everything else from operator new,
// which calls malloc: so malloc is what is replaced, by one that counts and calls glibc's.
#if defined(__GLIBC__) && !defined(SKEP_SANITIZED)

namespace {
thread_local std::size_t asked_for = 0;
}

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);

void* malloc(std::size_t size) {
  asked_for += size;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  asked_for += count * size;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  asked_for += size;
  return __libc_realloc(old, size);
}
}

const bool skep::test::counts_allocations = true;
std::size_t skep::test::allocations() {
  return asked_for;
}

#else

const bool skep::test::counts_allocations = false;
std::size_t skep::test::allocations() {
  return 0;
}

#endif
