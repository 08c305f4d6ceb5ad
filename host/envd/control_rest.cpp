// What the host tells envd: POST /init, /freeze and /unfreeze. The host's proxy lets nobody else
// reach these, and programs inside have no way to the socket.
//
// A pause: /freeze stops the clock of all deadlines and lets the clients of streams go; the holder
// stops every process, later continues them and sends /unfreeze, from when the clock goes on.
#include "host/envd/handlers.hpp"
#include "host/envd/signature.hpp"

#include <array>
#include <cstdio>
#include <ctime>

namespace skep::envd {

namespace {
constexpr std::chrono::milliseconds streams_close_within{500};

constexpr std::size_t init_limit_bytes = 1U << 20;

/// RFC 3339 in UTC (`Z`) or with an offset, as nanoseconds since 1970; nothing when it is none.
std::optional<std::int64_t> nanoseconds_of(const std::string& text) {
  tm t{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon,
                  &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &used)
          != 6
      || used == 0)
    return std::nullopt;
  t.tm_year -= 1900;
  t.tm_mon -= 1;
  std::int64_t nanoseconds = 0;
  auto at = static_cast<std::size_t>(used);
  if (at < text.size() && text[at] == '.') {
    std::int64_t unit = 100'000'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
      nanoseconds += (text[at] - '0') * unit;
  }
  std::int64_t offset_s = 0;
  int hours = 0;
  int minutes = 0;
  auto zone = text.substr(at);
  if (zone != "Z" && zone != "z") {
    if (zone.size() != 6 || std::sscanf(zone.c_str() + 1, "%2d:%2d", &hours, &minutes) != 2)
      return std::nullopt;
    offset_s = (hours * 60 + minutes) * 60 * (zone[0] == '-' ? -1 : 1);
  }
  return (static_cast<std::int64_t>(::timegm(&t)) - offset_s) * 1'000'000'000 + nanoseconds;
}
} // namespace

task<void> init_post(services& s, exchange& x) {
  constexpr std::string_view plain = "text/plain; charset=utf-8";
  auto version = "X-Envd-Version: " + std::string{envd_version} + "\r\n";
  auto text = co_await x.body(init_limit_bytes);
  auto j = text.empty() ? json::object() : json::parse(text, nullptr, false);
  std::string token;
  std::optional<std::int64_t> stamp;
  bool sound = j.is_object();
  try {
    if (sound) token = get_string(j, "accessToken");
    if (auto when = sound ? get_optional_string(j, "timestamp") : std::nullopt) {
      stamp = nanoseconds_of(*when);
      sound = stamp.has_value();
    }
  } catch (const rpc_failure&) {
    sound = false;
  }
  if (!sound) {
    co_await x.reply(400, plain, "the body is no initialization\n");
    co_return;
  }
  auto& settings = s.settings;
  if (!settings.access_token.empty() && !same_secret(token, settings.access_token)) {
    co_await x.reply(401, plain, "the access token does not match\n");
    co_return;
  }
  if (stamp && *stamp <= s.initialized_at_ns) { // an older one that was under way for long
    co_await x.reply(204, {}, {}, version);
    co_return;
  }
  config next = settings;
  bool good = true;
  if (auto parsed = parse_config(text.empty() ? "{}" : text)) {
    next.access_token = token;
    if (j.contains("envVars")) next.env_vars = parsed->env_vars;
    if (j.contains("defaultUser")) next.default_user = parsed->default_user;
    if (j.contains("defaultWorkdir")) next.default_workdir = parsed->default_workdir;
  } else {
    good = false;
  }
  if (!good) {
    co_await x.reply(400, plain, "the body is no initialization\n");
    co_return;
  }
  if (stamp) s.initialized_at_ns = *stamp;
  settings = std::move(next);
  s.user.reset(settings);
  co_await x.reply(204, {}, {}, version);
}

task<void> freeze_post(services& s, exchange& x) {
  s.time.freeze();
  for (const auto& p : s.processes.running())
    p->feed().drop();
  s.watches.drop_all();
  // The host stops us as soon as it has the answer: by then the streams must have been closed. One
  // whose client reads nothing is not waited for.
  auto deadline = clock::now() + streams_close_within;
  while (s.streams > 0 && clock::now() < deadline)
    co_await s.streams_changed.wait_until(deadline);
  co_await x.reply(204, {}, {});
}

task<void> unfreeze_post(services& s, exchange& x) {
  s.time.thaw();
  co_await x.reply(204, {}, {});
}

} // namespace skep::envd
