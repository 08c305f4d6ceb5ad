// What a look from inside a new sandbox proves of its network.
#include "actors/network_check.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <map>

using namespace skep;
using namespace skep::actors;

namespace network_check_cases {
namespace {

using strings = std::vector<std::string>;

swarm_spec with(network_policy policy, strings allow = {}) {
  swarm_spec out;
  out.network = policy;
  out.allow_hosts = std::move(allow);
  return out;
}

/// What stands behind `option` in the question.
strings asked(const swarm_spec& spec, const std::string& option) {
  auto words = network_question(spec, std::chrono::milliseconds{2000});
  strings out;
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == option) out.push_back(words[i + 1]);
  return out;
}

using word = std::pair<std::string, int>; // a state and a status
constexpr const char* ec2 = "169.254.169.254@80/latest/meta-data/";
constexpr const char* google = "169.254.169.254@80/computeMetadata/v1/";

/// An answer to every question of `spec`: unreachable, or what `otherwise` says.
json answer(const swarm_spec& spec, const std::map<std::string, word>& otherwise = {}) {
  auto list = json::array();
  auto all = asked(spec, "--http");
  auto tls = asked(spec, "--tls");
  all.insert(all.end(), tls.begin(), tls.end());
  for (const auto& target : all) {
    auto i = otherwise.find(target);
    json one = {{"target", target},
                {"state", i == otherwise.end() ? "unreachable" : i->second.first}};
    if (i != otherwise.end() && i->second.second != 0) one["status"] = i->second.second;
    list.push_back(std::move(one));
  }
  return json{{"targets", std::move(list)}};
}

std::string refusal(const json& answer, const swarm_spec& spec,
                    network_check how = network_check::require) {
  auto r = judge_network(answer, spec, how);
  if (r) {
    if (how == network_check::require) CHECK(r->empty());
    return {};
  }
  CHECK(r.err().code == errc::no_isolation);
  return r.err().message;
}

const network_policy closed_ones[] = {network_policy::none, network_policy::model,
                                      network_policy::packages, network_policy::allowlist};

} // namespace

TEST_CASE("every policy has the metadata services tried, and all but open public addresses") {
  auto open = with(network_policy::open);
  CHECK(asked(open, "--http").size() == std::size(metadata_places));
  CHECK(asked(open, "--tls").empty());
  CHECK(asked(open, "--limit-ms") == strings{"2000"});
  for (auto policy : closed_ones) {
    CHECK(asked(with(policy), "--http") == asked(open, "--http"));
    CHECK(asked(with(policy), "--tls")
          == strings{"1.1.1.1@443", "2606:4700:4700::1111@443", "9.9.9.9@443", "2620:fe::fe@443"});
  }
}

TEST_CASE("an address whose operator's name is allowed is not tried") {
  auto one = with(network_policy::allowlist, {"one.one.one.one"});
  CHECK(asked(one, "--tls") == strings{"9.9.9.9@443", "2620:fe::fe@443"});
  CHECK(refusal(answer(one), one).empty());
  auto below = with(network_policy::packages, {"*.quad9.net", "mirror.example.com"});
  CHECK(asked(below, "--tls") == strings{"1.1.1.1@443", "2606:4700:4700::1111@443"});
  auto other = with(network_policy::allowlist, {"quad9.net"});
  CHECK(asked(other, "--tls").size() == 4);
}

TEST_CASE("a public address that answers under a closed policy is a policy that does not hold") {
  for (auto policy : closed_ones) {
    auto spec = with(policy);
    for (const auto* target : {"1.1.1.1@443", "2620:fe::fe@443"}) {
      auto why = refusal(answer(spec, {{target, {"answered", 0}}}), spec);
      INFO(why);
      CHECK(why.find(target) != why.npos);
      CHECK(why.find("'" + std::string{to_string(policy)} + "'") != why.npos);
    }
  }
}

