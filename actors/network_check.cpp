#include "actors/network_check.hpp"

#include "messages/hosts.hpp"

#include <algorithm>
#include <array>

namespace skep::actors {
namespace {

// How far skep-guest can come (guest/reach.hpp), and what counts.
constexpr std::array<std::string_view, 5> ways = {"unreachable", "refused", "no_answer",
                                                  "connected", "answered"};
constexpr std::string_view it_answered = "answered";
constexpr std::int64_t http_ok = 200;

bool is_denied(const public_place& where, const swarm_spec& spec) {
  const auto& allowed = spec.allow_hosts;
  return spec.network != network_policy::open
         && std::none_of(allowed.begin(), allowed.end(), [&](const std::string& pattern) {
              return matches_host(pattern, where.host);
            });
}

struct reach_told {
  std::string state; ///< Empty: the answer says nothing of it that makes sense.
  std::int64_t status = 0;
};

reach_told told_of(const json& list, std::string_view target) {
  for (const auto& x : list) {
    if (!x.is_object()) continue;
    reach_told out;
    std::string name;
    auto i = x.find("target");
    if (i == x.end() || !from_json_value(*i, name) || name != target) continue;
    i = x.find("state");
    if (i == x.end() || !from_json_value(*i, out.state)) return {};
    if (std::find(ways.begin(), ways.end(), out.state) == ways.end()) return {};
    i = x.find("status");
    if (i != x.end() && !from_json_value(*i, out.status)) return {};
    return out;
  }
  return {};
}

error not_told(std::string_view target) {
  return make_error(errc::no_isolation,
                    "the sandbox does not tell whether it reaches " + std::string{target});
}

error readable(const metadata_place& where) {
  return make_error(errc::no_isolation,
                    "the provider's metadata service (" + std::string{where.whose}
                        + ") can be read inside, at " + std::string{where.target}
                        + ": it may give out the provider's own credentials. Whoever runs the "
                          "provider has to keep guests from it");
}

error not_held(const public_place& where, network_policy policy) {
  return make_error(errc::no_isolation,
                    "the network policy '" + std::string{to_string(policy)}
                        + "' does not hold at this provider: " + std::string{where.target} + " ("
                        + std::string{where.whose}
                        + ") answers inside. Only --network open is what its sandboxes have");
}

void add_reached(std::string& list, std::string_view target, const std::string& whose) {
  list += (list.empty() ? "" : ", ") + std::string{target} + " (" + whose + ")";
}

// The setting comes first: with nine addresses a terminal cuts the end.
std::string kept_words(const std::string& reached, const swarm_spec& spec) {
  return "its network fails the look under the policy '" + std::string{to_string(spec.network)}
         + "', and the run goes on because providers." + spec.provider
         + ".network_check is \"warn\"; what answers inside: " + reached;
}

} // namespace

std::vector<std::string> network_question(const swarm_spec& spec, std::chrono::milliseconds limit) {
  std::vector<std::string> out = {"reach", "--limit-ms", std::to_string(limit.count())};
  for (const auto& where : metadata_places)
    out.insert(out.end(), {"--http", std::string{where.target}});
  for (const auto& where : public_places)
    if (is_denied(where, spec)) out.insert(out.end(), {"--tls", std::string{where.target}});
  return out;
}

result<std::string> judge_network(const json& answer, const swarm_spec& spec, network_check how) {
  static const json nothing = json::array();
  auto i = answer.is_object() ? answer.find("targets") : answer.end();
  const auto& list = answer.is_object() && i != answer.end() && i->is_array() ? *i : nothing;
  const bool keep = how == network_check::warn;
  std::string reached;
  for (const auto& where : metadata_places) {
    auto said = told_of(list, where.target);
    if (said.state.empty()) return not_told(where.target);
    if (said.state != it_answered || said.status != http_ok) continue;
    if (!keep) return readable(where);
    add_reached(reached, where.target, "metadata service: " + std::string{where.whose});
  }
  for (const auto& where : public_places) {
    if (!is_denied(where, spec)) continue;
    auto said = told_of(list, where.target);
    if (said.state.empty()) return not_told(where.target);
    if (said.state != it_answered) continue;
    if (!keep) return not_held(where, spec.network);
    add_reached(reached, where.target, std::string{where.whose});
  }
  return reached.empty() ? reached : kept_words(reached, spec);
}

} // namespace skep::actors
