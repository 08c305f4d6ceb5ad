#include "tests/sandbox/fake_api.hpp"

#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::sandbox;

TEST_CASE("the fake provider makes, lists, loses and kills sandboxes") {
  fake_api api;
  remote box;
  create_params params;
  params.metadata["k"] = "v";
  api.create(params, [&](result<created> r) { box = r->address; });
  REQUIRE_FALSE(box.remote_id.empty());
  std::size_t found = 0;
  api.list({{{"k", "v"}}, true, true}, [&](auto r) { found = r->size(); });
  CHECK(found == 1);
  api.list({{{"k", "w"}}, true, true}, [&](auto r) { found = r->size(); });
  CHECK(found == 0);
  api.lose(box.remote_id);
  errc code{};
  api.health(box, [&](result<void> r) { code = r.err().code; });
  CHECK(code == errc::gone);
  bool there = true;
  api.kill(box.remote_id, [&](result<bool> r) { there = *r; });
  CHECK_FALSE(there);
}

TEST_CASE("the fake can lose an answer after the effect, hold answers and cancel them") {
  fake_api api;
  errc code{};
  api.fail(operation::create, make_error(errc::timed_out), fake_api::after_effect);
  api.create({}, [&](result<created> r) { code = r.err().code; });
  CHECK(code == errc::timed_out);
  CHECK(api.boxes.size() == 1);

  api.hold(operation::get);
  int answers = 0;
  auto id = api.boxes.begin()->first;
  api.get(id, [&](auto) { ++answers; });
  auto second = api.get(id, [&](auto r) { code = r.err().code; });
  CHECK(answers == 0);
  api.cancel(second);
  CHECK(code == errc::cancelled);
  api.release(operation::get);
  CHECK(answers == 1);
}

TEST_CASE("the fake's streams keep output while paused") {
  fake_api api;
  remote box;
  api.create({}, [&](result<created> r) { box = r->address; });
  std::string seen;
  bool take = false;
  int ended = 0;
  stream_handlers h;
  h.on_stdout = [&](std::string_view x) {
    seen += x;
    return take;
  };
  h.on_end = [&](auto) { ++ended; };
  command follow;
  follow.argv = {"follow"};
  auto id = api.open_stream(box, follow, h);
  auto s = api.streams.back();
  s->emit("a");
  s->emit("b");
  CHECK(seen == "a");
  take = true;
  api.resume(id);
  CHECK(seen == "ab");
  api.cancel(id);
  s->end(0);
  CHECK(ended == 1);
}
