#include "transfer/apply.hpp"

#include "transfer/apply_stage.hpp"
#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"
#include "transfer/tree_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace skep::transfer {
namespace {

using fate = taken_path::what;

constexpr int max_attempts = 3;   // when somebody writes into the tree meanwhile
constexpr int max_copy_names = 9; // PATH.skep-p0, PATH.skep-p0.2, ...

bool same_content(const file_entry& a, const file_entry& b) {
  return a.type == b.type && a.mode == b.mode && a.sha256 == b.sha256;
}

/// What a path holds, or shall hold: on disk, after the panes before, after this one.
struct version {
  seen::kind is = seen::kind::absent;
  file_entry entry;
  std::string source; ///< File with that content.
  bool absent() const { return is == seen::kind::absent; }
  bool present() const { return is == seen::kind::entry; }
  bool regular() const { return present() && entry.type == file_entry::kind::file; }
  bool is_just(const file_entry* e) const {
    return e ? present() && same_content(entry, *e) : absent();
  }
};

class taker {
public:
  taker(const std::string& dir, const kept_base& base, const take_options& o, int root,
        std::string scratch)
      : dir_(dir), base_(base), o_(o), root_(root), scratch_(std::move(scratch)) {}

  result<void> plan(const kept_pane& pane) {
    pane_ = &pane;
    for (const auto& path : pane.summary.deleted)
      if (auto done = remove(path); !done) return done;
    std::map<std::string, std::string> later; // renamed and changed here: new name -> old name
    for (const auto& [from, to] : pane.summary.renamed) {
      auto l = local(from);
      if (!l) return l.err();
      if (o_.mode == take_mode::patch && l->regular() && !l->is_just(base_.find(from)))
        later[to] = from;
      else if (auto done = remove(from); !done)
        return done;
    }
    for (const auto* list : {&pane.summary.modified, &pane.summary.added})
      for (const auto& path : *list)
        if (auto done = write(path); !done) return done;
    for (const auto& [from, to] : pane.summary.copied)
      if (auto done = write(to); !done) return done;
    for (const auto& [from, to] : pane.summary.renamed) {
      auto moved = later.find(to);
      auto done = moved == later.end() ? write(to) : write_renamed(from, to);
      if (!done) return done;
    }
    return {};
  }

  result<void> carry_out() {
    auto writer = tree_writer::open(o_.root);
    if (!writer) return writer.err();
    for (const auto& [path, v] : overlay_) {
      auto before = look_at(root_, path);
      if (!before) return before.err();
      // Changed since it was planned: the plan is made anew.
      if (auto planned = seen_.find(path);
          planned != seen_.end()
          && (planned->second.is != before->is
              || (before->is == seen::kind::entry
                  && !same_content(before->entry, planned->second.entry))))
        return make_error(errc::exists, shown_path(path));
      bool there = before->is == seen::kind::entry;
      if (v.absent()) {
        if (there) writer->stage_delete(path, *before);
      } else if (!there || !same_content(before->entry, v.entry)) {
        auto staged = writer->stage_write(path, v.entry, v.source, *before);
        if (!staged) return staged;
      }
    }
    return writer->commit();
  }

  take_report report;

private:
  // -- what is there ------------------------------------------------------------------------------

  result<version> local(const std::string& path) {
    if (auto i = overlay_.find(path); i != overlay_.end() && !i->second.absent()) return i->second;
    version out;
    bool children = brings_below(path);
    if (children) {
      out.is = seen::kind::directory;
      return out;
    }
    if (overlay_.contains(path)) return out;
    bool freed = false; // a file above goes, so that a folder may come
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      auto above = overlay_.find(path.substr(0, slash));
      if (above == overlay_.end()) continue;
      if (!above->second.absent()) {
        out.is = seen::kind::blocked;
        return out;
      }
      freed = true;
    }
    auto s = look(path);
    if (!s) return s.err();
    out.is = s->is;
    if (s->is == seen::kind::entry) {
      out.entry = s->entry;
      out.source = o_.root + "/" + path;
    } else if (s->is == seen::kind::blocked && freed) {
      out.is = seen::kind::absent;
    } else if (s->is == seen::kind::directory && vanishes(path)) {
      out.is = seen::kind::absent;
    }
    return out;
  }

  result<seen> look(const std::string& path) {
    if (auto i = seen_.find(path); i != seen_.end()) return i->second;
    auto s = look_at(root_, path);
    if (!s) return s.err();
    seen_[path] = *s;
    return s;
  }

