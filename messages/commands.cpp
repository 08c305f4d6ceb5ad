#include "messages/commands.hpp"

#include "messages/hosts.hpp"

#include <algorithm>
#include <utility>

namespace skep {
namespace {

error out_of_range(std::string what, std::uint64_t low, std::uint64_t high) {
  return make_error(errc::out_of_range, what + " must be between " + std::to_string(low) + " and "
                                            + std::to_string(high));
}

/// The placeholder that `text` begins with; empty for none.
std::string_view placeholder_of(std::string_view text) {
  for (std::string_view p : {"{index}", "{count}"})
    if (text.starts_with(p)) return p;
  return {};
}

/// The prompt with value(PLACEHOLDER) for each of its placeholders, and PLACEHOLDER for each that
/// stands in one more pair of braces. What is put in is not looked at again.
template <class Value>
std::string filled_in(std::string_view prompt, Value value) {
  std::string out;
  out.reserve(prompt.size());
  while (!prompt.empty()) {
    auto inner = prompt.front() == '{' ? placeholder_of(prompt.substr(1)) : std::string_view{};
    auto outer = placeholder_of(prompt);
    if (!inner.empty() && prompt.substr(1 + inner.size()).starts_with('}')) {
      out += inner;
      prompt.remove_prefix(inner.size() + 2);
    } else if (!outer.empty()) {
      out += value(outer);
      prompt.remove_prefix(outer.size());
    } else {
      out += prompt.front();
      prompt.remove_prefix(1);
    }
  }
  return out;
}

/// How many bytes of `text`, from its beginning, are well-formed UTF-8: no overlong forms, no
/// surrogates, nothing above U+10FFFF.
std::size_t utf8_bytes(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    auto at = [&](std::size_t k) {
      return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u;
    };
    auto c = at(i);
    std::size_t more = c < 0x80 ? 0 : c < 0xc2 ? 4 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 4;
    if (more == 4) return i;
    for (std::size_t k = 1; k <= more; ++k)
      if ((at(i + k) & 0xc0) != 0x80) return i;
    auto next = at(i + 1);
    if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90)
        || (c == 0xf4 && next > 0x8f))
      return i;
    i += more + 1;
  }
  return text.size();
}

bool is_utf8(std::string_view text) {
  return utf8_bytes(text) == text.size();
}

std::string name_of_byte(char c) {
  return "byte " + std::to_string(static_cast<unsigned char>(c));
}

/// The control character that the rest of a prompt begins with and that no prompt may hold; empty
/// for none. The 8-bit ones, U+0080 to U+009F, are obeyed by terminals in UTF-8 as well.
std::string control_of(std::string_view rest) {
  constexpr char hex[] = "0123456789ABCDEF";
  const auto c = static_cast<unsigned char>(rest[0]);
  if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f) return name_of_byte(rest[0]);
  const auto next = rest.size() > 1 ? static_cast<unsigned char>(rest[1]) : 0u;
  if (c != 0xc2 || next < 0x80 || next > 0x9f) return {};
  return std::string{"U+00"} + hex[next >> 4] + hex[next & 15];
}

// Sandboxes are given arguments and environments as JSON, which holds text alone.
error check_words(const std::vector<std::string>& words, const std::string& what) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].find('\0') != std::string::npos)
      return make_error(errc::bad_argument, what + " contains a NUL");
    if (!is_utf8(words[i]))
      return make_error(errc::bad_argument, what + " " + std::to_string(i) + " is not UTF-8");
  }
  return {};
}

// What is wrong is repeated in terminals and logs: in quotes, other bytes than printable ASCII as
// \xNN, the beginning of what is long.
std::string shown_host(std::string_view text) {
  constexpr std::size_t most = 100;
  constexpr char hex[] = "0123456789abcdef";
  std::string out = "\"";
  for (unsigned char c : text.substr(0, most))
    if (c >= 0x20 && c < 0x7f)
      out += static_cast<char>(c);
    else
      out += {'\\', 'x', hex[c >> 4], hex[c & 15]};
  return out + (text.size() > most ? "...\"" : "\"");
}

