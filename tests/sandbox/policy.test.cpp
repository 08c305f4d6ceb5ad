// No call without a deadline (row S1-01): the table of policy.hpp covers every function of `api`,
// and only one place of the client hands requests to the engine.
#include "sandbox/policy.hpp"
#include "sandbox/http_engine.hpp"

#include "tests/support/catch.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

using namespace skep::sandbox;

namespace {

std::string source(const std::string& name) {
  const char* root = std::getenv("SKEP_SOURCE");
  std::ifstream in{std::string{root ? root : "."} + "/sandbox/" + name};
  REQUIRE(in);
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::set<std::string> matches(const std::string& text, const char* pattern) {
  std::set<std::string> out;
  std::regex what{pattern};
  for (std::sregex_iterator i{text.begin(), text.end(), what}, end; i != end; ++i)
    out.insert((*i)[1]);
  return out;
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++n;
  return n;
}

} // namespace

TEST_CASE("every function of the api has a deadline in the table, and the table has no other") {
  std::set<std::string> table, declared;
  for (std::size_t i = 0; i < operation_count; ++i) {
    auto op = static_cast<operation>(i);
    table.insert(std::string{to_string(op)});
    CHECK(policy{}.of(op).deadline.count() > 0);
    CHECK(policy{}.of(op).attempts >= 1);
    if (policy{}.of(op).repeat == guard::once) CHECK(policy{}.of(op).attempts == 1);
  }
  CHECK(table.size() == operation_count);
  for (auto header : {"api.hpp", "control.hpp", "templates.hpp", "envd.hpp"})
    declared.merge(matches(source(header), R"((?:virtual|\n) +call_id (\w+)\()"));
  CHECK(declared == table);
}

TEST_CASE("the client opens every call under its operation and sends from one place") {
  std::string client;
  for (auto name : {"client_core.cpp", "client_control.cpp", "client_process.cpp",
                    "client_files.cpp", "control.cpp", "templates.cpp", "envd.cpp"})
    client += source(name);
  CHECK(count(client, "engine_.submit(") == 1);
  CHECK(count(client, "http_request out{") == 1);
  std::set<std::string> table;
  for (std::size_t i = 0; i < operation_count; ++i)
    table.insert(std::string{to_string(static_cast<operation>(i))});
  CHECK(matches(client, R"((?:open|simple<[^(;]*>)\(\s*operation::(\w+))") == table);
}

TEST_CASE("a request cannot be made without limits, nor limits without a number") {
  STATIC_REQUIRE_FALSE(std::is_constructible_v<http_request, std::string, std::string>);
  STATIC_REQUIRE_FALSE(std::is_default_constructible_v<http_limits>);
}

TEST_CASE("the documented limits of the capability rows hold") {
  using namespace std::chrono_literals;
  policy p;
  CHECK(p.of(operation::kill).deadline == 30s);         // S1-03
  CHECK(p.of(operation::set_timeout).deadline == 10s);  // S1-04
  CHECK(p.of(operation::upload_file).deadline == 5min); // S1-01 file write
  CHECK(p.of(operation::download_file).deadline == 2min);
  CHECK(p.of(operation::read_file).deadline == 30s);
  CHECK(p.of(operation::stat).deadline == 10s);
  CHECK(p.of(operation::run).deadline == 300s);  // S2-07
  CHECK(p.of(operation::health).deadline == 5s); // S2-20
  CHECK(p.of(operation::create).attempts == 1);
  CHECK(p.retry_backoff == 1s);
  for (auto& x : p.limits)
    CHECK(x.attempts == (x.repeat == guard::once ? 1 : 3));
  CHECK(p.of(operation::compose).deadline == 5min); // S1-01 join parts
  CHECK(limit_of(step::part_write).deadline == 2min);
  CHECK(limit_of(step::part_write).op == operation::upload_file);
  CHECK(p.stream_idle > p.keepalive_interval);
}
