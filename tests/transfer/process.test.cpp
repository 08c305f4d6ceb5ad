#include "tests/transfer/repo.hpp"

#include <chrono>

using namespace skep;
using namespace skep::transfer;

TEST_CASE("a program gets its arguments as they are and its output is captured") {
  program p;
  p.argv = {"printf", "%s|", "a b", "$(id)", "'\"", "\n"};
  auto out = run_program(p);
  REQUIRE(out.ok());
  CHECK(out->out == "a b|$(id)|'\"|\n|");
}

TEST_CASE("a program reads its input and its exit code comes back") {
  program p;
  p.argv = {"sh", "-c", "cat; echo gone wrong >&2; exit 7"};
  p.stdin_data = std::string(300000, 'x');
  auto out = run_program(p);
  REQUIRE(out.ok());
  CHECK(out->out == p.stdin_data);
  CHECK(out->err == "gone wrong\n");
  CHECK(out->exit_code == 7);
  CHECK(run_for_output(p).err().cause == "gone wrong");
}

TEST_CASE("a program that takes too long is killed with its children") {
  program p;
  p.argv = {"sh", "-c", "sleep 100 & wait"};
  p.limit = std::chrono::milliseconds{200};
  auto begin = std::chrono::steady_clock::now();
  auto out = run_program(p);
  REQUIRE_FALSE(out.ok());
  CHECK(out.err().code == errc::timed_out);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{10});
}

TEST_CASE("a program whose grandchild keeps the pipes open ends all the same") {
  program p;
  p.argv = {"sh", "-c", "setsid sleep 5 & echo done"};
  auto begin = std::chrono::steady_clock::now();
  auto out = run_program(p);
  REQUIRE(out.ok());
  CHECK(out->out == "done\n");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{4});
}

TEST_CASE("a missing program and a missing directory are told apart") {
  program p;
  p.argv = {"skep-no-such-program"};
  CHECK(run_program(p).err().code == errc::program_missing);
  p.argv = {"true"};
  p.working_dir = "/no/such/directory";
  CHECK(run_program(p).err().code == errc::io);
}

TEST_CASE("output beyond the limit ends the program", "[owasp-a04]") {
  program p;
  p.argv = {"cat", "/dev/zero"};
  p.max_capture = 100000;
  CHECK(run_program(p).err().code == errc::too_large);
}
