#include "actors/output_log.hpp"
#include "actors/transfer_base.hpp"

namespace skep::actors {
namespace {

class upload_impl : public transfer_base {
public:
  upload_impl(caf::actor_config& cfg, context_ptr context, upload_plan plan)
      : transfer_base(cfg, std::move(context), plan.transfer, inside::inbox),
        plan_(std::move(plan)) {}

private:
  std::string archive() const { return remote_dir() + "/worktree.tar"; }
  std::string head_pack() const { return remote_dir() + "/head.pack"; }

  // What an earlier attempt left, its own folder in the inbox included: no agent runs yet.
  void start() override {
    remove_then(std::string{inside::inbox}, "upload", [this] {
      remove_then(std::string{inside::repo}, "upload", [this] {
        remove_then(std::string{inside::trees}, "upload", [this] { send(); });
      });
    });
  }

  void send() {
    upload_then(plan_.bundle->archive, archive(), [this] {
      if (plan_.bundle->head_pack.empty()) return unpack();
      upload_then(plan_.bundle->head_pack, head_pack(), [this] { unpack(); });
    });
  }

  void unpack() {
    guest_then({"unpack", "--archive", archive(), "--dest", std::string{inside::repo}},
               limits().unpack, "unpack", [this](const json& answer) { check(answer); });
  }

  // Exact: number of files, bytes, and the hash of the whole manifest (row S1-16).
  void check(const json& answer) {
    const auto& sent = *plan_.bundle;
    auto files = answer.value("files", std::uint64_t{0});
    auto size = answer.value("size_bytes", std::uint64_t{0});
    auto hash = answer.value("manifest_sha256", std::string{});
    if (files != sent.files || size != sent.size_bytes || hash != sent.manifest_sha256)
      return fail(make_error(errc::verification,
                             "sent " + std::to_string(sent.files) + " files, "
                                 + std::to_string(sent.size_bytes) + " bytes; arrived "
                                 + std::to_string(files) + " files, " + std::to_string(size)
                                 + " bytes"
                                 + (hash == sent.manifest_sha256 ? "" : ", contents differ")),
                  "verify");
    make_base();
  }

  void make_base() {
    std::vector<std::string> args = {"base", "--repo", std::string{inside::repo}};
    if (!plan_.bundle->head_pack.empty())
      args.insert(args.end(), {"--head", plan_.bundle->head, "--head-pack", head_pack()});
    guest_then(std::move(args), limits().unpack, "base", [this](const json& answer) {
      done_.base_commit = answer.value("commit", std::string{});
      done_.is_head = answer.value("is_head", false);
      if (context().spec->setup.empty()) return make_tree(0);
      open_log();
    });
  }

  // ---- the setup: a command of the user's, in the tree that was uploaded, before the work trees
  // are made from it. What it says is a file among the results.
  void open_log() {
    in_pool_then<output_log>(
        "setup",
        [file = setup_log_path(context()), secrets = context().svc->known_secrets()] {
          std::error_code ec; // what an earlier attempt left
          std::filesystem::create_directories(file.parent_path(), ec);
          std::filesystem::remove(file, ec);
          return output_log::open(file, masked_forms(secrets));
        },
        [this](output_log log) {
          log_.emplace(std::move(log));
          run_setup();
        });
  }

  void run_setup() {
    sandbox::command what;
    what.argv = context().spec->setup;
    what.env = context().spec->env;
    what.cwd = inside::repo;
    what.tag = setup_tag;
    what.limit = limits().setup;
    stream_then(
        std::move(what), [this](const std::string& bytes) { keep(bytes); },
        [this](const result<sandbox::command_result>& r) { setup_ended(r); });
  }

  void keep(const std::string& bytes) {
    auto room = limits().setup_log_bytes - std::min(limits().setup_log_bytes, log_->expected());
    if (auto r = log_->append(log_->expected(), std::string_view{bytes}.substr(0, room)); r)
      said(*r);
  }

  void said(const std::string& masked) {
    constexpr std::size_t shown_bytes = 300;
    tail_ += masked;
    if (tail_.size() > shown_bytes) tail_.erase(0, tail_.size() - shown_bytes);
  }

  void setup_ended(const result<sandbox::command_result>& r) {
    if (auto rest = log_->finish(); rest) said(*rest);
    log_.reset();
    if (!r && r.err().code != errc::timed_out) return fail(r.err(), "setup");
    auto took_too_long = "no end within " + std::to_string(limits().setup.count()) + " s";
    if (!r || !r->exited || r->exit_code != 0)
      return fail(make_error(errc::setup_failed, r ? r->status : took_too_long, tail_), "setup");
    // What it changed and git does not ignore is the base: no agent's doing.
    guest_then({"settle", "--repo", std::string{inside::repo}}, limits().unpack, "setup",
               [this](const json& answer) {
                 if (answer.value("changed", false)) {
                   done_.is_head = false;
                   done_.base_commit = answer.value("commit", std::string{});
                 }
                 make_tree(0);
               });
  }

  void make_tree(std::size_t n) {
    if (n == plan_.trees.size()) return all_done();
    const auto& tree = plan_.trees[n];
    std::vector<std::string> args = {"worktree",
                                     "--repo",
                                     std::string{inside::repo},
                                     "--name",
                                     tree,
                                     "--dest",
                                     context().tree_of(tree),
                                     "--base",
                                     done_.base_commit};
    if (!context().spec->setup.empty()) args.insert(args.end(), {"--ignored", "copy"});
    guest_then(std::move(args), limits().unpack, "worktree",
               [this, n](const json&) { make_tree(n + 1); });
  }

  void all_done() {
    done_.files = plan_.bundle->files;
    done_.size_bytes = plan_.bundle->size_bytes;
    done_.sha256 = plan_.bundle->manifest_sha256;
    finish(done_);
  }

  upload_plan plan_;
  transfer_ending done_;
  std::optional<output_log> log_; ///< While the setup runs.
  std::string tail_;              ///< The last it said.
};

} // namespace

std::filesystem::path setup_log_path(const sandbox_context& context) {
  auto folder = std::filesystem::path{context.spec->out_dir} / context.swarm.value;
  if (context.spec->sandboxes == 1) return folder / "setup.log";
  return folder / ("setup-" + std::to_string(context.index) + ".log");
}

child_spec upload_child(context_ptr context, upload_plan plan) {
  std::chrono::milliseconds deadline = context->svc->limits.upload_deadline;
  if (!context->spec->setup.empty()) deadline += context->svc->limits.setup;
  return transfer_child<upload_impl>(std::move(context), std::move(plan), deadline);
}

} // namespace skep::actors
