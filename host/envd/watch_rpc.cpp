// The watchers of filesystem.Filesystem: WatchDir (a stream), and the three calls that poll.
#include "host/envd/handlers.hpp"

#include <algorithm>
#include <random>

namespace skep::envd {

namespace {
constexpr std::size_t polled_watchers = 256;

std::shared_ptr<watcher> begin_watch(services& s, const json& request) {
  std::string path;
  if (!s.user.resolve(get_string(request, "path"), path))
    fail(rpc_code::invalid_argument, "field path is no path of this user");
  return s.watches.watch(path, get_bool(request, "recursive", false),
                         get_bool(request, "includeEntry", false),
                         get_bool(request, "allowNetworkMounts", false));
}

/// Ends the watch with the request, however that ends.
struct watch_guard {
  services& s;
  std::shared_ptr<watcher> w;
  ~watch_guard() { s.watches.end(w); }
};

std::string new_watcher_id() {
  constexpr std::string_view letters = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device random;
  std::string out = "w";
  for (int i = 0; i < 20; ++i)
    out += letters[random() % letters.size()];
  return out;
}

std::shared_ptr<watcher> polled(services& s, const json& request) {
  auto id = get_string(request, "watcherId");
  auto i = s.polled.find(id);
  if (i == s.polled.end()) fail(rpc_code::not_found, "watcher with id " + id + " not found");
  return i->second;
}

} // namespace

task<void> filesystem_watch_dir(services& s, exchange& x, json request) {
  stream_terms terms{.limit = time_allowed(x),
                     .time = s.time,
                     .opening = envelope(0, R"({"start":{}})"),
                     .keepalive = envelope(0, R"({"keepalive":{}})")};
  watch_guard here{s, begin_watch(s, request)};
  co_await run_stream(x, *here.w, terms);
}

task<json> filesystem_create_watcher(services& s, json request) {
  if (s.polled.size() >= polled_watchers)
    fail(rpc_code::resource_exhausted, "there are too many watchers; remove some");
  auto w = begin_watch(s, request);
  auto id = new_watcher_id();
  s.polled.emplace(id, std::move(w));
  co_return json{{"watcherId", id}};
}

task<json> filesystem_get_watcher_events(services& s, json request) {
  auto w = polled(s, request);
  if (std::exchange(w->lost, false)) fail_lost();
  json out = json::object();
  if (!w->queue.empty()) {
    out["events"] = json::array();
    for (auto& event : w->queue)
      out["events"].push_back(std::move(event));
    w->queue.clear();
  }
  co_return out;
}

task<json> filesystem_remove_watcher(services& s, json request) {
  auto w = polled(s, request);
  s.watches.end(w);
  s.polled.erase(get_string(request, "watcherId"));
  co_return json::object();
}

} // namespace skep::envd
