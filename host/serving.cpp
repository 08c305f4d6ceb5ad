#include "host/serving.hpp"

#include "host/posix.hpp"

#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>

namespace skep::host {

result<std::vector<std::string>> read_keys(const host_options& options) {
  std::vector<std::string> keys;
  if (options.key_file.empty()) {
    if (!options.insecure_loopback)
      return make_error(errc::bad_argument, "give --key-file FILE or --insecure-loopback");
    return keys;
  }
  auto text = read_file(options.key_file, 65536);
  if (!text) return text.err();
  for (std::size_t at = 0; at < text->size();) {
    auto end = std::min(text->find('\n', at), text->size());
    auto line = text->substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
      line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(std::move(line));
  }
  if (keys.empty()) return make_error(errc::secret_missing, options.key_file + " holds no key");
  return keys;
}

namespace {

task<void> serve(asio::io_context& io, driver& sandboxes, server& web, ready_file& ready,
                 std::chrono::seconds idle_exit, std::string line, result<void>& outcome) {
  co_await sandboxes.adopt();
  web.set_ready();
  if (outcome = ready.write(line); !outcome) {
    io.stop();
    co_return;
  }
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
  if (idle_exit.count() == 0) co_return;
  asio::steady_timer timer{io};
  auto since = std::chrono::steady_clock::now();
  for (;;) {
    if (web.busy() || sandboxes.occupied() > 0) since = std::chrono::steady_clock::now();
    since = std::max(since, web.last_use());
    if (std::chrono::steady_clock::now() - since >= idle_exit) break;
    error_code ec;
    timer.expires_after(std::chrono::seconds{1});
    co_await timer.async_wait(into(ec));
  }
  io.stop();
}

} // namespace

result<void> serve_until_told(asio::io_context& io, driver& sandboxes, server& web,
                              ready_file& ready, std::chrono::seconds idle_exit,
                              const json& announcement) {
  web.start();
  asio::signal_set stop{io, SIGTERM, SIGINT};
  stop.async_wait([&io](error_code, int) { io.stop(); });
  result<void> outcome;
  spawn(io, serve(io, sandboxes, web, ready, idle_exit, dump(announcement) + "\n", outcome));
  io.run();
  ready.remove();
  return outcome;
}

} // namespace skep::host
