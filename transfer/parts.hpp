// Files that travel in parts, so that a cut costs one part and not the whole (row S1-56).
//
//   here:    one file; part i is its bytes [i * size, (i + 1) * size), the last one may be shorter
//   inside:  DIR/NAME.00001, DIR/NAME.00002, ...   each whole, named in the order of their bytes
#pragma once

#include "messages/json.hpp"

#include <string>
#include <vector>

namespace skep::transfer {

/// One part of a file.
struct file_part {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::string sha256; ///< Hex.
  friend bool operator==(const file_part&, const file_part&) = default;
};

/// What `file` looks like in parts of `part_bytes` (> 0) bytes, read once; an empty file is one
/// empty part. errc::io.
result<std::vector<file_part>> parts_of(const std::string& file, std::uint64_t part_bytes);

/// NAME.00001 for the first part (`index` 0): five digits at least, so that names sort.
std::string part_name(const std::string& name, std::size_t index);

/// The regular files of a directory with their hashes; a directory that is not there has none.
/// {"parts":[{"name":N,"size_bytes":S,"sha256":HEX}]}
result<json> list_parts(const std::string& dir);

} // namespace skep::transfer
