#include "actors/results_dir.hpp"
#include "actors/transfer_base.hpp"
#include "messages/crash_point.hpp"
#include "transfer/kept.hpp"
#include "transfer/results.hpp"
#include "transfer/scan.hpp"

namespace skep::actors {
namespace {

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
  /// The folder inside of the newest attempt at the difference.
  std::string made_in() const { return remote_dir() + "/" + std::to_string(diffs_); }
  std::string remote(const char* ending) const { return made_in() + "/" + plan_.tree + ending; }

  // Downloads of a sandbox come one after the other: what else lies here and there was left by a
  // daemon that was killed.
  void start() override {
    began_ = context().svc->boot_now();
    in_pool_then<std::filesystem::path>(
        "download",
        [folder = local_dir()]() -> result<std::filesystem::path> {
          std::error_code ec;
          crash_point(crash_kind::file, "download_folder");
          std::filesystem::remove_all(folder.parent_path(), ec);
          std::filesystem::create_directories(folder, ec);
          if (ec) return make_error(errc::io, "cannot make " + folder.string(), ec.message());
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
    again_ = std::move(what);
    again_();
  }

  // A sandbox that is gone does not come back.
  void step_failed(const error& why, const char* step) override {
    if (!again_ || !retriable(why) || why.code == errc::gone) return fail(why, step);
    auto wait = limits().upload_wait * (1u << failures_++);
    if (failures_ < limits().download_tries && wait < left())
      return later(wait, [again = again_] { again(); });
    auto last = why;
    last.message +=
        (last.message.empty() ? "after " : ", after ") + std::to_string(failures_) + " attempts";
    fail(std::move(last), step);
  }

  /// Of the time of the whole download. Never 0, which would mean the policy of a single call.
  std::chrono::milliseconds left() const {
    using std::chrono::milliseconds;
    auto past = context().svc->boot_now() - began_;
    return std::max(milliseconds{limits().download_deadline} - past, milliseconds{1});
  }

  // Each attempt has a folder of its own: one whose answer was lost may still be writing.
  void make_diff() {
    ++diffs_;
    guest_then({"diff", "--tree", context().tree_of(plan_.tree), "--base", plan_.base_commit,
                "--name", plan_.tree, "--out", made_in()},
               std::min<std::chrono::milliseconds>(limits().collect, left()), "diff",
               [this](const json& answer) {
                 claim_ = to_line(answer);
                 fetch();
               });
  }

  void fetch() {
    do_inside([this] {
      download_then(remote(".patch"), patch(), left(), [this] {
        do_inside(
            [this] { download_then(remote(".tar"), archive(), left(), [this] { unpack(); }); });
      });
    });
  }

  // The sandbox's archive is hostile until proven otherwise: transfer/ unpacks it with confinement.
  void unpack() {
    again_ = nullptr;                       // bytes that were damaged or refused stay so
    auto got = std::make_shared<brought>(); // written in the pool, read when it is done
    in_pool_then<transfer::pane_changes>(
        "unpack",
        [patch = patch(), archive = archive(), scratch = local_dir().string(), claim = claim_,
         tree = plan_.tree, got, svc = context().svc, spec = context().spec,
         swarm = context().swarm]() -> result<transfer::pane_changes> {
          auto summary = transfer::parse_diff_summary(claim);
          if (!summary) return summary.err();
          std::error_code ec;
          crash_point(crash_kind::file, "earlier_attempt");
          auto place = results_dir(*svc, *spec, swarm);
          if (!place) return place.err();
          if (place->moved || place->made_again) got->about_place = notice_of(*place, swarm);
          auto out_dir = place->dir;
          // What an attempt before a restart left half done.
          std::filesystem::remove_all(out_dir / tree, ec);
          std::filesystem::remove(out_dir / (tree + ".patch"), ec);
          auto changes = transfer::collect_pane(patch, archive, out_dir, tree, *summary, {},
                                                scratch, uploaded_archive(*svc, swarm).string());
          if (changes)
            got->found = transfer::for_event(transfer::scan_results(out_dir, tree, spec->repo));
          return changes;
        },
        [this, got](const transfer::pane_changes& changes) {
          if (got->about_place)
            note(context().recorder(), context().svc->wall_now(), *got->about_place);
          tell_scan(got->found);
          tell_links(changes);
          tell_patch(changes);
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

  download_plan plan_;
  std::string claim_;                 ///< skep-guest's summary, a claim of the sandbox.
  std::function<void()> again_;       ///< The step inside that is under way.
  std::uint32_t failures_ = 0;        ///< Of that step.
  std::uint32_t diffs_ = 0;           ///< Attempts at the difference.
  std::chrono::milliseconds began_{}; ///< On the boot-time clock.
};

} // namespace

child_spec download_child(context_ptr context, download_plan plan) {
  auto deadline = context->svc->limits.download_deadline;
  return transfer_child<download_impl>(std::move(context), std::move(plan), deadline);
}

} // namespace skep::actors
