// The JSON of E2B's wire protocol as plain functions: our requests to text, its answers to structs.
// Everything read here is foreign: absent fields take their defaults, a wrong type or a missing
// required field is errc::protocol, nothing throws.
#pragma once

#include "sandbox/api.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace skep::sandbox::wire {

// -- requests; errc::bad_argument when a text is not UTF-8 ----------------------------------------

result<std::string> create_body(const create_params& params, generation paths = generation::v1);
result<std::string> network_body(const network_rules& rules);
result<std::string> start_body(const command& what);
/// {"process":{"pid":N}} with more members of one JSON object, e.g. `"signal":"SIGNAL_SIGKILL"`.
std::string process_body(std::uint32_t pid, std::string_view more = {});
/// The same by tag.
result<std::string> process_body(std::string_view tag, std::string_view more);
/// Members to put beside the selector.
std::string input_member(std::string_view data, bool to_pty);
std::string size_member(command::terminal size);
const char* signal_member(signal which);
/// An object of string members, e.g. {"path":"/x"}.
result<std::string> text_body(const std::vector<std::pair<std::string, std::string>>& members);
result<std::string> list_dir_body(std::string_view path, std::uint32_t depth);

/// Query of GET /v2/sandboxes, with the leading '?'. `token` names the page; empty: the first.
std::string list_query(const list_filter& filter, std::string_view token,
                       std::uint32_t limit = 100);
/// "metadata=..." encoded as the official SDK does; empty for none.
std::string metadata_query(const std::map<std::string, std::string>& metadata);
/// Percent-encodes everything but unreserved characters.
std::string url_encode(std::string_view text);
/// True for what may stand in a URL path and a routing header as a sandbox id.
bool valid_remote_id(std::string_view id);

// -- answers --------------------------------------------------------------------------------------

result<created> read_created(std::string_view body);
result<detail> read_detail(std::string_view body);
result<std::vector<listed>> read_list(std::string_view body);
result<std::vector<process_info>> read_processes(std::string_view body);
/// {"entry":{...}}
result<entry> read_entry(std::string_view body);
result<std::vector<entry>> read_entries(std::string_view body);
/// {} and the like.
result<void> read_empty(std::string_view body);
/// The array that POST /files answers with; at least one element. For what was written, see
/// wire_envd.hpp.
result<void> read_uploaded(std::string_view body);

/// A whole decimal number and nothing else.
std::optional<std::uint64_t> read_number(std::string_view text);
/// Whole size from Content-Range ("bytes 0-9/100", "bytes */100").
std::optional<std::uint64_t> read_content_range(std::string_view value);
/// RFC 3339 in UTC with milliseconds.
std::string write_time(std::chrono::system_clock::time_point at);
std::int64_t unix_ms(std::chrono::system_clock::time_point at);
/// RFC 3339 with Z or an offset. Before 1900 and after 2190 the bound itself: differences of what
/// is returned to a time of today can be counted.
std::optional<std::chrono::system_clock::time_point> read_time(std::string_view text);

// -- events of a process stream -------------------------------------------------------------------

struct started {
  std::uint32_t pid = 0;
};
struct output {
  bool is_stderr = false; ///< A terminal's output counts as stdout.
  std::string data;
};
struct ended {
  command_result how;
};
struct keepalive {};
using process_event = std::variant<started, output, ended, keepalive>;

/// Unknown events count as keepalive.
result<process_event> read_process_event(std::string_view payload);
/// Payload of the end-of-stream envelope: ok, or the stream's error.
result<void> read_end_of_stream(std::string_view payload);

} // namespace skep::sandbox::wire
