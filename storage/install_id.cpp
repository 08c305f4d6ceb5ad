// skep.install: who owns the sandboxes that this state directory knows.
//
//   file `install`: four lines: id, machine id, device-independent inode, path of the directory
//
// A copy, a move or a restore elsewhere changes at least one of the last three. Both copies would
// hold themselves for the owner of the same sandboxes: the second to start is refused.
#include "storage/connection.hpp"
#include "storage/files.hpp"
#include "storage/state_dir.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/stat.h>
#include <vector>

namespace skep::storage {
namespace {

struct binding {
  std::string id;
  std::string machine;
  std::string inode;
  std::string path;
};

std::string machine_id(const std::filesystem::path& file) {
  auto text = read_file(file, 256);
  if (!text) return "none"; // a container without one: directory and path must do
  std::string out;
  for (char c : *text)
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out.push_back(c);
  return out.empty() ? "none" : out;
}

result<binding> binding_here(const state_paths& paths, const std::filesystem::path& machine_file) {
  struct stat s {};
  if (::stat(paths.root.c_str(), &s) != 0) return system_error(paths.root.string(), errno);
  return binding{{}, machine_id(machine_file), std::to_string(s.st_ino), paths.root.string()};
}

result<binding> read_binding(const state_paths& paths) {
  auto text = read_file(paths.install(), 64 * 1024);
  if (!text) return text.err();
  std::vector<std::string> lines(1);
  for (char c : *text)
    if (c == '\n' && lines.size() < 4)
      lines.emplace_back();
    else
      lines.back().push_back(c);
  if (lines.size() == 4 && lines[3].ends_with('\n')) lines[3].pop_back();
  if (lines.size() != 4 || !valid_id(lines[0], "in_"))
    return make_error(errc::copied_state, paths.install().string()
                                              + " is damaged; `skep db rebind --new-id` makes it"
                                                " anew");
  return binding{lines[0], lines[1], lines[2], lines[3]};
}

/// True when a daemon has written to the database. A fresh one, or one that cannot be read (whoever
/// opens it will say so), does not count.
bool used_database(const state_paths& paths) {
  if (!path_exists(paths.database())) return false;
  open_options how;
  how.read_only = true;
  auto db = connection::open(paths.database(), how);
  if (!db) return false;
  auto epoch = db->number("SELECT max(epoch) FROM epochs", 0);
  return epoch && *epoch > 0;
}

result<std::string> write_binding(const state_paths& paths, const binding& b) {
  auto done =
      write_file(paths.install(), b.id + "\n" + b.machine + "\n" + b.inode + "\n" + b.path + "\n");
  if (!done) return done.err();
  return b.id;
}

} // namespace

result<std::string> install_id(const state_paths& paths,
                               const std::filesystem::path& machine_id_file) {
  auto known = look_at_install(paths, machine_id_file);
  if (!known || !known->empty()) return known;
  auto here = binding_here(paths, machine_id_file);
  if (!here) return here.err();
  here->id = "in_" + random_token(16);
  return write_binding(paths, *here);
}

result<std::string> look_at_install(const state_paths& paths,
                                    const std::filesystem::path& machine_id_file) {
  auto here = binding_here(paths, machine_id_file);
  if (!here) return here.err();
  auto known = read_binding(paths);
  if (!known && known.err().code == errc::file_not_found) {
    // What a daemon wrote belongs to the id that it had.
    if (used_database(paths))
      return make_error(
          errc::copied_state,
          "the database has no `install` file beside it; `skep db rebind --new-id` gives"
          " it one");
    return std::string{};
  }
  if (!known) return known.err();
  if (known->machine != here->machine)
    return make_error(errc::copied_state, paths.root.string()
                                              + " comes from another machine; `skep db rebind`"
                                                " binds it to this one");
  if (known->path != here->path || known->inode != here->inode)
    return make_error(errc::copied_state, paths.root.string() + " was copied or moved from "
                                              + known->path
                                              + "; `skep db rebind` binds it to its new place");
  return known->id;
}

result<std::string> rebind_install(const state_paths& paths, rebind how,
                                   const std::filesystem::path& machine_id_file) {
  auto here = binding_here(paths, machine_id_file);
  if (!here) return here.err();
  auto known = read_binding(paths);
  if (how == rebind::keep_id) {
    if (!known) return known.err();
    here->id = known->id;
  } else {
    here->id = "in_" + random_token(16);
  }
  return write_binding(paths, *here);
}

} // namespace skep::storage
