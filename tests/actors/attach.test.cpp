// Scripts of attachments: the desk, the ATTACH, and the viewer inside that it leaves behind in no
// case.
#include "tests/actors/tree_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct attach_world : tree_world {
  swarm_id swarm_; ///< With one sandbox of two panes that run.
  sandbox_record sandbox_;
  attachment_id id{"at_one"};

  attach_world() { spec->panes = 2; }
  void begin() {
    start();
    swarm_ = run();
    sandbox_ = only_sandbox(swarm_);
  }
  pane_id pane(std::size_t i = 0) { return tables->panes(sandbox_.sandbox).value().at(i).pane; }
  attach_open_request request(bool read_only = false) {
    return {id, pane(), {}, read_only, 120, 40};
  }
  result<attach_open_reply> open(bool read_only = false) { return call(request(read_only)); }
  result<shell_open_reply> open_shell(const pane_id& pane, const sandbox_id& sandbox = {}) {
    return call(shell_open_request{id, pane, sandbox, 120, 40});
  }
  /// The folders that the newest shell tries, the first that is there counts.
  strings shell_folders() {
    auto& argv = viewer()->what.argv;
    REQUIRE(argv.size() > 6);
    CHECK(strings{argv.begin(), argv.begin() + 2} == strings{"/bin/sh", "-c"});
    CHECK(argv[4] == std::to_string(svc->epoch));
    CHECK(argv[5] == "/home/user/.skep/panes/epoch");
    return {argv.begin() + 6, argv.end()};
  }
  /// The newest stream of a viewer; null when there was none.
  std::shared_ptr<fake_api::stream> viewer() {
    for (auto i = api->streams.rbegin(); i != api->streams.rend(); ++i)
      if ((*i)->what.argv.at(1) != "follow") return *i;
    return nullptr;
  }
  std::size_t viewers() {
    return static_cast<std::size_t>(
        std::count_if(api->streams.begin(), api->streams.end(),
                      [](auto& s) { return s->what.argv.at(1) != "follow"; }));
  }
  bool viewer_runs() { return api->boxes.at(sandbox_.remote_id).processes.contains(viewer()->pid); }
  void emit_only(const std::string& text) {
    viewer()->emit(text);
    settle();
  }
  /// And waits until what could be a secret's beginning is shown.
  void emit(const std::string& text) {
    emit_only(text);
    advance(50ms);
  }
  result<attach_read_reply> read(std::uint64_t offset, std::uint32_t most = max_attach_bytes) {
    return call(attach_read_request{id, offset, 0, most});
  }
  reply_ptr wait_for_output(std::uint64_t offset) {
    return post(attach_read_request{id, offset, max_attach_wait_ms, max_attach_bytes});
  }
  result<attach_write_reply> type(std::uint64_t offset, const std::string& text) {
    return call(attach_write_request{id, offset, {text}});
  }
  template <class T>
  static errc code(const result<T>& r) {
    return r ? errc::none : r.err().code;
  }
};

} // namespace

TEST_CASE_METHOD(attach_world,
                 "an attachment is one viewer of the pane, however often it is opened") {
  begin();
  auto first = open();
  REQUIRE(first);
  CHECK(first->generation == 1);
  auto& what = viewer()->what;
  auto dir = "/home/user/.skep/panes/" + pane().value + "/1";
  CHECK(strings{what.argv.begin() + 1, what.argv.end()}
        == strings{"view", "--dir", dir, "--detach-key", "0"});
  REQUIRE(what.pty);
  CHECK(what.pty->columns == 120);
  CHECK(what.pty->rows == 40);
  CHECK(open());
  CHECK(code(open(true)) == errc::exists);
  CHECK(viewers() == 1);
  finish();
}

TEST_CASE_METHOD(attach_world, "a whole sandbox is shown in a session that has its name") {
  begin();
  REQUIRE(call(attach_open_request{id, {}, sandbox_.sandbox, true, 80, 24}));
  auto folder = std::string{"/home/user/.skep/panes/"};
  CHECK(strings{viewer()->what.argv.begin() + 1, viewer()->what.argv.end()}
        == strings{"windows", "--session", "skep-" + sandbox_.sandbox.value, "--pane",
                   "p0:" + folder + pane(0).value + "/1", "--pane",
                   "p1:" + folder + pane(1).value + "/1", "--read-only"});
  finish();
}

