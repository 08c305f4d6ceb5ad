// What one forwarded request costs: room for it before it goes, its tokens when it has ended,
// however it ended.
#pragma once

#include "host/gateway/ask.hpp"
#include "host/gateway/rules.hpp"
#include "host/gateway/spend.hpp"
#include "host/gateway/usage.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace skep::host::gate {

/// The refusal of calls when nothing is left of the allowance.
inline constexpr refusal allowance_used_up{402, "billing_error",
                                           "gateway: the allowance of this sandbox is used up"};
/// The refusal of a call that has no room beside those under way; it may when they have ended. What
/// forwards the call tells it to the client only after a long wait.
inline constexpr refusal allowance_reserved{
    429, "rate_limit_error",
    "gateway: calls under way may use up what is left of this sandbox's allowance", 2};

/// Costs nothing and counts nothing unless the request is under a rule. All calls from the
/// gateway's thread; ledger and counts must outlive it.
class call_account {
public:
  call_account(spend_ledger& spend, gateway_counts& counts, bool under_rule,
               std::string_view method, const route& to);

  /// A piece of the request's body is going to the upstream.
  void sends(std::string_view piece) {
    if (may_cost_) ask_.feed(piece);
  }
  /// Must be asked before the last byte of the request goes: an upstream does not work on less, and
  /// what it would come to is known then. Takes room until end(); asked again, it changes nothing.
  /// allowance_reserved alone has a retry_after_s: the call may line up and ask again.
  std::optional<refusal> admit();
  /// Takes the last place in the line for room. `turn` is called when admit() may have another
  /// answer; it must not ask at once, but later.
  void line_up(std::function<void()> turn) { place_ = spend_.line_up(std::move(turn)); }
  /// The wait is over, whatever came of it.
  void leave_line() { place_.reset(); }
  /// The whole request has been given to the upstream: from now on it may cost.
  void sent() { sent_ = true; }
  /// The header of the answer has come.
  void answers(unsigned status, std::string_view content_type, bool encoded);
  /// A piece of the answer's body has come.
  void receives(std::string_view piece);
  /// The call is over, `complete` with its whole answer. Gives its room back and counts it, once:
  /// by the figures of the answer; without figures by the bytes that went and, where the answer was
  /// read to its end, the text that came, else with all the output that it had room for. An answer
  /// that says that nothing was done (status 300 and above) without figures costs nothing.
  /// `silent`: its upstream ended it without a word, as one does that is out of order; agents come
  /// again and again then, and all the output for each of them would use up a budget.
  void end(bool complete, bool silent = false);

private:
  bool owes(bool complete) const;

  spend_ledger& spend_;
  gateway_counts& counts_;
  bool under_rule_;
  bool may_cost_;
  std::string domain_;
  ask_reader ask_;
  std::optional<usage_reader> usage_;
  reservation room_;
  place_in_line place_;              ///< While it waits for room.
  unsigned status_ = 0;              ///< 0: no answer yet.
  std::uint64_t told_tokens_ = 0;    ///< By the answer, as far as it came.
  std::uint64_t told_micro_usd_ = 0; ///< The same in money, put in as under way.
  bool sent_ = false;
  bool ended_ = false;
};

} // namespace skep::host::gate
