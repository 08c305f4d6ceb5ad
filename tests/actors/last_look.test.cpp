// Scripts of a last look: what is missing of logs whose end nobody saw is fetched after the
// results.
#include "tests/actors/sandbox_world.hpp"

#include <algorithm>
#include <fstream>

using namespace skep;
using namespace skep::test;

namespace {

/// Panes that are closed before anybody sees their agent end, as the tables have them.
struct last_look_world : sandbox_world {
  std::int32_t exit_code = -1;

  last_look_world() {
    svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
      auto rows = start.panes;
      for (auto& p : rows) {
        p.attempt = 1;
        p.exit_code = exit_code;
      }
      return rows;
    };
  }
  void lose_output() {
    for (int i = 0; i < 5; ++i) {
      api->streams.back()->end(1);
      advance(6s); // longer than any wait
    }
    REQUIRE(count("output_incomplete") == 1); // the notice
    REQUIRE(api->streams.size() == 5);
  }
  std::string logged() const {
    std::ifstream file{ctx->log_path({"pn_0"}, 1)};
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  std::size_t place_of(const std::string& name) const {
    auto names = events();
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }
};

} // namespace

TEST_CASE_METHOD(last_look_world,
                 "the rest of a log whose end nobody saw is fetched after the results, and its "
                 "pane is not marked") {
  begin();
  output("pn_0", 0, "the beginning");
  lose_output();
  api->on_stream = [this](fake_api::stream& s) {
    CHECK(is_last_look(s));
    CHECK(s.what.argv.back() == "pn_0:1:13");
    CHECK(guest_calls("diff") == 1); // the results are here
    s.emit(frame(follow_kind::data, follow_data{{"pn_0"}, 1, 13, {" and the end"}}));
    s.emit(frame(follow_kind::exit, follow_exit{{"pn_0"}, 1, 130, 0, 25, {}}));
  };
  advance(21s);
  CHECK(ending() == "failed remote_command_failed@output");
  CHECK(api->streams.size() == 6);
  CHECK(logged() == "the beginning and the end");
  CHECK(all<output_incomplete>().empty());
  CHECK(count("output_completed") == 1);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(last_look_world,
                 "output that a last look does not bring either marks its pane before the kill") {
  begin();
  output("pn_0", 0, "the beginning");
  lose_output();
  int looks = 0;
  api->on_stream = [&](fake_api::stream& s) {
    ++looks;
    s.fail(make_error(errc::network));
  };
  advance(35s);
  CHECK(ending() == "failed remote_command_failed@output");
  CHECK(looks == 4); // it may pass
  auto told = all<output_incomplete>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].panes == std::vector<pane_id>{{"pn_0"}});
  CHECK(told[0].why.code == errc::remote_command_failed);
  CHECK(told[0].why.message.starts_with("output incomplete"));
  CHECK(place_of("sandbox.output_incomplete") < place_of("sandbox.kill_intended"));
  CHECK(count("output_completed") == 0);
  CHECK(logged() == "the beginning");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(
    last_look_world,
    "only a log whose end nobody saw is looked at once more, and until nothing comes") {
  begin();
  output("pn_0", 0, "said\n");
  SECTION("its end was seen") {
    exit_code = 0;
    exit("pn_0", 0, 5);
    CHECK(ending() == "completed");
    CHECK(api->streams.size() == 1);
    CHECK(logged() == "said\n");
  }
  SECTION("its end was not seen") {
    api->on_stream = [this](fake_api::stream& s) {
      auto first = api->streams.size() == 2;
      s.emit(hello());
      if (first) s.emit(frame(follow_kind::data, follow_data{{"pn_0"}, 1, 5, {"and more\n"}}));
      s.end(0);
    };
    stop(stop_mode::graceful);
    advance(21s);
    CHECK(ending() == "cancelled");
    REQUIRE(api->streams.size() == 3);
    CHECK(api->streams[2]->what.argv.back() == "pn_0:1:14");
    CHECK(logged() == "said\nand more\n");
  }
  CHECK(all<output_incomplete>().empty());
  CHECK(count("output_completed") == 0); // nobody was told that it would be missing
}

