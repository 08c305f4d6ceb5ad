// errors.golden, one line each:  NUMBER NAME FAMILY EXIT_CODE HINT
#include "messages/json.hpp"
#include "tests/messages/all_messages.hpp"
#include "tests/messages/golden.hpp"
#include "tests/support/catch.hpp"

#include <set>

using namespace skep;
using namespace skep::test;

namespace {

struct family_row {
  error_family family;
  int block; ///< Numbers of the family are block .. block + 99.
  std::string_view name;
  bool again; ///< A later attempt may succeed.
};
constexpr family_row families[] = {{error_family::invalid, 100, "invalid", false},
                                   {error_family::missing, 200, "missing", false},
                                   {error_family::conflict, 300, "conflict", false},
                                   {error_family::limit, 400, "limit", false},
                                   {error_family::unavailable, 500, "unavailable", true},
                                   {error_family::timeout, 600, "timeout", true},
                                   {error_family::remote, 700, "remote", false},
                                   {error_family::corrupt, 800, "corrupt", false},
                                   {error_family::internal, 900, "internal", false}};

lines present_errors() {
  lines out;
  for (const auto& e : all_errors())
    out.push_back(std::to_string(static_cast<int>(e.code)) + " " + std::string{e.name} + " "
                  + std::string{to_string(e.family)} + " " + std::to_string(e.exit_code) + " "
                  + std::string{e.hint});
  return out;
}

} // namespace

TEST_CASE("errors have the recorded numbers, names, families, exit codes and hints") {
  check_golden("tests/messages/errors.golden", present_errors(),
               [](const std::string& line) { return line.substr(0, line.find(' ')); });
}

TEST_CASE("numbers and names of errors are unique and in ascending order") {
  std::set<int> numbers;
  std::set<std::string_view> names;
  int last = 0;
  for (const auto& e : all_errors()) {
    INFO(e.name);
    const auto number = static_cast<int>(e.code);
    CHECK(numbers.insert(number).second);
    CHECK(names.insert(e.name).second);
    CHECK(number > last);
    last = number;
  }
  CHECK_FALSE(names.contains("none"));
}

TEST_CASE("an error's number lies in the block of its family") {
  for (const auto& e : all_errors()) {
    INFO(e.name);
    const auto* row = std::find_if(std::begin(families), std::end(families),
                                   [&](const auto& f) { return f.family == e.family; });
    REQUIRE(row != std::end(families));
    CHECK(static_cast<int>(e.code) / 100 * 100 == row->block);
    CHECK(to_string(e.family) == row->name);
  }
  CHECK(to_string(static_cast<error_family>(9)) == "?");
}

TEST_CASE("every error has a text, a hint and an exit code that a shell can tell from success") {
  for (const auto& e : all_errors()) {
    INFO(e.name);
    CHECK_FALSE(e.text.empty());
    CHECK_FALSE(e.hint.empty());
    CHECK(e.text.back() != '.');
    CHECK(e.hint.back() != '.');
    // 1 and 2 are a shell's own, from 126 on it means signals.
    CHECK(e.exit_code >= 64);
    CHECK(e.exit_code < 126);
  }
}

TEST_CASE("every error is found by its number and by its name") {
  for (const auto& e : all_errors()) {
    INFO(e.name);
    CHECK(info(e.code).name == e.name);
    CHECK(to_string(e.code) == e.name);
    CHECK(to_json_value(e.code) == json(std::string{e.name}));
    errc back = errc::none;
    CHECK(from_json_value(json(std::string{e.name}), back));
    CHECK(back == e.code);
  }
  CHECK(to_string(errc::none) == "none");
  errc back = errc::internal;
  CHECK(from_json_value(json("none"), back));
  CHECK(back == errc::none);
  CHECK_FALSE(from_json_value(json("no_such_error"), back));
  CHECK_FALSE(from_json_value(json(900), back));
}

TEST_CASE("a number that this release does not know is kept and explained as internal") {
  const auto stranger = static_cast<errc>(999);
  CHECK(info(stranger).code == errc::internal);
  error in;
  in.code = stranger;
  in.message = "of a newer peer";
  reply_frame frame;
  frame.failure = in;
  auto out = unpack<reply_frame>(pack(frame));
  REQUIRE(out.ok());
  CHECK(out->failure.code == stranger);
  CHECK(out->failure.message == "of a newer peer");
}

TEST_CASE("what may be tried again: families unavailable and timeout, and rate") {
  for (const auto& e : all_errors()) {
    INFO(e.name);
    const auto* row = std::find_if(std::begin(families), std::end(families),
                                   [&](const auto& f) { return f.family == e.family; });
    REQUIRE(row != std::end(families));
    CHECK(retriable(make_error(e.code)) == (row->again || e.code == errc::rate));
  }
}

TEST_CASE("an error is rendered in fixed order, and what is absent is left out") {
  CHECK(render(make_error(errc::not_found))
        == "not_found: there is nothing of this name | Hint: see `skep ps --all`");
  error e = make_error(errc::rate, "creations", "429 of the provider");
  e.sandbox = sandbox_id{"sb_1"};
  e.step = "create";
  e.retry_after_ms = 1'001;
  CHECK(render(e)
        == "rate: too many requests: creations | Sandbox: sb_1 | Step: create | Cause: 429 of the "
           "provider | Wait: 2 s | Hint: wait for the time named in the error");
}

TEST_CASE("a result holds a value or an error") {
  result<int> good = 3;
  CHECK(good.ok());
  CHECK(*good == 3);
  result<int> bad = make_error(errc::io, "why");
  CHECK_FALSE(bad.ok());
  CHECK(bad.err().code == errc::io);
  result<void> fine;
  CHECK(fine.ok());
  result<void> failed = make_error(errc::sql);
  CHECK_FALSE(failed.ok());
  CHECK(failed.err().code == errc::sql);
}
