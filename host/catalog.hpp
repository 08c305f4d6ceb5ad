// What E2B keeps beside sandboxes, as this host has it: one template, `base`, which is the
// machine's own programs, and no snapshots, volumes or secrets. Questions about them are answered;
// what would make one is refused with 501 and a sentence that says what to do instead.
#pragma once

#include "host/control_api.hpp"

#include <span>
#include <string_view>

namespace skep::host {

/// True for the first word of a path (behind /v2 or /v3) that belongs to the catalog.
bool in_catalog(std::string_view word);

/// The answer to a request for `parts`: the path's words, still URL-encoded, without /v2 or /v3.
/// Never throws; a path that E2B does not have is 404.
api_reply catalog_answer(std::string_view method, std::span<const std::string> parts,
                         const std::string& query, const template_use& use);

} // namespace skep::host
