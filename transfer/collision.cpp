#include "transfer/collision.hpp"

#include "transfer/apply.hpp"

#include <algorithm>
#include <map>

namespace skep::transfer {
namespace {

struct touch {
  std::size_t pane = 0;
  const file_entry* result = nullptr; ///< None: it is gone.
};
using touches = std::map<std::string, std::vector<touch>>;

touches touches_of(const std::vector<kept_pane>& panes) {
  touches out;
  for (std::size_t i = 0; i < panes.size(); ++i) {
    const auto& s = panes[i].summary;
    for (const auto& p : panes[i].removed())
      out[p].push_back({i, nullptr});
    for (const auto* list : {&s.modified, &s.added})
      for (const auto& p : *list)
        out[p].push_back({i, panes[i].find(p)});
    for (const auto* list : {&s.renamed, &s.copied})
      for (const auto& [from, to] : *list)
        out[to].push_back({i, panes[i].find(to)});
  }
  return out;
}

bool alike(const file_entry* a, const file_entry* b) {
  if (!a || !b) return a == b;
  return a->type == b->type && a->mode == b->mode && a->sha256 == b->sha256;
}

bool regular_file(const file_entry* e) {
  return e && e->type == file_entry::kind::file;
}

/// A file of one pane where another pane's path needs a folder.
std::set<std::string> crossed_paths(const touches& all) {
  std::set<std::string> out;
  for (const auto& [path, who] : all)
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      auto above = all.find(path.substr(0, slash));
      if (above == all.end()) continue;
      for (const auto& a : above->second)
        for (const auto& b : who)
          if (a.pane != b.pane && a.result && b.result) {
            out.insert(above->first);
            out.insert(path);
          }
    }
  return out;
}

class comparer {
public:
  comparer(const std::string& dir, const kept_base& base, const std::vector<kept_pane>& panes,
           const std::set<std::string>* with, const collision_limits& limits, std::string scratch)
      : dir_(dir), base_(base), panes_(panes), with_(with), limits_(limits),
        scratch_(std::move(scratch)) {}

  result<collisions_found> run() {
    all_ = touches_of(panes_);
    crossed_ = crossed_paths(all_);
    for (const auto& [path, who] : all_)
      if (who.size() > 1 && concerns(who)) shared_.insert(path);
    for (const auto& path : crossed_)
      if (concerns(all_.at(path))) shared_.insert(path);
    if (auto done = merge_all(); !done) return done.err();
    for (const auto& path : shared_)
      if (auto done = judge(path); !done) return done.err();
    std::stable_sort(out_.list.begin(), out_.list.end(),
                     [](const collision& a, const collision& b) { return a.level > b.level; });
    if (out_.list.size() > limits_.listed) {
      out_.left_out += out_.list.size() - limits_.listed;
      out_.list.resize(limits_.listed);
    }
    return std::move(out_);
  }

private:
  bool concerns(const std::vector<touch>& who) const {
    return !with_ || std::any_of(who.begin(), who.end(), [&](const touch& t) {
      return with_->contains(panes_[t.pane].name);
    });
  }

  bool may_run() { return ++programs_ <= limits_.programs; }

  // -- the order ----------------------------------------------------------------------------------

