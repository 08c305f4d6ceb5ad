// Scripts of the setup: a command of the user's before the agents of a sandbox.
#include "actors/transfer.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct setup_world : sandbox_world {
  setup_world() {
    spec->setup = {"npm", "ci"};
    spec->env = {{"CI", "1"}};
    guest["settle"] = [](const sandbox::command&) -> result<command_result> {
      return said("{\"commit\":\"5e771ed\",\"changed\":true}\n");
    };
    guest["worktree"] = [this](const sandbox::command& c) -> result<command_result> {
      trees.push_back(c.argv);
      return said("{}\n");
    };
  }
  fake_api::stream& setup() {
    REQUIRE_FALSE(api->streams.empty());
    return *api->streams.front();
  }
  std::string log(const std::string& name = "setup.log") const {
    std::ifstream in{tmp.path / "out" / "sw_a" / name};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  std::vector<strings> trees;
};

} // namespace

TEST_CASE_METHOD(setup_world,
                 "the setup runs in the repository before any agent, with the run's variables") {
  begin();
  CHECK(setup().what.argv == strings{"npm", "ci"});
  CHECK(setup().what.cwd == "/home/user/repo");
  CHECK(setup().what.env == std::map<std::string, std::string>{{"CI", "1"}});
  CHECK(setup().what.limit == svc->limits.setup);
  CHECK(guest_calls("base") == 1);
  CHECK(guest_calls("worktree") == 0);
  CHECK(guest_calls("pane") == 0);
  setup().emit("added 3 packages\n");
  setup().emit("key hunter2-secret\n", true);
  setup().end(0);
  settle();
  CHECK(log() == "added 3 packages\nkey **************\n");
  REQUIRE(trees.size() == 1);
  auto after = [&](const char* option) {
    return *(std::find(trees[0].begin(), trees[0].end(), option) + 1);
  };
  CHECK(after("--base") == "5e771ed");
  CHECK(after("--ignored") == "copy");
  CHECK(all<base_recorded>().at(0).commit == "5e771ed");
  CHECK_FALSE(all<base_recorded>().at(0).is_head);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(setup_world,
                 "a setup that fails ends the sandbox with its words, and no agent starts") {
  begin();
  setup().emit("npm ERR! no such package\n", true);
  setup().end(3);
  settle();
  CHECK(ending() == "failed setup_failed@setup");
  auto why = all<sandbox_closed>().at(0).why;
  CHECK(why.message == "exit status 3");
  CHECK(why.cause == "npm ERR! no such package\n");
  CHECK(log() == "npm ERR! no such package\n");
  CHECK(guest_calls("pane") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(setup_world, "a setup that does not end is a failed setup, not a failed network") {
  begin();
  setup().emit("waiting for the lock");
  setup().fail(make_error(errc::timed_out, "`npm ci`: did not end within 600000 ms")); // the client
  settle();
  CHECK(ending() == "failed setup_failed@setup");
  auto why = all<sandbox_closed>().at(0).why;
  CHECK(why.message.find("npm ci") != std::string::npos);
  CHECK(why.message.find("600000 ms") != std::string::npos);
  CHECK(why.cause == "waiting for the lock");
}

TEST_CASE_METHOD(setup_world, "a connection that breaks during the setup is no failed setup") {
  begin();
  setup().fail(make_error(errc::network));
  settle();
  CHECK(ending() == "failed network@setup");
}

TEST_CASE_METHOD(setup_world,
                 "a setup may last as long as its own limit beside that of the upload") {
  begin();
  advance(svc->limits.upload_deadline + 1s);
  CHECK(count("sandbox.closed") == 0);
  advance(svc->limits.setup);
  CHECK(ending() == "failed timed_out@upload");
}

TEST_CASE_METHOD(setup_world,
                 "what a setup says is kept up to a bound, in a file for each sandbox") {
  spec->sandboxes = 2;
  ctx->index = 1;
  svc->limits.setup_log_bytes = 10;
  begin();
  setup().emit("12345678");
  setup().emit("90abc");
  setup().emit("def");
  setup().end(0);
  settle();
  CHECK(log("setup-1.log") == "1234567890");
}

TEST_CASE_METHOD(setup_world,
                 "a setup that a former daemon started is ended before another begins") {
  recorded(phase::uploading);
  start.record.base_commit.clear(); // it comes after the setup
  sandbox::command left;
  left.argv = {"npm", "ci"};
  left.tag = setup_tag;
  api->boxes["i1"].processes[77] = left;
  begin();
  auto killed = std::any_of(api->calls.begin(), api->calls.end(), [](const auto& c) {
    return c.op == operation::send_signal && c.what.find("77") != std::string::npos;
  });
  CHECK(killed);
  CHECK(setup().what.argv == strings{"npm", "ci"});
}
