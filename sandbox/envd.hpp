// The part of envd that actors do not need, over a client's engine, tokens and deadlines: processes
// by pid or tag, streamed input, watchers, uploads of several files, metadata, composing, signed
// addresses. The contract of each call is that of api.hpp. An envd must not outlive its client; the
// client's cancel() and resume() work on its calls.
#pragma once

#include "sandbox/client.hpp"

namespace skep::sandbox {

/// Names a process: by pid, or by tag when pid is 0.
struct process_selector {
  std::uint32_t pid = 0;
  std::string tag = {};
};

enum class change : std::uint8_t { unknown, create, write, remove, rename, chmod };

/// Something happened below a watched directory.
struct file_change {
  std::string name; ///< Relative to the directory.
  change what = change::unknown;
  std::optional<entry> info = {}; ///< With watch_options::with_entry, of what is still there.
};

struct watch_options {
  bool recursive = false;
  bool with_entry = false;            ///< envd 0.6.3.
  bool allow_network_mounts = false;  ///< envd 0.6.4.
  std::chrono::milliseconds limit{0}; ///< Of a stream; 0: none.
  std::string user = {};
};

/// Callbacks of a watch stream, on the engine's thread.
struct watch_handlers {
  std::function<void()> on_start = {}; ///< From now on nothing is missed.
  /// Returning false pauses the stream until the client's resume().
  std::function<bool(const file_change&)> on_change;
  /// Last callback, exactly once; ok when envd ended the watch, which it does at its limit alone.
  std::function<void(result<void>)> on_end;
};

/// A file to write, from memory.
struct file_content {
  std::string path;
  std::string content;
};

struct written_file {
  std::string path; ///< Absolute.
  std::string name;
  std::map<std::string, std::string> metadata = {};
};

struct write_options {
  std::chrono::milliseconds deadline{0}; ///< 0: the policy's.
  std::string user = {};
  /// Stored beside the content; keys of printable ASCII, case is lost. envd 0.6.2.
  std::map<std::string, std::string> metadata = {};
  bool gzip = false; ///< Compressed on the way. envd 0.5.7.
};

/// An address that works without a token.
struct signed_url_options {
  std::string user = {};
  std::optional<std::chrono::system_clock::time_point> expires = {}; ///< Whole seconds.
};

class envd {
public:
  explicit envd(const client& of) : core_(of.core()) {}

  // -- processes: process.Process -----------------------------------------------------------------

  /// Follows a process that runs; what it wrote before is lost. For 30 s after its end a late call
  /// still gets start and end. `limit` 0: none. errc::not_found.
  call_id connect_process(remote where, process_selector which, std::chrono::milliseconds limit,
                          stream_handlers handlers);
  call_id send_input(remote where, process_selector which, std::string data, bool to_pty,
                     done<void> then);
  /// Several pieces in one request, each written as it is.
  call_id stream_input(remote where, process_selector which, std::vector<std::string> pieces,
                       bool to_pty, done<void> then);
  call_id close_stdin(remote where, process_selector which, done<void> then);
  call_id send_signal(remote where, process_selector which, signal what, done<void> then);
  call_id resize_pty(remote where, process_selector which, command::terminal size, done<void> then);

  // -- watchers: filesystem.Filesystem ------------------------------------------------------------

  call_id watch_dir(remote where, std::string path, watch_options options, watch_handlers handlers);
  /// A watcher that collects changes until they are asked for. Answers with its id.
  call_id create_watcher(remote where, std::string path, watch_options options,
                         done<std::string> then);
  /// What happened since the last call.
  call_id watcher_events(remote where, std::string watcher, done<std::vector<file_change>> then);
  call_id remove_watcher(remote where, std::string watcher, done<void> then);

  // -- files --------------------------------------------------------------------------------------

  /// One file, as octets. As api::write_file, with more options.
  call_id write_file(remote where, file_content file, write_options options,
                     done<std::vector<written_file>> then);
  /// Several files in one multipart request.
  call_id write_files(remote where, std::vector<file_content> files, write_options options,
                      done<std::vector<written_file>> then);
  /// Puts files one behind the other into `to` and removes them. After a lost answer look at `to`
  /// first.
  call_id compose(remote where, std::vector<std::string> from, std::string to, std::string user,
                  done<entry> then);
  /// The default environment of processes.
  call_id environment(remote where, done<std::map<std::string, std::string>> then);

  // -- addresses; no request is made --------------------------------------------------------------

  /// Whoever has the address can read the file (until it expires). Signed when the sandbox has a
  /// token.
  std::string download_url(const remote& where, const std::string& path,
                           const signed_url_options& options = {}) const;
  /// The same for writing; `path` empty: the names of the multipart parts decide.
  std::string upload_url(const remote& where, const std::string& path,
                         const signed_url_options& options = {}) const;

private:
  std::shared_ptr<client_core> core_;
};

/// "v1_" and the unpadded base64 of SHA-256("PATH:OPERATION:USER:TOKEN[:EXPIRES]").
/// `operation`: "read" or "write".
std::string file_signature(std::string_view path, std::string_view operation, std::string_view user,
                           std::string_view token, std::optional<std::int64_t> expires_unix_s = {});

} // namespace skep::sandbox
