// Where there is room for what a call writes, when the disk that it belongs on is full.
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace skep::guest {

/// A folder to write to.
struct place {
  std::string folder;
  std::uint64_t room = 0; ///< Bytes that its disk still takes from us, as far as it says.
  dev_t disk = 0;
};

/// Bytes. A disk with less is nearly full: others are tried before it.
constexpr std::uint64_t enough_room = 16u << 20;

/// What the disk says that an absolute folder lies on, or will lie on once it is made. No room
/// where nothing may be written.
place look_for_room(const std::string& folder);

/// TMPDIR, /tmp and /dev/shm, as far as they are there.
std::vector<place> spare_places();

/// Where to write what belongs to `usual`, in the order to try: as they are given, but a disk with
/// less than `enough` comes after all that have it, and of those the fuller one last. `usual` is
/// always among them; of others one for each disk, and none without any room.
std::vector<place> by_room(place usual, const std::vector<place>& others,
                           std::uint64_t enough = enough_room);

/// The folder for what is removed at the end of a call: the first of spare_places() with enough
/// room, or the one with most. Empty: there is none.
std::string scratch_place();

/// A folder that takes the room of another disk, and is found under its name by a link there.
class borrowed_folder {
public:
  borrowed_folder() = default;
  borrowed_folder(const borrowed_folder&) = delete;
  borrowed_folder& operator=(const borrowed_folder&) = delete;
  /// Takes it back, link and all, unless it is to be kept.
  ~borrowed_folder();

  /// Makes the absolute folder `folder`, which is missing or empty, in the folder `on`: the first
  /// part of its path that is missing becomes the link. Those that were made there before, and that
  /// no link leads to any more, are removed. io, disk_full.
  result<void> make(const std::string& folder, const std::string& on);
  /// It stays, until a later one finds its link gone.
  void keep();

private:
  std::string link_, spare_; ///< Empty: not made.
};

} // namespace skep::guest
