#include "transfer/scan.hpp"

#include "transfer/beneath.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <tuple>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::size_t read_bytes = 256 * 1024;
constexpr std::size_t most_path_bytes = 300; // in an event

std::uint64_t& count_of(scan_report& r, finding_severity s) {
  return s == finding_severity::high ? r.high : s == finding_severity::medium ? r.medium : r.low;
}

/// Highest severity first, then by path and line.
void sort_findings(std::vector<scan_finding>& findings) {
  std::stable_sort(
      findings.begin(), findings.end(), [](const scan_finding& a, const scan_finding& b) {
        return std::tie(b.severity, a.path, a.line) < std::tie(a.severity, b.path, b.line);
      });
}

/// The text of an error that an open or a read gave; a file's contents are in none of them.
std::string text_of(const error& e) {
  return e.message.empty() ? std::string{to_string(e.code)} : e.message;
}

/// Gives the whole file to the watcher; false when that was not possible.
bool feed(scan_watcher& to, int root, const std::string& path, std::string& buffer) {
  auto opened = open_entry(root, path);
  if (!opened) {
    to.problem(path + " cannot be read: " + text_of(opened.err()));
    return false;
  }
  to.begin(path);
  if (opened->entry.type == file_entry::kind::symlink) {
    to.data(opened->link_target);
    to.end();
    return !to.broken();
  }
  while (!to.broken()) {
    auto n = ::read(opened->file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      to.problem(io_error(path, errno).message);
      return false;
    }
    if (n == 0) break;
    to.data({buffer.data(), static_cast<std::size_t>(n)});
  }
  to.end();
  return !to.broken();
}

} // namespace

scan_watcher::scan_watcher(const std::string& root, scan_options options)
    : options_(std::move(options)), began_(std::chrono::steady_clock::now()) {
  if (auto ready = set_up(root); !ready) problem(text_of(ready.err()));
}

result<void> scan_watcher::set_up(const std::string& root) {
  auto engine = options_.engine();
  if (!engine) return engine.err();
  auto scanner = content_scanner::make(*engine);
  if (!scanner) return scanner.err();
  scanner_.emplace(std::move(*scanner));
  if (root.empty()) return {};
  auto allowed = allow_list::read(root);
  if (!allowed) return allowed.err();
  allowed_ = std::move(*allowed);
  return {};
}

void scan_watcher::problem(std::string why) {
  if (report_.problem.empty()) report_.problem = std::move(why);
}

bool scan_watcher::in_time() {
  if (options_.cancel && options_.cancel->load()) {
    problem("the scan was cancelled");
    return false;
  }
  if (std::chrono::steady_clock::now() - began_ < options_.limit) return true;
  problem("the time limit of " + std::to_string(options_.limit.count()) + " ms is over after "
          + std::to_string(report_.files) + " files");
  return false;
}

void scan_watcher::begin(const std::string& path) {
  inside_ = !broken() && in_time();
  if (inside_) scanner_->begin(path);
}

void scan_watcher::data(std::string_view piece) {
  if (!inside_) return;
  report_.size_bytes += piece.size();
  auto done = scanner_->data(piece);
  if (!done) problem(text_of(done.err()));
  inside_ = done.ok() && in_time();
}

void scan_watcher::end() {
  if (!inside_) return;
  inside_ = false;
  if (auto done = scanner_->end(); !done) return problem(text_of(done.err()));
  ++report_.files;
  for (auto& f : scanner_->take()) {
    if (allowed_.allows(f)) {
      ++report_.allowed;
      continue;
    }
    ++count_of(report_, f.severity);
    report_.findings.push_back(std::move(f));
  }
}

scan_report scan_watcher::report() {
  auto out = report_;
  sort_findings(out.findings);
  out.took_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                    std::chrono::steady_clock::now() - began_)
                    .count();
  return out;
}

scan_report scan_files(const std::string& root, const std::vector<std::string>& paths,
                       const scan_options& options) {
  scan_watcher out{root, options};
  auto dir = open_root(root);
  if (!dir) out.problem(text_of(dir.err()));
  std::string buffer(read_bytes, '\0');
  for (const auto& path : paths)
    if (out.broken() || !feed(out, dir->get(), path, buffer)) break;
  return out.report();
}

scan_report scan_results(const std::string& out_dir, const std::string& name,
                         const std::string& root, const scan_options& options) {
  scan_watcher files{root, options};
  std::string buffer(read_bytes, '\0');
  auto folder = out_dir + "/" + name + "/files";
  if (::access(folder.c_str(), F_OK) == 0) {
    auto dir = open_root(folder);
    auto list = manifest_of(folder);
    if (!dir || !list) {
      files.problem(text_of(dir ? list.err() : dir.err()));
    } else {
      for (const auto& f : list->files)
        if (files.broken() || !feed(files, dir->get(), f.path, buffer)) break;
    }
  }
  auto out = files.report();
  for (auto& f : out.findings)
    f.path = name + "/files/" + f.path;
  auto patch_name = name + ".patch";
  if (::access((out_dir + "/" + patch_name).c_str(), F_OK) != 0) return out;
  scan_watcher patch{{}, options};
  auto dir = open_root(out_dir);
  if (!dir)
    patch.problem(text_of(dir.err()));
  else
    feed(patch, dir->get(), patch_name, buffer);
  auto also = patch.report();
  for (auto& f : also.findings) {
    bool known = std::any_of(out.findings.begin(), out.findings.end(), [&](const auto& g) {
      return g.rule == f.rule && g.severity >= f.severity;
    });
    if (known || f.kind == "word") continue;
    ++count_of(out, f.severity);
    out.findings.push_back(std::move(f));
  }
  sort_findings(out.findings);
  out.files += also.files;
  out.size_bytes += also.size_bytes;
  out.took_ms += also.took_ms;
  if (out.problem.empty()) out.problem = also.problem;
  return out;
}

scan_report for_event(scan_report r) {
  if (r.findings.size() > max_event_findings) r.findings.resize(max_event_findings);
  for (auto& f : r.findings)
    if (f.path.size() > most_path_bytes) f.path = f.path.substr(0, most_path_bytes) + "...";
  if (r.problem.size() > 2 * most_path_bytes) r.problem.resize(2 * most_path_bytes);
  return r;
}

} // namespace skep::transfer
