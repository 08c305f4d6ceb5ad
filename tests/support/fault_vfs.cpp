#include "tests/support/fault_vfs.hpp"

#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <sqlite3.h>
#include <string>
#include <vector>

namespace skep::storage::testing {

namespace {

constexpr std::size_t sector_bytes = 512;

struct change {
  std::size_t offset = 0;
  std::string data;
  bool truncates = false; ///< To `offset`.
};

struct disk_file {
  std::string durable;
  std::vector<change> waiting;
};

void apply(std::string& image, const change& c) {
  if (c.truncates) {
    image.resize(c.offset, '\0');
    return;
  }
  if (image.size() < c.offset + c.data.size()) image.resize(c.offset + c.data.size(), '\0');
  image.replace(c.offset, c.data.size(), c.data);
}

} // namespace

struct faulty_disk::state {
  fault what;
  std::uint64_t after;
  std::mt19937_64 random;
  mutable std::mutex mutex;
  std::map<std::string, disk_file> files; ///< By path.
  std::uint64_t operations = 0, writes = 0, syncs = 0;
  bool happened = false;
  bool dead = false;
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs vfs{};

  /// A part of what waits reaches the disk: whole writes, sectors of them, or none.
  void settle(disk_file& f) {
    for (const auto& c : f.waiting) {
      auto fate = random() % 3;
      if (fate == 0) continue;
      if (fate == 1 || c.truncates) {
        apply(f.durable, c);
        continue;
      }
      for (std::size_t at = 0; at < c.data.size(); at += sector_bytes) {
        auto part = c.data.substr(at, sector_bytes);
        if (random() % 4 == 0) part.resize(random() % (part.size() + 1)); // torn within a sector
        if (random() % 2 == 0 && !part.empty()) apply(f.durable, {c.offset + at, part, false});
      }
    }
    f.waiting.clear();
  }
  void power_off() {
    happened = dead = true;
    for (auto& [path, f] : files)
      settle(f);
  }
  /// Before an operation that changes something: 0, or SQLite's code for its failure.
  int begin_change() {
    if (dead) return SQLITE_IOERR;
    ++operations;
    return SQLITE_OK;
  }
  bool due(std::uint64_t count) const { return after != 0 && count == after; }
};

namespace {

faulty_disk::state* the_disk = nullptr;

struct vfs_file {
  sqlite3_file base;
  disk_file* disk; ///< None for what SQLite removes by itself.
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

vfs_file* of(sqlite3_file* f) {
  return reinterpret_cast<vfs_file*>(f);
}
const sqlite3_io_methods& methods_of(sqlite3_file* f) {
  return *of(f)->real()->pMethods;
}

int vfs_close(sqlite3_file* f) {
  return methods_of(f).xClose(of(f)->real());
}
int vfs_read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
  return methods_of(f).xRead(of(f)->real(), to, n, at);
}

int vfs_write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
  auto& d = *the_disk;
  std::lock_guard hold{d.mutex};
  if (of(f)->disk == nullptr) return methods_of(f).xWrite(of(f)->real(), from, n, at);
  if (auto bad = d.begin_change()) return bad;
  ++d.writes;
  if (d.what == fault::write_fails && d.due(d.writes)) {
    d.happened = true;
    return SQLITE_IOERR_WRITE;
  }
  if (d.what == fault::disk_full && d.after != 0 && d.writes >= d.after) {
    d.happened = true;
    return SQLITE_FULL;
  }
  of(f)->disk->waiting.push_back(
      {static_cast<std::size_t>(at),
       std::string(static_cast<const char*>(from), static_cast<std::size_t>(n)), false});
  if (d.what == fault::power_cut && d.due(d.operations)) {
    d.power_off();
    return SQLITE_IOERR_WRITE;
  }
  return methods_of(f).xWrite(of(f)->real(), from, n, at);
}

int vfs_truncate(sqlite3_file* f, sqlite3_int64 size) {
  auto& d = *the_disk;
  std::lock_guard hold{d.mutex};
  if (of(f)->disk == nullptr) return methods_of(f).xTruncate(of(f)->real(), size);
  if (auto bad = d.begin_change()) return bad;
  of(f)->disk->waiting.push_back({static_cast<std::size_t>(size), {}, true});
  if (d.what == fault::power_cut && d.due(d.operations)) {
    d.power_off();
    return SQLITE_IOERR_TRUNCATE;
  }
  return methods_of(f).xTruncate(of(f)->real(), size);
}

int vfs_sync(sqlite3_file* f, int flags) {
  auto& d = *the_disk;
  std::lock_guard hold{d.mutex};
  if (of(f)->disk == nullptr) return methods_of(f).xSync(of(f)->real(), flags);
  if (auto bad = d.begin_change()) return bad;
  ++d.syncs;
  if (d.what == fault::power_cut && d.due(d.operations)) {
    d.power_off();
    return SQLITE_IOERR_FSYNC;
  }
  if (d.what == fault::sync_fails && d.due(d.syncs)) {
    d.happened = true;
    d.settle(*of(f)->disk); // and a later sync will not say what was lost
    return SQLITE_IOERR_FSYNC;
  }
  for (const auto& c : of(f)->disk->waiting)
    apply(of(f)->disk->durable, c);
  of(f)->disk->waiting.clear();
  return SQLITE_OK; // the real file's power does not fail
}

int vfs_size(sqlite3_file* f, sqlite3_int64* out) {
  return methods_of(f).xFileSize(of(f)->real(), out);
}
int vfs_lock(sqlite3_file* f, int level) {
  return methods_of(f).xLock(of(f)->real(), level);
}
int vfs_unlock(sqlite3_file* f, int level) {
  return methods_of(f).xUnlock(of(f)->real(), level);
}
int vfs_reserved(sqlite3_file* f, int* out) {
  return methods_of(f).xCheckReservedLock(of(f)->real(), out);
}
int vfs_control(sqlite3_file* f, int op, void* argument) {
  return methods_of(f).xFileControl(of(f)->real(), op, argument);
}
int vfs_sector(sqlite3_file* f) {
  return methods_of(f).xSectorSize(of(f)->real());
}
int vfs_character(sqlite3_file* f) {
  return methods_of(f).xDeviceCharacteristics(of(f)->real());
}
int vfs_shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return methods_of(f).xShmMap(of(f)->real(), page, size, extend, out);
}
int vfs_shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return methods_of(f).xShmLock(of(f)->real(), offset, n, flags);
}
void vfs_shm_barrier(sqlite3_file* f) {
  methods_of(f).xShmBarrier(of(f)->real());
}
int vfs_shm_unmap(sqlite3_file* f, int remove) {
  return methods_of(f).xShmUnmap(of(f)->real(), remove);
}