TEST_CASE_METHOD(attach_world, "output is kept until it is acknowledged, and comes in order") {
  begin();
  REQUIRE(open());
  emit("one ");
  emit("two");
  CHECK(read(0)->data.data == "one two");
  CHECK(read(0, 3)->data.data == "one"); // the first reply was lost
  CHECK(read(4)->data.data == "two");
  CHECK(code(read(3)) == errc::out_of_range);
  CHECK(code(read(8)) == errc::out_of_range);
  auto waiting = wait_for_output(7);
  CHECK_FALSE(*waiting);
  emit("!");
  CHECK(tree_world::read<attach_read_reply>(waiting)->data.data == "!");
  auto in_vain = wait_for_output(8);
  advance(9s);
  CHECK_FALSE(*in_vain);
  advance(1s);
  REQUIRE(*in_vain);
  CHECK(tree_world::read<attach_read_reply>(in_vain)->data.data.empty());
  CHECK_FALSE(tree_world::read<attach_read_reply>(in_vain)->ended);
  finish();
}

TEST_CASE_METHOD(attach_world, "known secrets are masked on a terminal, across reads too") {
  begin();
  REQUIRE(open());
  emit_only("key=hunter2-secret, hun");
  CHECK(read(0)->data.data == "key=**************, ");
  emit_only("ter2-secret\r\n");
  CHECK(read(20)->data.data == "**************\r\n");
  finish();
}

TEST_CASE_METHOD(attach_world, "what could be a secret's beginning is on the terminal in 50 ms") {
  begin();
  REQUIRE(open());
  emit_only("hunt");
  CHECK(read(0)->data.data.empty());
  auto waiting = wait_for_output(0);
  advance(49ms);
  CHECK_FALSE(*waiting);
  advance(1ms);
  CHECK(tree_world::read<attach_read_reply>(waiting)->data.data == "hunt");
  emit_only("er2-sec");
  advance(20ms);
  emit_only("ret");
  CHECK(read(4)->data.data == "**********"); // its rest is not seen
  emit_only("hunt");
  viewer()->end(0);
  settle();
  CHECK(read(14)->data.data == "hunt"); // at the end nothing is kept
  finish();
}

TEST_CASE_METHOD(attach_world, "output that nobody takes waits inside, not here") {
  svc->limits.attach_buffer_bytes = 64 * 1024;
  begin();
  REQUIRE(open());
  std::string block(40 * 1024, 'x');
  emit(block);
  CHECK_FALSE(viewer()->paused);
  emit(block);
  CHECK(viewer()->paused);
  emit("the rest");
  CHECK(read(0)->data.data.size() == max_attach_bytes);
  CHECK(viewer()->paused);
  CHECK(read(max_attach_bytes)->data.data.size() == 80 * 1024 - max_attach_bytes);
  CHECK_FALSE(viewer()->paused);
  CHECK(read(80 * 1024)->data.data == "the rest");
  finish();
}

TEST_CASE_METHOD(attach_world, "what is typed goes in once and in order, as far as there is room") {
  svc->limits.attach_input_bytes = 4096;
  begin();
  REQUIRE(open());
  CHECK(type(0, "abc")->next_offset == 3);
  CHECK(type(0, "abc")->next_offset == 3); // the reply was lost
  CHECK(type(1, "bcd")->next_offset == 4);
  CHECK(code(type(9, "x")) == errc::out_of_range);
  settle();
  CHECK(viewer()->input == "abcd");
  api->hold(operation::send_input);
  CHECK(type(4, "e")->next_offset == 5);
  CHECK(type(5, std::string(5000, 'f'))->next_offset == 5 + 4096);
  CHECK(type(5 + 4096, "g")->next_offset == 5 + 4096);
  api->release(operation::send_input);
  settle();
  CHECK(type(5 + 4096, "g")->next_offset == 6 + 4096);
  settle();
  CHECK(viewer()->input == "abcde" + std::string(4096, 'f') + "g");
  finish();
}

TEST_CASE_METHOD(attach_world, "read-only takes no input, and its own size all the same") {
  begin();
  REQUIRE(open(true));
  CHECK(viewer()->what.argv.back() == "--read-only");
  CHECK(code(type(0, "x")) == errc::cannot_send);
  CHECK(call(attach_write_request{id, 0, {}, 100, 30}));
  CHECK(api->count(operation::resize_pty) == 1);
  CHECK(api->count(operation::send_input) == 0);
  finish();
}

