// The network policies of a run as fields of E2B's create.
#include "actors/network_plan.hpp"
#include "actors/package_hosts.hpp"
#include "messages/hosts.hpp"
#include "messages/json.hpp"
#include "sandbox/wire.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <set>

using namespace skep;
using namespace skep::actors;
using hosts = std::vector<std::string>;
using value = nlohmann::json;

namespace {

const std::vector<gateway_use> a_model = {
    {"api.model.com", "BASE", "x-api-key", "MODEL_KEY", {"/v1"}},
    {"eu.model.com", "BASE", "authorization", "OTHER_KEY", {}}};

std::string key_of(const std::string& name) {
  return "value of " + name;
}

swarm_spec with(network_policy policy, hosts allow = {}) {
  swarm_spec out;
  out.network = policy;
  out.allow_hosts = std::move(allow);
  return out;
}

value create_fields(const swarm_spec& spec, const std::vector<gateway_use>& uses) {
  auto rules = network_plan(spec, uses, key_of);
  REQUIRE(rules);
  sandbox::create_params params;
  params.network = std::move(*rules);
  auto body = sandbox::wire::create_body(params, sandbox::generation::v2);
  REQUIRE(body);
  auto j = value::parse(*body);
  return {{"allow_internet_access", j["allow_internet_access"]},
          {"network", j.value("network", value{})}};
}

} // namespace

TEST_CASE("without a model, none and model open nothing") {
  auto closed = value::parse(R"({"allow_internet_access":false,"network":null})");
  CHECK(create_fields(with(network_policy::none), {}) == closed);
  CHECK(create_fields(with(network_policy::model), {}) == closed);
}

TEST_CASE("the policy model opens the agent's hosts, with their keys and paths") {
  CHECK(create_fields(with(network_policy::model), a_model) == value::parse(R"({
    "allow_internet_access":false,
    "network":{"allowOut":["api.model.com","eu.model.com"],"denyOut":["0.0.0.0/0"],
      "rules":{
        "api.model.com":[{"transform":{"headers":{"x-api-key":"value of MODEL_KEY"}},"paths":["/v1"]}],
        "eu.model.com":[{"transform":{"headers":{"authorization":"value of OTHER_KEY"}}}]}}})"));
}

TEST_CASE("the user's hosts come beside the model's, and none twice") {
  auto j = create_fields(
      with(network_policy::allowlist, {"a.example.com", "*.b.com", "api.model.com"}), a_model);
  CHECK(j["allow_internet_access"] == false);
  CHECK(j["network"]["allowOut"]
        == value{"api.model.com", "eu.model.com", "a.example.com", "*.b.com"});
  CHECK(j["network"]["denyOut"] == value{"0.0.0.0/0"});
  CHECK(j["network"]["rules"].size() == 2);
}

TEST_CASE("the policy packages opens the registries and what the user adds, without a key") {
  auto j = create_fields(with(network_policy::packages, {"mirror.example.com"}), {});
  const auto& allowed = j["network"]["allowOut"];
  CHECK(allowed.size() == package_hosts.size() + 1);
  auto has = [&](std::string_view host) {
    return std::find(allowed.begin(), allowed.end(), std::string{host}) != allowed.end();
  };
  std::set<std::string_view> registries;
  for (const auto& x : package_hosts) {
    CAPTURE(x.host);
    CHECK(has(x.host));
    CHECK(is_host_pattern(x.host));
    registries.insert(x.registry);
  }
  CHECK(has("mirror.example.com"));
  for (const char* name : {"npm", "PyPI", "crates.io", "Go", "Maven Central", "Debian", "RubyGems"})
    CHECK(registries.contains(name));
  CHECK_FALSE(j["network"].contains("rules"));
}

TEST_CASE("the policy open asks for everything and denies nothing") {
  CHECK(create_fields(with(network_policy::open), a_model)["network"]["rules"].size() == 2);
  CHECK(create_fields(with(network_policy::open), {}) == value::parse(R"({
    "allow_internet_access":true,"network":{"allowOut":["0.0.0.0/0"]}})"));
}

TEST_CASE("a key that is not set is named before anything is made") {
  auto none = [](const std::string&) { return std::string{}; };
  auto r = network_plan(with(network_policy::packages), a_model, none);
  REQUIRE_FALSE(r);
  CHECK(r.err().code == errc::secret_missing);
  CHECK(r.err().message == "MODEL_KEY");
  CHECK(network_plan(with(network_policy::none), a_model, none));
}
