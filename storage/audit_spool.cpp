#include "storage/audit_spool.hpp"

#include "messages/json.hpp"
#include "messages/wall_clock.hpp"
#include "storage/files.hpp"

#include <unistd.h>

namespace skep::storage {
namespace {

std::filesystem::path spool_of(const std::filesystem::path& state_root) {
  return state_root / "audit-spool";
}

} // namespace

result<std::filesystem::path> leave_word(const std::filesystem::path& state_root,
                                         std::string operation, std::string subject) {
  if (auto made = make_private_directory(spool_of(state_root)); !made) return made.err();
  done_outside what{std::move(operation), std::move(subject), static_cast<std::int64_t>(::getuid()),
                    static_cast<std::int64_t>(::getpid()), now()};
  // Nanoseconds have as many digits for some centuries: names of one stamp are in the order of
  // their making.
  auto name =
      utc_stamp(what.done_at) + "-" + std::to_string(wall_ns()) + "-" + random_token(12) + ".json";
  auto file = spool_of(state_root) / name;
  if (auto done = write_file(file, to_line(to_json(what)) + "\n"); !done) return done.err();
  return file;
}

void take_back(const std::filesystem::path& word) {
  std::error_code ignored;
  std::filesystem::remove(word, ignored);
}

result<std::vector<spooled>> spooled_words(const std::filesystem::path& state_root) {
  auto names = names_in(spool_of(state_root));
  if (!names) return names.err();
  std::vector<spooled> out;
  for (const auto& name : *names) {
    if (!name.ends_with(".json")) continue; // one that is being written
    auto& x = out.emplace_back();
    x.file = spool_of(state_root) / name;
    auto text = read_file(x.file, 64 * 1024);
    auto parsed = text ? json::parse(*text, nullptr, false) : json{};
    if (!from_json_value(parsed, x.what)) x.what = {"UNREADABLE", name, -1, 0, now()};
  }
  return out;
}

void forget_word(const spooled& x) {
  std::error_code ignored;
  std::filesystem::remove(x.file, ignored);
}

} // namespace skep::storage
