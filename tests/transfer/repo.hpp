// A real git repository in a directory of its own, for tests.
#pragma once

#include "transfer/process.hpp"

#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

namespace skep::test {

inline std::string make_temp() {
  std::string name = std::filesystem::temp_directory_path() / "skep-test-XXXXXX";
  REQUIRE(::mkdtemp(name.data()));
  return name;
}

/// Removed with all it holds.
struct temp {
  std::string path = make_temp();
  temp() = default;
  temp(const temp&) = delete;
  ~temp() { transfer::remove_tree(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
};

inline void put(const std::string& path, std::string_view text, unsigned mode = 0644) {
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
  std::ofstream{path, std::ios::binary} << text;
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

inline std::string get(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

inline bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

/// Runs a program that must succeed; its output.
inline std::string run(std::vector<std::string> argv, const std::string& dir = {}) {
  transfer::program p;
  p.argv = std::move(argv);
  p.working_dir = dir;
  p.environment = transfer::git_environment();
  for (const char* entry : {"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
                            "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
                            "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1"})
    p.environment->push_back(entry);
  auto out = transfer::run_program(p);
  REQUIRE(out.ok());
  INFO(p.argv[0] << " " << (p.argv.size() > 1 ? p.argv[1] : "") << ": " << out->err);
  REQUIRE(out->exit_code == 0);
  return out->out;
}

inline std::string git(const std::string& dir, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "git");
  auto text = run(std::move(arguments), dir);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

struct repo : temp {
  repo() { git(path, {"init", "-q", "-b", "main"}); }
  void put(const std::string& name, std::string_view text, unsigned mode = 0644) const {
    test::put(path + "/" + name, text, mode);
  }
  std::string commit(const std::string& message = "a commit") const {
    git(path, {"add", "-A"});
    git(path, {"commit", "-q", "--allow-empty", "-m", message});
    return git(path, {"rev-parse", "HEAD"});
  }
};

} // namespace skep::test
