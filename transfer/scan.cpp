#include "transfer/scan.hpp"

#include "messages/codec.hpp"
#include "transfer/beneath.hpp"
#include "transfer/manifest.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <optional>
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
  auto seen = to.begin(path);
  if (opened->entry.type == file_entry::kind::symlink) {
    seen->data(opened->link_target);
    seen->end();
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
    seen->data({buffer.data(), static_cast<std::size_t>(n)});
  }
  seen->end();
  return !to.broken();
}

/// All that makes one set of rules find other things than another.
std::string hash_of_rules(const std::vector<scan_rule>& rules) {
  sha256 hash;
  for (const auto& r : rules) {
    std::string line;
    for (std::string_view text : {r.name, r.kind, std::string_view{r.pattern}})
      line += std::to_string(text.size()) + " " + std::string{text};
    for (auto n : {static_cast<std::size_t>(r.severity), static_cast<std::size_t>(r.chars),
                   static_cast<std::size_t>(r.check), r.least, r.most})
      line += std::to_string(n) + " ";
    hash.update(line + std::to_string(r.entropy) + "\n");
  }
  return hash.hex();
}

} // namespace

/// One content; its scanner goes back to the others when it ends.
class scan_watcher::stream : public content_stream {
public:
  stream(scan_watcher& owner, const std::string& path) : owner_(owner) {
    if (owner.broken() || !owner.in_time()) return;
    auto got = owner.scanner();
    if (!got) {
      owner.problem(text_of(got.err()));
      return;
    }
    scanner.emplace(std::move(*got));
    scanner->begin(path);
  }

  void data(std::string_view piece) override {
    if (!scanner) return;
    bytes += piece.size();
    auto done = scanner->data(piece);
    if (!done) owner_.problem(text_of(done.err()));
    if (!done || !owner_.in_time()) scanner.reset();
  }

  void end() override {
    if (!scanner) return;
    if (auto done = scanner->end(); !done) return owner_.problem(text_of(done.err()));
    owner_.take(*this);
  }

  std::optional<content_scanner> scanner; ///< None: not looked at, and the watcher knows why.
  std::uint64_t bytes = 0;

private:
  scan_watcher& owner_;
};

scan_watcher::scan_watcher(const std::string& root, scan_options options)
    : options_(std::move(options)), began_(std::chrono::steady_clock::now()) {
  if (auto ready = set_up(root); !ready) problem(text_of(ready.err()));
}

result<void> scan_watcher::set_up(const std::string& root) {
  auto engine = options_.engine();
  if (!engine) return engine.err();
  engine_ = *engine;
  auto first = content_scanner::make(engine_);
  if (!first) return first.err();
  idle_.push_back(std::move(*first));
  if (root.empty()) return {};
  auto allowed = allow_list::read(root);
  if (!allowed) return allowed.err();
  allowed_ = std::move(*allowed);
  return {};
}

void scan_watcher::problem(std::string why) {
  std::lock_guard lock{mutex_};
  if (report_.problem.empty()) report_.problem = std::move(why);
  broken_ = true;
}

bool scan_watcher::in_time() {
  if (options_.cancel && options_.cancel->load()) {
    problem("the scan was cancelled");
    return false;
  }
  if (std::chrono::steady_clock::now() - began_ < options_.limit) return true;
  std::uint64_t files = 0;
  {
    std::lock_guard lock{mutex_};
    files = report_.files;
  }
  problem("the time limit of " + std::to_string(options_.limit.count()) + " ms is over after "
          + std::to_string(files) + " files");
  return false;
}

result<content_scanner> scan_watcher::scanner() {
  std::lock_guard lock{mutex_};
  if (idle_.empty()) return content_scanner::make(engine_);
  auto out = std::move(idle_.back());
  idle_.pop_back();
  return out;
}

std::unique_ptr<content_stream> scan_watcher::begin(const std::string& path) {
  return std::make_unique<stream>(*this, path);
}

void scan_watcher::take(stream& from) {
  auto found = from.scanner->take();
  std::lock_guard lock{mutex_};
  ++report_.files;
  report_.size_bytes += from.bytes;
  for (auto& f : found) {
    if (allowed_.allows(f)) {
      ++report_.allowed;
      continue;
    }
    ++count_of(report_, f.severity);
    report_.findings.push_back(std::move(f));
  }
  idle_.push_back(std::move(*from.scanner));
  from.scanner.reset();
}

std::string scan_watcher::rules_id() {
  if (broken()) return {};
  return "scan " + hash_of_rules(engine_->rules()) + " " + allowed_.id();
}

std::string scan_watcher::judgement() {
  return broken() ? std::string{} : pack(report());
}

bool scan_watcher::recall(const std::string& judgement) {
  auto kept = unpack<scan_report>(judgement);
  if (!kept || !kept->problem.empty() || broken()) return false;
  std::lock_guard lock{mutex_};
  report_ = std::move(*kept);
  return true;
}

scan_report scan_watcher::report() {
  std::lock_guard lock{mutex_};
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
