// Templates and builds: the observed sequence of a build, tags, aliases.
#include "tests/sandbox/client_fixture.hpp"

#include "sandbox/templates.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

const std::string hash(64, 'a');

struct templates_fixture : fixture {
  explicit templates_fixture(script_server::handler h) : fixture(std::move(h)), all(api) {}
  templates all;
};

} // namespace

TEST_CASE("a build goes the observed way: create, link, upload without a key, start, status") {
  std::string base;
  templates_fixture f{[&](peer& p, const request& r) {
    if (r.target == "/v3/templates")
      p.answer(202, R"({"templateID":"t1","buildID":"b1","public":true,"names":["my"],"tags":[],
                        "aliases":[]})");
    else if (r.target == "/templates/t1/files/" + hash)
      p.answer(201, R"({"present":false,"url":")" + base + R"(/put?sig=SECRET"})");
    else if (r.method == "PUT" && r.path() == "/put")
      p.answer(200);
    else if (r.target == "/v2/templates/t1/builds/b1")
      p.answer(202, "", {"Content-Length: 0"});
    else if (r.path() == "/templates/t1/builds/b1/status")
      p.answer(200, r.target.find("logsOffset=0") != std::string::npos
                        ? R"({"templateID":"t1","buildID":"b1","status":"building","logs":["x"],
                              "logEntries":[{"timestamp":"2026-01-02T03:04:05Z","level":"info",
                                             "message":"step","step":"1"}]})"
                        : R"({"templateID":"t1","buildID":"b1","status":"error","logs":[],
                              "logEntries":[],"reason":{"message":"exit 1","step":"2"}})");
    else
      p.answer(404, "?");
  }};
  base = f.server.url();
  auto made = await<template_build>([&](auto then) {
    f.all.create_template({"my", {}, 2, 1024}, then);
  });
  REQUIRE(made);
  CHECK(made->build_id == "b1");
  CHECK(made->is_public);
  auto link = await<file_link>([&](auto then) { f.all.file_link("t1", hash, then); });
  REQUIRE(link);
  CHECK_FALSE(link->present);
  scratch dir;
  std::ofstream{dir.path / "layer"} << "tar";
  CHECK(await<void>([&](auto then) { f.all.upload_layer(link->url, dir.path / "layer", then); }));

  build_spec spec;
  spec.from_image = "ubuntu:22.04";
  spec.registry = image_registry{"registry", {{"username", "u"}, {"password", "p"}}};
  spec.steps = {{step_type::user, {"root"}},
                {step_type::copy, {"app", "/opt/app", "", ""}, hash},
                {step_type::run, {"make"}, {}, true}};
  spec.start_command = "srv";
  spec.ready_command = "sleep 20";
  CHECK(await<void>([&](auto then) { f.all.start_build(*made, spec, then); }));
  auto state = await<build_progress>([&](auto then) { f.all.build_status(*made, 0, then); });
  REQUIRE(state);
  CHECK(state->state == build_state::building);
  CHECK(state->entries.at(0).message == "step");
  state = await<build_progress>([&](auto then) { f.all.build_status(*made, 1, then); });
  REQUIRE(state);
  CHECK(state->state == build_state::error);
  CHECK(state->reason == "exit 1");
  CHECK(state->reason_step == "2");

  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"cpuCount":2,"memoryMB":1024,"name":"my"})");
  CHECK(seen[2].body == "tar");
  CHECK(seen[2].header("content-length") == "3");
  CHECK(seen[2].header("x-api-key").empty()); // another server's address
  CHECK(nlohmann::json::parse(seen[3].body)
        == nlohmann::json::parse(R"({"fromImage":"ubuntu:22.04","force":false,
    "fromImageRegistry":{"type":"registry","username":"u","password":"p"},
    "steps":[{"type":"USER","args":["root"],"force":false},
             {"type":"COPY","args":["app","/opt/app","",""],"force":false,"filesHash":")"
                                 + hash + R"("},
             {"type":"RUN","args":["make"],"force":true}],
    "startCmd":"srv","readyCmd":"sleep 20"})"));
}

TEST_CASE("an upload's address stays out of its error, and a bad build is refused before it is "
          "sent") {
  templates_fixture f{[](peer& p, const request& r) { p.answer(500, "no: " + r.target); }};
  scratch dir;
  std::ofstream{dir.path / "layer"} << "tar";
  const auto url = f.server.url() + "/put?sig=SECRET";
  auto r = await<void>([&](auto then) { f.all.upload_layer(url, dir.path / "layer", then); });
  CHECK(r.err().code == errc::network);
  auto code = [&](build_spec spec) {
    return await<void>([&](auto then) { f.all.start_build({"t1", "b1"}, spec, then); }).err().code;
  };
  const auto sent = f.server.requests().size();
  CHECK(code({}) == errc::bad_argument); // no base
  build_spec no_hash;
  no_hash.from_template = "base";
  no_hash.steps = {{step_type::copy, {"a", "b"}}};
  CHECK(code(no_hash) == errc::bad_argument);
  CHECK(await<file_link>([&](auto then) { f.all.file_link("t1", "../x", then); }).err().code
        == errc::bad_argument);
  CHECK(await<bool>([&](auto then) { f.all.delete_template("..", then); }).err().code
        == errc::bad_argument);
  CHECK(f.server.requests().size() == sent);
}