TEST_CASE_METHOD(attach_world, "the newest size is told, one call at a time") {
  begin();
  REQUIRE(open());
  CHECK(call(attach_write_request{id, 0, {}, 120, 40})); // as it is
  CHECK(api->count(operation::resize_pty) == 0);
  api->hold(operation::resize_pty);
  for (std::uint32_t columns : {90u, 91u, 92u})
    CHECK(call(attach_write_request{id, 0, {}, columns, 40}));
  CHECK(api->count(operation::resize_pty) == 1);
  api->release(operation::resize_pty);
  settle();
  CHECK(api->count(operation::resize_pty) == 2);
  finish();
}

TEST_CASE_METHOD(attach_world, "a client that reads no more is gone, and its viewer with it") {
  begin();
  REQUIRE(open());
  for (int i = 0; i < 4; ++i) {
    advance(20s);
    REQUIRE(read(0));
  }
  CHECK(viewer_runs());
  advance(31s);
  CHECK_FALSE(viewer_runs());
  auto after = read(0);
  REQUIRE(after);
  CHECK(after->ended);
  CHECK(after->why.code == errc::gone);
  CHECK(swarm(swarm_).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(attach_world, "an attachment ends at its deadline, and says so") {
  svc->limits.attach_life = 60s;
  begin();
  REQUIRE(open());
  advance(25s);
  REQUIRE(read(0));
  advance(25s);
  emit("last words");
  REQUIRE_FALSE(read(0)->ended);
  advance(10s);
  CHECK_FALSE(viewer_runs());
  auto end = read(0);
  CHECK(end->data.data == "last words");
  CHECK(end->ended);
  CHECK(end->why.code == errc::timed_out);
  finish();
}

TEST_CASE_METHOD(attach_world, "with its sandbox an attachment ends, and its reader hears of it") {
  begin();
  REQUIRE(open());
  auto waiting = wait_for_output(0);
  REQUIRE(call(stop_request{swarm_, true}));
  settle();
  REQUIRE(*waiting);
  CHECK(tree_world::read<attach_read_reply>(waiting)->ended);
  CHECK(tree_world::read<attach_read_reply>(waiting)->why.code == errc::gone);
  advance(2s);
  CHECK(ending(swarm_) == "closed killed");
  CHECK(code(type(0, "x")) == errc::not_found);
  id = {"at_two"};
  CHECK(code(open()) == errc::wrong_phase);
  finish();
}

TEST_CASE_METHOD(attach_world, "closing ends the viewer and no agent, also before it has started") {
  begin();
  REQUIRE(open());
  CHECK(call(attach_close_request{id})->was_open);
  CHECK_FALSE(viewer_runs());
  CHECK_FALSE(call(attach_close_request{id})->was_open);
  CHECK(read(0)->ended);
  id = {"at_two"};
  api->hold(operation::open_stream);
  REQUIRE(open());
  CHECK(call(attach_close_request{id})->was_open);
  CHECK(viewer_runs());
  viewer()->handlers.on_start(viewer()->pid); // only now
  settle();
  CHECK_FALSE(viewer_runs());
  CHECK(count("pane.exited") == 0);
  finish();
}

TEST_CASE_METHOD(attach_world, "a viewer that ends says how after its last output") {
  begin();
  REQUIRE(open());
  emit("bye");
  viewer()->end(0);
  settle();
  auto end = read(0);
  CHECK(end->data.data == "bye");
  CHECK(end->ended);
  CHECK_FALSE(end->why);
  id = {"at_two"};
  REQUIRE(open());
  viewer()->end(1);
  settle();
  CHECK(read(0)->why.code == errc::remote_command_failed);
  id = {"at_three"};
  REQUIRE(open());
  viewer()->fail(make_error(errc::network));
  settle();
  CHECK(read(0)->why.code == errc::network);
  finish();
}

TEST_CASE_METHOD(attach_world, "what makes no sense attaches to nothing") {
  svc->limits.attach_most = 1;
  begin();
  auto refused = [&](auto change) {
    auto r = request();
    change(r);
    return code(call(r));
  };
  CHECK(refused([](auto& r) { r.attachment = {"at_"}; }) == errc::bad_frame);
  CHECK(refused([](auto& r) { r.attachment = {"pn_x"}; }) == errc::bad_frame);
  CHECK(refused([](auto& r) { r.pane = {}; }) == errc::bad_argument);
  CHECK(refused([](auto& r) { r.pane = {"../x"}; }) == errc::bad_frame);
  CHECK(refused([&](auto& r) { r.sandbox = sandbox_.sandbox; }) == errc::bad_argument);
  CHECK(refused([](auto& r) { r.columns = 0; }) == errc::out_of_range);
  CHECK(refused([](auto& r) { r.rows = 1001; }) == errc::out_of_range);
  CHECK(refused([](auto& r) { r.pane = {"pn_unknown"}; }) != errc::none);
  CHECK(viewers() == 0);
  CHECK(code(read(0)) == errc::not_found);
  CHECK(code(type(0, "x")) == errc::not_found);
  REQUIRE(open());
  CHECK(code(call(attach_read_request{id, 0, 10'001, 1})) == errc::out_of_range);
  CHECK(code(call(attach_read_request{id, 0, 0, 0})) == errc::out_of_range);
  CHECK(code(type(0, std::string(max_attach_bytes + 1, 'x'))) == errc::too_large);
  CHECK(code(call(attach_write_request{id, 0, {}, 80, 0})) == errc::out_of_range);
  id = {"at_two"};
  CHECK(code(open()) == errc::queue_full);
  CHECK(viewers() == 1);
  finish();
}

TEST_CASE_METHOD(attach_world, "an agent that reads no input can only be watched") {
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"do it"};
  begin();
  CHECK(code(open()) == errc::cannot_send);
  CHECK(open(true));
  finish();
}

TEST_CASE_METHOD(attach_world, "agents of a run with terminals are started on one") {
  spec->pty = true;
  begin();
  std::size_t with = 0;
  for (const auto& c : api->calls)
    with += c.op == operation::run && c.what.find(" --pty 200x50 ") != std::string::npos;
  CHECK(with == 2);
  finish();
}

TEST_CASE_METHOD(attach_world, "a shell is opened in an agent's folder, or in the sandbox's home") {
  spec->agent = agent_kind::claude; // it reads no input, and the shell does
  spec->argv.clear();
  spec->prompts = {"do it"};
  begin();
  auto shell = open_shell(pane(1));
  REQUIRE(shell);
  CHECK(shell->kept_until == utc_time{});
  CHECK(shell_folders() == strings{"/home/user/work/p1"});
  REQUIRE(viewer()->what.pty);
  CHECK(viewer()->what.pty->columns == 120);
  CHECK(open_shell(pane(1)));
  CHECK(viewers() == 1);
  CHECK(code(open_shell(pane(0))) == errc::exists);
  id.value = "at_two";
  REQUIRE(open_shell({}, sandbox_.sandbox));
  CHECK(shell_folders() == strings{"/home/user"});
  REQUIRE(type(0, "ls\n"));
  emit("a work tree");
  CHECK(read(0)->data.data == "a work tree");
  finish();
}

TEST_CASE_METHOD(attach_world, "a shell of agents that share a tree is opened in that tree") {
  spec->share_tree = true;
  begin();
  REQUIRE(open_shell(pane(1)));
  CHECK(shell_folders() == strings{"/home/user/repo"});
  finish();
}

TEST_CASE_METHOD(attach_world, "a shell goes on when its run is over and its sandbox is kept") {
  spec->keep = true;
  begin();
  REQUIRE(open_shell(pane()));
  agents_end(sandbox_);
  REQUIRE(ending(swarm_) == "closed completed");
  CHECK(viewer_runs());
  emit("still here");
  auto now = read(0);
  CHECK(now->data.data == "still here");
  CHECK_FALSE(now->ended);
  SECTION("and ends with the sandbox, which is what its reader hears") {
    REQUIRE(call(stop_request{swarm_, true}));
    viewer()->fail(make_error(errc::network));
    settle();
    auto end = read(10);
    CHECK(end->ended);
    CHECK(end->why.code == errc::gone);
  }
  SECTION("and a connection that breaks is told as what it is") {
    viewer()->fail(make_error(errc::network));
    settle();
    CHECK(read(10)->why.code == errc::network);
  }
  finish();
}

TEST_CASE_METHOD(attach_world, "an id that is closed and opened again has one shell, the second") {
  begin();
  api->hold(operation::get);
  auto first = post(shell_open_request{id, pane(0), {}, 80, 24});
  CHECK(call(attach_close_request{id})->was_open);
  auto second = post(shell_open_request{id, pane(1), {}, 80, 24});
  api->release(operation::get);
  settle();
  CHECK(code(tree_world::read<shell_open_reply>(first)) == errc::cancelled);
  CHECK(tree_world::read<shell_open_reply>(second));
  CHECK(viewers() == 1);
  CHECK(shell_folders() == strings{"/home/user/work/p1"});
  for (int i = 0; i < 3; ++i) {
    advance(20s);
    CHECK_FALSE(read(0)->ended);
  }
  finish();
}

TEST_CASE_METHOD(attach_world, "a shell has done its work however its last command ended") {
  begin();
  REQUIRE(open_shell(pane()));
  emit("exit");
  viewer()->end(130);
  settle();
  auto end = read(0);
  CHECK(end->data.data == "exit");
  CHECK(end->ended);
  CHECK_FALSE(end->why);
  id.value = "at_two";
  REQUIRE(open_shell(pane()));
  viewer()->finish(sandbox::command_result{-1, false, "signal: killed", {}, {}, false, false});
  settle();
  CHECK(read(0)->why.code == errc::remote_command_failed);
  CHECK(read(0)->why.cause == "signal: killed");
  finish();
}

TEST_CASE_METHOD(attach_world, "a sandbox that was kept has a shell for as long as it is there") {
  spec->keep = true;
  begin();
  agents_end(sandbox_);
  REQUIRE(ending(swarm_) == "closed completed");
  auto row = only_sandbox(swarm_);
  REQUIRE(row.kept);
  CHECK(code(open()) == errc::wrong_phase); // there is no agent to watch
  auto shell = open_shell(pane(1));
  REQUIRE(shell);
  CHECK(shell->kept_until
        == std::chrono::floor<std::chrono::milliseconds>(api->boxes.at(row.remote_id).info.end_at));
  CHECK(shell_folders() == strings{"/home/user/work/p1", "/home/user/repo"});
  CHECK(open_shell(pane(1)));
  emit("$ ");
  CHECK(read(0)->data.data == "$ ");
  REQUIRE(type(0, "ls\n"));
  CHECK(viewer()->input == "ls\n");
  SECTION("that ends when it is closed") {
    CHECK(call(attach_close_request{id})->was_open);
    CHECK_FALSE(viewer_runs());
  }
  SECTION("that ends when nobody reads it") {
    advance(31s);
    CHECK_FALSE(viewer_runs());
  }
  SECTION("that is refused once it is being killed") {
    REQUIRE(call(stop_request{swarm_, true}));
    id.value = "at_two";
    CHECK(code(open_shell(pane(1))) == errc::wrong_phase);
  }
  SECTION("that is refused when its provider knows it no more") {
    api->boxes.clear();
    id.value = "at_two";
    CHECK(code(open_shell(pane(1))) == errc::gone);
    CHECK(code(read(0)) == errc::not_found);
  }
  SECTION("that is closed before the provider has answered") {
    id.value = "at_two";
    api->hold(operation::get);
    auto opening = post(shell_open_request{id, pane(1), {}, 80, 24});
    CHECK(call(attach_close_request{id})->was_open);
    REQUIRE(*opening);
    CHECK(code(tree_world::read<shell_open_reply>(opening)) == errc::cancelled);
    api->release(operation::get);
    settle();
    CHECK(viewers() == 1);
  }
  finish(); // and the end of the daemon leaves nothing
}

TEST_CASE_METHOD(attach_world, "a sandbox that has ended has no shell, and the refusal says why") {
  begin();
  CHECK(code(open_shell({"pn_unknown"})) != errc::none);
  CHECK(code(open_shell({}, {"sb_unknown"})) != errc::none);
  CHECK(code(open_shell({})) == errc::bad_argument);
  agents_end(sandbox_);
  REQUIRE(ending(swarm_) == "closed completed");
  auto refused = open_shell(pane());
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::wrong_phase);
  CHECK(refused.err().message.find("--keep") != std::string::npos);
  finish();
}
