#include "tools/skepd/config.hpp"

#include "host/gateway/prices.hpp"
#include "host/isolation.hpp"
#include "tools/skepd/metrics_server.hpp"
#include "tools/skepd/read_policy.hpp"

#include <cstdlib>
#include <set>
#include <toml++/toml.h>
#include <unistd.h>

namespace skep::tools {
namespace {

std::string place_of(const std::filesystem::path& file, const toml::node& at) {
  return file.string() + ":" + std::to_string(at.source().begin.line);
}

error bad(const std::filesystem::path& file, const toml::node* at, const std::string& what) {
  return make_error(errc::bad_config, (at ? place_of(file, *at) : file.string()) + ": " + what);
}

error check_keys(const std::filesystem::path& file, const toml::table& t,
                 const std::set<std::string>& known) {
  for (const auto& [key, node] : t)
    if (known.count(std::string{key.str()}) == 0)
      return bad(file, &node, "unknown key '" + std::string{key.str()} + "'");
  return {};
}

error read_text(const std::filesystem::path& file, const toml::table& t, const char* key,
                std::string& out) {
  const auto* node = t.get(key);
  if (!node) return {};
  auto value = node->value<std::string>();
  if (!value) return bad(file, node, std::string{key} + " must be a string");
  out = *value;
  return {};
}

bool is_url(const std::string& x) {
  return x.starts_with("http://") || x.starts_with("https://");
}

/// A whole number of seconds from `least` to `most`; a missing key leaves `out` as it is.
error read_seconds(const std::filesystem::path& file, const toml::table& t, const char* key,
                   std::int64_t least, std::int64_t most, std::chrono::seconds& out) {
  const auto* node = t.get(key);
  if (!node) return {};
  auto s = node->value<std::int64_t>();
  if (!node->is_integer() || *s < least || *s > most)
    return bad(file, node,
               std::string{key} + " takes " + std::to_string(least) + " to " + std::to_string(most)
                   + " seconds");
  out = std::chrono::seconds{*s};
  return {};
}

/// A sum of dollars from 0 to `most`; a missing key leaves `out` as it is.
template <class T>
error read_dollars(const std::filesystem::path& file, const toml::table& t, const char* key,
                   double most, T& out) {
  const auto* node = t.get(key);
  if (!node) return {};
  auto usd = node->value<double>();
  if (!node->is_number() || !(*usd >= 0 && *usd <= most))
    return bad(file, node,
               std::string{key} + " takes dollars, 0 to "
                   + std::to_string(static_cast<std::int64_t>(most)));
  out = *usd;
  return {};
}

/// A whole number from 0, or "unlimited".
error read_limit(const std::filesystem::path& file, const toml::table& t, const char* key,
                 limit_setting& out) {
  const auto* node = t.get(key);
  if (!node) return {};
  auto n = node->value<std::int64_t>();
  auto word = node->value<std::string>();
  bool number = node->is_integer() && *n >= 0 && *n <= 1'000'000;
  if (!number && !(word && *word == "unlimited"))
    return bad(file, node, std::string{key} + " takes a number from 0, or \"unlimited\"");
  out.given = true;
  if (number) out.most = static_cast<std::uint32_t>(*n);
  return {};
}

error read_limits(const std::filesystem::path& file, const toml::table& t, provider_entry& p) {
  if (auto e = read_dollars(file, t, "usd_per_hour", 1000, p.usd_per_hour)) return e;
  for (auto [key, target] : {std::pair{"max_active", &p.max_active},
                             {"max_active_per_repo", &p.max_active_per_repo},
                             {"creates_per_minute", &p.creates_per_minute},
                             {"creates_per_hour", &p.creates_per_hour},
                             {"creates_per_day", &p.creates_per_day},
                             {"max_starting", &p.max_starting}})
    if (auto e = read_limit(file, t, key, *target)) return e;
  std::string kind = "e2b";
  if (auto e = read_text(file, t, "kind", kind)) return e;
  if (kind != "e2b" && kind != "sim") return bad(file, t.get("kind"), "kind takes e2b or sim");
  p.simulated = kind == "sim";
  return {};
}

error read_budget(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"day_usd", "month_usd", "wind_down_s"})) return e;
  if (auto e = read_dollars(file, t, "day_usd", 1'000'000, out.day_usd)) return e;
  if (auto e = read_dollars(file, t, "month_usd", 1'000'000, out.month_usd)) return e;
  const actors::policies p{};
  auto e = read_seconds(file, t, "wind_down_s", actors::least_wind_down(p).count(), 3600,
                        out.budget_wind_down);
  if (e)
    e.message += ": what does not stop is killed " + std::to_string(p.budget_kill.count())
                 + " s before the cap, and its work is collected before that";
  return e;
}