  bool brings_below(const std::string& path) const {
    auto prefix = path + "/";
    for (auto i = overlay_.lower_bound(prefix); i != overlay_.end() && i->first.starts_with(prefix);
         ++i)
      if (!i->second.absent()) return true;
    return false;
  }

  /// Nothing but files that go lies below this folder.
  bool vanishes(const std::string& path) const {
    std::error_code failed;
    std::filesystem::directory_iterator i{o_.root + "/" + path, failed}, end;
    if (failed) return false;
    for (; !failed && i != end; i.increment(failed)) {
      auto below = path + "/" + i->path().filename().string();
      auto goes = overlay_.find(below);
      if (goes != overlay_.end() && goes->second.absent()) continue;
      std::error_code ignored;
      if (!i->is_directory(ignored) || i->is_symlink(ignored)) return false;
      if (std::filesystem::is_empty(i->path(), ignored) || !vanishes(below)) return false;
    }
    return !failed;
  }

  // -- deciding -----------------------------------------------------------------------------------

  void say(const std::string& path, fate became, std::string copy = {}, std::string reason = {}) {
    report.paths.push_back({pane_->name, path, became, std::move(copy), std::move(reason)});
  }

  result<void> remove(const std::string& path) {
    auto l = local(path);
    if (!l) return l.err();
    if (l->absent() || l->is == seen::kind::directory || l->is == seen::kind::blocked) {
      say(path, fate::unchanged); // no file of this name is there
    } else if (const auto* b = base_.find(path); b && l->is_just(b)) {
      overlay_[path] = {};
      say(path, fate::deleted);
    } else {
      auto other = taken_by_.find(path);
      say(path, fate::conflict, {},
          other == taken_by_.end() ? "deleted by the agent, changed here"
                                   : "deleted by the agent, changed by " + other->second);
    }
    return {};
  }

  result<void> write(const std::string& path) {
    auto r = result_at(path);
    if (!r) return r.err();
    auto l = local(path);
    if (!l) return l.err();
    const auto* b = base_.find(path);
    if (l->is_just(&r->entry)) {
      say(path, fate::unchanged);
    } else if (l->is_just(b)) {
      take(path, *r, fate::written);
    } else if (o_.mode == take_mode::patch && l->regular() && b) {
      return merge(path, path, *l, *b, *r);
    } else {
      return conflict(path, *r, *l, b);
    }
    return {};
  }

  result<void> write_renamed(const std::string& from, const std::string& to) {
    auto r = result_at(to);
    if (!r) return r.err();
    auto l = local(from), there = local(to);
    if (!l || !there) return !l ? l.err() : there.err();
    const auto* b = base_.find(from);
    if (!b || !there->is_just(base_.find(to))) return conflict(to, *r, *there, b);
    return merge(from, to, *l, *b, *r);
  }

  void take(const std::string& path, const version& v, fate became) {
    overlay_[path] = v;
    taken_by_[path] = pane_->name;
    say(path, became);
  }

  result<version> result_at(const std::string& path) {
    const auto* e = pane_->find(path);
    if (!e)
      return make_error(errc::results_changed,
                        shown_path(path) + " of " + pane_->name + " is announced and not recorded");
    version out;
    out.is = seen::kind::entry;
    out.entry = *e;
    out.source = pane_->files_dir + "/" + path;
    return out;
  }

  result<void> merge(const std::string& from, const std::string& to, const version& l,
                     const file_entry& b, const version& r) {
    auto original = dir_ + "/base/" + from;
    if (b.type != file_entry::kind::file || !r.regular()) return conflict(to, r, l, &b);
    if (auto h = sha256_of_file(original); !h || *h != b.sha256) {
      refuse(to, r, "changed here, and its original is kept only when the swarm has ended");
      return {};
    }
    auto out = scratch_ + "/" + std::to_string(++merges_);
    auto merged = merge_files(l.source, original, r.source, out);
    if (!merged) return merged.err();
    if (!*merged) return conflict(to, r, l, &b);
    auto hash = sha256_of_file(out);
    if (!hash) return hash.err();
    version v = l;
    v.entry.path = to;
    v.entry.sha256 = *hash;
    v.source = out;
    if (r.entry.mode != b.mode) v.entry.mode = r.entry.mode;
    if (from != to) {
      overlay_[from] = {};
      say(from, fate::deleted);
    }
    take(to, v, fate::merged);
    return {};
  }

