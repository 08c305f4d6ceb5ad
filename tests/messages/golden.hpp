// Golden lists: what once stood in a protocol, one line each, in a file of the source tree.
//
//   LINE            holds now
//   retired LINE    held once: its number stays taken
//
// SKEP_WRITE_GOLDEN=1 in the environment rewrites the files; lines that are gone become retired.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace skep::test {

using lines = std::vector<std::string>;

/// Compares `now` with the file `below` of the source tree, with Catch2's checks: no line is gone,
/// none is new, and no new line uses the number of a retired one. `number_of` gives the part of a
/// line that may never be used for anything else.
void check_golden(const std::string& below, const lines& now,
                  const std::function<std::string(const std::string&)>& number_of);

} // namespace skep::test
