#include "storage/epoch_file.hpp"

#include "storage/connection.hpp"
#include "storage/files.hpp"

#include <algorithm>
#include <charconv>
#include <sys/stat.h>

namespace skep::storage {
namespace {

/// Above it is rubbish: the database holds no larger ones, and room is left below.
constexpr std::uint64_t highest_epoch = std::uint64_t{1} << 60;

/// Takes a number and the character behind it off the front of `text`.
bool take_number(std::string_view& text, std::uint64_t& out, char behind) {
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (wrong != std::errc{} || end == text.data() + text.size() || *end != behind) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

} // namespace

std::filesystem::path epoch_file(const std::filesystem::path& database) {
  return database.parent_path() / "epoch";
}

result<epoch_mark> read_epoch_mark(const std::filesystem::path& database) {
  auto file = epoch_file(database);
  auto text = read_file(file, 4096);
  if (!text && text.err().code == errc::file_not_found) return epoch_mark{};
  if (!text) return make_error(errc::io, file.string(), render(text.err()));
  std::string_view rest{*text};
  epoch_mark out;
  if (!take_number(rest, out.epoch, ' ') || !take_number(rest, out.head, ' ')
      || !take_number(rest, out.inode, '\n') || !rest.empty() || out.epoch > highest_epoch)
    return make_error(errc::io, file.string() + " is damaged");
  return out;
}

result<void> write_epoch_mark(const std::filesystem::path& database, const epoch_mark& mark) {
  return write_file(epoch_file(database), std::to_string(mark.epoch) + " "
                                              + std::to_string(mark.head) + " "
                                              + std::to_string(mark.inode) + "\n");
}

epoch_mark mark_of(const std::filesystem::path& database, std::uint64_t epoch, std::uint64_t head) {
  struct stat s {};
  auto there = ::stat(database.c_str(), &s) == 0;
  return {epoch, head, there ? static_cast<std::uint64_t>(s.st_ino) : 0};
}

bool is_restored(const epoch_mark& before, const epoch_mark& now) {
  // A copy that was made while its last daemon ran has that one's epoch, and may have come further
  // than its start: it is another file.
  return before.epoch > now.epoch || before.head > now.head
         || (before.inode != 0 && before.inode != now.inode);
}

result<void> leave_room(const std::filesystem::path& database) {
  auto known = read_epoch_mark(database);
  auto mark = known ? *known : epoch_mark{};
  open_options how;
  how.read_only = true;
  // A database that cannot be read is for its daemon to tell of.
  if (path_exists(database))
    if (auto db = connection::open(database, how))
      if (auto newest = db->number("SELECT max(epoch) FROM epochs", 0))
        mark.epoch = std::max(mark.epoch, static_cast<std::uint64_t>(*newest));
  if (mark.epoch == 0) return {};
  mark.epoch = std::min(mark.epoch + epochs_of_room, highest_epoch);
  return write_epoch_mark(database, mark);
}

} // namespace skep::storage
