#include "actors/isolation_check.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace skep::actors {
namespace {

constexpr const char* boot_file = "/proc/sys/kernel/random/boot_id";
constexpr const char* files_link = "/proc/self/ns/mnt";
constexpr const char* processes_link = "/proc/self/ns/pid";

std::string target_of(const char* link) {
  std::error_code ec;
  return std::filesystem::read_symlink(link, ec).string();
}

error refused(std::string why) {
  return make_error(errc::no_isolation, std::move(why));
}

// Exactly as many lines as the question has parts, none of them empty.
template <std::size_t N>
bool split(std::string_view text, std::array<std::string_view, N>& lines) {
  for (auto& line : lines) {
    auto end = text.find('\n');
    if (end == text.npos || end == 0) return false;
    line = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  return text.empty();
}

bool is_number(std::string_view text) {
  return text.find_first_not_of("0123456789") == text.npos;
}

} // namespace

place this_place() {
  place out;
  std::ifstream boot{boot_file};
  std::getline(boot, out.boot);
  out.files = target_of(files_link);
  out.processes = target_of(processes_link);
  return out;
}

sandbox::command isolation_question(std::chrono::milliseconds limit) {
  sandbox::command out;
  out.argv = {"/bin/sh", "-c",
              std::string{"id -u; echo \"$"} + std::string{mark_variable} + "\"; cat " + boot_file
                  + "; readlink " + files_link + "; readlink " + processes_link};
  out.limit = limit;
  return out;
}

result<void> judge_isolation(std::string_view answer, std::string_view mark, const place& here) {
  std::array<std::string_view, 5> lines;
  if (!split(answer, lines) || !is_number(lines[0]))
    return refused("the sandbox does not tell who and where it is");
  auto [user, its_mark, boot, files, processes] = lines;
  if (user.find_first_not_of('0') == user.npos) return refused("the sandbox's user is root");
  if (its_mark != mark)
    return refused("the command did not run in the sandbox that was made: its mark is another");
  if (boot != here.boot) return {}; // another kernel, or this one before it was started anew
  if (files == here.files)
    return refused("the sandbox shares the files of this machine: it has no mount namespace");
  if (processes == here.processes)
    return refused("the sandbox shares the processes of this machine: it has no pid namespace");
  return {};
}

} // namespace skep::actors
