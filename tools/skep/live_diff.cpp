#include "tools/skep/live_diff.hpp"

#include "messages/nesting.hpp"
#include "storage/files.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/provider_ask.hpp"
#include "transfer/results.hpp"
#include "transfer/scan.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <filesystem>

namespace skep::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// For an error of the call itself to arrive, which says more than that none came.
constexpr auto last_words = 10s;

// Where things lie inside, as actors/domain.hpp says.
constexpr const char* skep_inside = "/home/user/.skep";
constexpr const char* trees_inside = "/home/user/work/";
constexpr const char* repo_inside = "/home/user/repo";

/// What skep-guest said: a line of JSON, a claim of the sandbox.
result<std::string> answer_of(const result<sandbox::command_result>& r) {
  if (!r) return r.err();
  auto line = r->stdout_data.substr(0, r->stdout_data.find('\n'));
  if (r->exited && r->exit_code == 0) {
    if (r->stdout_truncated && line.size() == r->stdout_data.size())
      return make_error(errc::protocol, "the answer of skep-guest diff is cut off");
    return line;
  }
  auto j = nested_too_deep(line) ? json{} : json::parse(line, nullptr, false);
  auto text = j.is_object() ? j.value("message", json{}) : json{};
  auto said = text.is_string() ? text.get<std::string>() : r->status + " " + r->stderr_data;
  return make_error(errc::remote_command_failed, "skep-guest diff", said.substr(0, 500));
}

class looking {
public:
  /// `upload`: what the pane began with; compared with where it is still there.
  /// `limits`: of the daemon's downloads; the time of all that is done here begins now.
  looking(sandbox::api& api, sandbox::remote where, std::string guest, std::string upload,
          const actors::policies& limits)
      : api_(api), where_(std::move(where)), guest_(std::move(guest)), upload_(std::move(upload)),
        folder_(std::string{skep_inside} + "/look/" + random_token(12)), limits_(limits) {}
  looking(const looking&) = delete;
  ~looking() {
    static_cast<void>(wait_for<void>(
        call_deadline, [&](auto then) { api_.remove(where_, folder_, {}, std::move(then)); }));
  }

  /// What a tree has changed since `base`, checked, in `into`.
  result<void> at(const std::string& tree, const std::string& base, const std::string& name,
                  const fs::path& into) {
    sandbox::command diff;
    diff.argv = {guest_,   "diff", "--look", "--tree", tree,     "--base",   base,
                 "--name", name,   "--out",  folder_,  "--repo", repo_inside};
    diff.limit = std::min<std::chrono::milliseconds>(limits_.collect, left());
    auto claim = answer_of(wait_for<sandbox::command_result>(
        diff.limit + last_words, [&](auto then) { api_.run(where_, diff, std::move(then)); }));
    if (!claim) return with_limits(claim.err());
    auto raw = into / "raw";
    std::error_code failed;
    fs::create_directories(raw, failed);
    if (failed) return make_error(errc::io, "cannot make " + raw.string(), failed.message());
    auto summary = summary_of(*claim, name + ".json", raw);
    if (!summary) return summary.err();
    for (const char* ending : {".patch", ".tar"})
      if (auto got = fetch(name + ending, raw); !got) return got;
    auto kept =
        transfer::collect_pane((raw / (name + ".patch")).string(), (raw / (name + ".tar")).string(),
                               into.string(), name, *summary, {}, raw.string(), upload_);
    if (!kept) return kept.err();
    return {};
  }

private:
  /// From the file that the answer announces, or from the answer.
  result<transfer::diff_summary> summary_of(const std::string& claim, const std::string& name,
                                            const fs::path& to) {
    auto answer = nested_too_deep(claim) ? json{} : json::parse(claim, nullptr, false);
    auto announced = transfer::parse_summary_file(answer);
    if (!announced) return announced.err();
    if (!*announced) return transfer::parse_diff_summary(claim);
    if (auto got = fetch(name, to); !got) return got.err();
    return transfer::read_diff_summary((to / name).string(), **announced);
  }

  result<void> fetch(const std::string& name, const fs::path& to) {
    sandbox::call_options within;
    within.deadline = left();
    auto got = wait_for<std::uint64_t>(within.deadline + last_words, [&](auto then) {
      api_.download_file(where_, folder_ + "/" + name, to / name, limits_.download_cap_bytes,
                         within, std::move(then));
    });
    if (!got) return with_limits(got.err());
    return {};
  }

