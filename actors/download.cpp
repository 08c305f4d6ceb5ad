#include "actors/results_dir.hpp"
#include "actors/transfer_base.hpp"
#include "messages/crash_point.hpp"
#include "transfer/kept.hpp"
#include "transfer/posix.hpp"
#include "transfer/results.hpp"
#include "transfer/scan.hpp"

namespace skep::actors {
namespace {

using store_pane = std::function<result<transfer::pane_changes>(const std::filesystem::path&)>;

/// Stores a pane's results where those of its swarm go, or elsewhere where there is no room.
result<std::pair<results_place, transfer::pane_changes>> store_results(const services& svc,
                                                                       const swarm_spec& spec,
                                                                       const swarm_id& swarm,
                                                                       const store_pane& store) {
  auto place = results_dir(svc, spec, swarm);
  auto changes = place ? store(place->dir) : result<transfer::pane_changes>{place.err()};
  if (place && (changes || changes.err().code == errc::io)) {
    // All of them may have been moved meanwhile, for another pane, without this one; or they are
    // now, since the folder cannot be written to any more.
    auto now = results_dir(svc, spec, swarm);
    if (now && now->dir != place->dir) {
      place = std::move(now);
      changes = store(place->dir);
    }
  } else if (changes.err().code == errc::disk_full && !(place && place->elsewhere)) {
    const auto why = changes.err();
    auto elsewhere = store_elsewhere(svc, spec, swarm, why,
                                     [&](const std::filesystem::path& dir) -> result<void> {
                                       changes = store(dir);
                                       return changes ? result<void>{} : changes.err();
                                     });
    if (!elsewhere) return why;
    place = std::move(elsewhere);
  }
  if (!changes) return changes.err();
  return std::pair{std::move(*place), std::move(*changes)};
}

/// Collects a pane again whose results are there and whole: the new ones are made beside them and
/// take their place when they are whole, too.
result<transfer::pane_changes> collect_beside(const std::filesystem::path& out_dir,
                                              const std::string& tree, const store_pane& collect) {
  namespace fs = std::filesystem;
  const auto beside = out_dir / ("." + tree + ".new");
  std::error_code ec;
  fs::remove_all(beside, ec); // what a daemon that was killed left of it
  if (auto made = transfer::make_dirs(beside.string()); !made) return made.err();
  auto changes = collect(beside);
  if (changes) {
    const auto patch = tree + ".patch";
    fs::remove_all(out_dir / tree, ec);
    fs::rename(beside / tree, out_dir / tree, ec);
    if (!ec) fs::rename(beside / patch, out_dir / patch, ec);
    if (ec) {
      changes = transfer::io_error((out_dir / tree).string(), ec.value());
    } else {
      changes->patch_path = (out_dir / patch).string();
      changes->files_dir = (out_dir / tree / "files").string();
      if (auto safe = transfer::put_on_disk(out_dir.string()); !safe) changes = safe.err();
    }
  }
  fs::remove_all(beside, ec);
  return changes;
}

class download_impl : public transfer_base {
public:
  download_impl(caf::actor_config& cfg, context_ptr context, download_plan plan)
      : transfer_base(cfg, std::move(context), plan.transfer,
                      own_folder(inside::outbox, plan.transfer)),
        plan_(std::move(plan)) {}

private:
  /// What is told of results beside themselves.
  struct brought {
    scan_report found;
    std::optional<notice> about_place;
  };

  std::filesystem::path patch() const { return local_dir() / (plan_.tree + ".patch"); }
  std::filesystem::path archive() const { return local_dir() / (plan_.tree + ".tar"); }
  std::filesystem::path summary() const { return local_dir() / (plan_.tree + ".json"); }
  /// The folder inside of the newest attempt at the difference.
  std::string made_in() const { return remote_dir() + "/" + std::to_string(diffs_); }
  std::string remote(const char* ending) const { return made_in() + "/" + plan_.tree + ending; }

  // Downloads of a sandbox come one after the other: what else lies here and there was left by a
  // daemon that was killed.
  void start() override {
    began_ = clock().now();
    do_here([this] { make_folder(); });
  }

  void make_folder() {
    in_pool_then<std::filesystem::path>(
        "download",
        [folder = local_dir()]() -> result<std::filesystem::path> {
          std::error_code ec;
          crash_point(crash_kind::file, "download_folder");
          std::filesystem::remove_all(folder.parent_path(), ec);
          std::filesystem::create_directories(folder, ec);
          if (ec) return transfer::io_error("cannot make " + folder.string(), ec.value());
          return folder;
        },
        [this](const std::filesystem::path&) {
          do_inside([this] {
            remove_then(std::string{inside::outbox}, "download",
                        [this] { do_inside([this] { make_diff(); }); });
          });
        });
  }

