// What an answer of GET /files says of a file, apart from where its bytes come from.
#pragma once

#include "host/envd/exchange.hpp"

#include <cstdint>
#include <ctime>
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

/// The head of an answer, and what of the file follows it.
struct file_plan {
  unsigned status = 200; ///< 200, 206, 304 or 416.
  std::string type;
  std::string headers;
  byte_range range;
  bool packed = false; ///< The bytes follow as gzip.
};

/// What `x` is to be answered for a file of this name, size and time; `first_bytes` are up to 512.
file_plan plan_answer(const exchange& x, std::string_view name, std::uint64_t size,
                      std::time_t modified, std::string_view first_bytes);

/// Sends the head. True when nothing of the file is to follow.
task<bool> send_head(exchange& x, const file_plan& plan);

/// A file name as a quoted string of a header.
std::string header_quoted(std::string_view name);

} // namespace skep::envd
