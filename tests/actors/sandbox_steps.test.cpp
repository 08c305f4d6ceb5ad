// Steps before the upload that fail in passing: the health check, the question who and where we are
// inside, the guest program, and the look at the network.
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct steps_world : sandbox_world {
  steps_world() {
    guest["--version"] = [this](const sandbox::command&) -> result<command_result> {
      for (const auto& [id, box] : api->boxes)
        if (box.files.contains(ctx->guest_path())) return said("skep-guest 1.0\n");
      return said("", 127); // it must be brought first
    };
  }
  /// Calls of this program of the sandbox's own.
  std::size_t ran(const std::string& program) const {
    return static_cast<std::size_t>(
        std::count_if(api->calls.begin(), api->calls.end(), [&](const fake_api::record& c) {
          return c.op == operation::run && c.what.starts_with(program + " ");
        }));
  }
  /// Nothing failed, and the sandbox that was made first is the one that is used.
  void goes_on() {
    CHECK(phases() == strings(whole_life.begin(), whole_life.end() - 1));
    CHECK(api->boxes.size() == 1);
    CHECK(api->count(operation::create) == 1);
    CHECK(api->count(operation::kill) == 0);
    CHECK(count("sandbox.failing") == 0);
    exit("pn_0");
    CHECK(ending() == "completed");
  }
  /// The n-th call after the create, counted from 1, fails with `why`, once. It is put to `failed`.
  void fail_call(std::size_t n, error why, std::string* failed) {
    api->turn_down = [this, n, why, failed, seen = std::size_t{0}](
                         operation op, const std::string& what) mutable -> error {
      if (op == operation::create || ++seen != n) return {};
      auto words = what.substr(0, what.find(' ', what.find(' ') + 1)); // program, argument
      *failed = op != operation::run ? std::string{to_string(op)}
                : words.starts_with(ctx->guest_path())
                    ? "skep-guest" + words.substr(ctx->guest_path().size())
                    : words.substr(0, words.find(' '));
      return why;
    };
  }
};

} // namespace

TEST_CASE_METHOD(steps_world, "a health check that is lost once costs a new sandbox half a second, "
                              "and nothing more") {
  api->fail(operation::health, make_error(errc::network));
  begin();
  CHECK(phases().back() == "verifying");
  CHECK(api->boxes.size() == 1);
  advance(250ms);
  CHECK(api->count(operation::health) == 1);
  advance(250ms);
  CHECK(api->count(operation::health) == 2);
  goes_on();
}

TEST_CASE_METHOD(steps_world,
                 "whichever call before the upload fails once in passing, its sandbox runs") {
  auto [n, name] = GENERATE(table<std::size_t, std::string>({{1, "health"},
                                                             {2, "/bin/sh"},
                                                             {3, "skep-guest --version"},
                                                             {4, "upload_file"},
                                                             {5, "/bin/chmod"},
                                                             {6, "move"},
                                                             {7, "skep-guest --version"},
                                                             {8, "skep-guest reach"}}));
  auto code = GENERATE(errc::network, errc::timed_out, errc::rate);
  INFO(name << " " << to_string(code));
  std::string failed;
  fail_call(n, make_error(code), &failed);
  begin();
  advance(1s);
  CHECK(failed == name);
  goes_on();
}

TEST_CASE_METHOD(steps_world, "what a call before the upload did although its answer was lost "
                              "stands in nobody's way") {
  auto op = GENERATE(operation::upload_file, operation::move);
  api->fail(op, make_error(errc::timed_out), fake_api::after_effect);
  begin();
  advance(1s);
  // Each attempt has a name of its own; one that arrived is not brought again.
  strings guests;
  for (const auto& c : api->calls)
    if (c.op == operation::upload_file && c.what.find("/skep-guest.") != c.what.npos)
      guests.push_back(c.what);
  REQUIRE(guests.size() == (op == operation::upload_file ? 2 : 1));
  CHECK((guests.size() == 1 || guests[0] != guests[1]));
  goes_on();
}

TEST_CASE_METHOD(steps_world, "a step before the upload that fails four times in passing fails its "
                              "sandbox by its name") {
  auto [word, ends, last] = GENERATE(table<std::string, std::string, std::string>(
      {{"health", "failed network@verify", "verifying"},
       {"/skep-guest.", "failed network@provision", "provisioning"},
       {" reach ", "failed network@verify", "provisioning"}}));
  INFO(word);
  std::uint32_t asked = 0;
  api->turn_down = [&, word = word](operation op, const std::string& what) -> error {
    auto wanted = word == "/skep-guest." ? operation::upload_file : operation::run;
    auto is =
        word == "health" ? op == operation::health : op == wanted && what.find(word) != what.npos;
    if (!is) return {};
    ++asked;
    return make_error(errc::network);
  };
  begin();
  CHECK(asked == 1);
  advance(500ms);
  CHECK(asked == 2);
  advance(1s);
  CHECK(asked == 3);
  advance(1750ms);
  CHECK(asked == 3);
  CHECK(api->boxes.size() == 1);
  advance(250ms);
  CHECK(asked == svc->limits.step_attempts);
  CHECK(phases().back() == last);
  CHECK(ending() == ends);
  CHECK(api->boxes.empty());
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->count(operation::create) == 1);
  CHECK(guest_calls("unpack") == 0);
  advance(60s);
  CHECK(asked == svc->limits.step_attempts);
}

