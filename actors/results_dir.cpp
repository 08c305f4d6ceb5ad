#include "actors/results_dir.hpp"

#include "transfer/kept.hpp"
#include "transfer/posix.hpp"

#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <unistd.h>

namespace skep::actors {
namespace {

namespace fs = std::filesystem;

fs::path spare_dir(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "results" / swarm.value;
}

/// Downloads of several sandboxes come here at once; one of them makes what is missing.
std::mutex& one_at_a_time() {
  static std::mutex mutex;
  return mutex;
}

/// Makes the folder, if need be, and sees that it can be written to.
error make_folder(const fs::path& dir) {
  std::error_code ec;
  fs::create_directories(dir, ec);
  if (ec) return transfer::io_error("cannot make " + dir.string(), ec.value());
  if (::access(dir.c_str(), W_OK | X_OK) != 0)
    return make_error(errc::io, "cannot write to " + dir.string(), std::strerror(errno));
  return {};
}

/// What results are compared with and taken over upon, into a folder that has none. False when
/// there was nothing to put there: it has it, or the run began with an older release.
result<bool> restore_base(const services& svc, const swarm_id& swarm, const fs::path& dir) {
  std::error_code ec;
  auto kept = kept_base_dir(svc, swarm);
  if (fs::exists(dir / "base.json", ec) || !fs::exists(kept / "base.json", ec)) return false;
  auto base = transfer::read_base(kept.string());
  if (!base) return base.err();
  auto archive = uploaded_archive(svc, swarm);
  // The record comes last: a folder that has it has its originals, too.
  if (auto r = transfer::keep_originals(dir.string(), archive.string(),
                                        {base->dirty.begin(), base->dirty.end()});
      !r)
    return r.err();
  if (auto r = transfer::keep_base(dir.string(), *base); !r) return r.err();
  return true;
}

/// Copies what lies among the results at `from`; panes that are being stored there are left out.
result<void> copy_results(const fs::path& from, const fs::path& to) {
  const auto names = transfer::kept_names(from.string());
  const std::set<std::string> whole{names.begin(), names.end()};
  std::error_code ec;
  for (fs::directory_iterator i{from, ec}, end; !ec && i != end; i.increment(ec)) {
    const auto name = i->path().filename().string();
    const bool is_folder = fs::is_directory(i->symlink_status(ec));
    if (is_folder ? name != "base" && !whole.contains(name)
                  : i->path().extension() == ".patch" && !whole.contains(i->path().stem().string()))
      continue;
    fs::copy(i->path(), to / name, fs::copy_options::recursive | fs::copy_options::copy_symlinks,
             ec);
    if (ec) return transfer::io_error("cannot copy results to " + to.string(), ec.value());
  }
  if (ec && ec.value() != ENOENT) return transfer::io_error(from.string(), ec.value());
  return {};
}

/// Makes the folder `made`, which is to become `spare`, and renames it. Under one_at_a_time().
result<void> move_to(const fs::path& spare, const fs::path& made, const services& svc,
                     const swarm_spec& spec, const swarm_id& swarm,
                     const std::function<result<void>(const fs::path&)>& store) {
  std::error_code ec;
  fs::remove_all(made, ec); // what a daemon that was killed left of it
  if (auto e = make_folder(made)) return e;
  if (auto r = copy_results(fs::path{spec.out_dir} / swarm.value, made); !r) return r;
  if (auto r = restore_base(svc, swarm, made); !r) return r.err();
  if (auto r = store(made); !r) return r;
  if (auto e = make_folder(spare.parent_path())) return e;
  fs::rename(made, spare, ec);
  if (ec) return transfer::io_error("cannot make " + spare.string(), ec.value());
  // The sandbox goes as soon as somebody says that its results are here.
  return transfer::put_on_disk(spare.parent_path().string());
}

} // namespace

fs::path uploaded_archive(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "work" / swarm.value / "worktree.tar";
}

fs::path kept_base_dir(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "work" / swarm.value / "base";
}

void make_out_dir(const fs::path& out_dir) {
  std::error_code ec;
  fs::create_directories(out_dir.parent_path(), ec);
  if (!fs::create_directory(out_dir, ec) || ec) return;
  static_cast<void>(transfer::write_file_durably((out_dir / ".gitignore").string(), "*\n", 0644));
}

result<results_place> results_dir(const services& svc, const swarm_spec& spec,
                                  const swarm_id& swarm) {
  std::lock_guard guard{one_at_a_time()};
  results_place out;
  std::error_code ec;
  auto spare = spare_dir(svc, swarm);
  if (!fs::exists(spare, ec)) {
    out.dir = fs::path{spec.out_dir} / swarm.value;
    make_out_dir(spec.out_dir);
    out.elsewhere = make_folder(out.dir);
    if (!out.elsewhere) {
      auto restored = restore_base(svc, swarm, out.dir);
      if (!restored) return restored.err();
      out.made_again = *restored;
      return out;
    }
    out.moved = true;
  } else {
    out.elsewhere = make_error(errc::io, "cannot write to " + spec.out_dir);
  }
  out.dir = spare;
  if (auto e = make_folder(spare)) return e;
  if (auto restored = restore_base(svc, swarm, spare); !restored) return restored.err();
  return out;
}

result<results_place> store_elsewhere(const services& svc, const swarm_spec& spec,
                                      const swarm_id& swarm, const error& why,
                                      const std::function<result<void>(const fs::path&)>& store) {
  results_place out;
  out.dir = spare_dir(svc, swarm);
  out.elsewhere = make_error(why.code, "there is no room for them in " + spec.out_dir, why.cause);
  std::unique_lock guard{one_at_a_time()};
  std::error_code ec;
  if (fs::exists(out.dir, ec)) {
    guard.unlock();
    if (auto stored = store(out.dir); !stored) return stored.err();
    return out;
  }
  // In the swarm's folder for work: what a kill leaves of it goes with the swarm.
  const auto made = svc.state_dir / "work" / swarm.value / "elsewhere";
  auto moved = move_to(out.dir, made, svc, spec, swarm, store);
  if (!moved) {
    fs::remove_all(made, ec);
    return moved.err();
  }
  out.moved = true;
  return out;
}

std::optional<notice> notice_of(const results_place& place, const swarm_id& swarm) {
  if (place.elsewhere)
    return notice{severity::warning, "results_elsewhere",
                  "the results of " + swarm.value + " go to " + place.dir.string() + ": "
                      + place.elsewhere.message
                      + (place.elsewhere.cause.empty() ? "" : " (" + place.elsewhere.cause + ")")};
  if (place.made_again)
    return notice{severity::warning, "results_folder_made_again",
                  place.dir.string()
                      + " had vanished and was made again; results that were in it are gone"};
  return std::nullopt;
}

} // namespace skep::actors
