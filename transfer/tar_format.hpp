// The pax interchange format (POSIX.1-2001), written by hand: the writing half of libarchive comes
// with every format and compressor it knows, which the static guest cannot link.
//
//   per file: [pax header 'x' when needed] ustar header, 512 bytes; content, padded to 512 with NUL
//   end: 1,024 NUL bytes
// A pax header is needed for a path or link target that does not fit (100 bytes; or 155 '/' 100)
// and for 8 GiB and more. Names are bytes: "hdrcharset=BINARY" says so where one is not ASCII.
#pragma once

#include "transfer/manifest.hpp"

namespace skep::transfer {

/// What stands before the content of `entry`: whole blocks.
std::string tar_header(const file_entry& entry, std::int64_t mtime_s,
                       const std::string& link_target = {});
/// NUL bytes behind a content of `size` bytes.
std::size_t tar_padding(std::uint64_t size);
inline constexpr std::size_t tar_end_bytes = 1024;

} // namespace skep::transfer