TEST_CASE_METHOD(steps_world, "each step before the upload has attempts of its own") {
  for (int i = 0; i < 3; ++i) {
    api->fail(operation::health, make_error(errc::network));
    api->fail(operation::move, make_error(errc::network));
  }
  begin();
  advance(3500ms);
  CHECK(api->count(operation::health) == 4);
  CHECK(phases().back() == "provisioning");
  advance(3500ms);
  CHECK(api->count(operation::move) == 4);
  goes_on();
}

TEST_CASE_METHOD(steps_world, "an error before the upload that does not pass fails its sandbox at "
                              "once") {
  auto code = GENERATE(errc::refused, errc::protocol, errc::auth, errc::gone, errc::no_isolation);
  INFO(to_string(code));
  api->fail(operation::health, make_error(code));
  begin();
  CHECK(ending() == "failed " + std::string{to_string(code)} + "@verify");
  advance(10s);
  CHECK(api->count(operation::health) == 1);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(steps_world, "an isolation that is judged missing is not asked for again") {
  SECTION("by who and where we are inside") {
    guest["/bin/sh"] = [](const sandbox::command&) -> result<command_result> {
      return said(inside("mark-of-another"));
    };
    begin();
    CHECK(ending() == "failed no_isolation@verify");
    CHECK(ran("/bin/sh") == 1);
    CHECK(api->count(operation::upload_file) == 0);
  }
  SECTION("by the look at the network") {
    spec->network = network_policy::none;
    guest["reach"] = [](const sandbox::command& c) -> result<command_result> {
      return said(reached_from_inside(c, {{"1.1.1.1@443", 0}}) + "\n");
    };
    begin();
    CHECK(ending() == "failed no_isolation@verify");
    CHECK(guest_calls("reach") == 1);
  }
  CHECK(guest_calls("unpack") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(steps_world,
                 "a stop and a kill between two attempts before the upload are obeyed at once") {
  auto how = GENERATE(stop_mode::graceful, stop_mode::kill);
  auto step = GENERATE(operation::health, operation::move);
  for (int i = 0; i < 4; ++i)
    api->fail(step, make_error(errc::network));
  begin();
  REQUIRE(api->count(step) == 1);
  stop(how);
  CHECK(count("sandbox.closed") == 1); // no time has passed
  CHECK(api->boxes.empty());
  CHECK(ending() == (how == stop_mode::kill ? "killed" : "cancelled"));
  advance(10s);
  CHECK(api->count(step) == 1);
  CHECK(api->count(operation::kill) == 1);
}

TEST_CASE_METHOD(steps_world,
                 "a new sandbox is asked again no sooner than it names, and not in the "
                 "second half of its first lease") {
  auto busy = make_error(errc::rate);
  SECTION("it is asked when it wants to be") {
    busy.retry_after_ms = 3000;
    api->fail(operation::health, busy);
    begin();
    advance(2750ms);
    CHECK(api->count(operation::health) == 1);
    advance(250ms);
    CHECK(api->count(operation::health) == 2);
    goes_on();
  }
  SECTION("it wants to be asked too late") {
    busy.retry_after_ms = 61'000;
    api->fail(operation::health, busy);
    begin();
    CHECK(ending() == "failed rate@verify");
    CHECK(api->count(operation::health) == 1);
  }
  SECTION("the lease is short") {
    svc->limits.create_at[spec->provider].first_lease = 2s;
    for (int i = 0; i < 3; ++i)
      api->fail(operation::health, make_error(errc::network));
    begin();
    advance(750ms); // the third attempt would be at 1.5 s
    CHECK(count("sandbox.failing") == 1);
    CHECK(ending() == "failed network@verify");
    CHECK(api->count(operation::health) == 2);
  }
}

TEST_CASE_METHOD(steps_world, "a former daemon's sandbox is asked again as well, and not once its "
                              "lease is over") {
  recorded(phase::verifying);
  start.record.base_commit.clear();
  api->fail(operation::health, make_error(errc::network));
  begin();
  CHECK(phases().empty());
  CHECK(api->count(operation::health) == 1);
  SECTION("it is there") {
    advance(500ms);
    CHECK(api->count(operation::health) == 2);
    CHECK(phases() == strings{"provisioning", "uploading", "starting", "running"});
    exit("pn_0");
    CHECK(ending() == "completed");
  }
  SECTION("it is gone") {
    api->lose("i1");
    advance(10s);
    CHECK(ending() == "failed gone@verify");
    CHECK(api->count(operation::health) == 2);
  }
  CHECK(api->count(operation::create) == 0);
}