TEST_CASE("a connection that nobody answers on proves no open network") {
  auto spec = with(network_policy::none);
  for (const auto* state : {"unreachable", "refused", "no_answer", "connected"}) {
    INFO(state);
    CHECK(refusal(answer(spec, {{"1.1.1.1@443", {state, 0}}, {ec2, {state, 0}}}), spec).empty());
  }
}

TEST_CASE("a metadata service that is read is refused under every policy, open too") {
  for (auto policy : {network_policy::none, network_policy::open}) {
    auto spec = with(policy);
    for (const auto& place : metadata_places) {
      auto why = refusal(answer(spec, {{std::string{place.target}, {"answered", 200}}}), spec);
      CHECK(why.find(place.target) != why.npos);
    }
    // The service of Firecracker has nothing under these paths; others refuse who is a guest.
    for (int status : {204, 301, 401, 403, 404, 500}) {
      INFO(status);
      CHECK(
          refusal(answer(spec, {{ec2, {"answered", status}}, {google, {"answered", status}}}), spec)
              .empty());
    }
  }
}

TEST_CASE("an answer that leaves a question open proves nothing") {
  auto spec = with(network_policy::none);
  auto good = answer(spec);
  REQUIRE(refusal(good, spec).empty());
  for (std::size_t i = 0; i < good["targets"].size(); ++i) {
    auto bad = good;
    bad["targets"].erase(i);
    CHECK(refusal(bad, spec).find("does not tell") != std::string::npos);
    for (const auto* text : {"\"fine\"", "7", "null"}) {
      bad = good;
      bad["targets"][i]["state"] = json::parse(text);
      CHECK(refusal(bad, spec).find("does not tell") != std::string::npos);
    }
    bad = good;
    bad["targets"][i]["status"] = "200";
    CHECK(refusal(bad, spec).find("does not tell") != std::string::npos);
  }
  for (const auto* text :
       {"{}", "[]", "null", R"({"targets":{}})", R"({"targets":[1,"x",null]})"}) {
    INFO(text);
    CHECK(refusal(json::parse(text), spec).find("does not tell") != std::string::npos);
  }
}

TEST_CASE("under warn all that answers inside is told with the setting that keeps the sandbox") {
  auto spec = with(network_policy::none);
  spec.provider = "cloud";
  auto told =
      judge_network(answer(spec, {{google, {"answered", 200}}, {"9.9.9.9@443", {"answered", 0}}}),
                    spec, network_check::warn);
  REQUIRE(told.ok());
  CHECK(*told
        == "its network fails the look under the policy 'none', and the run goes on because "
           "providers.cloud.network_check is \"warn\"; what answers inside: "
           "169.254.169.254@80/computeMetadata/v1/ (metadata service: Google Cloud), "
           "9.9.9.9@443 (Quad9's resolver)");
  auto open = with(network_policy::open);
  told = judge_network(answer(open, {{ec2, {"answered", 200}}}), open, network_check::warn);
  REQUIRE(told.ok());
  CHECK(told->find(ec2) != std::string::npos);
}

TEST_CASE("under warn nothing is told of a network that holds") {
  auto spec = with(network_policy::none);
  auto told =
      judge_network(answer(spec, {{ec2, {"answered", 401}}, {"1.1.1.1@443", {"connected", 0}}}),
                    spec, network_check::warn);
  REQUIRE(told.ok());
  CHECK(told->empty());
}

TEST_CASE("under warn an answer that leaves a question open is refused as ever") {
  auto spec = with(network_policy::none);
  auto good = answer(spec, {{ec2, {"answered", 200}}});
  REQUIRE(refusal(good, spec, network_check::warn).empty());
  for (std::size_t i = 0; i < good["targets"].size(); ++i) {
    auto bad = good;
    bad["targets"].erase(i);
    CHECK(refusal(bad, spec, network_check::warn).find("does not tell") != std::string::npos);
  }
}

} // namespace network_check_cases