error read_local(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(
          file, t, {"bind", "upstream", "prices", "max_active", "max_starting", "usd_per_hour"}))
    return e;
  if (auto e = read_limit(file, t, "max_starting", out.local_max_starting)) return e;
  if (auto e = read_limit(file, t, "max_active", out.local_max_active)) return e;
  if (auto e = read_dollars(file, t, "usd_per_hour", 1000, out.local_usd_per_hour)) return e;
  if (const auto* bind = t.get("bind")) {
    const auto* list = bind->as_array();
    if (!list) return bad(file, bind, "bind must be a list of paths");
    for (const auto& x : *list) {
      auto path = x.value<std::string>();
      if (!path || !path->starts_with('/') || path->find("/../") != std::string::npos)
        return bad(file, &x, "bind takes absolute paths");
      out.local_bind.push_back(*path);
      out.local_bind_at.push_back(place_of(file, x));
    }
  }
  if (const auto* upstream = t.get("upstream")) {
    const auto* map = upstream->as_table();
    if (!map) return bad(file, upstream, "upstream must be a table of domain = URL");
    for (const auto& [domain, x] : *map) {
      auto url = x.value<std::string>();
      if (!url || !is_url(*url)) return bad(file, &x, "upstream takes http:// or https:// URLs");
      out.local_upstream[std::string{domain.str()}] = *url;
    }
  }
  if (const auto* prices = t.get("prices")) {
    const auto* map = prices->as_table();
    if (!map) return bad(file, prices, "prices must be a table of model = price");
    for (const auto& [model, x] : *map) {
      auto price = x.value<std::string>();
      if (!price || !host::parse_price(*price) || model.str().find('=') != std::string_view::npos)
        return bad(file, &x,
                   "prices takes \"IN,OUT,CACHE_WRITE,CACHE_READ\", dollars for a million tokens");
      out.local_prices[std::string{model.str()}] = *price;
    }
  }
  return {};
}

error read_network_check(const std::filesystem::path& file, const toml::table& t,
                         actors::network_check& out) {
  std::string word = "require";
  if (auto e = read_text(file, t, "network_check", word)) return e;
  if (word != "require" && word != "warn")
    return bad(file, t.get("network_check"), "network_check takes require or warn");
  out = word == "warn" ? actors::network_check::warn : actors::network_check::require;
  return {};
}