  result<void> conflict(const std::string& path, const version& r, const version& l,
                        const file_entry* b) {
    std::string reason = "changed here and by the agent";
    if (auto other = taken_by_.find(path); other != taken_by_.end())
      reason = "changed by " + other->second + ", too";
    else if (l.is == seen::kind::directory)
      reason = "a folder here, a file of the agent";
    else if (l.is == seen::kind::blocked)
      reason = "something above it is no folder here";
    else if (l.is == seen::kind::other)
      reason = "neither a file nor a symlink here";
    else if (l.absent())
      reason = "deleted here, changed by the agent";
    else if (!b)
      reason = "new here and from the agent";
    if (o_.mode == take_mode::patch) {
      refuse(path, r, reason);
      return {};
    }
    for (int n = 1; n <= max_copy_names; ++n) {
      auto copy = path + ".skep-" + pane_->name + (n == 1 ? "" : "." + std::to_string(n));
      if (!safe_relative(copy)) break;
      auto there = local(copy);
      if (!there) return there.err();
      if (there->absent()) overlay_[copy] = r;
      if (there->absent() || there->is_just(&r.entry)) {
        say(path, fate::conflict, copy, reason);
        return {};
      }
    }
    refuse(path, r, reason);
    return {};
  }

  /// The pane's version stays where the results are.
  void refuse(const std::string& path, const version& r, std::string reason) {
    say(path, fate::conflict, r.source, std::move(reason));
  }

  const std::string& dir_;
  const kept_base& base_;
  const take_options& o_;
  int root_;
  std::string scratch_;
  const kept_pane* pane_ = nullptr;
  std::map<std::string, version> overlay_; ///< What shall be; absent: shall go.
  std::map<std::string, std::string>
      taken_by_; ///< Of paths that are written: the last pane's name.
  std::map<std::string, seen> seen_;
  std::size_t merges_ = 0;
};

/// Every plan was out of date before it could be carried out.
error keeps_changing(const std::string& path) {
  return make_error(
      errc::apply_conflict,
      path + " keeps changing; nothing was written, stop what writes there and repeat");
}

} // namespace

std::string_view to_string(taken_path::what x) {
  switch (x) {
  case fate::written:
    return "written";
  case fate::merged:
    return "merged";
  case fate::deleted:
    return "deleted";
  case fate::unchanged:
    return "unchanged";
  case fate::conflict:
    return "conflict";
  }
  return "?";
}

std::size_t take_report::count(taken_path::what x) const {
  return static_cast<std::size_t>(
      std::count_if(paths.begin(), paths.end(), [&](const auto& p) { return p.became == x; }));
}

result<bool> merge_files(const std::string& ours, const std::string& base,
                         const std::string& theirs, const std::string& out) {
  unique_fd to{::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  if (!to) return io_error(out, errno);
  // In a folder of its own, whose parents may lie in a repository that is none of this.
  auto folder = out.substr(0, out.rfind('/'));
  program p;
  p.argv = {"git", "merge-file", "-p", "-q", "--", ours, base, theirs};
  p.environment = git_environment();
  p.environment->insert(p.environment->end(),
                        {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
                         "GIT_CEILING_DIRECTORIES=" + folder.substr(0, folder.rfind('/'))});
  p.working_dir = folder;
  p.stdout_fd = to.get();
  auto ran = run_program(p);
  if (!ran) return ran.err();
  return ran->good(); // more: conflicts; 255: not text
}

result<take_report> take_over(const std::string& dir, const kept_base& base,
                              const std::vector<kept_pane>& panes, const take_options& options) {
  for (const auto& pane : panes)
    if (auto good = check_kept(pane); !good) return good.err();
  auto root = open_root(options.root);
  if (!root) return root.err();
  // A plan would take what lies there for deleted here.
  if (auto clear = refuse_unfinished(root->get(), options.root); !clear) return clear.err();
  for (int attempt = 1;; ++attempt) {
    auto scratch = temp_dir::make();
    if (!scratch) return scratch.err();
    taker t{dir, base, options, root->get(), scratch->path()};
    for (const auto& pane : panes)
      if (auto planned = t.plan(pane); !planned) return planned.err();
    bool nothing = options.check_only || (options.mode == take_mode::patch && t.report.conflicts());
    if (nothing) return std::move(t.report);
    auto done = t.carry_out();
    if (done) return std::move(t.report);
    if (done.err().code != errc::exists) return done.err();
    if (attempt == max_attempts) return keeps_changing(done.err().message);
  }
}

} // namespace skep::transfer
