// A file on this machine, or a piece of it, as the body of a request.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

namespace skep::sandbox {

/// `bytes` bytes of `file` from `offset`; a path alone is the whole file. A piece that reaches
/// beyond the file's end is errc::io.
struct file_slice {
  static constexpr std::uint64_t to_the_end = UINT64_MAX;

  file_slice() = default;
  file_slice(std::filesystem::path whole) : file(std::move(whole)) {} // NOLINT: a path is one
  file_slice(std::filesystem::path of, std::uint64_t from, std::uint64_t length)
      : file(std::move(of)), offset(from), bytes(length) {}

  std::filesystem::path file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = to_the_end;
};

} // namespace skep::sandbox
