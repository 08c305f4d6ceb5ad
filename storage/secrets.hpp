// `skep secret`: values in files of mode 0600 in the state directory. A value never appears in an
// error, a log or the journal.
#pragma once

#include "storage/state_dir.hpp"

#include <vector>

namespace skep::storage {

/// Longest value that is accepted.
inline constexpr std::size_t max_secret_bytes = 64 * 1024;

/// 1 to 64 characters of [A-Z0-9_].
bool valid_secret_name(std::string_view name);

class secret_store {
public:
  explicit secret_store(const state_paths& paths) : directory_(paths.secrets()) {}
  /// Stores `value` without one trailing newline, replacing an older one in one step. What a killed
  /// call left of this secret goes. bad_argument for a bad name or an empty value, too_large, io.
  result<void> set(std::string_view name, std::string_view value) const;
  /// secret_missing when it is not set.
  result<std::string> get(std::string_view name) const;
  bool has(std::string_view name) const;
  /// Names in order.
  result<std::vector<std::string>> list() const;
  /// Removes it, and what a killed set() left of it. secret_missing when it is not set; io.
  result<void> remove(std::string_view name) const;

private:
  std::filesystem::path directory_;
};

} // namespace skep::storage