TEST_CASE_METHOD(last_look_world,
                 "what might have been the beginning of a secret is in a log whose end nobody saw, "
                 "and a whole secret is not") {
  begin();
  output("pn_0", 0, "said\n");
  int looks = 0;
  api->on_stream = [&](fake_api::stream& s) {
    s.emit(hello());
    if (++looks == 1)
      s.emit(frame(follow_kind::data, follow_data{{"pn_0"}, 1, 5, {"hunter2-secret and hunt"}}));
    s.end(0);
  };
  stop(stop_mode::graceful);
  advance(21s);
  CHECK(ending() == "cancelled");
  CHECK(looks == 2);
  CHECK(api->streams.back()->what.argv.back() == "pn_0:1:28"); // held back, and not asked for again
  CHECK(logged() == "said\n" + std::string(14, '*') + " and hunt");
  CHECK(all<output_incomplete>().empty());
}

TEST_CASE_METHOD(
    last_look_world,
    "a last look that ends before it has said anything has failed and is tried again") {
  begin();
  output("pn_0", 0, "said\n");
  int looks = 0;
  auto rest = frame(follow_kind::data, follow_data{{"pn_0"}, 1, 5, {"and more\n"}});
  SECTION("until one says all") {
    api->on_stream = [&](fake_api::stream& s) {
      if (++looks > 1) s.emit(hello());
      if (looks == 2) s.emit(rest.substr(0, rest.size() / 2));
      if (looks > 2) s.emit(rest);
      if (looks > 2) s.emit(frame(follow_kind::exit, follow_exit{{"pn_0"}, 1, 130, 0, 14, {}}));
      s.end(0);
    };
    stop(stop_mode::graceful);
    advance(30s);
    CHECK(ending() == "cancelled");
    CHECK(looks == 3);
    CHECK(logged() == "said\nand more\n");
    CHECK(all<output_incomplete>().empty());
  }
  SECTION("as often as any step, and then the log is incomplete") {
    api->on_stream = [&](fake_api::stream& s) {
      ++looks;
      s.end(0);
    };
    stop(stop_mode::graceful);
    advance(35s);
    CHECK(ending() == "cancelled");
    CHECK(looks == 4);
    auto told = all<output_incomplete>();
    REQUIRE(told.size() == 1);
    CHECK(told[0].panes == std::vector<pane_id>{{"pn_0"}});
    CHECK(told[0].why.code == errc::network);
    CHECK(logged() == "said\n");
  }
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(last_look_world, "a last look that hangs holds up no end for long") {
  pulses = false;
  begin();
  output("pn_0", 0, "said\n");
  api->on_stream = nullptr; // it says nothing
  stop(stop_mode::graceful);
  advance(21s);
  REQUIRE(api->streams.size() == 2);
  CHECK(count("sandbox.kill_intended") == 0);
  SECTION("it is over after its limit") {
    advance(21s);
    CHECK(ending() == "cancelled");
    auto told = all<output_incomplete>();
    REQUIRE(told.size() == 1);
    CHECK(told[0].panes == std::vector<pane_id>{{"pn_0"}});
    CHECK(told[0].why.code == errc::timed_out);
    CHECK(told[0].why.step == "output");
  }
  SECTION("an agent that wrote without end is not waited for") {
    auto stream = api->streams[1];
    for (std::uint64_t at = 5; stream->open && at < 500; at += 5) {
      stream->emit(frame(follow_kind::data, follow_data{{"pn_0"}, 1, at, {"more\n"}}));
      advance(1s);
    }
    CHECK(ending() == "cancelled");
    CHECK(all<output_incomplete>().size() == 1);
    CHECK(logged().size() > 50);
    CHECK(logged().size() < 150);
  }
  SECTION("a kill ends it at once") {
    stop(stop_mode::kill);
    CHECK(ending() == "killed");
    CHECK(all<output_incomplete>().size() == 1);
  }
  CHECK_FALSE(api->streams[1]->open);
  CHECK(api->boxes.empty());
}
