// What undoes the compression of an archive that may be hostile: zstd frames or gzip members, one
// after another. Its memory does not depend on what comes.
#pragma once

#include "messages/error.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace skep::transfer {

/// One thread at a time.
class decoder {
public:
  /// The one for an archive that begins with these bytes; null when it is not compressed.
  /// errc::internal without memory.
  static result<std::unique_ptr<decoder>> of(std::string_view start);
  virtual ~decoder() = default;

  /// Takes from the front of `in` what it needs to put the next bytes into `out` (its size is the
  /// room), and returns how many; 0 when it needs more. errc::checksum with the reason as cause.
  virtual result<std::size_t> step(std::string_view& in, std::string& out) = 0;

  /// Inside of a frame or member: an end here is too early.
  bool inside() const { return inside_; }
  /// The next step may give bytes without taking any.
  bool holds_more() const { return more_; }

protected:
  bool inside_ = false, more_ = false;
};

} // namespace skep::transfer
