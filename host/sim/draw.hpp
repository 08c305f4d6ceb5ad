// Chance that can be repeated. A draw depends on the seed and on what it is for (kind, subject, the
// how manieth), never on what was drawn before: so two runs whose requests interleave differently
// still meet the same mishaps.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace skep::host::sim {

class draw {
public:
  draw(std::uint64_t seed, std::string_view kind, std::string_view subject, std::uint64_t ordinal) {
    mix(seed);
    mix(kind);
    mix(subject);
    mix(ordinal);
  }
  /// splitmix64.
  std::uint64_t next() {
    auto z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// True in `percent` of 100 cases.
  bool percent(double percent) { return percent > 0 && unit() * 100 < percent; }
  /// Standard normal (Box and Muller).
  double normal() {
    auto u = 1 - unit(), v = unit();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  /// `size` characters of [a-z0-9].
  std::string token(std::size_t size) {
    constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::string out;
    while (out.size() < size)
      out += letters[next() % letters.size()];
    return out;
  }

private:
  void mix(std::uint64_t x) {
    state_ ^= x;
    state_ = next();
  }
  void mix(std::string_view text) { // FNV-1a
    std::uint64_t h = 0xcbf29ce484222325u;
    for (unsigned char c : text)
      h = (h ^ c) * 0x100000001b3u;
    mix(h);
  }
  std::uint64_t state_ = 0;
};

} // namespace skep::host::sim
