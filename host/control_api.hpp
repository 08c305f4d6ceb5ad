// E2B's control API over a driver, without HTTP: a request comes as text, an answer leaves as
// text.
//
//   POST /sandboxes, /v2/sandboxes            GET /sandboxes, /v2/sandboxes
//   GET, DELETE /sandboxes/{id}               POST /sandboxes/{id}/timeout, /refreshes, /connect
//   POST /v2/sandboxes/{id}/connect           POST /sandboxes/{id}/pause, /resume
//   PUT /sandboxes/{id}/network
//   GET /sandboxes/{id}/metrics               GET /sandboxes/metrics?sandbox_ids=
//   GET /sandboxes/{id}/logs, /v2/...         GET /health
//   GET /skep/v1/info                         GET /skep/v1/sandboxes/{id}/usage?after=
//   PUT /skep/v1/sandboxes/{id}/allowance     DELETE /skep/v1/sandboxes/{id}/keys
//   /templates, /snapshots, /volumes, ...     see catalog.hpp
//
// What E2B has and this host has not (snapshots, builds, ...) answers 501 with a body.
// control_api.cpp holds the routes and what changes something, control_views.cpp what only tells,
// control_account.cpp what sandboxes spend.
#pragma once

#include "host/async.hpp"
#include "host/driver.hpp"
#include "host/isolation_state.hpp"
#include "host/web_text.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace skep::host {

struct api_request {
  std::string method; ///< "GET", ...
  std::string path;   ///< Without the query.
  std::string query;
  std::string body;
};

struct api_reply {
  unsigned status = 200;
  std::string body; ///< JSON, or empty.
  std::vector<std::pair<std::string, std::string>> headers;
};

/// {"code":STATUS,"message":MESSAGE}, as every error of the control API.
api_reply api_error(unsigned status, const std::string& message);

struct api_settings {
  std::string version;
  std::string state_path;
  std::string envd_program;
  std::vector<std::string> binds;
  std::map<std::string, std::string> upstreams; ///< Domain to URL; see sandbox_order.
  string_map prices;                            ///< See sandbox_order.
  std::size_t max_sandboxes = 100;
  std::string tag; ///< Shown by /skep/v1/info.
  resource_limits limits;
  string_map cgroups;                   ///< Where groups may be made: which limits can hold.
  isolation_state* isolation = nullptr; ///< Can sandboxes be made here? nullptr: always.
};

/// What became of the host's template since this host started.
struct template_use {
  std::int64_t since_ms = 0; ///< When the host started.
  std::int64_t spawned = 0;  ///< Sandboxes made since then.
  std::int64_t last_spawn_ms = 0;
};

class control_api {
public:
  control_api(driver& sandboxes, api_settings settings);

  /// Answers one request whose key has been checked. Never throws.
  task<api_reply> handle(api_request request);

  /// Resumes a paused sandbox for a request that came for it. errc::quota, errc::not_found.
  task<result<void>> resume_for_traffic(std::string id);

private:
  task<api_reply> create(api_request request, bool v2);
  task<api_reply> remove(std::string id);
  task<api_reply> set_timeout(std::string id, std::string body);
  task<api_reply> refresh(std::string id, std::string body);
  task<api_reply> connect(std::string id, std::string body, bool v2);
  task<api_reply> pause(std::string id, std::string body);
  task<api_reply> resume(std::string id, std::string body);
  task<api_reply> wake(std::string id, std::int64_t ms);
  task<api_reply> metrics(std::string id, std::string query);
  task<api_reply> metrics_of_many(std::string query);
  task<api_reply> logs(std::string id, std::string query, bool v2);
  task<api_reply> set_network(std::string id, std::string body);
  task<api_reply> account(api_request request, std::vector<std::string> path);
  result<void> check_room() const;
  api_reply list(const api_request& request, bool v2) const;
  api_reply detail(const std::string& id) const;
  api_reply info() const;

  driver& sandboxes_;
  api_settings settings_;
  template_use template_use_;
};

} // namespace skep::host
