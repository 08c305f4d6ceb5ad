// What an answer of GET /files says of a file, apart from where its bytes come from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::envd {

/// By extension, else by the first bytes.
std::string content_type(std::string_view name, std::string_view first_bytes);

struct byte_range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0; ///< One past the last.
};
enum class range_kind { whole, part, unsatisfiable };

/// One range `bytes=A-B`, `A-` or `-N`; several, or another unit, are answered with the whole file.
range_kind parse_range(std::string_view text, std::uint64_t size, byte_range& out);

/// A file name as a quoted string of a header.
std::string header_quoted(std::string_view name);

} // namespace skep::envd
