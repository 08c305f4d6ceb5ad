#include "host/gateway/account.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace skep::host::gate {

call_account::call_account(spend_ledger& spend, gateway_counts& counts, bool under_rule,
                           std::string_view method, const route& to)
    : spend_(spend), counts_(counts), under_rule_(under_rule),
      may_cost_(under_rule && may_cost(method, to.target)), domain_(to.rule->domain),
      ask_(to.target) {}

std::optional<refusal> call_account::admit() {
  if (!may_cost_ || room_ || ended_) return std::nullopt;
  if (spend_.used_up()) return allowance_used_up;
  call_estimate most{ask_.model(), {}};
  most.tokens.input = ask_.input_tokens();
  most.tokens.output = ask_.output_tokens();
  room_ = spend_.reserve(most, place_);
  if (!room_) return allowance_reserved;
  leave_line();
  return std::nullopt;
}

void call_account::answers(unsigned status, std::string_view content_type, bool encoded) {
  status_ = status;
  usage_.emplace(content_type, encoded);
}

// A sandbox may be killed while its agent's call is under way: then this is all that is known of
// it.
void call_account::receives(std::string_view piece) {
  usage_->feed(piece);
  if (!under_rule_ || ended_ || !usage_->reported()) return;
  if (std::exchange(told_tokens_, usage_->tokens().all()) == usage_->tokens().all()) return;
  spend_.under_way(told_micro_usd_, usage_->model(), usage_->tokens());
}

void call_account::end(bool complete, bool silent) {
  if (std::exchange(ended_, true)) return;
  spend_.under_way(told_micro_usd_, {}, {});
  leave_line();
  room_.reset();
  if (!under_rule_) return;
  if (usage_) usage_->finish(complete);
  bool reported = usage_ && usage_->reported();
  if (!reported && !owes(complete)) return;
  auto now = std::chrono::system_clock::now().time_since_epoch();
  model_call call;
  call.at_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  call.domain = domain_;
  call.complete = complete && reported;
  if (usage_) {
    call.model = usage_->model();
    call.tokens = usage_->tokens();
  }
  if (!reported) call.tokens.input = ask_.input_tokens();
  // Nobody saw how long the answer is: it may be all that it was allowed to be.
  if (!reported && may_cost_ && !silent && !(complete && usage_ && usage_->readable()))
    call.tokens.output = std::max(call.tokens.output, ask_.output_tokens());
  if (call.model.empty()) call.model = ask_.model();
  counts_.input_tokens += call.tokens.all() - call.tokens.output;
  counts_.output_tokens += call.tokens.output;
  spend_.add(std::move(call));
}

// Without figures. A whole answer of something that is no model costs nothing; what was cut may
// have been a model's, and is believed to be one.
bool call_account::owes(bool complete) const {
  if (status_ >= 300) return false;
  if (usage_ && usage_->seen()) return may_cost_ || !complete;
  bool worked_on = sent_ || status_ >= 200;
  return may_cost_ && worked_on && (!complete || ask_.may_name_model());
}

} // namespace skep::host::gate
