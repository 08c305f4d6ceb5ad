// What the rest of Skep may ask of sandboxes and their provider: the abstract interface.
// client.hpp is the real one (E2B's wire protocol); tests use tests/sandbox/fake_api.hpp. What the
// protocol can do beyond what actors need is in control.hpp, templates.hpp and envd.hpp.
//
// Contract of every call
//   - It returns at once; it may be made from any thread.
//   - Its callback is called exactly once, on the engine's thread, never inside the call itself.
//     It must not block. When the client ends first, it is called with errc::cancelled.
//   - It has a deadline: the one of policy.hpp, or call_options::deadline. Past it:
//   errc::timed_out.
//   - The error's `step` is the operation's name, its `cause` holds what the provider said (at most
//     500 bytes), its `code` is one of errors.hpp. Errors never hold keys or tokens.
//   - cancel(id) ends it early with errc::cancelled.
#pragma once

#include "messages/error.hpp"
#include "sandbox/file_slice.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skep::sandbox {

template <class T>
using done = std::function<void(result<T>)>;

/// Names one call or stream of one client, for cancel() and resume(); 0 is none. Never reused.
using call_id = std::uint64_t;

/// Which paths create and connect use. Both generations are served by E2B; v2 sandboxes always have
/// an access token.
enum class generation : std::uint8_t { v1, v2 };

/// A provider's API key: one for good, or asked anew for each request that carries it, so that a
/// key that was replaced counts from the next request on. Empty: no key is sent.
class key_source {
public:
  using question = std::function<std::string()>;

  key_source() = default;
  key_source(std::string fixed) // NOLINT: a key is one
      : ask_([key = std::move(fixed)] { return key; }) {}
  key_source(const char* fixed) : key_source(std::string{fixed}) {} // NOLINT: a key is one
  /// `ask` is called on the engine's thread: it may read a small file, and waits for nobody.
  explicit key_source(question ask) : ask_(std::move(ask)) {}

  std::string operator()() const { return ask_ ? ask_() : std::string{}; }

private:
  question ask_;
};

/// A provider: E2B's cloud, a self-hosted cluster, or skep-host.
struct endpoint {
  std::string name;    ///< As in the configuration; appears in errors.
  std::string api_url; ///< Control API, e.g. "http://127.0.0.1:3000"; empty: https://api.<domain>
  /// One URL for every sandbox's envd. Empty: https://sandbox.<domain> for E2B's own domains, else
  /// https://49983-<sandbox>.<domain>.
  std::string sandbox_url;
  std::string domain = "e2b.app";
  key_source api_key; ///< Secret.
  generation paths = generation::v1;
};

/// Address of one sandbox's envd.
struct remote {
  std::string remote_id;         ///< The provider's id of the sandbox.
  std::string access_token = {}; ///< Secret; empty when the sandbox is open.
  std::string domain = {};       ///< From the provider's answer; empty: the endpoint's.
};

/// A proxy of one's own that all egress of a sandbox goes through.
struct egress_proxy {
  std::string address; ///< "host:port".
  std::string username = {};
  std::string password = {}; ///< Secret.
};

/// The range of every address, as E2B writes it.
inline constexpr std::string_view everywhere = "0.0.0.0/0";

/// What a sandbox may reach.
struct network_rules {
  bool internet = false;              ///< false: no egress but what follows.
  std::vector<std::string> allow_out; ///< Domains, addresses or CIDR blocks.
  /// Headers that the provider's egress adds to requests to a domain. Values are secrets.
  std::map<std::string, std::map<std::string, std::string>> inject;
  std::vector<std::string> deny_out = {}; ///< Addresses or CIDR blocks; allow_out goes before it.
  std::optional<egress_proxy> proxy = {};
  /// Path prefixes that the rule of a domain in `inject` is confined to; ours, E2B takes no notice.
  std::map<std::string, std::vector<std::string>> paths = {};
};

