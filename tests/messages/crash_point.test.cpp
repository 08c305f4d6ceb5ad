#include "messages/crash_point.hpp"
#include "tests/support/catch.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;

namespace {

/// The count file that a child leaves which passes five points, and how it ended.
std::pair<std::string, int> five_points(const std::string& at) {
  auto file =
      (std::filesystem::temp_directory_path() / ("skep-points-" + std::to_string(::getpid())))
          .string();
  std::filesystem::remove(file);
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    if (!arm_crash_points(at, file)) ::_exit(2);
    crash_point(crash_kind::append, "swarm.created");
    crash_point(crash_kind::stored, "swarm.created", "1 2");
    crash_point(crash_kind::call, "create");
    crash_point(crash_kind::call, "create");
    crash_point(crash_kind::file, "rename");
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  std::ifstream in{file};
  std::stringstream text;
  text << in.rdbuf();
  std::filesystem::remove(file);
  return {text.str(), status};
}

} // namespace

TEST_CASE("crash points that nobody armed do nothing") {
  CHECK_FALSE(crash_points_armed());
  crash_point(crash_kind::call, "create");
  CHECK_FALSE(crash_points_armed());
}

TEST_CASE("every passage of a crash point has a number and a name, and the process ends at the one "
          "asked for") {
  const std::string three =
      "1 append:swarm.created#1\n2 stored:swarm.created#1 1 2\n3 call:create#1\n";
  const std::string four = three + "4 call:create#2\n";
  auto [all, ended] = five_points("");
  CHECK(all == four + "5 file:rename#1\n");
  CHECK((WIFEXITED(ended) && WEXITSTATUS(ended) == 0));
  auto [by_number, first] = five_points("3");
  CHECK(by_number == three);
  CHECK((WIFSIGNALED(first) && WTERMSIG(first) == SIGKILL));
  auto [by_name, second] = five_points("call:create#2");
  CHECK(by_name == four);
  CHECK((WIFSIGNALED(second) && WTERMSIG(second) == SIGKILL));
  auto [beyond, third] = five_points("call:create#3");
  CHECK((WIFEXITED(third) && WEXITSTATUS(third) == 0));
}

TEST_CASE("a crash point that cannot be meant is refused") {
  for (const char* wrong : {"0", "create", "call:create", "call#1", "99999999999999999999999"})
    CHECK(arm_crash_points(wrong, "").err().code == errc::bad_argument);
  CHECK(arm_crash_points("1", "/nowhere/at/all").err().code == errc::io);
  CHECK_FALSE(crash_points_armed());
}
