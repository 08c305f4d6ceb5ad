#include "actors/limiter.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/virtual_system.hpp"

using namespace skep;
using namespace skep::actors;
using namespace skep::test;

namespace {

using go_a = caf::atom_constant<caf::atom("go")>;

/// Asks for a place when told, and writes down the answer.
caf::behavior asker(caf::event_based_actor* self, limiter_actor limiter, pane_id pane,
                    sandbox_id box, std::vector<std::string>* log) {
  self->set_error_handler([](caf::error&) {});
  return {[=](go_a) {
    self->request(limiter, caf::infinite, admit_a::value, pane, box)
        .then([=] { log->push_back(pane.value); },
              [=](caf::error& e) {
                log->push_back(pane.value + " " + std::string{to_string(from_caf(e).code)});
              });
  }};
}

struct gate {
  std::vector<std::string> log;
  virtual_system v;
  limiter_actor limiter;

  explicit gate(limiter_options o = {2, 1000}) { limiter = v.root(spawn_limiter(v.sys, o)); }

  caf::actor ask(const std::string& pane, const std::string& box = {}) {
    auto a = v.root(v.sys.spawn(asker, limiter, pane_id{pane}, sandbox_id{box}, &log));
    caf::anon_send(a, go_a::value);
    v.run();
    return a;
  }
  void release(const std::string& pane) {
    caf::anon_send(limiter, release_a::value, pane_id{pane});
    v.run();
  }
  int position(const std::string& pane) {
    auto r = v.ask<std::uint64_t>(limiter, position_a::value, pane_id{pane});
    return r ? static_cast<int>(*r) : -1;
  }
  std::string text() {
    std::string out;
    for (auto& l : log)
      out += (out.empty() ? "" : ", ") + l;
    return out;
  }
};

} // namespace

TEST_CASE("places are given first come first served") {
  gate g;
  for (auto p : {"pn_1", "pn_2", "pn_3", "pn_4"})
    g.ask(p);
  CHECK(g.text() == "pn_1, pn_2");
  CHECK(g.position("pn_1") == 0);
  CHECK(g.position("pn_3") == 1);
  CHECK(g.position("pn_4") == 2);
  CHECK(g.position("pn_9") == -1);
  g.release("pn_2");
  CHECK(g.text() == "pn_1, pn_2, pn_3");
  CHECK(g.position("pn_4") == 1);
  g.release("pn_2"); // a second time: nothing
  g.release("pn_1");
  CHECK(g.text() == "pn_1, pn_2, pn_3, pn_4");
}

TEST_CASE("the death of a holder frees its places and its turns") {
  gate g;
  auto one = g.ask("pn_1");
  g.ask("pn_2");
  auto three = g.ask("pn_3");
  g.ask("pn_4");
  caf::anon_send_exit(three, caf::exit_reason::kill);
  g.v.run();
  CHECK(g.position("pn_3") == -1);
  CHECK(g.position("pn_4") == 1);
  caf::anon_send_exit(one, caf::exit_reason::kill);
  g.v.run();
  CHECK(g.text() == "pn_1, pn_2, pn_4");
}

TEST_CASE("an actor that is restarted takes over its pane's place or turn") {
  gate g;
  auto old = g.ask("pn_1");
  g.ask("pn_2");
  g.ask("pn_1"); // holds a place: answered at once
  CHECK(g.text() == "pn_1, pn_2, pn_1");
  caf::anon_send_exit(old, caf::exit_reason::kill);
  g.v.run();
  CHECK(g.position("pn_1") == 0); // it is the new one's now
  g.ask("pn_3");
  g.ask("pn_3");
  CHECK(g.text() == "pn_1, pn_2, pn_1, pn_3 cancelled");
  CHECK(g.position("pn_3") == 1);
  g.release("pn_1");
  CHECK(g.text() == "pn_1, pn_2, pn_1, pn_3 cancelled, pn_3");
}

TEST_CASE("a full queue refuses, a release in the queue gives up the turn") {
  gate g{{1, 2}};
  for (auto p : {"pn_1", "pn_2", "pn_3", "pn_4"})
    g.ask(p);
  CHECK(g.text() == "pn_1, pn_4 queue_full");
  g.release("pn_2");
  CHECK(g.text() == "pn_1, pn_4 queue_full, pn_2 cancelled");
  CHECK(g.position("pn_3") == 1);
}

TEST_CASE("those who wait hear of the limiter's end") {
  gate g{{1, 5}};
  g.ask("pn_1");
  g.ask("pn_2");
  caf::anon_send_exit(g.limiter, caf::exit_reason::user_shutdown);
  g.v.run();
  CHECK(g.text() == "pn_1, pn_2 shutting_down");
  g.v.stop_roots();
  CHECK(g.v.running() == 0);
}

TEST_CASE("a thousand starts go through two places in order") {
  gate g;
  for (int i = 0; i < 1000; ++i)
    g.ask("pn_" + std::to_string(i));
  for (int i = 0; i < 1000; ++i)
    g.release("pn_" + std::to_string(i));
  REQUIRE(g.log.size() == 1000);
  for (int i = 0; i < 1000; ++i)
    REQUIRE(g.log[static_cast<std::size_t>(i)] == "pn_" + std::to_string(i));
}

TEST_CASE("one sandbox whose inside hangs leaves places to the others") {
  gate g{{4, 1000}};
  for (auto p : {"pn_1", "pn_2", "pn_3", "pn_4", "pn_5"})
    g.ask(p, "sb_hung");
  CHECK(g.text() == "pn_1, pn_2, pn_3"); // never all four
  g.ask("pn_6", "sb_other");
  g.ask("pn_7", "sb_other");
  CHECK(g.text() == "pn_1, pn_2, pn_3, pn_6");
  g.release("pn_6"); // the hung one's turn is earlier, and yet
  CHECK(g.text() == "pn_1, pn_2, pn_3, pn_6, pn_7");
  g.release("pn_7");
  CHECK(g.position("pn_4") == 1);
  g.release("pn_1");
  CHECK(g.text() == "pn_1, pn_2, pn_3, pn_6, pn_7, pn_4");
}

TEST_CASE("places of a sandbox are free again when their holders die") {
  gate g{{2, 1000}};
  auto one = g.ask("pn_1", "sb_a");
  g.ask("pn_2", "sb_a");
  CHECK(g.text() == "pn_1");
  caf::anon_send_exit(one, caf::exit_reason::kill);
  g.v.run();
  CHECK(g.text() == "pn_1, pn_2");
}