constexpr sqlite3_io_methods the_methods{2,
                                         vfs_close,
                                         vfs_read,
                                         vfs_write,
                                         vfs_truncate,
                                         vfs_sync,
                                         vfs_size,
                                         vfs_lock,
                                         vfs_unlock,
                                         vfs_reserved,
                                         vfs_control,
                                         vfs_sector,
                                         vfs_character,
                                         vfs_shm_map,
                                         vfs_shm_lock,
                                         vfs_shm_barrier,
                                         vfs_shm_unmap,
                                         nullptr,
                                         nullptr};

int vfs_open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  auto* x = of(f);
  x->base.pMethods = nullptr;
  x->disk = nullptr;
  auto code = the_disk->real->xOpen(the_disk->real, name, x->real(), flags, out_flags);
  if (code != SQLITE_OK) return code;
  if (name != nullptr
      && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0) {
    std::lock_guard hold{the_disk->mutex};
    x->disk = &the_disk->files[name];
  }
  x->base.pMethods = &the_methods;
  return SQLITE_OK;
}

int vfs_delete(sqlite3_vfs*, const char* name, int sync_dir) {
  {
    std::lock_guard hold{the_disk->mutex};
    if (the_disk->dead) return SQLITE_IOERR_DELETE;
    // Its entry stays: a file that is still open may point to it.
    if (auto i = the_disk->files.find(name); i != the_disk->files.end()) i->second = {};
  }
  return the_disk->real->xDelete(the_disk->real, name, sync_dir);
}

} // namespace

faulty_disk::faulty_disk(fault what, std::uint64_t after, std::uint64_t seed)
    : state_(std::make_unique<state>()) {
  auto& s = *state_;
  s.what = what;
  s.after = after;
  s.random.seed(seed);
  s.real = sqlite3_vfs_find(nullptr);
  s.vfs = *s.real;
  s.vfs.zName = "skep-faulty-disk";
  s.vfs.szOsFile = static_cast<int>(sizeof(vfs_file)) + s.real->szOsFile;
  s.vfs.pNext = nullptr;
  s.vfs.xOpen = vfs_open;
  s.vfs.xDelete = vfs_delete;
  the_disk = &s;
  sqlite3_vfs_register(&s.vfs, 1);
}

faulty_disk::~faulty_disk() {
  sqlite3_vfs_unregister(&state_->vfs);
  sqlite3_vfs_register(state_->real, 1);
  the_disk = nullptr;
}

void faulty_disk::cut() {
  std::lock_guard hold{state_->mutex};
  if (!state_->dead) state_->power_off();
}

bool faulty_disk::happened() const {
  std::lock_guard hold{state_->mutex};
  return state_->happened;
}

std::size_t faulty_disk::unsynced(const std::string& ending) const {
  std::lock_guard hold{state_->mutex};
  std::size_t out = 0;
  for (const auto& [path, f] : state_->files)
    if (path.ends_with(ending)) out += f.waiting.size();
  return out;
}

std::uint64_t faulty_disk::operations() const {
  std::lock_guard hold{state_->mutex};
  return state_->operations;
}

void faulty_disk::survivors(const std::filesystem::path& folder) const {
  std::lock_guard hold{state_->mutex};
  std::filesystem::create_directories(folder);
  for (const auto& [path, f] : state_->files) {
    if (f.durable.empty() && !path.ends_with(".db")) continue;
    std::ofstream out{folder / std::filesystem::path{path}.filename(), std::ios::binary};
    out << f.durable;
  }
}

} // namespace skep::storage::testing
