#include "actors/guest_answers.hpp"

#include "messages/nesting.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

/// False when the field has another type; an absent one keeps its value where it may be absent.
template <class T>
bool guest_field(const json& answer, const char* key, T& out, bool may_be_absent = false) {
  auto i = answer.find(key);
  return i == answer.end() ? may_be_absent : from_json_value(*i, out);
}

bool names_commit(const std::string& text) {
  return text.size() >= 4 && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

error no_sense(const char* call) {
  return make_error(errc::protocol,
                    std::string{"the answer of skep-guest "} + call + " makes no sense");
}

} // namespace

result<guest_arrived> read_arrived(const json& answer) {
  guest_arrived out;
  if (!answer.is_object() || !guest_field(answer, "files", out.files)
      || !guest_field(answer, "size_bytes", out.size_bytes)
      || !guest_field(answer, "manifest_sha256", out.manifest_sha256))
    return no_sense("unpack");
  return out;
}

result<guest_base> read_guest_base(const json& answer) {
  guest_base out;
  if (!answer.is_object() || !guest_field(answer, "commit", out.commit) || !names_commit(out.commit)
      || !guest_field(answer, "is_head", out.is_head, true)
      || !guest_field(answer, "changed", out.changed, true))
    return no_sense("base");
  return out;
}

result<bool> read_changed(const json& answer) {
  bool out = false;
  if (!answer.is_object() || !guest_field(answer, "changed", out)) return no_sense("changed");
  return out;
}

result<std::int64_t> read_launched(const json& answer) {
  std::int64_t out = 0;
  std::string state;
  if (!answer.is_object() || !guest_field(answer, "pid", out, true) || out < 0
      || !guest_field(answer, "state", state, true))
    return no_sense("pane");
  if (state == "starting") return make_error(errc::timed_out, "the agent's holder still starts it");
  return out;
}

bool read_input_arrived(const json& answer) {
  std::string state;
  return answer.is_object() && guest_field(answer, "state", state)
         && (state == "written" || state == "duplicate");
}

std::map<std::string, std::pair<std::uint64_t, std::string>> read_parts(const json& answer) {
  std::map<std::string, std::pair<std::uint64_t, std::string>> out;
  if (!answer.is_object()) return out;
  auto list = answer.find("parts");
  if (list == answer.end() || !list->is_array()) return out;
  for (const auto& x : *list) {
    std::string name, hash;
    std::uint64_t size = 0;
    if (x.is_object() && guest_field(x, "name", name) && guest_field(x, "size_bytes", size)
        && guest_field(x, "sha256", hash))
      out[name] = {size, hash};
  }
  return out;
}

result<json> read_guest_answer(const result<sandbox::command_result>& r) {
  if (!r) return r.err();
  auto line = r->stdout_data.substr(0, r->stdout_data.find('\n'));
  auto answer = nested_too_deep(line) ? json{} : json::parse(line, nullptr, false);
  if (r->exited && r->exit_code == 0) {
    if (answer.is_object()) return answer;
    if (r->stdout_truncated && line.size() == r->stdout_data.size())
      return make_error(errc::protocol,
                        "skep-guest's answer is cut off after " + std::to_string(line.size())
                            + " bytes, which is all that is kept of a command's output",
                        line.substr(0, 200));
    return make_error(errc::protocol, "skep-guest's answer is not JSON", line.substr(0, 200));
  }
  auto text = r->status;
  if (answer.is_object() && answer.contains("message") && answer["message"].is_string())
    text = answer["message"].get<std::string>();
  else if (!r->stderr_data.empty())
    text += ": " + r->stderr_data;
  return make_error(r->exited && r->exit_code == 3 ? errc::stale_epoch
                                                   : errc::remote_command_failed,
                    "skep-guest", text.substr(0, 500));
}

} // namespace skep::actors
