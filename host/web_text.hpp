// Text forms of the control API: URL encoding, RFC 3339 times, the metadata filter, page tokens.
#pragma once

#include "host/spec.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::host {

/// Decodes %XX and `+` (space). nothing on a broken escape.
std::optional<std::string> url_decode(std::string_view text);

/// The query string's parameters in order, decoded. nothing when one is broken.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query);

/// The value of the `metadata` parameter (already decoded once, as every parameter): unescape the
/// whole, split at & and =, unescape key and value. nothing when it has another form.
std::optional<string_map> parse_metadata_filter(std::string_view value);

/// 2026-01-02T03:04:05.678Z
std::string format_time(std::int64_t ms);
/// Reads RFC 3339 with any fraction and offset.
std::optional<std::int64_t> parse_time(std::string_view text);

/// Where a page of a list ends: the last element's start and id.
struct page_token {
  std::int64_t started_at_ms = 0;
  std::string sandbox_id;
  bool ascending = false;
};
std::string format_token(const page_token& t);
std::optional<page_token> parse_token(std::string_view text);

/// True for an E2B template reference: [namespace/]name[:tag], lower case, at most 128 characters.
bool valid_template_id(std::string_view text);

} // namespace skep::host
