// Bodies of envd beyond wire.hpp: selectors, watchers, multipart, gzip. Same rules.
#pragma once

#include "sandbox/envd.hpp"
#include "sandbox/wire.hpp"

namespace skep::sandbox::wire {

/// {"process":SELECTOR} with more members. errc::bad_argument for neither pid nor tag.
result<std::string> selector_body(const process_selector& which, std::string_view more = {});
result<std::string> watch_body(const std::string& path, const watch_options& options);
/// The envelopes of StreamInput, one behind the other.
result<std::string> input_envelopes(const process_selector& which,
                                    const std::vector<std::string>& pieces, bool to_pty);
result<std::string> compose_body(const std::vector<std::string>& from, const std::string& to,
                                 const std::string& user);

/// The message and the end of a stream whose answer is one message.
result<void> read_single_message(std::string_view envelopes);
result<std::string> read_watcher(std::string_view body);
result<std::vector<file_change>> read_changes(std::string_view body);
result<std::vector<written_file>> read_written(std::string_view body);
/// An entry that is the whole answer.
result<entry> read_bare_entry(std::string_view body);
result<std::map<std::string, std::string>> read_texts(std::string_view body);

/// One message of a WatchDir stream.
struct watch_event {
  bool start = false;
  std::optional<file_change> what; ///< Empty for start, keepalive and unknown ones.
};
result<watch_event> read_watch_event(std::string_view payload);

/// multipart/form-data of parts named "file" whose filename is the whole path.
struct multipart {
  std::string content_type;
  std::string body;
};
/// errc::bad_argument for a path with a quote or a control character, which a part cannot name.
result<multipart> make_multipart(const std::vector<file_content>& files);
std::string gzip(std::string_view content);

} // namespace skep::sandbox::wire
