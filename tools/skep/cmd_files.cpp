// skep files: what of a repository would be uploaded, what would not, and why.
#include "tools/skep/commands.hpp"
#include "tools/skep/files_view.hpp"
#include "tools/skep/term.hpp"
#include "transfer/exclude.hpp"
#include "transfer/ignore.hpp"
#include "transfer/scan.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <sys/stat.h>

namespace skep::cli {

namespace {

namespace fs = std::filesystem;

struct list_options {
  std::string repo = ".";
  bool left_out = false;
  std::uint32_t largest = 0; ///< 0: all, by name.
};

result<std::string> root_of(const std::string& repo) {
  std::error_code failed;
  auto there = fs::absolute(repo, failed);
  if (!fs::is_directory(there, failed)) return make_error(errc::file_not_found, repo);
  auto facts = transfer::inspect_repo(there.string());
  if (!facts) return facts.err();
  return facts->root;
}

int list_files(const app& a, const list_options& o) {
  auto root = root_of(o.repo);
  if (!root) return fail(a, root.err());
  auto files = transfer::take_inventory(*root);
  if (!files) return fail(a, files.err());
  auto doc = files_doc_of(*root, *files, o.largest);
  if (!doc) return fail(a, doc.err());
  if (a.json_mode) {
    print_json(to_json(*doc));
    return 0;
  }
  if (o.left_out)
    std::fputs(left_out_text(*doc).c_str(), stdout);
  else
    std::fputs(files_text(*doc).c_str(), stdout);
  for (const auto& text : doc->remarks)
    remark("Note: " + safe_line(text, 500));
  return 0;
}

/// `path` as git has it: relative to `root`, whose directory `base` it was meant from.
result<std::string> path_in(const std::string& root, const std::string& base,
                            const std::string& path) {
  std::error_code failed;
  auto real_base = fs::canonical(base, failed);
  auto whole =
      (fs::path{path}.is_absolute() ? fs::path{path} : real_base / path).lexically_normal();
  auto relative = whole.lexically_relative(root).string();
  if (relative.ends_with('/')) relative.pop_back();
  if (relative.empty() || relative == "." || relative == ".." || relative.starts_with("../"))
    return make_error(errc::bad_argument, path + " is not below " + root);
  return relative;
}

result<bool> is_tracked(const std::string& root, const std::string& path) {
  auto out = transfer::run_for_output(
      transfer::git_program(root, {"ls-files", "-z", "--", ":(literal)" + path}));
  if (!out) return out.err();
  auto names = transfer::split_nul(*out);
  return std::find(names.begin(), names.end(), path) != names.end();
}

/// The rule that leaves `path` out, if there is one; a path that ends in '/' is a directory.
result<void> find_rule(const std::string& root, const std::string& path, why_doc& doc) {
  auto name = path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
  if (auto pattern = transfer::excluded_reason(name); !pattern.empty()) {
    doc.reason = "always excluded: " + std::string{pattern};
    return {};
  }
  auto own = transfer::line_of_skep(root, path, doc.tracked);
  if (!own) return own.err();
  if (!own->empty()) {
    doc.reason = own->starts_with("default: ") ? "left out by default" : "left out by .skepignore";
    doc.rule = *own;
  }
  if (!doc.tracked) {
    auto line = transfer::line_of_git(root, path);
    if (!line) return line.err();
    if (!line->empty()) { // git's word comes first
      doc.reason = "ignored by git";
      doc.rule = *line;
    }
  }
  return {};
}

/// Why a path that is there and not in the list does not travel.
result<void> explain(const std::string& root, const transfer::inventory& files, why_doc& doc) {
  if (auto found = find_rule(root, doc.path, doc); !found) return found;
  if (!doc.reason.empty()) return {};
  for (const auto& s : files.skipped)
    if (s.path == doc.path || s.path == doc.path + "/"
        || (doc.path + "/").starts_with(s.path.ends_with('/') ? s.path : s.path + "/")) {
      doc.reason = s.reason;
      return {};
    }
  struct stat st {};
  bool looked = ::lstat((root + "/" + doc.path).c_str(), &st) == 0;
  doc.reason = transfer::special_reason(looked ? st.st_mode : 0);
  return {};
}

/// What would become of a path that is not there: the rule that would leave it out. Without one it
/// is most likely misspelt, errc::file_not_found.
result<void> explain_missing(const std::string& root, const std::string& given, why_doc& doc) {
  doc.exists = false;
  for (const auto& [name, kind] : {std::pair{doc.path, "file"}, {doc.path + "/", "directory"}}) {
    if (kind == std::string_view{"file"} && given.ends_with('/')) continue;
    if (auto found = find_rule(root, name, doc); !found) return found;
    if (doc.reason.empty()) continue;
    doc.reason =
        "it does not exist, and a " + std::string{kind} + " of this name would be " + doc.reason;
    return {};
  }
  return make_error(errc::file_not_found, given + " (no rule would leave out a file of this name)");
}

result<why_doc> why_of(const std::string& repo, const std::string& path) {
  auto root = root_of(repo);
  if (!root) return root.err();
  auto relative = path_in(*root, repo, path);
  if (!relative) return relative.err();
  why_doc doc;
  doc.path = *relative;
  auto tracked = is_tracked(*root, doc.path);
  if (!tracked) return tracked.err();
  doc.tracked = *tracked;
  auto files = transfer::take_inventory(*root);
  if (!files) return files.err();
  auto at = std::find_if(files->files.begin(), files->files.end(),
                         [&](const auto& f) { return f.path == doc.path; });
  if (at != files->files.end()) {
    doc.travels = true;
    doc.size_bytes = at->size_bytes;
    doc.reason = doc.tracked ? "tracked by git" : "not tracked, and ignored by nothing";
    if (auto list = transfer::allow_list::read(*root);
        !list && list.err().code == errc::bad_allow_file)
      return list.err();
    auto report = transfer::scan_files(*root, {doc.path});
    doc.findings = std::move(report.findings);
    if (!report.problem.empty()) return make_error(errc::scan_failed, report.problem);
    return doc;
  }
  std::size_t below = 0;
  for (const auto& f : files->files)
    if (f.path.starts_with(doc.path + "/")) ++below;
  if (below > 0) {
    doc.travels = true;
    doc.reason = "a directory of which " + std::to_string(below) + " files travel";
    return doc;
  }
  std::error_code failed;
  auto status = fs::symlink_status(fs::path{*root} / doc.path, failed);
  if (!fs::exists(status)) {
    doc.exists = false;
    if (!doc.tracked) {
      if (auto done = explain_missing(*root, path, doc); !done) return done.err();
      return doc;
    }
    doc.reason = "deleted in the work tree";
    return doc;
  }
  if (auto done = explain(*root, *files, doc); !done) return done.err();
  return doc;
}

int why(const app& a, const std::string& repo, const std::string& path) {
  auto doc = why_of(repo, path);
  if (!doc) return fail(a, doc.err());
  if (a.json_mode)
    print_json(to_json(*doc));
  else
    std::fputs(why_text(*doc).c_str(), stdout);
  return 0;
}

int rules(const app& a) {
  auto doc = rules_doc_now();
  if (a.json_mode)
    print_json(to_json(doc));
  else
    std::fputs(rules_text(doc).c_str(), stdout);
  return 0;
}

} // namespace

void add_files(CLI::App& cli, app& a) {
  auto* group = cli.add_subcommand("files", "What of a repository would be uploaded, and why");
  group->require_subcommand(1);
  auto o = std::make_shared<list_options>();
  auto* l = add_command(*group, a, "list", "List what `skep run` would upload",
                        "  skep files list\n"
                        "  skep files list --largest 20\n"
                        "  skep files list --left-out\n",
                        [&a, o] { return list_files(a, *o); });
  l->add_option("--repo", o->repo, "Git work tree")->capture_default_str();
  l->add_option("--largest", o->largest, "Only so many, the largest first");
  l->add_flag("--left-out", o->left_out, "What is not uploaded, with the reason");
  auto repo = std::make_shared<std::string>(".");
  auto path = std::make_shared<std::string>();
  auto* w = add_command(*group, a, "why", "Say why a file is uploaded, or is not",
                        "  skep files why build/app.js\n"
                        "  skep files why .env --json\n"
                        "  skep files why not/there/yet.log\n",
                        [&a, repo, path] { return why(a, *repo, *path); });
  w->add_option("PATH", *path, "Relative to --repo")->required();
  w->add_option("--repo", *repo, "Git work tree")->capture_default_str();
  add_command(*group, a, "rules",
              "Show what is never uploaded, what is left out by default, and the rules of the scan",
              "  skep files rules", [&a] { return rules(a); });
}

} // namespace skep::cli
