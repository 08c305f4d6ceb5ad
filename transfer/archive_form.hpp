// How an archive is compressed. A receiver sees it from the first bytes.
#pragma once

#include "messages/enums.hpp"

namespace skep::transfer {

enum class compression : std::uint8_t {
  zstd, ///< Smaller and faster.
  gzip  ///< For receivers that know nothing else.
};

struct archive_form {
  compression kind = compression::zstd;
  int level = 3; ///< 1 to most_level(kind).
  friend bool operator==(const archive_form&, const archive_form&) = default;
};

/// 19 of zstd, 9 of gzip.
constexpr int most_level(compression kind) {
  return kind == compression::zstd ? 19 : 9;
}

/// What is taken where no level is named: fast, and not much larger than the best.
constexpr int usual_level(compression kind) {
  return kind == compression::zstd ? 3 : 1;
}

} // namespace skep::transfer

namespace skep {
SKEP_ENUM_NAMES(transfer::compression, "zstd", "gzip");
} // namespace skep