error check_network(const swarm_spec& spec) {
  bool takes_hosts =
      spec.network == network_policy::packages || spec.network == network_policy::allowlist;
  if (!takes_hosts && !spec.allow_hosts.empty())
    return make_error(errc::bad_argument, "hosts to allow go with the network policies allowlist "
                                          "and packages, not with "
                                              + std::string{to_string(spec.network)});
  if (spec.network == network_policy::allowlist && spec.allow_hosts.empty())
    return make_error(errc::bad_argument, "the network policy allowlist needs hosts to allow");
  if (spec.allow_hosts.size() > max_allow_hosts)
    return out_of_range("hosts to allow", 0, max_allow_hosts);
  for (const auto& host : spec.allow_hosts)
    if (!is_host_pattern(host))
      return make_error(errc::bad_argument,
                        shown_host(host)
                            + " is no host name such as api.example.com or *.example.com");
  if (spec.network == network_policy::none && spec.agent != agent_kind::command)
    return make_error(errc::bad_argument,
                      "the network policy none keeps " + std::string{to_string(spec.agent)}
                          + " from its model; the policy model allows that alone");
  return {};
}

} // namespace

error check_prompt(std::string_view prompt) {
  if (prompt.empty()) return make_error(errc::prompt_missing);
  // Size and offsets are those of a file as it is, without the braces of literal_prompt().
  const auto text = filled_in(prompt, [](std::string_view placeholder) { return placeholder; });
  if (text.size() > max_prompt_bytes)
    return make_error(errc::prompt_too_long, std::to_string(text.size()) + " bytes");
  for (std::size_t i = 0; i < text.size(); ++i)
    if (auto control = control_of(std::string_view{text}.substr(i)); !control.empty())
      return make_error(errc::prompt_has_nul, control + " at offset " + std::to_string(i));
  if (auto good = utf8_bytes(text); good < text.size())
    return make_error(errc::bad_argument, "the prompt is not UTF-8: " + name_of_byte(text[good])
                                              + " at offset " + std::to_string(good));
  return {};
}

error check_key(std::string_view key) {
  constexpr std::size_t longest = 64;
  bool plain = std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.'
           || c == '_' || c == ':' || c == '-';
  });
  if (plain && key.size() <= longest) return {};
  return make_error(errc::bad_argument,
                    "an idempotency key is at most 64 of the characters A-Z a-z 0-9 . _ : -");
}