struct create_params {
  std::string template_name = "base";
  std::chrono::seconds lease{120}; ///< The provider kills the sandbox at its end.
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> env; ///< Default environment of every process inside.
  network_rules network;
  bool secure = true; ///< Ask for an access token.
  /// At the lease's end the sandbox is paused instead of killed.
  bool auto_pause = false;
  /// Traffic resumes it when it is paused.
  bool auto_resume = false;
};

struct created {
  remote address;
  std::string envd_version;
  std::string template_id = {};
  std::string alias = {};
  std::string traffic_token = {}; ///< Secret; for user ports of a sandbox without public traffic.
  bool resumed = false;           ///< Of connect(): it was paused before.
};

enum class remote_state : std::uint8_t { running, paused };

/// A sandbox as the provider lists it.
struct listed {
  std::string remote_id;
  remote_state state = remote_state::running;
  std::map<std::string, std::string> metadata;
  std::chrono::system_clock::time_point started_at;
  std::chrono::system_clock::time_point end_at; ///< End of the lease.
  std::string template_id = {};
  std::string alias = {};
  std::uint32_t cpu_count = 0;
  std::uint64_t memory_mb = 0;
  std::uint64_t disk_mb = 0;
};

struct detail : listed {
  remote address; ///< With the present access token.
  std::string envd_version;
  std::optional<bool> internet = {}; ///< As asked for; empty: the provider does not say.
  bool pause_at_end = false;         ///< Of the lease; false: kill.
  bool auto_resume = false;
};

struct list_filter {
  std::map<std::string, std::string> metadata; ///< All pairs must match.
  bool running = true;
  bool paused = true;
  std::string template_name = {}; ///< Id or alias; empty: any.
  std::optional<std::chrono::system_clock::time_point> started_after = {};
  bool oldest_first = false;
};

/// What a sandbox uses at one moment. A claim of the provider or of envd.
struct usage_sample {
  std::chrono::system_clock::time_point at;
  std::uint32_t cpu_count = 0;
  double cpu_used_percent = 0; ///< 100: all its cores.
  std::uint64_t memory_used_bytes = 0;
  std::uint64_t memory_total_bytes = 0;
  std::uint64_t memory_cache_bytes = 0;
  std::uint64_t disk_used_bytes = 0;
  std::uint64_t disk_total_bytes = 0;
};

/// What a gateway has counted for one sandbox since it was made.
struct model_usage {
  std::uint64_t calls = 0;          ///< That told what they used.
  std::uint64_t micro_usd = 0;      ///< Of those with a known price.
  std::uint64_t unpriced_calls = 0; ///< The others.
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  bool used_up = false; ///< Of its allowance: calls are refused.
  /// Calls whose client went before their end and whose answer was cut: what they used is a guess.
  std::uint64_t cut_calls = 0;
};

/// A process to start inside. argv is executed as it is, never by a shell.
struct command {
  std::vector<std::string> argv; ///< At least the program.
  std::map<std::string, std::string> env = {};
  std::string cwd = {};  ///< Empty: envd's default.
  std::string user = {}; ///< Linux user; empty: envd's default.
  std::string tag = {};  ///< A name others can find the process by.
  /// Keeps stdin open for send_input(); otherwise it is /dev/null, unless stdin_data is set.
  bool stdin_open = false;
  /// Written after the start; stdin is then closed unless stdin_open is set.
  std::string stdin_data = {};
  /// envd kills the process after this time. 0: run() takes its policy's deadline, a stream or a
  /// background process has no limit.
  std::chrono::milliseconds limit{0};
  /// Columns and rows; when set, the process gets a terminal and all output is stdout.
  struct terminal {
    std::uint16_t columns = 80;
    std::uint16_t rows = 24;
  };
  std::optional<terminal> pty = {};
};

/// How a process ended. A claim from inside the sandbox, no more.
struct command_result {
  int exit_code = 0;       ///< -1 when a signal ended it.
  bool exited = false;     ///< false: ended by a signal.
  std::string status = {}; ///< "exit status 3", "signal: killed".
  /// Output of run(), the first policy::output_cap_bytes each; empty for streams. Any bytes.
  std::string stdout_data = {};
  std::string stderr_data = {};
  bool stdout_truncated = false;
  bool stderr_truncated = false;
};

