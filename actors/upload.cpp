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
      make_tree(0);
    });
  }

  void make_tree(std::size_t n) {
    if (n == plan_.trees.size()) return all_done();
    const auto& tree = plan_.trees[n];
    guest_then({"worktree", "--repo", std::string{inside::repo}, "--name", tree, "--dest",
                context().tree_of(tree), "--base", done_.base_commit},
               limits().unpack, "worktree", [this, n](const json&) { make_tree(n + 1); });
  }

  void all_done() {
    done_.files = plan_.bundle->files;
    done_.size_bytes = plan_.bundle->size_bytes;
    done_.sha256 = plan_.bundle->manifest_sha256;
    finish(done_);
  }

  upload_plan plan_;
  transfer_ending done_;
};

} // namespace

child_spec upload_child(context_ptr context, upload_plan plan) {
  auto deadline = context->svc->limits.upload_deadline;
  return transfer_child<upload_impl>(std::move(context), std::move(plan), deadline);
}

} // namespace skep::actors
