#include "messages/ids.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sys/random.h>

namespace skep {

std::string random_token(std::size_t size) {
  static constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string out;
  out.reserve(size);
  while (out.size() < size) {
    unsigned char block[64];
    auto n = ::getrandom(block, sizeof block, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      std::abort(); // no randomness: ids would collide
    }
    // 252 = 7 * 36: larger bytes are dropped, so that every character is equally likely.
    for (long i = 0; i < n && out.size() < size; ++i)
      if (block[i] < 252) out.push_back(alphabet[block[i] % 36]);
  }
  return out;
}

bool valid_id(std::string_view text, std::string_view sigil) {
  if (!text.starts_with(sigil)) return false;
  text.remove_prefix(sigil.size());
  return !text.empty() && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

} // namespace skep