/// Callbacks of one stream, on the engine's thread. Any may be empty but on_end.
struct stream_handlers {
  std::function<void(std::uint32_t pid)> on_start;
  /// Bytes as they come. Returning false pauses the stream (these bytes are taken): nothing more is
  /// read from the network until resume(), so the process inside blocks on its pipe in the end.
  std::function<bool(std::string_view)> on_stdout;
  std::function<bool(std::string_view)> on_stderr;
  /// Last callback, exactly once. An error says how the stream broke, not that the process ended.
  std::function<void(result<command_result>)> on_end;
};

struct process_info {
  std::uint32_t pid = 0;
  std::string tag;
  std::vector<std::string> argv;
};

enum class signal : std::uint8_t { terminate, kill };

/// Part of a file.
struct file_piece {
  std::string data;
  std::uint64_t size_bytes = 0; ///< Whole file at the time of the read.
};

enum class entry_type : std::uint8_t { unknown, file, directory, symlink };

struct entry {
  std::string name;
  std::string path; ///< Absolute.
  entry_type type = entry_type::unknown;
  std::uint64_t size_bytes = 0;
  std::uint32_t mode = 0; ///< Permission bits.
  std::string symlink_target;
  std::string owner = {}; ///< Name, or the number where it has none.
  std::string group = {};
  std::string permissions = {}; ///< "-rw-r--r--".
  std::optional<std::chrono::system_clock::time_point> modified_at = {};
  std::map<std::string, std::string> metadata = {};
};

/// Deviations from the policy for one call.
struct call_options {
  std::chrono::milliseconds deadline{0}; ///< 0: the policy's.
  std::string user = {};                 ///< Linux user of file calls; empty: envd's default.
  /// Of upload_file: how many bytes of the file the connection has taken so far, each time that it
  /// takes more. On the engine's thread; it must not block.
  std::function<void(std::uint64_t sent_bytes)> on_sent = {};
};

class api {
public:
  virtual ~api() = default;

  // -- control API --------------------------------------------------------------------------------

  /// Never repeated by itself: without an answer nobody knows whether the sandbox exists.
  virtual call_id create(create_params params, done<created> then) = 0;
  /// All pages.
  virtual call_id list(list_filter filter, done<std::vector<listed>> then) = 0;
  /// errc::not_found when the provider says so (404 with its error body).
  virtual call_id get(std::string remote_id, done<detail> then) = 0;
  /// true: it was there and is killed; false: there was none.
  virtual call_id kill(std::string remote_id, done<bool> then) = 0;
  /// Sets the lease to end `lease` from now, also earlier than before.
  virtual call_id set_timeout(std::string remote_id, std::chrono::seconds lease,
                              done<void> then) = 0;
  /// Replaces all rules.
  virtual call_id set_network(std::string remote_id, network_rules rules, done<void> then) = 0;

  // The next five have bodies so that a stand-in for tests need not have them: they refuse, inside
  // the call.

  /// true: it is paused now, with its memory (`keep_memory`) or its files alone; false: it was
  /// paused already or is on its way.
  virtual call_id pause(std::string remote_id, bool keep_memory, done<bool> then);
  /// Resumes it when it is paused; the lease ends at the earliest `lease` from now. The answer has
  /// the present access token.
  virtual call_id connect(std::string remote_id, std::chrono::seconds lease, done<created> then);
  /// One sample from the sandbox's own envd; costs nothing of the control API's rate.
  virtual call_id usage(remote where, done<usage_sample> then);

  /// What its gateway counted. Offered by skep-host alone: errc::not_found means that the provider
  /// counts nothing (or that the sandbox is gone).
  virtual call_id get_model_usage(std::string remote_id, done<model_usage> then);
  /// How much its models may cost in all, what they have cost included; empty: no limit. Offered as
  /// get_model_usage is.
  virtual call_id set_allowance(std::string remote_id, std::optional<std::uint64_t> micro_usd,
                                done<void> then);

  // -- processes ----------------------------------------------------------------------------------