  result<void> merge_all() {
    std::vector<std::size_t> meets(panes_.size());
    for (const auto& path : shared_)
      for (const auto& t : all_.at(path))
        ++meets[t.pane];
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < panes_.size(); ++i)
      if (!panes_[i].summary.empty()) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return meets[a] < meets[b]; });
    for (auto pane : order) {
      auto fits = merge_pane(pane);
      if (!fits) return fits.err();
      (*fits ? out_.order : out_.unmergeable).push_back(panes_[pane].name);
      if (!*fits) rejected_.insert(pane);
    }
    out_.order.insert(out_.order.end(), out_.unmergeable.begin(), out_.unmergeable.end());
    return {};
  }

  struct merged_state {
    const file_entry* result = nullptr;
    std::string source;   ///< Empty: gone.
    bool changed = false; ///< By a merge: no longer exactly `result`.
  };

  result<bool> merge_pane(std::size_t pane) {
    std::map<std::string, merged_state> next;
    bool fits = true;
    for (const auto& [path, t] : shared_of(pane)) {
      merged_state mine{t.result, t.result ? panes_[pane].files_dir + "/" + path : "", false};
      auto before = merged_.find(path);
      if (t.result && crosses(path)) {
        failed_.insert(path);
        fits = false;
      } else if (before == merged_.end()) {
        next[path] = mine;
      } else if (!before->second.changed && alike(before->second.result, t.result)) {
        continue;
      } else {
        auto both = merge_two(path, before->second, mine);
        if (!both) return both.err();
        if (both->source.empty()) fits = false;
        if (both->source.empty())
          failed_.insert(path);
        else
          next[path] = std::move(*both);
      }
    }
    if (fits)
      for (auto& [path, state] : next)
        merged_[path] = std::move(state);
    return fits;
  }

  std::map<std::string, touch> shared_of(std::size_t pane) const {
    std::map<std::string, touch> out;
    for (const auto& path : shared_)
      for (const auto& t : all_.at(path))
        if (t.pane == pane) out[path] = t;
    return out;
  }

  /// Something accepted is a file above this path, or lies below it.
  bool crosses(const std::string& path) const {
    if (!crossed_.contains(path)) return false;
    auto there = [&](const merged_state& s) { return !s.source.empty(); };
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
      if (auto i = merged_.find(path.substr(0, slash)); i != merged_.end() && there(i->second))
        return true;
    auto prefix = path + "/";
    for (auto i = merged_.lower_bound(prefix); i != merged_.end() && i->first.starts_with(prefix);
         ++i)
      if (there(i->second)) return true;
    return false;
  }

  /// Without a source: they do not go together.
  result<merged_state> merge_two(const std::string& path, const merged_state& a,
                                 const merged_state& b) {
    const auto* origin = base_.find(path);
    merged_state out;
    if (!regular_file(origin) || !regular_file(a.result) || !regular_file(b.result)) return out;
    if (!may_run()) return out;
    auto file = scratch_ + "/" + std::to_string(++files_);
    auto merged = merge_files(a.source, dir_ + "/base/" + path, b.source, file);
    if (!merged) return merged.err();
    if (!*merged) return out;
    return merged_state{b.result, file, true};
  }

  // -- the paths ----------------------------------------------------------------------------------

  result<void> judge(const std::string& path) {
    const auto& who = all_.at(path);
    collision x;
    x.path = shown_path(path);
    std::set<std::size_t> names;
    for (const auto& t : who)
      names.insert(t.pane);
    if (crossed_.contains(path)) add_crossing(path, names);
    for (auto i : names)
      x.panes.push_back(panes_[i].name);
    bool all_same = std::all_of(who.begin(), who.end(),
                                [&](const touch& t) { return alike(t.result, who[0].result); });
    if (failed_.contains(path) || crossed_.contains(path)) {
      x.level = overlap::conflict;
    } else if (all_same) {
      x.level = overlap::same;
    } else {
      auto together = all_merge(path, who);
      if (!together) return together.err();
      auto meet = lines_meet(path, who);
      if (!meet) return meet.err();
      x.level = !*together ? overlap::conflict : *meet ? overlap::hunks : overlap::paths;
    }
    if (programs_ > limits_.programs)
      ++out_.left_out; // not looked at to the end
    else
      out_.list.push_back(std::move(x));
    return {};
  }

  /// Of panes that were passed over for another path's sake, this path was not merged yet.
  result<bool> all_merge(const std::string& path, const std::vector<touch>& who) {
    if (std::none_of(who.begin(), who.end(),
                     [&](const touch& t) { return rejected_.contains(t.pane); }))
      return true;
    merged_state all;
    for (std::size_t i = 0; i < who.size(); ++i) {
      const auto& t = who[i];
      merged_state mine{t.result, t.result ? panes_[t.pane].files_dir + "/" + path : "", false};
      if (i == 0) {
        all = mine;
      } else if (all.changed || !alike(all.result, t.result)) {
        auto both = merge_two(path, all, mine);
        if (!both) return both.err();
        if (both->source.empty()) return false;
        all = std::move(*both);
      }
    }
    return true;
  }

  void add_crossing(const std::string& path, std::set<std::size_t>& names) const {
    auto add = [&](const std::vector<touch>& who) {
      for (const auto& t : who)
        if (t.result) names.insert(t.pane);
    };
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
      if (auto i = all_.find(path.substr(0, slash)); i != all_.end()) add(i->second);
    auto prefix = path + "/";
    for (auto i = all_.lower_bound(prefix); i != all_.end() && i->first.starts_with(prefix); ++i)
      add(i->second);
  }

  result<bool> lines_meet(const std::string& path, const std::vector<touch>& who) {
    std::vector<std::pair<const file_entry*, std::vector<hunk_range>>> seen_before;
    for (const auto& t : who) {
      if (!may_run()) return true;
      program p;
      p.argv = {"git",
                "diff",
                "--no-index",
                "-U0",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--",
                dir_ + "/base/" + path,
                panes_[t.pane].files_dir + "/" + path};
      p.environment = git_environment();
      p.environment->insert(p.environment->end(),
                            {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
                             "GIT_CEILING_DIRECTORIES=" + scratch_.substr(0, scratch_.rfind('/'))});
      p.working_dir = scratch_;
      auto ran = run_program(p);
      if (!ran) return ran.err();
      auto ranges = read_hunks(ran->out);
      for (const auto& [other, theirs] : seen_before)
        if (!alike(other, t.result) && hunks_meet(ranges, theirs)) return true;
      seen_before.emplace_back(t.result, std::move(ranges));
    }
    return false;
  }

  const std::string& dir_;
  const kept_base& base_;
  const std::vector<kept_pane>& panes_;
  const std::set<std::string>* with_;
  const collision_limits& limits_;
  std::string scratch_;
  touches all_;
  std::set<std::string> shared_, crossed_, failed_;
  std::set<std::size_t> rejected_;
  std::map<std::string, merged_state> merged_;
  std::size_t programs_ = 0, files_ = 0;
  collisions_found out_;
};

} // namespace

std::set<std::string> shared_paths(const std::vector<kept_pane>& panes,
                                   const std::set<std::string>* with) {
  std::set<std::string> out;
  for (const auto& [path, who] : touches_of(panes)) {
    bool concerned = !with;
    for (const auto& t : who)
      concerned = concerned || with->contains(panes[t.pane].name);
    if (who.size() > 1 && concerned) out.insert(path);
  }
  return out;
}

result<collisions_found> find_collisions(const std::string& dir, const kept_base& base,
                                         const std::vector<kept_pane>& panes,
                                         const std::set<std::string>* with,
                                         const collision_limits& limits,
                                         const std::string& scratch) {
  auto own = temp_dir::make(scratch);
  if (!own) return own.err();
  return comparer{dir, base, panes, with, limits, own->path()}.run();
}

} // namespace skep::transfer
