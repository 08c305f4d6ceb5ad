#include "actors/agents/claude.hpp"

#include "actors/agents/command.hpp"
#include "messages/json.hpp"
#include "messages/nesting.hpp"

#include <algorithm>
#include <csignal>

namespace skep::actors {

namespace {

using parsed = nlohmann::json;

// At most `limit` bytes, not ending inside a UTF-8 character.
std::string_view cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80)
    --limit;
  return text.substr(0, limit);
}

const parsed* member(const parsed& j, const char* name) {
  if (!j.is_object()) return nullptr;
  auto i = j.find(name);
  return i == j.end() ? nullptr : &*i;
}
std::string text_of(const parsed& j, const char* name) {
  auto* x = member(j, name);
  return x && x->is_string() ? x->get<std::string>() : std::string{};
}
bool flag_of(const parsed& j, const char* name) {
  auto* x = member(j, name);
  return x && x->is_boolean() && x->get<bool>();
}
std::uint64_t count_of(const parsed& j, const char* name) {
  auto* x = member(j, name);
  if (!x) return 0;
  if (x->is_number_unsigned()) return x->get<std::uint64_t>();
  return 0;
}
double number_of(const parsed& j, const char* name) {
  auto* x = member(j, name);
  return x && x->is_number() ? x->get<double>() : 0;
}

std::string one_line(const parsed& j) {
  return j.dump(-1, ' ', false, parsed::error_handler_t::replace);
}

// What the agent asks of its model, one by one: below /v1 are also batches, whose cost no answer
// tells, so that they would go around what a sandbox may spend.
const std::vector<std::string> model_paths = {"/v1/messages$", "/v1/messages/count_tokens$",
                                              "/v1/models"};

// The content of a tool_result: a string, or a list of blocks with text.
std::string content_text(const parsed* content) {
  if (!content) return {};
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) return one_line(*content);
  std::string out;
  for (const auto& part : *content) {
    if (!out.empty()) out += '\n';
    out += text_of(part, "type") == "text" ? text_of(part, "text") : one_line(part);
  }
  return out;
}

std::string retry_text(const parsed& j) {
  auto out = "attempt " + std::to_string(count_of(j, "attempt"));
  if (auto n = count_of(j, "max_retries")) out += " of " + std::to_string(n);
  if (auto status = count_of(j, "error_status")) out += ", status " + std::to_string(status);
  out += ", next in " + std::to_string(static_cast<std::int64_t>(number_of(j, "retry_delay_ms")))
         + " ms";
  return out;
}

} // namespace

