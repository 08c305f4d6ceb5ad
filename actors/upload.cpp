#include "actors/output_log.hpp"
#include "actors/results_dir.hpp"
#include "actors/transfer_base.hpp"
#include "actors/upload_parts.hpp"

#include <algorithm>
#include <set>

namespace skep::actors {
namespace {

class upload_impl : public transfer_base {
public:
  upload_impl(caf::actor_config& cfg, context_ptr context, upload_plan plan)
      // Copied, not moved: in which order the arguments are made is for the compiler to choose.
      : upload_impl(cfg, std::move(context), plan, upload_pieces{*plan.bundle}) {}

private:
  upload_impl(caf::actor_config& cfg, context_ptr context, const upload_plan& plan,
              upload_pieces pieces)
      : transfer_base(cfg, std::move(context), plan.transfer,
                      pieces.resumable() ? std::string{inside::inbox} + "/worktree"
                                         : own_folder(inside::inbox, plan.transfer),
                      pieces.resumable()),
        plan_(plan), pieces_(std::move(pieces)) {}

  // What an earlier attempt left goes, but for parts that have arrived: no agent runs yet.
  void start() override {
    began_ = context().svc->boot_now();
    remove_then(std::string{inside::repo}, "upload", [this] {
      remove_then(std::string{inside::trees}, "upload", [this] {
        if (pieces_.resumable()) return look();
        remove_then(std::string{inside::inbox}, "upload", [this] { look(); });
      });
    });
  }

  // ---- sending: what is missing, piece by piece, until a look finds all of it inside
  void look() {
    if (!pieces_.resumable()) {
      missing_ = pieces_.missing(json::object());
      return send_next();
    }
    guest_then({"parts", "--dir", remote_dir()}, limits().unpack, "upload",
               [this](const json& answer) {
                 missing_ = pieces_.missing(answer);
                 looked();
               });
  }

  void looked() {
    if (missing_.empty()) return unpack();
    for (auto i : missing_)
      if (sent_.count(i) > 0)
        return fail(make_error(errc::verification,
                               "part " + pieces_.all()[i].name + " is another one inside"),
                    "verify");
    tell_progress();
    send_next();
  }

  void send_next() {
    if (missing_.empty()) return pieces_.resumable() ? look() : unpack();
    const auto& piece = pieces_.all()[missing_.front()];
    send_then(
        piece.from, remote_dir() + "/" + piece.name,
        [this](std::uint64_t sent) { tell_progress(sent); },
        [this](const result<void>& r) {
          if (!r) return try_again(r.err());
          sent_bytes_ += pieces_.all()[missing_.front()].bytes;
          sent_.insert(missing_.front());
          missing_.erase(missing_.begin());
          failures_ = 0;
          // One in one piece that is over at once has its end to tell, and nothing before it.
          if (pieces_.resumable() || elapsed() >= limits().upload_progress) tell_progress();
          send_next();
        });
  }

  std::chrono::milliseconds elapsed() const { return context().svc->boot_now() - began_; }

  // The piece that was under way goes again, from its start; those before it are inside.
  void try_again(const error& why) {
    if (!retriable(why) || ++failures_ >= limits().upload_tries) return fail(why, "upload");
    later(limits().upload_wait * (1u << (failures_ - 1)), [this] { send_next(); });
  }

  /// `under_way`: bytes of the first missing piece that are sent, but not known to be inside.
  void tell_progress(std::uint64_t under_way = 0) {
    under_way = missing_.empty() ? 0 : std::min(under_way, pieces_.all()[missing_.front()].bytes);
    transfer_progress x;
    x.transfer = plan_.transfer;
    x.parts = static_cast<std::uint32_t>(pieces_.all().size());
    x.parts_done = x.parts - static_cast<std::uint32_t>(missing_.size());
    x.size_bytes = pieces_.bytes();
    x.done_bytes = x.size_bytes;
    for (auto i : missing_)
      x.done_bytes -= pieces_.all()[i].bytes;
    x.done_bytes += under_way;
    x.sent_bytes = sent_bytes_ + under_way;
    x.elapsed_ms = elapsed().count();
    note(context().recorder(), context().svc->wall_now(), x);
  }

  void unpack() {
    auto words = pieces_.archive_words(remote_dir());
    words.insert(words.begin(), "unpack");
    words.insert(words.end(), {"--dest", std::string{inside::repo}});
    guest_then(std::move(words), limits().unpack, "unpack",
               [this](const json& answer) { check(answer); });
  }

  // Exact: number of files, bytes, and the hash of the whole manifest (row S1-16).
  void check(const json& answer) {
    const auto& sent = *plan_.bundle;
    auto arrived = read_arrived(answer);
    if (!arrived) return fail(arrived.err(), "verify");
    const auto& [files, size, hash] = *arrived;
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
    if (auto pack = pieces_.head_pack_words(remote_dir()); !pack.empty()) {
      args.insert(args.end(), {"--head", plan_.bundle->head});
      args.insert(args.end(), pack.begin(), pack.end());
    }
    guest_then(std::move(args), limits().unpack, "base", [this](const json& answer) {
      auto base = read_guest_base(answer);
      if (!base) return fail(base.err(), "base");
      done_.base_commit = base->commit;
      done_.is_head = base->is_head;
      if (context().spec->setup.empty()) return make_tree(0);
      open_log();
    });
  }

  // ---- the setup: a command of the user's, in the tree that was uploaded, before the work trees
  // are made from it. What it says is a file among the results.
  void open_log() {
    in_pool_then<output_log>(
        "setup",
        [svc = context().svc, spec = context().spec, swarm = context().swarm,
         name = setup_log_name(context()),
         secrets = context().svc->known_secrets()]() -> result<output_log> {
          auto place = results_dir(*svc, *spec, swarm);
          if (!place) return place.err();
          auto file = place->dir / name;
          std::error_code ec; // what an earlier attempt left
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
    // One that took too long: the client's words name the command and its limit.
    if (!r || !r->exited || r->exit_code != 0)
      return fail(make_error(errc::setup_failed, r ? r->status : r.err().message, tail_), "setup");
    // What it changed and git does not ignore is the base: no agent's doing.
    guest_then({"settle", "--repo", std::string{inside::repo}}, limits().unpack, "setup",
               [this](const json& answer) {
                 auto base = read_guest_base(answer);
                 if (!base) return fail(base.err(), "setup");
                 if (base->changed) {
                   done_.is_head = false;
                   done_.base_commit = base->commit;
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
  upload_pieces pieces_;
  std::vector<std::size_t> missing_; ///< Pieces that are not inside, as far as is known.
  std::set<std::size_t> sent_;       ///< Pieces that this attempt sent whole.
  std::uint64_t sent_bytes_ = 0;
  std::uint32_t failures_ = 0;        ///< In a row.
  std::chrono::milliseconds began_{}; ///< On the boot-time clock.
  transfer_ending done_;
  std::optional<output_log> log_; ///< While the setup runs.
  std::string tail_;              ///< The last it said.
};

} // namespace

std::string setup_log_name(const sandbox_context& context) {
  if (context.spec->sandboxes == 1) return "setup.log";
  return "setup-" + std::to_string(context.index) + ".log";
}

child_spec upload_child(context_ptr context, upload_plan plan) {
  std::chrono::milliseconds deadline = context->svc->limits.upload_deadline;
  if (!context->spec->setup.empty()) deadline += context->svc->limits.setup;
  return transfer_child<upload_impl>(std::move(context), std::move(plan), deadline);
}

} // namespace skep::actors