TEST_CASE("templates are listed by pages, looked at, published and deleted") {
  templates_fixture f{[](peer& p, const request& r) {
    if (r.path() == "/v2/templates" && r.method == "GET")
      p.answer(200, R"([{"templateID":"t1","buildID":"b","cpuCount":2,"memoryMB":512,
        "diskSizeMB":1,"public":false,"names":["n"],"createdAt":"2026-01-02T03:04:05Z",
        "updatedAt":"2026-01-02T03:04:05Z","createdBy":null,"lastSpawnedAt":null,"spawnCount":4,
        "buildCount":1,"envdVersion":"0.6.13","buildStatus":"ready"}])",
               {"X-Next-Token: two"});
    else if (r.method == "GET" && r.path() == "/templates/t1")
      p.answer(200, R"({"templateID":"t1","public":true,"names":["n"],
                        "builds":[{"buildID":"b","status":"ready","cpuCount":2,"memoryMB":512}]})");
    else if (r.method == "PATCH")
      p.answer(200, R"({"names":["n"]})");
    else if (r.method == "DELETE")
      p.answer(r.path() == "/templates/t1" ? 204 : 404,
               r.path() == "/templates/t1" ? "" : R"({"code":404})");
    else
      p.answer(404, R"({"code":404,"message":"free"})");
  }};
  auto page = await<template_page>([&](auto then) { f.all.list_templates("one", then); });
  REQUIRE(page);
  CHECK(page->next_token == "two");
  CHECK(page->items.at(0).spawn_count == 4);
  CHECK(page->items.at(0).build_status == "ready");
  auto one = await<template_detail>([&](auto then) { f.all.get_template("t1", then); });
  REQUIRE(one);
  CHECK(one->builds.at(0).status == "ready");
  CHECK(await<void>([&](auto then) { f.all.set_public("t1", true, then); }));
  CHECK(*await<bool>([&](auto then) { f.all.delete_template("t1", then); }));
  CHECK_FALSE(*await<bool>([&](auto then) { f.all.delete_template("t2", then); }));
  CHECK(await<alias_owner>([&](auto then) { f.all.find_alias("team/x:v1", then); }).err().code
        == errc::not_found);
  auto seen = f.server.requests();
  CHECK(seen[0].target == "/v2/templates?limit=100&nextToken=one");
  CHECK(seen[2].method == "PATCH");
  CHECK(seen[2].target == "/v2/templates/t1");
  CHECK(seen[2].body == R"({"public":true})");
  CHECK(seen.back().target == "/templates/aliases/team%2Fx%3Av1");
}

TEST_CASE("tags are assigned, listed and removed, and a DELETE may have a body") {
  templates_fixture f{[](peer& p, const request& r) {
    if (r.method == "GET")
      p.answer(200, R"([{"tag":"prod","buildID":"b","createdAt":"2026-01-02T03:04:05Z"}])");
    else if (r.method == "POST")
      p.answer(201, R"({"tags":["prod"],"buildID":"b"})");
    else
      p.answer(204);
  }};
  CHECK(await<void>([&](auto then) { f.all.assign_tags("my:v1", {"prod"}, then); }));
  auto tags = await<std::vector<template_tag>>([&](auto then) { f.all.list_tags("my", then); });
  REQUIRE(tags);
  CHECK(tags->at(0).tag == "prod");
  CHECK(await<void>([&](auto then) { f.all.remove_tags("my", {"prod"}, then); }));
  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"tags":["prod"],"target":"my:v1"})");
  CHECK(seen[2].method == "DELETE");
  CHECK(seen[2].body == R"({"name":"my","tags":["prod"]})");
  CHECK(seen[2].header("content-type") == "application/json");
}

TEST_CASE("build logs are read by cursor") {
  templates_fixture f{[](peer& p, const request&) {
    p.answer(200,
             R"({"logs":[{"timestamp":"2026-01-02T03:04:05Z","level":"error","message":"m"}]})");
  }};
  build_log_query q;
  q.limit = 9;
  q.at_least = log_level::error;
  auto r = await<std::vector<log_entry>>([&](auto then) {
    f.all.build_logs({"t1", "b1"}, q, then);
  });
  REQUIRE(r);
  CHECK(r->at(0).level == log_level::error);
  CHECK(f.server.requests()[0].target
        == "/templates/t1/builds/b1/logs?limit=9&direction=forward&level=error");
}