  // ---- what is done inside, again where it fails in passing: once the sandbox is gone, nobody
  // can fetch what its agent did
  void do_inside(std::function<void()> what) {
    failures_ = 0;
    is_inside_ = true;
    again_ = std::move(what);
    again_();
  }

  // What is done on this machine fails the same way again, but for want of room.
  void do_here(std::function<void()> what) {
    is_inside_ = false;
    again_ = std::move(what);
    again_();
  }

  // A sandbox that is gone does not come back.
  void step_failed(const error& why, const char* step) override {
    if (why.code == errc::disk_full) return wait_for_room(why, step);
    if (!is_inside_ || !retriable(why) || why.code == errc::gone) return fail(why, step);
    auto wait = limits().upload_wait * (1u << failures_++);
    if (failures_ < limits().download_tries && wait < left())
      return later(wait, [again = again_] { again(); });
    auto last = why;
    last.message +=
        (last.message.empty() ? "after " : ", after ") + std::to_string(failures_) + " attempts";
    fail(std::move(last), step);
  }

  // A disk may have room again, and what agents did is still inside meanwhile.
  void wait_for_room(const error& why, const char* step) {
    const auto wait = limits().disk_wait;
    if (wait >= left()) return fail(why, step);
    if (!std::exchange(told_of_room_, true))
      note(context().recorder(), context().svc->wall_now(),
           notice{severity::warning, "results_wait_for_room",
                  "the disk has no room for the results of " + plan_.tree
                      + ": they are still in their sandbox, and are tried again every "
                      + std::to_string(wait.count()) + " s for at most "
                      + std::to_string(std::chrono::ceil<std::chrono::seconds>(left()).count())
                      + " s: " + render(why)});
    later(wait, [again = again_] { again(); });
  }

  /// Of the time of the whole download, by the clock of its deadline: a machine that sleeps takes
  /// none of it. Never 0, which would mean the policy of a single call.
  std::chrono::milliseconds left() const {
    using std::chrono::milliseconds;
    auto past = std::chrono::duration_cast<milliseconds>(clock().now() - began_);
    return std::max(milliseconds{limits().download_deadline} - past, milliseconds{1});
  }

  // Each attempt has a folder of its own: one whose answer was lost may still be writing.
  void make_diff() {
    ++diffs_;
    guest_then({"diff", "--tree", context().tree_of(plan_.tree), "--base", plan_.base_commit,
                "--name", plan_.tree, "--out", made_in(), "--repo", std::string{inside::repo}},
               std::min<std::chrono::milliseconds>(limits().collect, left()), "diff",
               [this](const json& answer) {
                 auto announced = transfer::parse_summary_file(answer);
                 if (!announced) return step_failed(announced.err(), "diff");
                 announced_ = *announced;
                 if (announced_) return fetch_summary();
                 claim_ = to_line(answer);
                 fetch();
               });
  }

  void fetch_summary() {
    do_inside([this] { download_then(remote(".json"), summary(), left(), [this] { fetch(); }); });
  }

  void fetch() {
    do_inside([this] {
      download_then(remote(".patch"), patch(), left(), [this] {
        do_inside([this] {
          download_then(remote(".tar"), archive(), left(),
                        [this] { do_here([this] { unpack(); }); });
        });
      });
    });
  }

