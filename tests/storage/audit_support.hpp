// What tests of the audit log share.
#pragma once

#include "tests/storage/support.hpp"

#include <fstream>
#include <sstream>

namespace skep::storage::testing {

inline journal_options audited_options(const temp_dir& dir,
                                       std::uint64_t max_file_bytes = 1 << 20) {
  auto o = quick_options();
  o.audit.emplace();
  o.audit->directory = dir.path();
  o.audit->max_file_bytes = max_file_bytes;
  return o;
}

/// So many lines about one agent's spending, after begin_story().
inline void spend(journal& j, int times) {
  for (int i = 0; i < times; ++i)
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 3000 + i, pane_usage{pane_no(1), 0.01, 1, 1, 1, ""})
            == errc::none);
}

inline std::string text_of_file(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void write_file_text(const fs::path& file, const std::string& text) {
  std::ofstream{file, std::ios::binary | std::ios::trunc} << text;
}

} // namespace skep::storage::testing
