#include "actors/results_dir.hpp"

#include "transfer/kept.hpp"
#include "transfer/posix.hpp"

#include <cerrno>
#include <cstring>
#include <mutex>
#include <unistd.h>

namespace skep::actors {
namespace {

namespace fs = std::filesystem;

fs::path spare_dir(const services& svc, const swarm_id& swarm) {
  return svc.state_dir / "results" / swarm.value;
}

/// Makes the folder, if need be, and sees that it can be written to.
error make_folder(const fs::path& dir) {
  std::error_code ec;
  fs::create_directories(dir, ec);
  if (ec) return make_error(errc::io, "cannot make " + dir.string(), ec.message());
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
  // Downloads of several sandboxes come here at once; one of them makes what is missing.
  static std::mutex one_at_a_time;
  std::lock_guard guard{one_at_a_time};
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
