// What only this host can do, below /skep/v1/sandboxes/{id}/: what the sandbox spent at its models,
// how much it may, and the end of its keys. A 404 for the route itself means plain E2B, and skepd
// asks no more: one that only has not been heard of is never 404.
#include "host/control_answers.hpp"

#include <limits>

namespace skep::host {

task<api_reply> control_api::account(api_request request, std::vector<std::string> path) {
  const auto id = path.at(3), what = path.at(4);
  if (!valid_sandbox_id(id)) co_return api_error(400, "Invalid sandbox ID");
  if (sandboxes_.unknown(id)) co_return not_heard();
  result<json> done = make_error(errc::unknown_command);
  if (what == "usage" && request.method == "GET") {
    auto query = parse_query(request.query);
    auto text = query ? param(*query, "after") : std::string{};
    auto after =
        number_param(text.empty() ? "0" : text, 0, std::numeric_limits<std::int64_t>::max());
    if (!query || !after) co_return api_error(400, "after must be the number of a call");
    done = co_await sandboxes_.usage(id, static_cast<std::uint64_t>(*after));
  } else if (what == "allowance" && request.method == "PUT") {
    auto most = json::parse(request.body, nullptr, false);
    if (!most.is_object()) co_return api_error(400, "the body is not a JSON object");
    done = co_await sandboxes_.set_allowance(id, std::move(most));
  } else if (what == "keys" && request.method == "DELETE") {
    done = co_await sandboxes_.revoke_keys(id);
  } else {
    co_return api_error(404, "there is no such route");
  }
  if (!done) co_return done.err().code == errc::gone ? not_found(id) : failed(done.err(), id);
  json answer = {{"sandboxID", id}};
  for (const char* name : {"gateway", "calls", "cursor", "oldest"})
    if (auto i = done->find(name); i != done->end()) answer[name] = *i;
  co_return json_answer(200, answer);
}

} // namespace skep::host
