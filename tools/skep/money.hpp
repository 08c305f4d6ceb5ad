// Sums of money as people write and read them.
#pragma once

#include "messages/commands.hpp"
#include "messages/money.hpp"

#include <string>
#include <string_view>

namespace skep::cli {

/// "20usd", "20 USD", "$20", "0.5", "1.25usd" -> dollars, 0 to max_budget_usd; false when it is
/// none of these.
bool parse_money(std::string_view text, double& usd);
/// "3 of 3 (max_active)", place and estimate, a row for each sandbox that waits; empty for none.
std::string waiting_text(const std::vector<waiting_line>& lines);
/// One of them in a sentence: "waits: place 2, 10 of 10 (max_active), about 40 s; ...".
std::string waits_sentence(const sandbox_waits& w);

} // namespace skep::cli