launch_plan claude_adapter::plan(const swarm_spec& spec, const pane_context& pane) {
  launch_plan out;
  out.argv = {"claude",      "-p",        "--output-format",
              "stream-json", "--verbose", "--dangerously-skip-permissions"};
  out.env = {{"CLAUDE_CODE_MAX_RETRIES", "4"}};
  for (const auto& [k, v] : spec.env)
    out.env.insert_or_assign(k, v);
  // Not the user's to change: they keep the key outside and the installed version pinned.
  out.env["ANTHROPIC_API_KEY"] = key_placeholder;
  if (!pane.gateway_url.empty())
    out.env["ANTHROPIC_BASE_URL"] = pane.gateway_url + "/api.anthropic.com";
  else // a provider that puts the key on reads the connection, with a certificate of its own; an
       // older node looks at no bundle of the system by itself
    out.env.try_emplace("NODE_EXTRA_CA_CERTS", "/etc/ssl/certs/ca-certificates.crt");
  for (auto name : {"DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING",
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"})
    out.env[name] = "1";
  out.env["SKEP_PANE_INDEX"] = std::to_string(pane.index);
  out.env["SKEP_PANE_COUNT"] = std::to_string(pane.count);
  out.env["SKEP_PANE_NAME"] = pane.name;
  out.stdin_data = prompt_for(spec, pane.index);
  out.stdin_open = false; // it begins when its input ends
  out.needs_secrets = {std::string{secret_name}};
  out.gateway = {{"api.anthropic.com", "ANTHROPIC_BASE_URL", "x-api-key", std::string{secret_name},
                  model_paths}};
  out.program_to_check = "claude";
  return out;
}

std::vector<agent_event> claude_adapter::on_output(std::string_view bytes) {
  std::vector<agent_event> out;
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto piece = bytes.substr(0, end);
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    if (!skipping_ && partial_.size() + piece.size() > max_line_bytes) {
      add_block(out, block_kind::other, {}, "a line of more than 8 MiB was skipped", true);
      skipping_ = true;
      partial_ = {};
    }
    if (end == std::string_view::npos) {
      if (!skipping_) partial_ += piece;
      break;
    }
    if (std::exchange(skipping_, false)) continue;
    if (partial_.empty()) {
      take_line(piece, out);
    } else {
      partial_ += piece;
      take_line(std::exchange(partial_, {}), out);
    }
  }
  return out;
}

void claude_adapter::add_block(std::vector<agent_event>& out, block_kind kind, std::string name,
                               std::string_view text, bool is_error) const {
  out.push_back(
      agent_block{pane_, kind, std::move(name), std::string{cut(text, max_block_bytes)}, is_error});
}

void claude_adapter::take_line(std::string_view line, std::vector<agent_event>& out) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
    line.remove_suffix(1);
  if (line.empty()) return;
  const auto j = nested_too_deep(line) ? parsed{} : parsed::parse(line, nullptr, false);
  if (!j.is_object()) {
    last_text_ = cut(line, 500);
    return add_block(out, block_kind::other, {}, line);
  }
  const auto type = text_of(j, "type");
  const auto* message = member(j, "message");
  const auto* content = message ? member(*message, "content") : nullptr;
  if (type == "assistant" && content && content->is_array()) {
    const bool synthetic = text_of(*message, "model") == "<synthetic>"; // an API failure
    api_word_.clear();
    for (const auto& block : *content) {
      const auto kind = text_of(block, "type");
      if (kind == "text") {
        const auto text = text_of(block, "text");
        if (synthetic)
          api_word_ = cut(text, 500);
        else
          acted_ = acted_ || !text.empty();
        add_block(out, block_kind::text, {}, text, synthetic);
      } else if (kind == "thinking")
        add_block(out, block_kind::thinking, {}, text_of(block, "thinking"));
      else if (kind == "tool_use") {
        acted_ = true;
        const auto* input = member(block, "input");
        add_block(out, block_kind::tool_use, text_of(block, "name"),
                  input ? one_line(*input) : std::string{});
      }
    }
  } else if (type == "user" && content && content->is_array()) {
    for (const auto& block : *content)
      if (text_of(block, "type") == "tool_result")
        add_block(out, block_kind::tool_result, {}, content_text(member(block, "content")),
                  flag_of(block, "is_error"));
  } else if (type == "system" && text_of(j, "subtype") == "api_retry") {
    last_retry_ = text_of(j, "error") + ": " + retry_text(j);
    add_block(out, block_kind::retry, text_of(j, "error"), retry_text(j), true);
  } else if (type == "result") {
    final_result r;
    r.is_error = flag_of(j, "is_error");
    r.api_error_status =
        static_cast<int>(std::min<std::uint64_t>(count_of(j, "api_error_status"), 999));
    r.subtype = text_of(j, "subtype");
    r.text = cut(text_of(j, "result"), max_summary_bytes);
    if (auto* errors = member(j, "errors"); r.text.empty() && errors && errors->is_array())
      for (const auto& e : *errors)
        if (e.is_string() && r.text.empty()) r.text = cut(e.get<std::string>(), max_summary_bytes);
    if (auto* denials = member(j, "permission_denials"); denials && denials->is_array()) {
      r.denials = denials->size();
      if (r.denials > 0) r.denied_tool = text_of(denials->front(), "tool_name");
    }
    pane_usage u;
    u.pane = pane_;
    const auto total = std::max(number_of(j, "total_cost_usd"), cost_usd_);
    u.cost_usd = total - std::exchange(cost_usd_, total);
    if (auto* usage = member(j, "usage")) {
      u.input_tokens = count_of(*usage, "input_tokens")
                       + count_of(*usage, "cache_creation_input_tokens")
                       + count_of(*usage, "cache_read_input_tokens");
      u.output_tokens = count_of(*usage, "output_tokens");
    }
    u.turns =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(count_of(j, "num_turns"), 1'000'000));
    u.summary = r.text;
    result_ = std::move(r);
    out.push_back(std::move(u));
  }
}

verdict claude_adapter::on_exit(std::int32_t exit_code, std::int32_t signal) {
  std::vector<agent_event> last;
  if (!skipping_) take_line(std::exchange(partial_, {}), last);
  auto v = judge(exit_code, signal);
  v.events = std::move(last);
  return v;
}

verdict claude_adapter::judge(std::int32_t exit_code, std::int32_t signal) const {
  const auto how = describe_exit(exit_code, signal);
  auto fail = [&](errc code, std::string message, bool again) {
    return verdict{outcome::failed, make_error(code, std::move(message), how), again, {}};
  };
  auto suspect = [&](std::string message) {
    return verdict{
        outcome::suspect, make_error(errc::suspect_result, std::move(message), how), false, {}};
  };
  if (!result_) {
    // An interrupt while it waits for its model: exit code 0, and nothing was finished.
    if (exit_code == 0 && signal == 0) return suspect("it exited with 0 but never gave a result");
    auto message = !last_text_.empty()    ? last_text_
                   : !last_retry_.empty() ? "no result; last " + last_retry_
                                          : std::string{"no result"};
    return fail(errc::agent_failed, std::move(message), true);
  }
  const auto& r = *result_;
  if (r.api_error_status == 401 || r.api_error_status == 403
      || (r.is_error && r.text.find("Not logged in") != std::string::npos))
    return fail(errc::agent_auth, r.text, false);
  if (r.is_error || exit_code != 0 || signal != 0) {
    auto message = r.text.empty() ? r.subtype : r.text;
    if (r.api_error_status != 0)
      message = "status " + std::to_string(r.api_error_status) + ": " + message;
    // A limit of turns or money, or a request that is wrong in itself, is met again.
    const bool hopeless = r.subtype == "error_max_turns" || r.subtype == "error_max_budget_usd"
                          || r.api_error_status == 400 || r.api_error_status == 404;
    return fail(errc::agent_failed, std::move(message), !hopeless);
  }
  if (r.denials > 0)
    return suspect(std::to_string(r.denials) + " permission(s) denied, first for "
                   + (r.denied_tool.empty() ? "a tool" : r.denied_tool));
  // The CLI speaks in its model's place when the API fails, and may call that a success.
  if (!api_word_.empty()) return suspect("it ended with an error of its API: " + api_word_);
  if (!acted_ && r.text.empty())
    return suspect("it reported success and neither said nor did anything");
  return {outcome::completed, {}, false, {}, true};
}

} // namespace skep::actors
