// Files in memory, chance, and the scenario file: without a process.
#include "host/sim/memory_files.hpp"
#include "host/sim/scenario.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::host::sim;

namespace {

content text(const char* s) {
  return std::make_shared<std::string>(s);
}

std::shared_ptr<const tree> small_tree() {
  auto out = std::make_shared<tree>();
  out->files["a.txt"] = {node::kind::file, 0644, 1, text("a\n"), {}};
  out->files["d/b.txt"] = {node::kind::file, 0644, 1, text("b\n"), {}};
  out->directories = {"", "d"};
  return out;
}

} // namespace

TEST_CASE("what lies over a shared work tree is exactly what a sandbox changed") {
  memory_files one, other;
  auto shared = small_tree();
  for (auto* f : {&one, &other})
    f->mount("/home/user/repo", shared);
  CHECK(one.names_in("/home/user/repo") == std::vector<std::string>{"a.txt", "d"});
  CHECK(one.append("/home/user/repo/a.txt", "more\n"));
  CHECK(one.write("/home/user/repo/new/c.txt", text("c\n")));
  one.remove("/home/user/repo/d");
  CHECK(*one.find("/home/user/repo/a.txt")->data == "a\nmore\n");
  CHECK_FALSE(one.find("/home/user/repo/d/b.txt"));
  CHECK_FALSE(one.is_directory("/home/user/repo/d"));
  CHECK(one.names_in("/home/user/repo") == std::vector<std::string>{"a.txt", "new"});
  std::vector<std::string> changed;
  for (const auto& [path, n] : one.changes_below("/home/user/repo"))
    if (n.type != node::kind::directory) changed.push_back(path);
  CHECK(changed == std::vector<std::string>{"a.txt", "d", "d/b.txt", "new/c.txt"});
  // The other one sees nothing of it.
  CHECK(*other.find("/home/user/repo/a.txt")->data == "a\n");
  CHECK(other.changes_below("/home/user/repo").empty());
  // A file put where one was removed is there again.
  CHECK(one.write("/home/user/repo/d/b.txt", text("again\n")));
  CHECK(*one.find("/home/user/repo/d/b.txt")->data == "again\n");
  CHECK(one.is_directory("/home/user/repo/d"));
  // Without its mount nothing of the tree is left.
  one.remove("/home/user/repo");
  CHECK_FALSE(one.find("/home/user/repo"));
  CHECK(one.names_in("/home/user").empty());
}

TEST_CASE("files in memory move, refuse what cannot be and keep modes") {
  memory_files f;
  CHECK(f.write("/tmp/x/one", text("1")));
  CHECK_FALSE(f.write("/tmp/x", text("a directory is there")));
  CHECK_FALSE(f.write("/tmp/x/one/two", text("a file is in the way")));
  CHECK(f.set_mode("/tmp/x/one", 0755));
  CHECK(f.move("/tmp/x", "/tmp/y/z"));
  CHECK(f.find("/tmp/y/z/one")->mode == 0755);
  CHECK_FALSE(f.find("/tmp/x"));
  CHECK_FALSE(f.move("/tmp/nothing", "/tmp/else"));
  CHECK_FALSE(f.move("/tmp/y", "/tmp/y/z/inside"));
  CHECK(normal_path("/opt/user", "../x/./y//z") == "/opt/x/y/z");
  CHECK(normal_path("/", "../..") == "/");
  // Bytes that somebody reads do not change under them.
  auto seen = f.find("/tmp/y/z/one")->data;
  CHECK(f.append("/tmp/y/z/one", "23"));
  CHECK(*seen == "1");
  CHECK(*f.find("/tmp/y/z/one")->data == "123");
}

TEST_CASE("a draw depends on what it is for, not on what was drawn before") {
  draw first{7, "create", "", 3};
  auto a = first.next(), b = first.next();
  draw disturbed{7, "create", "", 2};
  disturbed.next();
  draw second{7, "create", "", 3};
  CHECK(second.next() == a);
  CHECK(second.next() == b);
  CHECK(draw{8, "create", "", 3}.next() != a);
  CHECK(draw{7, "kill", "", 3}.next() != a);
  int hits = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i)
    hits += draw{1, "x", "", i}.percent(2) ? 1 : 0;
  CHECK(hits > 140);
  CHECK(hits < 270);
}

TEST_CASE("a scenario is read whole or refused with the name of the wrong field") {
  auto good = parse_scenario(R"({"agent":{"lines":[1,3],"exit_code":2},
    "faults":{"latency_ms":{"create":{"p50":100,"p99":1000},"envd":5},"lost_create_percent":10,
              "restart_after_creates":[2]},
    "foreign":[{"metadata":{"owner":"else"}}]})");
  REQUIRE(good);
  CHECK(good->agent.lines.high == 3);
  CHECK(good->agent.exit_code == 2);
  CHECK(good->faults.latency_ms[scope::control].nothing());
  CHECK(good->faults.latency_ms[scope::envd].low == 5);
  CHECK(good->foreign.at(0).metadata.at("owner") == "else");
  int slow = 0, below = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    draw d{1, "latency", "", i};
    auto ms = good->faults.latency_ms[scope::create].sample(d);
    slow += ms > 1000 ? 1 : 0;
    below += ms < 100 ? 1 : 0;
  }
  CHECK(slow > 50);
  CHECK(slow < 170);
  CHECK(below > 4700);
  CHECK(below < 5300);
  for (const auto& [wrong, name] : std::vector<std::pair<const char*, const char*>>{
           {R"({"fault":{}})", "fault"},
           {R"({"faults":{"lost":1}})", "faults.lost"},
           {R"({"faults":{"cut_percent":101}})", "faults.cut_percent"},
           {R"({"faults":{"hang_percent":{"files":1}}})", "faults.hang_percent.files"},
           {R"({"agent":{"lines":[3,1]}})", "agent.lines"},
           {R"({"foreign":[{"metadata":{"a":1}}]})", "foreign.metadata"},
           {"nonsense", "JSON"}}) {
    auto r = parse_scenario(wrong);
    REQUIRE_FALSE(r);
    CHECK(r.err().code == errc::bad_config);
    CHECK(r.err().message.find(name) != std::string::npos);
  }
}
