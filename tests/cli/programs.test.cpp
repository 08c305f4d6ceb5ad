// skep run: the agent's program, looked for before anything is made.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

TEST_CASE("a program that is named by its place is refused where sandboxes do not see it there") {
  cli_world w;
  auto program = [](const std::string& file) {
    std::filesystem::create_directories(std::filesystem::path{file}.parent_path());
    write_text(file, "#!/bin/sh\n");
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  };
  auto with = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"--dry-run", "--json"});
    return w.run(words);
  };
  auto refused = [&](const std::string& named) {
    auto x = with({"--", named});
    CHECK(x.code == info(errc::agent_not_visible).exit_code);
    auto told = x.document();
    if (!told.is_object() || !told.contains("error")) return "not refused: " + x.out + x.err;
    CHECK(told["error"]["code"] == "agent_not_visible");
    return told["error"]["message"].get<std::string>();
  };
  auto taken = [&](std::vector<std::string> words) {
    auto x = with(std::move(words));
    INFO(x.out << x.err);
    CHECK(x.code == 0);
  };
  const auto tools = w.dir.path + "/tools", linked = w.dir.path + "/linked";
  program(tools + "/agent");
  program(w.repo + "/fix.sh");
  program(w.repo + "/tools/fix.sh");
  program(w.repo + "/built");
  write_text(w.repo + "/.gitignore", "built\n");
  std::filesystem::create_directory_symlink(w.repo, w.dir.path + "/way");
  std::filesystem::create_directory_symlink(tools, linked);
  const std::string copied = " is in the repository, of which sandboxes have a copy: name it ";
  CHECK(refused(w.repo + "/fix.sh") == w.repo + "/fix.sh" + copied + "./fix.sh");
  CHECK(refused(w.repo + "/tools/fix.sh") == w.repo + "/tools/fix.sh" + copied + "./tools/fix.sh");
  CHECK(refused(w.repo + "/tools/../fix.sh").ends_with(copied + "./fix.sh"));
  CHECK(refused(w.dir.path + "/way/fix.sh").ends_with(copied + "./fix.sh"));
  std::filesystem::create_symlink("/usr/bin/true", w.repo + "/link");
  CHECK(refused(w.repo + "/link").ends_with(copied + "./link"));
  std::filesystem::remove(w.repo + "/link");
  CHECK(refused(w.repo + "/built").ends_with("is uploaded: see `skep files why built`"));
  CHECK(refused(w.repo + "/none").ends_with("is uploaded: see `skep files why none`"));
  taken({"--", "./fix.sh"});
  CHECK(refused("/no/such/agent") == "/no/such/agent is not on this machine");
  CHECK(refused("/usr/bin/no-such-program") == "/usr/bin/no-such-program is not on this machine");
  CHECK(refused("/usr/bin") == "/usr/bin is not executable");
  CHECK(refused("/usr/bin/../.." + tools + "/agent").ends_with("that local sandboxes see"));
  CHECK(refused(tools + "/agent") == tools + "/agent is in no folder that local sandboxes see");
  taken({"--", "/usr/bin/true"});
  taken({"--", "/bin/sh"});
  taken({"--setup", "true", "--", "/no/such/agent"}); // which may make it
  taken({"--", "/home/user/repo/fix.sh"});            // as the copy has it

  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml", "[local]\nbind = [\"" + linked + "\"]\n");
  taken({"--", linked + "/agent"});
  CHECK(refused(tools + "/agent") == tools + "/agent is in no folder that local sandboxes see");
  write_text(w.state + "/skep.toml", "[local]\nbind = [\"" + tools + "\"]\n");
  taken({"--", tools + "/agent"});
  CHECK(refused(tools + "/none") == tools + "/none is not on this machine");
  write_text(tools + "/text", "no program");
  CHECK(refused(tools + "/text") == tools + "/text is not executable");
}
