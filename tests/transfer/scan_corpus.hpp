// Credentials in the forms their issuers publish, and what looks like them. Written from the
// issuers' documentation, apart from transfer/scan_rules.def and before it. Every value is put
// together at run time from a seed, so that neither our own scanner nor anybody else's finds one in
// this repository.
#pragma once

#include "messages/findings.hpp"

#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace skep::test {

/// Draws characters; the same seed gives the same values.
class draw {
public:
  explicit draw(unsigned seed) : random_(seed) {}
  std::string of(std::string_view letters, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
      out += letters[below(letters.size())];
    return out;
  }
  std::string digits(std::size_t n) { return of("0123456789", n); }
  std::string hex(std::size_t n) { return of("0123456789abcdef", n); }
  std::string upper(std::size_t n) { return of("ABCDEFGHIJKLMNOPQRSTUVWXYZ", n); }
  std::string lower(std::size_t n) { return of("abcdefghijklmnopqrstuvwxyz", n); }
  std::string upper_digits(std::size_t n) { return of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", n); }
  std::string lower_digits(std::size_t n) { return of("abcdefghijklmnopqrstuvwxyz0123456789", n); }
  std::string alnum(std::size_t n) {
    return of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", n);
  }
  std::string url64(std::size_t n) {
    return of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", n);
  }
  std::string base64(std::size_t n) {
    return of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", n);
  }
  std::string uuid() {
    return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12);
  }
  std::size_t below(std::size_t n) {
    return static_cast<std::size_t>(random_() % n); // the same everywhere, unlike a distribution
  }

private:
  std::mt19937 random_;
};

/// A form that an issuer documents.
struct issued {
  std::string name; ///< Who issues it, and what it is.
  std::function<std::string(draw&)> make;
  /// By what it opens: medium for little reach.
  finding_severity severity = finding_severity::high;
};
const std::vector<issued>& issued_forms();

/// Whole lines that hold no credential, though they look like it.
struct harmless {
  std::string name;
  std::function<std::string(draw&)> make;
};
const std::vector<harmless>& near_misses();

/// A line with a random value under a telling name, in the syntax of some language or format.
std::string assignment(draw& d);
/// A line as there are in real files: a telling name, and no credential.
std::string harmless_assignment(draw& d);

} // namespace skep::test