  /// Of the time of all of it. Never 0, which would mean the policy of a single call.
  std::chrono::milliseconds left() const {
    using std::chrono::milliseconds;
    const auto past = std::chrono::duration_cast<milliseconds>(clock::now() - began_);
    return std::max(milliseconds{limits_.download_deadline} - past, 1ms);
  }

  /// Says what can be set so that the same takes longer.
  error with_limits(error e) const {
    if (e.code == errc::timed_out)
      e.message += (e.message.empty() ? "" : "; ") + std::string{"[policy] collect_s = "}
                   + std::to_string(limits_.collect.count()) + " and download_deadline_s = "
                   + std::to_string(limits_.download_deadline.count()) + " bound it";
    return e;
  }

  using clock = std::chrono::steady_clock;
  sandbox::api& api_;
  sandbox::remote where_;
  std::string guest_, upload_, folder_;
  const actors::policies& limits_;
  const clock::time_point began_ = clock::now();
};

/// The program that the daemon put into the sandbox, by the one that lies beside us.
result<std::string> guest_inside() {
  auto program = beside_self("skep-guest");
  if (program.empty())
    return make_error(errc::program_missing, "skep-guest should stand beside skep");
  auto digest = transfer::sha256_of_file(program);
  if (!digest) return digest.err();
  return std::string{skep_inside} + "/bin/" + digest->substr(0, 16) + "/skep-guest";
}

/// What of a run is needed for a look at one of its panes.
struct pane_place {
  sandbox_record box;
  std::string repo; ///< The user's work tree.
};

result<pane_place> sandbox_of(broker::control_client& daemon, const found_pane& pane) {
  auto status = daemon.call(status_request{pane.swarm}, call_deadline);
  if (!status) return status.err();
  for (const auto& box : status->sandboxes) {
    const bool there = box.state < phase::closed || box.kept;
    if (box.sandbox == pane.sandbox && box.state >= phase::starting && there
        && !box.base_commit.empty() && !box.kill_intended)
      return pane_place{box, status->swarm.repo};
  }
  return make_error(errc::no_results, pane.name + " does not run");
}

} // namespace

result<live_results> look_at_running(const app& a, const std::string& target) {
  if (!target.starts_with("pn_") && target.find('/') == std::string::npos)
    return make_error(errc::no_results, target + " is no pane");
  auto paths = state_of(a);
  if (!paths) return paths.err();
  auto daemon = serve_daemon(*paths);
  if (!daemon) return daemon.err();
  auto pane = find_pane(*daemon, target);
  if (!pane) return pane.err();
  auto meant = sandbox_of(*daemon, *pane);
  if (!meant) return meant.err();
  const auto* box = &meant->box;
  auto settings = tools::load_config_of(paths->root);
  if (!settings) return settings.err();
  auto install = storage::look_at_install(*paths);
  if (!install) return install.err();
  auto guest = guest_inside();
  if (!guest) return guest.err();
  auto provider = provider_ask::of(box->provider, *settings, *paths, *install, call_deadline);
  if (!provider) return provider.err();
  auto there = wait_for<sandbox::detail>(
      call_deadline, [&](auto then) { provider->api().get(box->remote_id, std::move(then)); });
  if (!there) return there.err();
  if (auto made = storage::make_private_directory(paths->looks()); !made) return made.err();
  auto folder = transfer::swept_dir::make(paths->looks().string(), transfer::look_prefix);
  if (!folder) return folder.err();
  live_results out{std::move(*folder), {}, box->state == phase::closed};
  // As actors/results_dir.hpp says; a kept sandbox holds it (actors/work_files.hpp).
  auto upload = paths->root / "work" / pane->swarm.value / "worktree.tar";
  looking look{provider->api(), there->address, *guest, upload.string(), settings->policy.limits};
  auto name = pane->name;
  auto done = look.at(trees_inside + name, box->base_commit, name, out.folder.path());
  if (!done && done.err().code == errc::remote_command_failed) { // panes that share a tree
    name = "sandbox-" + std::to_string(box->index);
    if (auto shared = look.at(repo_inside, box->base_commit, name, out.folder.path()); shared)
      done = {};
  }
  if (!done) return done.err();
  auto found = results_in(out.folder.path());
  if (!found) return found.err();
  out.found = std::move(*found);
  out.scan = transfer::scan_results(out.folder.path(), name, meant->repo);
  return out;
}

} // namespace skep::cli
