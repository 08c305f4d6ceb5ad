// SHA-256 as a running hash.
#pragma once

#include "messages/error.hpp"

#include <array>
#include <string>
#include <string_view>

namespace skep::transfer {

/// Running SHA-256; copyable, so that a prefix can be shared.
class sha256 {
public:
  sha256();
  void update(std::string_view data);
  /// The 64 hexadecimal digits of everything so far; the object is used up.
  std::string hex();

private:
  // State of the library's SHA256_CTX, kept opaque so that this header needs no library.
  alignas(8) std::array<unsigned char, 128> state_;
};

/// Hex digest of `data`.
std::string sha256_of(std::string_view data);
/// Hex digest of the file's bytes.
result<std::string> sha256_of_file(const std::string& path);

} // namespace skep::transfer
