// schema.golden, one line each:
//
//   MESSAGE.NUMBER NAME TYPE          a field
//   event NUMBER NAME STRUCT CLASS    an event type
//   command NUMBER NAME REQUEST REPLY
//   error NUMBER NAME FAMILY
//   retired LINE                      a line that stood here once (golden.hpp)
//
// TYPE: bool, iN, uN, f64, str, bytes, errc, duration, time, map<str,str>, id:SIGIL,
// enum:NAME|NAME.., list<TYPE>, or the name of a message.
#include "tests/messages/golden.hpp"
#include "tests/messages/message_types.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

using namespace skep;
using namespace skep::test;

namespace {

lines present_schema() {
  lines out;
  for (const auto& type : message_types())
    for (const auto& f : type.plain()->fields())
      out.push_back(std::string{type.name} + "." + std::to_string(f.number) + " "
                    + std::string{f.name} + " " + f.type);
#define SKEP_TEST_EVENT(number, Type, text, cls)                                                   \
  out.push_back("event " #number " " text " " #Type " " #cls);
  SKEP_EVENTS(SKEP_TEST_EVENT)
#undef SKEP_TEST_EVENT
#define SKEP_TEST_COMMAND(number, Request, Reply, text)                                            \
  out.push_back("command " #number " " text " " #Request " " #Reply);
  SKEP_COMMANDS(SKEP_TEST_COMMAND)
#undef SKEP_TEST_COMMAND
  for (const auto& e : all_errors())
    out.push_back("error " + std::to_string(static_cast<int>(e.code)) + " " + std::string{e.name}
                  + " " + std::string{to_string(e.family)});
  return out;
}

/// The part of a line that may never be used for anything else: "MESSAGE.NUMBER" or "event NUMBER".
std::string number_of(const std::string& line) {
  auto end = line.find(' ');
  if (line.find('.') > end) end = line.find(' ', end + 1);
  return line.substr(0, end);
}

} // namespace

TEST_CASE("the wire schema is the recorded one; numbers are never reused") {
  check_golden("tests/messages/schema.golden", present_schema(), number_of);
}

TEST_CASE("numbers and names are unique within a message, and numbers start at 1") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    std::set<std::uint32_t> numbers;
    std::set<std::string_view> names;
    for (const auto& f : type.plain()->fields()) {
      CHECK(f.number >= 1);
      CHECK(numbers.insert(f.number).second);
      CHECK(names.insert(f.name).second);
      CHECK_FALSE(f.name.empty());
    }
  }
}

TEST_CASE("events and commands have unique numbers and names") {
  std::set<std::uint32_t> numbers;
  std::set<std::string_view> names;
  for (const auto& e : all_events()) {
    INFO(e.name);
    CHECK(numbers.insert(e.type).second);
    CHECK(names.insert(e.name).second);
    REQUIRE(find_event(e.type));
    CHECK(find_event(e.type)->name == e.name);
  }
  CHECK(std::is_sorted(all_events().begin(), all_events().end(),
                       [](const auto& a, const auto& b) { return a.type < b.type; }));
  CHECK(all_events().size() == std::variant_size_v<any_event>);
  CHECK_FALSE(find_event(0));
  CHECK_FALSE(find_event(19));
  CHECK_FALSE(find_event(0xFFFFFFFF));
  std::set<std::uint32_t> commands;
  std::set<std::string_view> command_names;
#define SKEP_TEST_COMMAND(number, Request, Reply, text)                                            \
  CHECK(commands.insert(number).second);                                                           \
  CHECK(command_names.insert(text).second);
  SKEP_COMMANDS(SKEP_TEST_COMMAND)
#undef SKEP_TEST_COMMAND
}

TEST_CASE("no field list of the headers is missing from these tests") {
  std::size_t declared = 0;
  std::set<std::string_view> names;
  for (const auto& type : message_types())
    CHECK(names.insert(type.name).second);
  for (const auto& entry : std::filesystem::directory_iterator{source_path("messages")}) {
    if (entry.path().extension() != ".hpp" || entry.path().filename() == "fields.hpp") continue;
    std::ifstream in{entry.path()};
    for (std::string line; std::getline(in, line);) {
      auto at = line.find_first_not_of(' ');
      if (at != std::string::npos && line.compare(at, 12, "SKEP_FIELDS(") == 0) ++declared;
    }
  }
  CHECK(names.size() == declared);
}
