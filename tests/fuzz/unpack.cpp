// Archives that come out of a sandbox. Nothing may be written beside the destination.
#include "transfer/unpack.hpp"
#include "tests/fuzz/targets.hpp"

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace skep;
namespace fs = std::filesystem;

namespace unpack_target {
namespace {

// One folder for the process, in memory where the machine has such a file system.
struct own_folder {
  own_folder() {
    auto base = fs::exists("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path();
    auto name = (base / "skep-fuzz-unpack-XXXXXX").string();
    fuzz::require(::mkdtemp(name.data()) != nullptr, "a folder can be made");
    path = name;
  }
  ~own_folder() { fs::remove_all(path); }
  fs::path path;
};

const fs::path& folder() {
  static const own_folder made;
  return made.path;
}

} // namespace
} // namespace unpack_target

void skep::fuzz::run_unpack(input in) {
  using namespace unpack_target;
  const auto archive = folder() / "in.tar", dest = folder() / "out";
  std::ofstream{archive, std::ios::binary}.write(in.rest().data(),
                                                 static_cast<std::streamsize>(in.rest().size()));
  transfer::unpack_limits limits;
  limits.max_files = 100;
  limits.max_bytes = 1 << 20;
  auto got = transfer::unpack_archive(archive.string(), dest.string(), limits);
  (void)got;
  std::size_t beside = 0;
  for (const auto& entry : fs::directory_iterator{folder()})
    beside += entry.path() != archive && entry.path() != dest;
  fuzz::require(beside == 0, "nothing is written beside the destination");
  fs::remove_all(dest);
}
