#include "messages/money.hpp"

#include <array>
#include <cmath>
#include <cstdio>

namespace skep {

std::string money_text(double usd) {
  std::array<char, 48> out{};
  bool small = usd != 0 && std::fabs(usd) < 0.1;
  std::snprintf(out.data(), out.size(), small ? "$%.4f" : "$%.2f", usd);
  return out.data();
}

} // namespace skep