error read_provider(const std::filesystem::path& file, const toml::node& node,
                    const std::string& name, config& out) {
  const auto* t = node.as_table();
  if (!t) return bad(file, &node, "a provider is a table");
  if (name == "local") return bad(file, &node, "the provider 'local' is built in; see [local]");
  if (name == "none") return bad(file, &node, "no provider is called 'none': see --fallback");
  if (auto e = check_keys(file, *t,
                          {"api_url", "sandbox_url", "domain", "key", "create_timeout_s",
                           "first_lease_s", "lease_cap_s", "kind", "usd_per_hour", "max_active",
                           "max_active_per_repo", "creates_per_minute", "creates_per_hour",
                           "creates_per_day", "max_starting", "network_check", "fallback"}))
    return e;
  provider_entry p;
  for (auto [key, target] : {std::pair{"api_url", &p.api_url},
                             {"sandbox_url", &p.sandbox_url},
                             {"domain", &p.domain},
                             {"key", &p.key_secret},
                             {"fallback", &p.fallback}})
    if (auto e = read_text(file, *t, key, *target)) return e;
  if (p.api_url.empty() && p.domain.empty())
    return bad(file, &node, "a provider needs api_url or domain");
  if ((!p.api_url.empty() && !is_url(p.api_url))
      || (!p.sandbox_url.empty() && !is_url(p.sandbox_url)))
    return bad(file, &node, "URLs begin with http:// or https://");
  if (p.key_secret.empty()) return bad(file, &node, "a provider needs key, the name of a secret");
  if (auto e = read_seconds(file, *t, "create_timeout_s", 1, 600, p.create.deadline)) return e;
  if (auto e = read_seconds(file, *t, "first_lease_s", 5, 3600, p.create.first_lease)) return e;
  if (auto e = read_seconds(file, *t, "lease_cap_s", 60, 30 * 86'400, p.create.lease_cap)) return e;
  if (auto e = read_network_check(file, *t, p.create.network)) return e;
  if (auto e = read_limits(file, *t, p)) return e;
  out.providers[name] = std::move(p);
  return {};
}

/// Once all providers are known.
error check_fallbacks(const std::filesystem::path& file, const toml::table& providers,
                      const config& out) {
  for (const auto& [name, node] : providers) {
    const auto& to = out.providers.at(std::string{name.str()}).fallback;
    if (to.empty() || (to != name.str() && (to == "local" || out.providers.count(to) > 0)))
      continue;
    return bad(file, node.as_table()->get("fallback"),
               to == name.str() ? "fallback takes another provider than " + to
                                : "fallback takes local or a configured provider, not " + to);
  }
  return {};
}

error read_daemon(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"log_level", "on_stop"})) return e;
  if (auto e = read_text(file, t, "log_level", out.log_level)) return e;
  static const std::set<std::string> levels{"debug", "info", "warn", "error", "off"};
  if (levels.count(out.log_level) == 0)
    return bad(file, t.get("log_level"), "log_level takes debug, info, warn, error or off");
  return {};
}

error read_metrics(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"listen"})) return e;
  if (auto e = read_text(file, t, "listen", out.metrics_listen)) return e;
  if (out.metrics_listen.empty()) return {};
  if (auto where = read_metrics_address(out.metrics_listen); !where)
    return bad(file, t.get("listen"), where.err().message);
  return {};
}

error read_forge(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"remote", "target", "token", "token_variable", "command"}))
    return e;
  auto& f = out.forge;
  for (auto& [key, text] : {std::pair<const char*, std::string*>{"remote", &f.remote},
                            {"target", &f.target},
                            {"token", &f.token_secret},
                            {"token_variable", &f.token_variable}})
    if (auto e = read_text(file, t, key, *text)) return e;
  for (const auto& [key, text] :
       {std::pair{"token", &f.token_secret}, std::pair{"token_variable", &f.token_variable}})
    if (text->find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != std::string::npos)
      return bad(file, t.get(key), std::string{key} + " takes A-Z, 0-9 and _");
  const auto* node = t.get("command");
  if (!node) return {};
  if (!node->is_array()) return bad(file, node, "command must be a list of words");
  for (const auto& word : *node->as_array()) {
    auto text = word.value<std::string>();
    if (!text) return bad(file, &word, "command must be a list of words");
    f.command.push_back(*text);
  }
  return {};
}

error read_scan(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"policy", "limit_s"})) return e;
  std::string policy{to_string(out.scan)};
  if (auto e = read_text(file, t, "policy", policy)) return e;
  if (!from_string(policy, out.scan))
    return bad(file, t.get("policy"), "policy takes block, warn or prompt");
  return read_seconds(file, t, "limit_s", 1, 3600, out.scan_limit);
}

/// A whole number from `least` to `most`; a missing key leaves `out` as it is.
error read_number(const std::filesystem::path& file, const toml::table& t, const char* key,
                  std::int64_t least, std::int64_t most, std::int64_t& out) {
  const auto* node = t.get(key);
  if (!node) return {};
  auto n = node->value<std::int64_t>();
  if (!node->is_integer() || *n < least || *n > most)
    return bad(file, node,
               std::string{key} + " takes " + std::to_string(least) + " to "
                   + std::to_string(most));
  out = *n;
  return {};
}

