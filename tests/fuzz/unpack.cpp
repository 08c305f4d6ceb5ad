// Archives that come out of a sandbox. Nothing may be written beside the destination.
#include "transfer/unpack.hpp"
#include "tests/fuzz/input.hpp"

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace skep;
namespace fs = std::filesystem;

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

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto archive = folder() / "in.tar", dest = folder() / "out";
  std::ofstream{archive, std::ios::binary}.write(reinterpret_cast<const char*>(data),
                                                 static_cast<std::streamsize>(size));
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
  return 0;
}
