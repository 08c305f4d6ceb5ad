// The part of the control API that actors do not need, over a client's engine, key and deadlines:
// every field of create, pages, metrics, logs, snapshots, forks. The contract of each call is that
// of api.hpp. A control must not outlive its client; the client's cancel() ends its calls.
#pragma once

#include "sandbox/client.hpp"

namespace skep::sandbox {

/// A token of the provider's workload identity.
struct identity_token {
  std::string audience;
  std::string type = "JWT-SVID";
};

struct volume_mount {
  std::string name;
  std::string path;
};

/// Every field of create.
struct create_all_params : create_params {
  /// false: what is paused at the lease's end keeps its files alone. Only with auto_pause.
  bool auto_pause_memory = true;
  bool allow_public_traffic = true; ///< false: user ports want created::traffic_token.
  /// The Host header that user ports see; may hold ${PORT}.
  std::string mask_request_host = {};
  std::string mcp_json = {}; ///< Configuration of the MCP gateway, a JSON object.
  std::map<std::string, identity_token> identity = {};
  std::vector<volume_mount> volumes = {};
};

struct page_query {
  list_filter filter = {};
  std::uint32_t limit = 100; ///< 1 to 100.
  std::string token = {};    ///< Names the page; empty: the first.
};

struct listed_page {
  std::vector<listed> items;
  std::string next_token;                     ///< Empty: the last page.
  std::optional<std::uint64_t> total_running; ///< When running ones were asked for.
};

enum class log_level : std::uint8_t { debug, info, warn, error };

struct log_entry {
  std::chrono::system_clock::time_point at;
  log_level level = log_level::info;
  std::string message; ///< Foreign text.
  std::map<std::string, std::string> fields;
};

struct log_query {
  std::optional<std::chrono::system_clock::time_point> cursor = {}; ///< Empty: the provider's end.
  std::uint32_t limit = 1000;                                       ///< 1 to 1,000.
  bool backward = false;
  std::optional<log_level> at_least = {};
  std::string search = {}; ///< At most 256 characters.
};

struct snapshot {
  std::string snapshot_id; ///< Can be given as template_name.
  std::vector<std::string> names;
};

struct snapshot_query {
  std::string remote_id = {}; ///< Of this sandbox alone.
  std::string name = {};
  std::uint32_t limit = 100;
  std::string token = {};
};

struct snapshot_page {
  std::vector<snapshot> items;
  std::string next_token;
};

class control {
public:
  using time = std::chrono::system_clock::time_point;

  explicit control(const client& of) : core_(of.core()) {}

  /// As api::create, with every field. endpoint::paths decides between v1 and v2.
  call_id create_all(create_all_params params, done<created> then);
  /// Resumes a paused sandbox; errc::wrong_phase when it runs. Deprecated by E2B: see
  /// api::connect.
  call_id resume_paused(std::string remote_id, std::chrono::seconds lease, bool auto_pause,
                        done<created> then);
  /// One page; api::list gives all of them.
  call_id list_page(page_query what, done<listed_page> then);
  /// Running ones by the old path, without pages. Deprecated by E2B.
  call_id list_running(std::map<std::string, std::string> metadata, done<std::vector<listed>> then);
  /// Extends the lease to end at the earliest `lease` from now, 15 s to 1 h.
  call_id refresh(std::string remote_id, std::chrono::seconds lease, done<void> then);
  /// Samples between two times; either may be empty.
  call_id metrics(std::string remote_id, std::optional<time> from, std::optional<time> to,
                  done<std::vector<usage_sample>> then);
  /// The last sample of each; unknown ones are absent. 1 to 100 ids.
  call_id metrics_of(std::vector<std::string> remote_ids,
                     done<std::map<std::string, usage_sample>> then);
  call_id logs(std::string remote_id, log_query what, done<std::vector<log_entry>> then);
  /// The old path: entries from `from`, at most `limit`.
  call_id logs_v1(std::string remote_id, std::optional<time> from, std::uint32_t limit,
                  done<std::vector<log_entry>> then);
  /// `name` empty: the provider chooses.
  call_id create_snapshot(std::string remote_id, std::string name, done<snapshot> then);
  call_id list_snapshots(snapshot_query what, done<snapshot_page> then);
  /// false: there was none.
  call_id delete_snapshot(std::string snapshot_id, done<bool> then);
  /// `count` copies, 1 to 100; each one a sandbox or why there is none. `lease` 0: the provider's.
  call_id fork(std::string remote_id, std::uint32_t count, std::chrono::seconds lease,
               done<std::vector<result<created>>> then);

private:
  std::shared_ptr<client_core> core_;
};

} // namespace skep::sandbox