  // The sandbox's archive is hostile until proven otherwise: transfer/ unpacks it with confinement.
  void unpack() {
    auto got = std::make_shared<brought>(); // written in the pool, read when it is done
    in_pool_then<transfer::pane_changes>(
        "unpack",
        [patch = patch(), archive = archive(), scratch = local_dir().string(), claim = claim_,
         announced = announced_, summary_path = this->summary().string(), tree = plan_.tree, got,
         svc = context().svc, spec = context().spec,
         swarm = context().swarm]() -> result<transfer::pane_changes> {
          auto summary = announced ? transfer::read_diff_summary(summary_path, *announced)
                                   : transfer::parse_diff_summary(claim);
          if (!summary) return summary.err();
          crash_point(crash_kind::file, "earlier_attempt");
          auto collect = [&](const std::filesystem::path& out_dir) {
            return transfer::collect_pane(patch, archive, out_dir, tree, *summary, {}, scratch,
                                          uploaded_archive(*svc, swarm).string());
          };
          auto store = [&](const std::filesystem::path& out_dir) {
            // A daemon may have died between them and the word of them.
            auto there = transfer::read_pane(out_dir.string(), tree);
            if (there && transfer::check_kept(*there))
              return collect_beside(out_dir, tree, collect);
            std::error_code ec;
            // What an attempt before a restart left half done.
            std::filesystem::remove_all(out_dir / tree, ec);
            std::filesystem::remove(out_dir / (tree + ".patch"), ec);
            return collect(out_dir);
          };
          auto stored = store_results(*svc, *spec, swarm, store);
          if (!stored) return stored.err();
          auto& [place, changes] = *stored;
          if (place.moved || place.made_again) got->about_place = notice_of(place, swarm);
          got->found = transfer::for_event(transfer::scan_results(place.dir, tree, spec->repo));
          return std::move(changes);
        },
        [this, got](const transfer::pane_changes& changes) {
          if (got->about_place)
            note(context().recorder(), context().svc->wall_now(), *got->about_place);
          tell_scan(got->found);
          tell_links(changes);
          tell_patch(changes);
          tell_losses(changes.summary);
          transfer_ending x;
          x.files = changes.files.files.size();
          x.size_bytes = changes.summary.patch_bytes;
          x.sha256 = changes.summary.patch_sha256;
          finish(std::move(x));
        });
  }

  // Credentials in what came back: told and recorded, and the results are kept.
  void tell_scan(const scan_report& found) {
    if (found.alarming() || found.medium > 0)
      note(context().recorder(), context().svc->wall_now(),
           results_scanned{plan_.transfer, plan_.tree, found});
  }

  // A link to a place of the sandbox means nothing here, or something else.
  void tell_links(const transfer::pane_changes& changes) {
    const auto& links = changes.left_out;
    if (links.empty()) return;
    const auto more = links.size() - 1;
    note(context().recorder(), context().svc->wall_now(),
         notice{severity::warning, "links_left_out",
                "what " + plan_.tree + " brought leaves out " + transfer::shown_path(links[0].path)
                    + " -> " + transfer::shown_path(links[0].target)
                    + (more == 0   ? ", a symlink"
                       : more == 1 ? " and another symlink"
                                   : " and " + std::to_string(more) + " other symlinks")
                    + " out of its tree"});
  }

  // Where a setup changed files that the agent changed too, this is as it must be.
  void tell_patch(const transfer::pane_changes& changes) {
    if (changes.patch != transfer::patch_origin::made_here) return;
    const bool had_setup = !context().spec->setup.empty();
    note(context().recorder(), context().svc->wall_now(),
         notice{had_setup ? severity::info : severity::warning, "patch_made_here",
                "the patch of " + plan_.tree + " from the sandbox is not what its files are ("
                    + changes.doubt + "); it was made anew from them"});
  }

  // What an agent did to its repository or its files costs a part of its results.
  void tell_losses(const transfer::diff_summary& found) {
    auto tell = [this](const char* code, const std::string& text) {
      note(context().recorder(), context().svc->wall_now(),
           notice{severity::warning, code, "what " + plan_.tree + " brought " + text});
    };
    if (found.no_history)
      tell("history_left_out", "is its files against the base, as one diff: the repository of its "
                               "tree has no commit to go by");
    if (!found.unreadable.empty())
      tell("unreadable_left_out",
           "leaves out " + first_of(found.unreadable) + ", which nobody may read inside");
    if (!found.too_large.empty())
      tell("large_left_out",
           "leaves out " + first_of(found.too_large) + ", too large to come back with the rest");
  }

  static std::string first_of(const std::vector<std::string>& paths) {
    const auto more = paths.size() - 1;
    return transfer::shown_path(paths[0])
           + (more == 0 ? "" : " and " + std::to_string(more) + " more");
  }

  download_plan plan_;
  std::string claim_; ///< skep-guest's summary, a claim of the sandbox, where its answer is that.
  std::optional<transfer::summary_file> announced_; ///< Where it lies in a file.
  std::function<void()> again_;                     ///< The step that is under way.
  bool is_inside_ = false;                          ///< It is one inside.
  bool told_of_room_ = false;                       ///< That the disk has none.
  std::uint32_t failures_ = 0;                      ///< Of that step.
  std::uint32_t diffs_ = 0;                         ///< Attempts at the difference.
  caf::actor_clock::time_point began_{};
};

} // namespace

child_spec download_child(context_ptr context, download_plan plan) {
  auto deadline = context->svc->limits.download_deadline;
  return transfer_child<download_impl>(std::move(context), std::move(plan), deadline);
}

} // namespace skep::actors
