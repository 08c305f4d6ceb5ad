#include "host/envd/config.hpp"

#include "messages/json.hpp"

#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace skep::envd {

namespace {
constexpr std::size_t max_config_bytes = 1U << 20;

bool take(const json& j, const char* name, std::string& out) {
  auto i = j.find(name);
  if (i == j.end() || i->is_null()) return true;
  if (!i->is_string()) return false;
  out = i->get<std::string>();
  return true;
}
} // namespace

result<config> parse_config(std::string_view text) {
  auto j = json::parse(text, nullptr, false);
  if (!j.is_object()) return make_error(errc::bad_config, "envd configuration is no JSON object");
  config c;
  if (!take(j, "accessToken", c.access_token) || !take(j, "defaultUser", c.default_user)
      || !take(j, "defaultWorkdir", c.default_workdir) || !take(j, "sandboxID", c.sandbox_id)
      || !take(j, "templateID", c.template_id))
    return make_error(errc::bad_config, "a text field of the envd configuration is no text");
  if (auto i = j.find("envVars"); i != j.end() && !i->is_null()) {
    if (!i->is_object()) return make_error(errc::bad_config, "envVars is no object");
    for (const auto& [name, value] : i->items()) {
      if (!value.is_string()) return make_error(errc::bad_config, "a value of envVars is no text");
      c.env_vars.emplace_back(name, value.get<std::string>());
    }
  }
  if (auto i = j.find("gatewayPort"); i != j.end() && !i->is_null()) {
    if (!i->is_number_unsigned() || i->get<std::uint64_t>() > 65535)
      return make_error(errc::bad_config, "gatewayPort is no port number");
    c.gateway_port = i->get<std::uint16_t>();
  }
  if (auto i = j.find("logEvents"); i != j.end() && !i->is_null()) {
    if (!i->is_boolean()) return make_error(errc::bad_config, "logEvents is no truth value");
    c.log_events = i->get<bool>();
  }
  return c;
}

result<config> read_config(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    auto n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      auto reason = errno;
      ::close(fd);
      return make_error(errc::io, "cannot read the envd configuration", std::strerror(reason));
    }
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > max_config_bytes) break;
  }
  ::close(fd);
  if (text.size() > max_config_bytes)
    return make_error(errc::too_large, "the envd configuration is larger than 1 MiB");
  return parse_config(text);
}

} // namespace skep::envd
