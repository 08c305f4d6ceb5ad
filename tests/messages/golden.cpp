#include "tests/messages/golden.hpp"

#include "tests/messages/all_messages.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace skep::test {
namespace {

constexpr std::string_view retired = "retired ";

lines read_golden(const std::string& path) {
  std::ifstream in{path};
  lines out;
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) out.push_back(line);
  return out;
}

void write_golden(const std::string& path, const lines& old, lines now) {
  for (const auto& line : old) {
    if (line.starts_with(retired))
      now.push_back(line);
    else if (std::find(now.begin(), now.end(), line) == now.end())
      now.push_back(std::string{retired} + line);
  }
  std::ofstream out{path};
  for (const auto& line : now)
    out << line << '\n';
}

} // namespace

std::string source_path(std::string_view below) {
  const char* root = std::getenv("SKEP_SOURCE");
  auto base = root ? std::filesystem::path{root}
                   : std::filesystem::path{__FILE__}.parent_path().parent_path().parent_path();
  return (base / below).string();
}

void check_golden(const std::string& below, const lines& now,
                  const std::function<std::string(const std::string&)>& number_of) {
  const auto path = source_path(below);
  if (const char* write = std::getenv("SKEP_WRITE_GOLDEN"); write && std::string_view{write} == "1")
    write_golden(path, read_golden(path), now);
  const auto golden = read_golden(path);
  INFO(path);
  REQUIRE_FALSE(golden.empty());

  lines recorded;
  std::set<std::string> taken;
  for (const auto& line : golden)
    if (line.starts_with(retired))
      taken.insert(number_of(line.substr(retired.size())));
    else
      recorded.push_back(line);

  lines gone, added, reused;
  for (const auto& line : recorded)
    if (std::find(now.begin(), now.end(), line) == now.end()) gone.push_back(line);
  for (const auto& line : now) {
    if (std::find(recorded.begin(), recorded.end(), line) == recorded.end()) added.push_back(line);
    if (taken.contains(number_of(line))) reused.push_back(line);
  }
  CHECK(gone == lines{});
  CHECK(added == lines{});
  CHECK(reused == lines{});
  CHECK(recorded == now);
}

} // namespace skep::test