error read_upload(const std::filesystem::path& file, const toml::table& t, config& out) {
  if (auto e = check_keys(file, t, {"compression", "level", "keep_mib"})) return e;
  std::string kind{to_string(out.upload_form.kind)};
  if (auto e = read_text(file, t, "compression", kind)) return e;
  auto& form = out.upload_form;
  if (!from_string(kind, form.kind))
    return bad(file, t.get("compression"), "compression takes zstd or gzip");
  std::int64_t level = transfer::usual_level(form.kind), keep = 2048;
  if (auto e = read_number(file, t, "level", 1, transfer::most_level(form.kind), level)) {
    e.message += " with " + kind;
    return e;
  }
  form.level = static_cast<int>(level);
  if (auto e = read_number(file, t, "keep_mib", 0, 1'000'000, keep)) return e;
  out.upload_keep_bytes = static_cast<std::uint64_t>(keep) << 20;
  return {};
}

/// Calls `read` with the table `key`, where there is one.
template <class F>
error read_table(const std::filesystem::path& file, const toml::table& t, const char* key,
                 config& out, F read) {
  const auto* node = t.get(key);
  if (!node) return {};
  if (!node->is_table()) return bad(file, node, "[" + std::string{key} + "] must be a table");
  return read(file, *node->as_table(), out);
}

} // namespace

error check_local_bind(const config& settings, const std::filesystem::path& state_root) {
  // As in local_host.cpp; whose of root's hosts it is is not known before the first start.
  auto host_state =
      ::geteuid() == 0 ? std::filesystem::path{"/var/lib/skep-host"} : state_root / "host/state";
  for (std::size_t i = 0; i < settings.local_bind.size(); ++i)
    if (auto e = host::bind_refused(settings.local_bind[i], host_state.string()))
      return make_error(errc::bad_config, settings.local_bind_at[i] + ": local.bind: " + e.message,
                        e.cause);
  return {};
}

error no_such_provider(const std::string& name, const config& settings,
                       const std::filesystem::path& file) {
  auto known = std::string{"local"};
  for (const auto& [other, entry] : settings.providers)
    known += ", " + other;
  return make_error(errc::unknown_provider, name + " (configured: " + known
                                                + "; another one is a section [providers.NAME] of "
                                                + file.string() + ")");
}

std::filesystem::path default_config_file(const std::filesystem::path& state_root) {
  if (const char* file = std::getenv("SKEP_CONFIG"); file && *file) return file;
  return state_root / "skep.toml";
}

result<config> load_config_of(const std::filesystem::path& state_root) {
  const auto file = default_config_file(state_root);
  const auto named = file != state_root / "skep.toml";
  if (named && !file.is_absolute())
    return make_error(errc::bad_config, "SKEP_CONFIG is no absolute path: " + file.string());
  return load_config(file, named);
}

result<config> load_config(const std::filesystem::path& file, bool must_exist) {
  config out;
  std::error_code ec;
  if (!std::filesystem::exists(file, ec)) {
    if (must_exist) return make_error(errc::bad_config, file.string() + " does not exist");
    return out;
  }
  toml::table t;
  try {
    t = toml::parse_file(file.string());
  } catch (const toml::parse_error& e) {
    return make_error(errc::bad_config, file.string() + ":" + std::to_string(e.source().begin.line)
                                            + ": " + std::string{e.description()});
  }
  if (auto e = check_keys(file, t,
                          {"local", "providers", "policy", "budget", "daemon", "metrics", "scan",
                           "forge", "upload"}))
    return e;
  if (auto e = read_policy(file, t, out.policy)) return e;
  if (auto e = read_table(file, t, "budget", out, read_budget)) return e;
  if (auto e = read_table(file, t, "local", out, read_local)) return e;
  if (auto e = read_table(file, t, "daemon", out, read_daemon)) return e;
  if (auto e = read_table(file, t, "metrics", out, read_metrics)) return e;
  if (auto e = read_table(file, t, "forge", out, read_forge)) return e;
  if (auto e = read_table(file, t, "scan", out, read_scan)) return e;
  if (auto e = read_table(file, t, "upload", out, read_upload)) return e;
  if (const auto* providers = t.get("providers")) {
    if (!providers->is_table()) return bad(file, providers, "[providers] must be a table");
    for (const auto& [name, node] : *providers->as_table())
      if (auto e = read_provider(file, node, std::string{name.str()}, out)) return e;
    if (auto e = check_fallbacks(file, *providers->as_table(), out)) return e;
  }
  return out;
}

} // namespace skep::tools