namespace {

/// A name is one line of text; the empty one is none.
error check_name(std::string_view what, const std::string& name) {
  if (!is_utf8(name))
    return make_error(errc::bad_argument, "the " + std::string{what} + " is not UTF-8");
  bool plain =
      std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (plain && !name.starts_with('-') && name.size() <= 200) return {};
  return make_error(errc::bad_argument,
                    "the " + std::string{what}
                        + " is one line of at most 200 bytes that does not begin with -");
}

/// As people write times: `skep run --limit 2h`.
error not_within_a_day(const std::string& what) {
  return make_error(errc::out_of_range, what + " must be between 1s and 24h");
}

error check_time(const swarm_spec& spec) {
  constexpr std::int64_t day = 24 * 3'600'000;
  if (spec.limit_ms < 1'000 || spec.limit_ms > day) return not_within_a_day("the time limit");
  if (spec.warn_at_ms.size() > max_time_warnings)
    return out_of_range("time warnings", 0, max_time_warnings);
  std::int64_t before = 0;
  for (auto at : spec.warn_at_ms) {
    if (at < 1'000 || at > day) return not_within_a_day("a time warning");
    if (at <= before)
      return make_error(errc::bad_argument, "time warnings must ascend, each given once");
    before = at;
  }
  if (spec.idle_limit_ms != 0 && (spec.idle_limit_ms < 1'000 || spec.idle_limit_ms > day))
    return not_within_a_day("the idle limit");
  return {};
}

} // namespace

error check_spec(const swarm_spec& spec) {
  if (spec.sandboxes < 1 || spec.sandboxes > max_sandboxes_per_swarm)
    return out_of_range("sandboxes", 1, max_sandboxes_per_swarm);
  if (spec.panes < 1 || spec.panes > max_panes_per_sandbox)
    return out_of_range("panes per sandbox", 1, max_panes_per_sandbox);
  if (auto e = check_time(spec)) return e;
  if (spec.panes_out_percent > 100) return out_of_range("percent of panes out", 0, 100);
  if (spec.replace_lost > max_replacements)
    return out_of_range("replacements of lost sandboxes", 0, max_replacements);
  if (spec.pane_restarts > 10) return out_of_range("restarts per pane", 0, 10);
  for (auto [name, usd] : {std::pair{"the budget", spec.budget_usd},
                           std::pair{"the budget of a pane", spec.pane_budget_usd}})
    if (!(usd >= 0 && usd <= max_budget_usd)) // false for NaN
      return make_error(errc::out_of_range,
                        std::string{name} + " must be between 0 and 1000000 dollars");
  if (!spec.repo.starts_with('/') || !spec.out_dir.starts_with('/'))
    return make_error(errc::bad_argument, "repository and output folder must be absolute paths");
  for (const auto* path : {&spec.repo, &spec.out_dir})
    if (path->find('\0') != std::string::npos) // the system would read it up to there
      return make_error(errc::bad_argument, "a path holds a zero byte");
  if (spec.agent == agent_kind::command && (spec.argv.empty() || spec.argv.front().empty()))
    return make_error(errc::bad_argument, "the command agent needs a program after --");
  for (auto [what, name] :
       {std::pair{"name", &spec.name}, std::pair{"name of the template", &spec.template_name},
        std::pair{"name of the provider", &spec.provider},
        std::pair{"name of the fallback", &spec.fallback}})
    if (auto e = check_name(what, *name)) return e;
  if (!spec.fallback.empty() && spec.fallback == spec.provider)
    return make_error(errc::bad_argument, "the fallback is the provider itself, " + spec.provider);
  if (auto e = check_words(spec.argv, "argument")) return e;
  if (auto e = check_words(spec.setup, "word of the setup")) return e;
  if (!spec.setup.empty() && spec.setup.front().empty())
    return make_error(errc::bad_argument, "the setup needs a program as its first word");
  if (auto e = check_network(spec)) return e;
  for (const auto& [name, value] : spec.env)
    if (name.empty() || name.find_first_of(std::string_view{"=\0", 2}) != std::string::npos
        || value.find('\0') != std::string::npos)
      return make_error(errc::bad_argument,
                        "not a valid environment variable: " + name.substr(0, 40));
  for (const auto& [name, value] : spec.env)
    if (!is_utf8(name) || !is_utf8(value))
      return make_error(errc::bad_argument,
                        "the environment variable " + name.substr(0, 40) + " is not UTF-8");
  if (spec.pty && (spec.agent != agent_kind::command || !spec.prompts.empty()))
    return make_error(errc::bad_argument,
                      "a terminal is for the command agent and takes no prompt; type it instead");
  if (spec.agent != agent_kind::command && spec.prompts.empty())
    return make_error(errc::prompt_missing);
  if (spec.prompts.size() > 1
      && spec.prompts.size() != static_cast<std::size_t>(spec.sandboxes) * spec.panes)
    return make_error(errc::bad_argument,
                      "there must be one prompt, or one for each of the "
                          + std::to_string(static_cast<std::size_t>(spec.sandboxes) * spec.panes)
                          + " panes");
  for (const auto& p : spec.prompts)
    if (auto e = check_prompt(p)) return e;
  return {};
}

error check_selection(const selection& s) {
  auto given =
      int{s.all} + int{!s.provider.empty()} + int{!s.swarm.empty()} + int{!s.sandbox.empty()};
  if (given != 1)
    return make_error(errc::bad_argument,
                      "give exactly one of all, a provider, a swarm, a sandbox");
  if (!s.swarm.empty() && !s.swarm.valid())
    return make_error(errc::bad_argument, "not the id of a swarm: sw_...");
  if (!s.sandbox.empty() && !s.sandbox.valid())
    return make_error(errc::bad_argument, "not the id of a sandbox: sb_...");
  return {};
}

std::string text_of(const selection& s) {
  if (s.all) return "all";
  if (!s.provider.empty()) return "provider:" + s.provider;
  return s.swarm.empty() ? s.sandbox.value : s.swarm.value;
}

bool selects(const selection& s, const std::string& provider, const swarm_id& swarm,
             const sandbox_id& sandbox) {
  if (s.all) return true;
  if (!s.provider.empty()) return s.provider == provider;
  return s.swarm.empty() ? s.sandbox == sandbox : s.swarm == swarm;
}

bool selects(const selection& s, const swarm_spec& spec, const swarm_id& swarm) {
  return selects(s, spec.provider, swarm, {})
         || (!s.provider.empty() && s.provider == spec.fallback);
}

swarm_spec at_fallback(swarm_spec spec) {
  spec.provider = std::exchange(spec.fallback, {});
  if (spec.provider == "local") spec.template_name = "base";
  return spec;
}

std::string prompt_for(const swarm_spec& spec, std::uint32_t pane_index) {
  if (spec.prompts.empty()) return {};
  const auto& prompt =
      spec.prompts.size() == 1 ? spec.prompts.front() : spec.prompts.at(pane_index);
  return filled_in(prompt, [&](std::string_view placeholder) {
    return std::to_string(placeholder == "{index}" ? pane_index : spec.sandboxes * spec.panes);
  });
}

bool has_placeholders(std::string_view prompt) {
  bool found = false;
  filled_in(prompt, [&](std::string_view placeholder) {
    found = true;
    return placeholder;
  });
  return found;
}

std::string literal_prompt(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    auto placeholder = placeholder_of(text);
    auto piece = placeholder.empty() ? text.substr(0, 1) : placeholder;
    out += placeholder.empty() ? std::string{piece} : "{" + std::string{piece} + "}";
    text.remove_prefix(piece.size());
  }
  return out;
}

namespace {

error check_id(const attachment_id& id) {
  return id.valid() ? error{} : make_error(errc::bad_argument, "not an attachment: at_...");
}

error check_size(std::uint32_t columns, std::uint32_t rows) {
  if (columns < 1 || columns > max_terminal_side)
    return out_of_range("columns", 1, max_terminal_side);
  if (rows < 1 || rows > max_terminal_side) return out_of_range("rows", 1, max_terminal_side);
  return {};
}

/// Of attach_open_request and shell_open_request.
template <class Request>
error check_opening(const Request& r) {
  if (auto e = check_id(r.attachment)) return e;
  if (r.pane.empty() ? !r.sandbox.valid() : !r.pane.valid() || !r.sandbox.empty())
    return make_error(errc::bad_argument, "either a pane or a sandbox is attached to");
  return check_size(r.columns, r.rows);
}

} // namespace

error check_attach(const attach_open_request& r) {
  return check_opening(r);
}

error check_attach(const shell_open_request& r) {
  return check_opening(r);
}

error check_attach(const attach_read_request& r) {
  if (auto e = check_id(r.attachment)) return e;
  if (r.wait_ms > max_attach_wait_ms) return out_of_range("wait_ms", 0, max_attach_wait_ms);
  if (r.max_bytes < 1 || r.max_bytes > max_attach_bytes)
    return out_of_range("max_bytes", 1, max_attach_bytes);
  return {};
}

error check_attach(const attach_write_request& r) {
  if (auto e = check_id(r.attachment)) return e;
  if (r.data.data.size() > max_attach_bytes)
    return make_error(errc::too_large, std::to_string(r.data.data.size()) + " bytes of input");
  return r.columns == 0 && r.rows == 0 ? error{} : check_size(r.columns, r.rows);
}

error check_attach(const attach_close_request& r) {
  return check_id(r.attachment);
}

} // namespace skep
