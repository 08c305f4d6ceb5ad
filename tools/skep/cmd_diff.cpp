// skep diff, skep download: what agents changed, as it lies among the results.
#include "tools/skep/commands.hpp"
#include "tools/skep/live_diff.hpp"
#include "tools/skep/results_json.hpp"
#include "tools/skep/results_target.hpp"
#include "tools/skep/scan_gate.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"
#include "tools/skep/upload_rules.hpp"
#include "transfer/swept_dir.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

namespace skep::cli {

namespace {

namespace fs = std::filesystem;

struct diff_command {
  std::string target = of_work_tree;
  bool patch = false;
};

result<pane_diff> describe(const transfer::kept_pane& p) {
  auto lines = transfer::lines_of_patch(p.patch_path);
  if (!lines) return lines.err();
  pane_diff out{p.name, p.summary.commits, p.summary.squashed, p.patch_path, p.files_dir, {}, {}};
  auto add = [&](const std::string& path, const char* change, const std::string& from) {
    changed_path c{transfer::shown_path(path), change, from, 0, 0};
    if (auto i = lines->find(path); i != lines->end()) {
      c.added_lines = i->second.added;
      c.deleted_lines = i->second.deleted;
    }
    out.changes.push_back(std::move(c));
  };
  for (const auto& x : p.summary.modified)
    add(x, "modified", {});
  for (const auto& x : p.summary.added)
    add(x, "added", {});
  for (const auto& x : p.summary.deleted)
    add(x, "deleted", {});
  for (const auto& [from, to] : p.summary.renamed)
    add(to, "renamed", transfer::shown_path(from));
  for (const auto& [from, to] : p.summary.copied)
    add(to, "copied", transfer::shown_path(from));
  for (const auto& x : p.summary.nested)
    out.nested.push_back(transfer::shown_path(x));
  out.patch_origin = to_string(p.patch);
  return out;
}

std::string lines_text(const changed_path& c) {
  if (c.added_lines < 0) return "binary";
  return style(stdout, tint::green, "+" + std::to_string(c.added_lines)) + " "
         + style(stdout, tint::red, "-" + std::to_string(c.deleted_lines));
}

/// Paths that a pane left inside, a few of them by name; `why` goes on after "PATH of PANE".
void remark_left_inside(const std::vector<std::string>& paths, const std::string& name,
                        const std::string& why) {
  constexpr std::size_t most = 5;
  for (std::size_t i = 0; i < std::min(paths.size(), most); ++i)
    remark("Note: " + safe_line(transfer::shown_path(paths[i])) + " of " + safe_line(name) + " "
           + why + ". It is left out.");
  if (paths.size() > most)
    remark("Note: " + count_text(paths.size() - most, "more such path", "more such paths") + " of "
           + safe_line(name) + " are named in its changes.json.");
}

/// A sandbox that shows other changes than it brings is worth knowing of.
void remark_origin(const transfer::kept_pane& p) {
  constexpr std::size_t most = 5;
  for (std::size_t i = 0; i < std::min(p.left_out.size(), most); ++i) {
    const auto& link = p.left_out[i];
    remark("Note: " + safe_line(p.name) + " made " + safe_line(transfer::shown_path(link.path))
           + " a symlink to " + safe_line(transfer::shown_path(link.target))
           + ", out of its tree. It is left out.");
  }
  if (p.left_out.size() > most)
    remark("Note: " + count_text(p.left_out.size() - most, "more such link", "more such links")
           + " of " + safe_line(p.name) + " are named in its changes.json.");
  remark_left_inside(p.summary.unreadable, p.name, "could not be read in its sandbox");
  remark_left_inside(p.summary.too_large, p.name, "is too large to come back with the rest");
  if (p.summary.no_history)
    remark("Note: the repository of " + safe_line(p.name)
           + " had no commit to go by. Its files are compared with the base, as one patch.");
  if (p.patch == transfer::patch_origin::made_here)
    remark("Note: the patch of " + safe_line(p.name)
           + " that came from the sandbox was not what its files are. What is shown was made here,"
             " from the files that skep apply takes over.");
}

/// What came just now passes as results of the daemon's downloads do: people are told of
/// credentials in it, and of a patch that nothing was at hand to compare with.
void remark_live(const transfer::kept_pane& p, const scan_report& scan) {
  if (p.patch == transfer::patch_origin::claimed && !p.summary.empty())
    remark("WARNING: the patch of " + safe_line(p.name)
           + " is as its sandbox made it and was not compared with its files: what was uploaded is"
             " not here any more.");
  if (!scan.alarming() && scan.medium == 0) return;
  remark("WARNING: the changes of " + safe_line(p.name) + " hold " + alarm_text(scan));
  std::fputs(
      findings_text(scan, finding_severity::medium, "skep diff --json has all of them").c_str(),
      stderr);
}

void show_pane(const pane_diff& p) {
  auto head = safe_line(p.name) + ": ";
  if (p.changes.empty()) {
    print_line(head + "nothing changed");
  } else {
    print_line(head + count_text(p.changes.size(), "path", "paths") + ", "
               + count_text(p.commits, "commit", "commits") + (p.squashed ? ", as one patch" : ""));
    std::vector<std::vector<std::string>> rows{{"CHANGE", "LINES", "PATH"}};
    for (const auto& c : p.changes)
      rows.push_back({c.change, lines_text(c),
                      (c.from.empty() ? "" : safe_line(c.from) + " -> ") + safe_line(c.path)});
    std::fputs(table(rows).c_str(), stdout);
  }
  for (const auto& n : p.nested)
    remark("Note: " + safe_line(n) + " is a repository of its own and was not brought back.");
}

int show_patches(const app& a, const results_target& t) {
  bool terminal = is_tty(stdout);
  for (const auto& p : t.panes) {
    auto text = transfer::read_file(p.patch_path, 1u << 30);
    if (!text) return fail(a, text.err());
    auto shown = terminal ? safe_filter{}.pass(*text) : std::move(*text);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
  }
  std::fflush(stdout);
  return 0;
}

int diff(const app& a, const diff_command& o) {
  auto t = find_results(a, o.target);
  // Nothing was collected yet: then it is looked at where it works.
  std::optional<live_results> live;
  if (!t && t.err().code == errc::no_results) {
    auto now = look_at_running(a, o.target);
    if (!now) return fail(a, now.err().code == errc::no_results ? t.err() : now.err());
    live.emplace(std::move(*now));
    t = live->found;
  }
  if (!t) return fail(a, t.err());
  for (const auto& p : t->panes)
    if (auto whole = transfer::check_kept(p); !whole) return fail(a, whole.err());
  if (live && !a.json_mode)
    remark(safe_line(t->panes.front().name)
           + (live->kept ? "'s run is over: this is what is still in its sandbox."
                         : " still works: this is what it has changed so far."));
  if (!a.json_mode)
    for (const auto& p : t->panes) {
      remark_origin(p);
      if (live) remark_live(p, live->scan);
    }
  if (o.patch && !a.json_mode) return show_patches(a, *t);
  diff_answer out{live ? std::string{} : t->folder, {}, live.has_value()};
  for (const auto& p : t->panes) {
    auto d = describe(p);
    if (!d) return fail(a, d.err());
    if (live) d->patch = d->files = {}; // in a folder that goes now
    out.panes.push_back(std::move(*d));
  }
  if (a.json_mode) {
    auto j = to_json(out);
    if (live) j["scan"] = to_json(live->scan);
    print_json(j);
    return 0;
  }
  for (const auto& p : out.panes)
    show_pane(p);
  for (const auto& text : remarks_on_upload_rules(t->panes))
    remark(text);
  return 0;
}

// ---- download ----------------------------------------------------------------------------------

struct download_command {
  std::string target = of_work_tree;
  std::string to;
};

error copy_results(const results_target& t, const fs::path& to, download_answer& out) {
  std::error_code failed;
  constexpr auto as_they_are = fs::copy_options::recursive | fs::copy_options::copy_symlinks;
  // With the originals, which taking over needs where a file was changed here.
  for (const char* name : {"base.json", "base.manifest", "summary.json", "base"})
    if (auto from = fs::path{t.folder} / name; !failed && fs::exists(from, failed) && !failed)
      fs::copy(from, to / name, as_they_are, failed);
  for (const auto& p : t.panes) {
    if (auto whole = transfer::check_kept(p); !whole) return whole.err();
    if (!failed) fs::copy(p.patch_path, to / (p.name + ".patch"), failed);
    if (!failed) fs::create_directory(to / p.name, failed);
    if (!failed) fs::copy(p.files_dir, to / p.name / "files", as_they_are, failed);
    if (!failed)
      fs::copy(fs::path{t.folder} / p.name / "changes.json", to / p.name / "changes.json", failed);
    // What a forge was asked for (asked_requests.hpp), so that it is not asked again from there.
    if (auto asked = fs::path{t.folder} / p.name / "requests.json";
        !failed && fs::exists(asked, failed) && !failed)
      fs::copy(asked, to / p.name / "requests.json", failed);
    if (failed) return make_error(errc::io, "copying to " + to.string(), failed.message());
    transfer::kept_pane copy = p;
    copy.patch_path = (to / (p.name + ".patch")).string();
    copy.files_dir = (to / p.name / "files").string();
    if (auto whole = transfer::check_kept(copy); !whole) return whole.err();
    out.panes.push_back(p.name);
    out.files += p.files.files.size();
    out.size_bytes += p.files.total_bytes;
  }
  return {};
}

int download(const app& a, const download_command& o) {
  auto t = find_results(a, o.target);
  if (!t) return fail(a, t.err());
  std::error_code failed;
  auto to = fs::absolute(o.to.empty() ? fs::path{t->label()} : fs::path{o.to}, failed);
  if (!to.has_filename()) to = to.parent_path(); // a slash at its end
  if (fs::exists(fs::symlink_status(to, failed)))
    return fail(a, make_error(errc::exists, to.string()));
  fs::create_directories(to.parent_path(), failed);
  // Whole or not at all: under a name of its own until everything is there and compared. What a
  // download that was killed here left of that goes now.
  auto half = transfer::swept_dir::make(to.parent_path().string(), transfer::download_prefix);
  if (!half) return fail(a, half.err());
  auto inside = fs::path{half->path()} / "results";
  fs::create_directory(inside, failed);
  download_answer out{to.string(), {}, 0, 0};
  if (auto e = copy_results(*t, inside, out)) return fail(a, e);
  fs::rename(inside, to, failed);
  if (failed) return fail(a, make_error(errc::io, to.string(), failed.message()));
  if (a.json_mode)
    print_json(to_json(out));
  else
    print_line(count_text(out.files, "file", "files") + " (" + size_text(out.size_bytes) + ") of "
               + count_text(out.panes.size(), "pane", "panes") + " in " + safe_line(out.folder));
  return 0;
}

} // namespace

void add_diff(CLI::App& cli, app& a) {
  const std::string results_target =
      "Swarm, pane (pn_... or SWARM/NAME), or the folder of their results";
  auto d = std::make_shared<diff_command>();
  auto* c =
      add_command(cli, a, "diff", "Show what agents changed",
                  "  skep diff sw_x\n  skep diff sw_x/p0 --patch | less\n"
                  "  skep diff skep-out/sw_x/p0 --json\n\n"
                  "A pane whose agent still works is looked at inside its sandbox, and so is\n"
                  "one whose results could not be fetched, while its sandbox is there.",
                  [&a, d] { return diff(a, *d); });
  c->add_option("TARGET", d->target, or_here(results_target));
  c->add_flag("--patch", d->patch, "The patches themselves, as git takes them");

  auto g = std::make_shared<download_command>();
  c = add_command(cli, a, "download", "Copy results, checked, to another folder",
                  "  skep download sw_x --to /tmp/results\n  skep download sw_x/p0 --to p0",
                  [&a, g] { return download(a, *g); });
  c->add_option("TARGET", g->target, or_here(results_target));
  c->add_option("--to", g->to, "Folder that is made (default: ./SWARM); must not exist");
}

} // namespace skep::cli
