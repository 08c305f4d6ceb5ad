#include "storage/secrets.hpp"
#include "storage/files.hpp"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

namespace skep::storage {
namespace {

error bad_name() {
  // The wrong name is not repeated: it may be the value, given in the wrong place.
  return make_error(errc::bad_argument, "a secret's name is 1 to 64 characters of A-Z, 0-9 and _");
}

/// Removes what a write that was killed left of this secret (write_file: a dot, the name, a dot, a
/// random word): it holds a value, and nobody would find it.
result<void> remove_unfinished(const std::filesystem::path& directory, std::string_view name) {
  auto names = names_in(directory);
  if (!names) return names.err();
  const auto prefix = "." + std::string{name} + ".";
  for (const auto& found : *names)
    if (found.starts_with(prefix) && ::unlink((directory / found).c_str()) != 0 && errno != ENOENT)
      return system_error("cannot remove what is left of the secret " + std::string{name}, errno);
  return {};
}

} // namespace

bool valid_secret_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

result<void> secret_store::set(std::string_view name, std::string_view value) const {
  if (!valid_secret_name(name)) return bad_name();
  if (value.ends_with('\n')) value.remove_suffix(1);
  if (value.ends_with('\r')) value.remove_suffix(1);
  if (value.empty()) return make_error(errc::bad_argument, "the value of a secret is empty");
  if (value.size() > max_secret_bytes)
    return make_error(errc::too_large, "the value of a secret has more than "
                                           + std::to_string(max_secret_bytes) + " bytes");
  if (auto made = make_private_directory(directory_); !made) return made;
  if (auto cleared = remove_unfinished(directory_, name); !cleared) return cleared;
  return write_file(directory_ / name, value);
}

result<std::string> secret_store::get(std::string_view name) const {
  if (!valid_secret_name(name)) return bad_name();
  auto value = read_file(directory_ / name, max_secret_bytes);
  if (!value && value.err().code == errc::file_not_found)
    return make_error(errc::secret_missing, std::string{name});
  return value;
}

bool secret_store::has(std::string_view name) const {
  return valid_secret_name(name) && ::access((directory_ / name).c_str(), F_OK) == 0;
}

result<std::vector<std::string>> secret_store::list() const {
  auto names = names_in(directory_);
  if (names) std::erase_if(*names, [](const auto& name) { return !valid_secret_name(name); });
  return names;
}

result<void> secret_store::remove(std::string_view name) const {
  if (!valid_secret_name(name)) return bad_name();
  if (auto cleared = remove_unfinished(directory_, name); !cleared) return cleared;
  if (::unlink((directory_ / name).c_str()) == 0) return {};
  if (errno == ENOENT) return make_error(errc::secret_missing, std::string{name});
  return system_error("cannot remove the secret " + std::string{name}, errno);
}

} // namespace skep::storage
