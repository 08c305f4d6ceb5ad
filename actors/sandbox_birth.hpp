// How a sandbox comes to be at the provider: one create per intent, and what to do when the answer
// never came.
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

/// Looks once for the sandbox of `intent` by its label; not_found when no page lists it.
void find_by_intent(context_ptr ctx, std::string intent, sandbox::done<sandbox::created> then);

} // namespace skep::actors
