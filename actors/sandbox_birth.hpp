// How a sandbox comes to be at the provider: one create per intent, and what to do when the answer
// never came. Functions and plain data; the SANDBOX and the REAPER act by them.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// The labels every sandbox of ours carries, written once.
std::map<std::string, std::string> sandbox_labels(const sandbox_context& ctx,
                                                  const std::string& intent);

/// What the provider is asked for: template, labels, short lease, and the headers its gateway adds
/// for the agent (real keys, that never enter the sandbox). secret_missing when a key is not set.
result<sandbox::create_params> create_request(const sandbox_context& ctx,
                                              const std::string& intent);

/// True when the provider's answer means that no sandbox was made; false when that is unknown.
bool create_is_settled(const error& e);
/// True for a refusal that says nothing against the create itself: the quota or the rate of who
/// answers, or its want of room.
bool lacks_room(const error& e);

/// Looks once for the sandbox of `intent` by its label. not_found: a full list (running and paused,
/// all pages) is without it. Any other error says nothing.
void find_by_intent(const std::shared_ptr<sandbox::api>& api, const std::string& install,
                    const std::string& intent, sandbox::done<sandbox::created> then);

/// The search for what came of a create without an answer: it is found by its label, or settled:
///
///   intent ------- settle_after ------->
///    look  look    look     look      look   at least settle_looks full lists without it, the
///                                            last of them asked for after the time was over
class create_search {
public:
  enum class verdict : std::uint8_t {
    go_on,   ///< Look again after wait().
    settled, ///< No sandbox came of the intent.
    blind    ///< The time is over, and too many lists in a row have failed.
  };

  /// `intended_at`: when the intent was journaled.
  create_search(utc_time intended_at, const std::string& provider, const policies& limits)
      : due_(intended_at + limits.create_of(provider).settle_after()), limits_(&limits) {}

  /// A full list that was asked for at `asked_at` is without it.
  verdict missed(utc_time asked_at);
  /// The list that was asked for at `asked_at` failed.
  verdict failed(utc_time asked_at);
  /// Until the next look: longer each time, but one is made as soon as the time is over.
  std::chrono::milliseconds wait(utc_time now);

private:
  utc_time due_;
  const policies* limits_;
  std::uint32_t looks_ = 0;
  std::uint32_t misses_ = 0;
  std::uint32_t failures_ = 0;
};

} // namespace skep::actors
