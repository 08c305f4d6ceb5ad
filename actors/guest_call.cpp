#include "actors/guest_call.hpp"

#include "messages/nesting.hpp"

namespace skep::actors {

sandbox::command guest_command(const sandbox_context& ctx, std::vector<std::string> args,
                               std::chrono::milliseconds limit) {
  sandbox::command out;
  out.argv.reserve(args.size() + 1);
  out.argv.push_back(ctx.guest_path());
  for (auto& a : args)
    out.argv.push_back(std::move(a));
  out.limit = limit;
  return out;
}

result<json> read_guest_answer(const result<sandbox::command_result>& r) {
  if (!r) return r.err();
  auto line = r->stdout_data.substr(0, r->stdout_data.find('\n'));
  auto answer = nested_too_deep(line) ? json{} : json::parse(line, nullptr, false);
  if (r->exited && r->exit_code == 0) {
    if (answer.is_object()) return answer;
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
