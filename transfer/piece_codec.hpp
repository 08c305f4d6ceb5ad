// Compresses pieces of a stream, each to a whole zstd frame or gzip member: pieces are compressed
// in any order by any number of threads, and their results one after another are one archive.
//
//   zstd  1 to 19   libzstd, with a checksum for each frame
//   gzip  1 to 3    ISA-L's igzip, about ten times as fast as zlib
//         4 to 9    zlib, smaller
#pragma once

#include "messages/error.hpp"
#include "transfer/archive_form.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace skep::transfer {

/// One thread at a time. The same bytes give the same result, whatever came before.
class piece_codec {
public:
  /// errc::bad_argument for a level that there is none.
  static result<std::unique_ptr<piece_codec>> make(const archive_form& form);
  virtual ~piece_codec() = default;

  /// Compresses `piece` into the front of `out`, which grows where it must, and returns how many
  /// bytes. errc::internal.
  virtual result<std::size_t> compress(std::string_view piece, std::string& out) = 0;
};

} // namespace skep::transfer
