#include "actors/results_dir.hpp"

#include "actors/work_files.hpp"
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

using names_left = std::set<std::string>;

/// Of these nothing is left at `to`: neither the half of a tree, nor a record without its files.
void take_out(const fs::path& to, const names_left& names) {
  std::error_code ec;
  for (const auto& name : names)
    for (const char* ending : {"", ".patch", ".json", ".manifest"})
      fs::remove_all(to / (name + ending), ec);
}

/// Copies what lies among the results at `from`; panes that are being stored there are left out.
/// With `lost`, what cannot be read there is no error: it is named, and not there at `to`.
result<void> copy_results(const fs::path& from, const fs::path& to, names_left* lost) {
  const auto names = transfer::kept_names(from.string());
  const std::set<std::string> whole{names.begin(), names.end()};
  std::error_code ec;
  for (fs::directory_iterator i{from, ec}, end; !ec && i != end; i.increment(ec)) {
    const auto name = i->path().filename().string();
    const bool is_folder = fs::is_directory(i->symlink_status(ec));
    if (is_folder ? name != "base" && !whole.contains(name)
                  : i->path().extension() == ".patch" && !whole.contains(i->path().stem().string()))
      continue;
    std::error_code failed;
    fs::copy(i->path(), to / name, fs::copy_options::recursive | fs::copy_options::copy_symlinks,
             failed);
    if (!failed) continue;
    auto why = transfer::io_error("cannot copy results to " + to.string(), failed.value());
    if (!lost || why.code == errc::disk_full) return why;
    const auto of = is_folder ? name : i->path().stem().string();
    if (of == "base" || (whole.contains(of) && i->path().extension() != ".log"))
      lost->insert(of);
    else
      fs::remove(to / name, failed); // a log, say: the swarm's end writes it once more
  }
  if (lost) take_out(to, *lost);
  if (ec && ec.value() != ENOENT && !lost) return transfer::io_error(from.string(), ec.value());
  return {};
}

/// Trees of this swarm whose results were stored, as the journal says.
names_left on_record(const services& svc, const swarm_id& swarm) {
  names_left out;
  auto boxes = svc.load_sandboxes(swarm);
  if (!boxes) return out;
  for (const auto& box : *boxes) {
    const auto stored = stored_panes(svc, box);
    if (stored.contains(pane_id{})) out.insert("sandbox-" + std::to_string(box.index));
    auto panes = svc.load_panes(box.sandbox);
    if (!panes) continue;
    for (const auto& p : *panes)
      if (stored.contains(p.pane)) out.insert(p.name);
  }
  return out;
}

/// In the swarm's folder for work: what a kill leaves of it goes with the swarm.
fs::path made_dir(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "work" / swarm.value / "elsewhere";
}

/// Makes made_dir(), which is to become spare_dir(), and renames it. `lost` as in copy_results().
/// Under one_at_a_time().
result<void> try_move(const services& svc, const swarm_spec& spec, const swarm_id& swarm,
                      const std::function<result<void>(const fs::path&)>& store, names_left* lost) {
  std::error_code ec;
  const auto spare = spare_dir(svc, swarm);
  const auto made = made_dir(svc, swarm);
  fs::remove_all(made, ec); // what a daemon that was killed left of it
  if (auto e = make_folder(made)) return e;
  if (auto r = copy_results(fs::path{spec.out_dir} / swarm.value, made, lost); !r) return r;
  if (auto r = restore_base(svc, swarm, made); !r) return r.err();
  if (auto r = store(made); !r) return r;
  if (auto e = make_folder(spare.parent_path())) return e;
  fs::rename(made, spare, ec);
  if (ec) return transfer::io_error("cannot make " + spare.string(), ec.value());
  // The sandbox goes as soon as somebody says that its results are here.
  return transfer::put_on_disk(spare.parent_path().string());
}

/// As try_move(); an error leaves nothing of it.
result<void> move_to_spare(const services& svc, const swarm_spec& spec, const swarm_id& swarm,
                           const std::function<result<void>(const fs::path&)>& store,
                           names_left* lost) {
  auto moved = try_move(svc, spec, swarm, store, lost);
  std::error_code ec;
  if (!moved) fs::remove_all(made_dir(svc, swarm), ec);
  return moved;
}

/// For a folder that cannot be written to any more: its results go along, as far as they can be
/// read, and those that do not are named.
result<void> leave_folder(const services& svc, const swarm_spec& spec, const swarm_id& swarm,
                          results_place& out) {
  names_left lost;
  auto nothing_more = [](const fs::path&) { return result<void>{}; };
  if (auto r = move_to_spare(svc, spec, swarm, nothing_more, &lost); !r) return r;
  lost.erase("base"); // it was restored, where that was needed
  auto stored = on_record(svc, swarm);
  for (const auto& name : transfer::kept_names(out.dir.string()))
    stored.erase(name);
  lost.merge(stored);
  out.left_behind.assign(lost.begin(), lost.end());
  out.moved = true;
  return {};
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
    out.dir = spare;
    if (auto r = leave_folder(svc, spec, swarm, out); !r) return r.err();
    return out;
  }
  out.elsewhere = make_error(errc::io, "cannot write to " + spec.out_dir);
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
  if (auto moved = move_to_spare(svc, spec, swarm, store, nullptr); !moved) return moved.err();
  out.moved = true;
  return out;
}

std::optional<notice> notice_of(const results_place& place, const swarm_id& swarm) {
  if (place.elsewhere) {
    auto text = "the results of " + swarm.value + " go to " + place.dir.string() + ": "
                + place.elsewhere.message
                + (place.elsewhere.cause.empty() ? "" : " (" + place.elsewhere.cause + ")");
    for (std::size_t i = 0; i < place.left_behind.size(); ++i)
      text += (i == 0 ? "; left behind, for they could not be read any more: " : ", ")
              + place.left_behind[i];
    return notice{severity::warning, "results_elsewhere", std::move(text)};
  }
  if (place.made_again)
    return notice{severity::warning, "results_folder_made_again",
                  place.dir.string()
                      + " had vanished and was made again; results that were in it are gone"};
  return std::nullopt;
}

} // namespace skep::actors
