// Answers that the parts of the control API share. Only for control_*.cpp.
#pragma once

#include "host/control_api.hpp"

#include <optional>
#include <string_view>

namespace skep::host {

using query_params = std::vector<std::pair<std::string, std::string>>;

/// The first value of this name, or empty.
std::string param(const query_params& list, std::string_view name);
/// A whole number from `low` to `high`; nothing for anything else.
std::optional<std::int64_t> number_param(const std::string& text, std::int64_t low,
                                         std::int64_t high);

api_reply json_answer(unsigned status, const json& j);
api_reply not_found(const std::string& id);
/// 503 for a sandbox that may live but has not answered since the host started.
api_reply not_heard();
/// The API's status for an error of ours about sandbox `id`.
api_reply failed(const error& e, const std::string& id);

/// The Sandbox, ListedSandbox and SandboxDetail objects of E2B's API.
json sandbox_json(const sandbox_info& x);
json listed_json(const sandbox_info& x);
json detail_json(const sandbox_info& x);

} // namespace skep::host
