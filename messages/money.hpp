// Sums of money as every text for people shows them: events, errors, tables.
#pragma once

#include <string>

namespace skep {

/// "$0.42"; four digits below a dollar's tenth: "$0.0042"; "$0.00" for nothing.
std::string money_text(double usd);

} // namespace skep
