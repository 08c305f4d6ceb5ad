// Helpers of the fuzz targets: how a target takes its input apart, and what it does when a promise
// is broken.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace skep::fuzz {

/// Ends the process, so that libFuzzer keeps the input: a promise of the code under test is broken.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// The input as a target reads it: a few choices first, then text.
class input {
public:
  input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  /// The next byte, 0 at the end.
  unsigned choice() {
    if (rest_.empty()) return 0;
    auto x = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return x;
  }
  std::string_view rest() const { return rest_; }

private:
  std::string_view rest_;
};

/// Calls `f(piece)` for all of `text` in pieces of `size` bytes (0: in one); stops when f says
/// false.
template <class F>
void in_pieces(std::string_view text, std::size_t size, F f) {
  if (size == 0) size = text.size() + 1;
  for (std::size_t at = 0; at < text.size(); at += size)
    if (!f(text.substr(at, size))) return;
}

} // namespace skep::fuzz