  /// Runs to the end and collects the output. A non-zero exit is a result, not an error. Past its
  /// limit the process is killed: errc::timed_out with the first 100 characters of the command.
  virtual call_id run(remote where, command what, done<command_result> then) = 0;
  /// Answers with the pid once it has started and lets go of it; its output is dropped.
  virtual call_id start_background(remote where, command what, done<std::uint32_t> then) = 0;
  /// Starts a process and follows its output. cancel() closes the stream and leaves it running.
  virtual call_id open_stream(remote where, command what, stream_handlers handlers) = 0;
  /// Lets a paused stream go on; harmless when it is not paused or gone.
  virtual void resume(call_id stream) = 0;
  /// `to_pty` for a process with a terminal.
  virtual call_id send_input(remote where, std::uint32_t pid, std::string data, bool to_pty,
                             done<void> then) = 0;
  virtual call_id close_stdin(remote where, std::uint32_t pid, done<void> then) = 0;
  /// errc::not_found when no such process runs.
  virtual call_id send_signal(remote where, std::uint32_t pid, signal which, done<void> then) = 0;
  virtual call_id resize_pty(remote where, std::uint32_t pid, command::terminal size,
                             done<void> then) = 0;
  virtual call_id list_processes(remote where, done<std::vector<process_info>> then) = 0;

  // -- files --------------------------------------------------------------------------------------

  /// Streams a local file, or a part of it; parents are made, an existing file is overwritten, the
  /// mode is not kept.
  virtual call_id upload_file(remote where, file_slice from, std::string to, call_options options,
                              done<void> then) = 0;
  virtual call_id write_file(remote where, std::string path, std::string content,
                             call_options options, done<void> then) = 0;
  /// At most `length` bytes (0: policy::read_cap_bytes) from `offset`; past the end: no data.
  /// errc::file_not_found.
  virtual call_id read_file(remote where, std::string path, std::uint64_t offset,
                            std::uint64_t length, call_options options, done<file_piece> then) = 0;
  /// Writes to a temporary file beside `to` and renames at the end, so that `to` is whole or not
  /// there. Answers with the size; errc::too_large past `cap_bytes`. One that may take longer than
  /// its operation's deadline is timed_out all the same when nothing came for that long.
  virtual call_id download_file(remote where, std::string from, std::filesystem::path to,
                                std::uint64_t cap_bytes, call_options options,
                                done<std::uint64_t> then) = 0;
  /// errc::file_not_found when there is nothing.
  virtual call_id stat(remote where, std::string path, call_options options, done<entry> then) = 0;
  /// `depth` 1: the directory's own entries.
  virtual call_id list_dir(remote where, std::string path, std::uint32_t depth,
                           call_options options, done<std::vector<entry>> then) = 0;
  /// With parents; errc::exists when the directory is there.
  virtual call_id make_dir(remote where, std::string path, call_options options,
                           done<void> then) = 0;
  virtual call_id move(remote where, std::string from, std::string to, call_options options,
                       done<void> then) = 0;
  /// Recursive; succeeds when there is nothing.
  virtual call_id remove(remote where, std::string path, call_options options, done<void> then) = 0;
  /// Ok when envd answers; errc::gone when the sandbox is not there any more.
  virtual call_id health(remote where, done<void> then) = 0;

  /// Ends a call or stream with errc::cancelled; harmless when it is over.
  virtual void cancel(call_id id) = 0;
};

inline call_id api::pause(std::string, bool, done<bool> then) {
  then(make_error(errc::refused, "pause is not offered here"));
  return 0;
}
inline call_id api::connect(std::string, std::chrono::seconds, done<created> then) {
  then(make_error(errc::refused, "connect is not offered here"));
  return 0;
}
inline call_id api::usage(remote, done<usage_sample> then) {
  then(make_error(errc::refused, "usage is not offered here"));
  return 0;
}
inline call_id api::get_model_usage(std::string, done<model_usage> then) {
  then(make_error(errc::not_found, "nothing is counted here"));
  return 0;
}
inline call_id api::set_allowance(std::string, std::optional<std::uint64_t>, done<void> then) {
  then(make_error(errc::not_found, "nothing is counted here"));
  return 0;
}

} // namespace skep::sandbox
