// Archives as an attacker would write them, for tests.
#pragma once

#include "tests/support/catch.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <string>
#include <vector>

namespace skep::test {

/// One entry of it.
struct member {
  std::string path;
  unsigned type = AE_IFREG;
  std::string content = "x";
  std::string link = {};
  unsigned mode = 0644;
  bool hard = false;
};

/// Writes an archive as an attacker would, by libarchive: nothing of what it says is checked.
inline void craft(const std::string& path, const std::vector<member>& members) {
  auto* a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  REQUIRE(archive_write_open_filename(a, path.c_str()) == ARCHIVE_OK);
  for (const auto& m : members) {
    auto* e = archive_entry_new();
    archive_entry_set_pathname(e, m.path.c_str());
    archive_entry_set_filetype(e, m.type);
    archive_entry_set_perm(e, static_cast<unsigned short>(m.mode));
    if (m.hard)
      archive_entry_set_hardlink(e, m.link.c_str());
    else if (m.type == AE_IFLNK)
      archive_entry_set_symlink(e, m.link.c_str());
    bool has_content = m.type == AE_IFREG && !m.hard;
    archive_entry_set_size(e, has_content ? static_cast<la_int64_t>(m.content.size()) : 0);
    REQUIRE(archive_write_header(a, e) >= ARCHIVE_WARN);
    if (has_content) archive_write_data(a, m.content.data(), m.content.size());
    archive_entry_free(e);
  }
  archive_write_free(a);
}

} // namespace skep::test
