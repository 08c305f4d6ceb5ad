#include "actors/agents/command.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::actors;

TEST_CASE("a command gets its own argv and knows which pane it is", "[owasp-a03]") {
  swarm_spec spec;
  spec.argv = {"bash", "work.sh", "a b"};
  spec.env = {{"LANG", "C"}};
  spec.panes = 3;
  auto a = make_adapter(agent_kind::command);
  auto p = a->plan(spec, {pane_id{"pn_a"}, 1, 3, "p1", "http://127.0.0.1:1"});
  CHECK(p.argv == spec.argv);
  CHECK(p.env
        == std::map<std::string, std::string>{{"LANG", "C"},
                                              {"SKEP_PANE_COUNT", "3"},
                                              {"SKEP_PANE_INDEX", "1"},
                                              {"SKEP_PANE_NAME", "p1"}});
  CHECK(p.stdin_data.empty());
  CHECK(p.stdin_open);
  CHECK(p.program_to_check == "bash");
  CHECK(p.needs_secrets.empty());
  CHECK(p.gateway.empty());
  CHECK(a->on_output("{\"type\":\"result\"}\n").empty());
  CHECK(takes_input(agent_kind::command));
}

TEST_CASE("only exit code 0 is success for a command") {
  command_adapter a;
  CHECK(a.on_exit(0, 0).result == outcome::completed);
  auto v = a.on_exit(3, 0);
  CHECK(v.result == outcome::failed);
  CHECK(v.why.code == errc::agent_failed);
  CHECK(v.why.message == "exit code 3");
  CHECK(v.worth_retrying);
  CHECK(a.on_exit(-1, 15).why.message == "ended by signal 15 (SIGTERM)");
  CHECK(a.on_exit(-1, 0).why.message == "ended in an unknown way");
}
