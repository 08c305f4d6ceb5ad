// A test case that cannot run on this machine says so, by name and with the reason: tools/test
// counts it, and fails where tests/expected-skips does not list it.
//
//   if (!has_bwrap()) SKEP_SKIP("bubblewrap cannot make namespaces here");
#pragma once

#include "tests/support/catch.hpp"

#include <iostream>

/// Ends the present test case as skipped. The line it prints is read by tools/lib/run_tests.py.
#define SKEP_SKIP(reason)                                                                          \
  do {                                                                                             \
    std::cout << "\nSKIPPED: " << ::Catch::getResultCapture().getCurrentTestName() << ": "         \
              << (reason) << std::endl;                                                            \
    return;                                                                                        \
  } while (false)
