#include "transfer/scan.hpp"

#include "messages/codec.hpp"
#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"
#include "transfer/manifest.hpp"
#include "transfer/patch_text.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <optional>
#include <tuple>
#include <unistd.h>
#include <utility>

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

/// Path and reason, each once, of a file whose reading gave `e`.
std::string unread_text(const std::string& path, const error& e) {
  if (!e.cause.empty()) return path + " cannot be read: " + e.cause;
  if (e.message != path && e.message.starts_with(path)) return e.message;
  return path
         + " cannot be read: " + (e.message == path ? std::string{info(e.code).text} : text_of(e));
}

/// Gives the whole file to the watcher; false when that was not possible.
bool feed(scan_watcher& to, tree_reader& tree, const std::string& path, std::string& buffer) {
  auto opened = open_entry(tree, path);
  if (!opened) {
    to.problem(unread_text(path, opened.err()));
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
      to.problem(unread_text(path, io_error(path, errno)));
      return false;
    }
    if (n == 0) break;
    seen->data({buffer.data(), static_cast<std::size_t>(n)});
  }
  seen->end();
  return !to.broken();
}

/// The two halves of a patch, each to a scan of its own.
struct patch_scan : patch_sink {
  /// `known`: what is not told of the first half again. It outlives this.
  patch_scan(std::string patch_name, const scan_options& options, const value_prints& known)
      : rest_of_it({}, but_of(options, known)), messages({}, options),
        name_(std::move(patch_name)) {}

  scan_watcher rest_of_it, messages;

  void read(int root, std::string& buffer) {
    auto opened = open_entry(root, name_);
    if (!opened || opened->entry.type == file_entry::kind::symlink) {
      rest_of_it.problem(opened ? name_ + " cannot be read" : unread_text(name_, opened.err()));
      return;
    }
    rest_ = rest_of_it.begin(name_);
    patch_reader reader{*this};
    while (!rest_of_it.broken() && !messages.broken()) {
      auto n = ::read(opened->file.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) rest_of_it.problem(unread_text(name_, io_error(name_, errno)));
      if (n <= 0) break;
      reader.feed({buffer.data(), static_cast<std::size_t>(n)});
    }
    reader.finish();
    give(*rest_, others_);
    rest_->end();
  }
  std::uint64_t first_line_of(const std::string& path) const { return first_lines_.at(path); }

  void begin_message(std::uint64_t number, std::uint64_t line) override {
    auto path = name_ + " commit " + std::to_string(number);
    first_lines_[path] = line;
    message_ = messages.begin(path);
  }
  // Without NUL, a message in UTF-16 (the agent's git may be told to write such) is text as well.
  void message(std::string_view piece) override {
    std::copy_if(piece.begin(), piece.end(), std::back_inserter(text_),
                 [](char c) { return c != '\0'; });
    if (text_.size() >= read_bytes) give(*message_, text_);
  }
  void end_message() override {
    give(*message_, text_);
    message_->end();
  }
  void rest(std::string_view piece) override {
    others_ += piece;
    if (others_.size() >= read_bytes) give(*rest_, others_);
  }

private:
  static scan_options but_of(scan_options options, const value_prints& known) {
    options.prints = {false, &known};
    return options;
  }
  static void give(content_stream& to, std::string& text) {
    to.data(text);
    text.clear();
  }

  std::string name_, text_, others_; ///< Lines are short: collected, and given many at once.
  std::map<std::string, std::uint64_t> first_lines_;
  std::unique_ptr<content_stream> rest_, message_; ///< Gone before their watchers.
};
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

  void whole(std::string_view content) override {
    if (!scanner) return;
    bytes += content.size();
    if (auto done = scanner->whole(content); !done) return owner_.problem(text_of(done.err()));
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
  auto first = content_scanner::make(engine_, options_.prints);
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
  if (idle_.empty()) return content_scanner::make(engine_, options_.prints);
  auto out = std::move(idle_.back());
  idle_.pop_back();
  return out;
}

std::unique_ptr<content_stream> scan_watcher::begin(const std::string& path) {
  return std::make_unique<stream>(*this, path);
}

void scan_watcher::take(stream& from) {
  auto found = from.scanner->take();
  auto met = from.scanner->take_met();
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
  for (auto& v : met)
    if (met_.size() < content_scanner::most_prints && !allowed_.allows(v.where))
      met_.insert(std::move(v.print));
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

value_prints scan_watcher::take_prints() {
  std::lock_guard lock{mutex_};
  return std::exchange(met_, {});
}

scan_report scan_files(const std::string& root, const std::vector<std::string>& paths,
                       const scan_options& options) {
  scan_watcher out{root, options};
  auto dir = open_root(root);
  if (!dir) out.problem(text_of(dir.err()));
  if (out.broken()) return out.report();
  tree_reader tree{dir->get()};
  std::string buffer(read_bytes, '\0');
  for (const auto& path : paths)
    if (!feed(out, tree, path, buffer)) break;
  return out.report();
}

scan_report scan_results(const std::string& out_dir, const std::string& name,
                         const std::string& root, const scan_options& options) {
  auto keeping = options;
  keeping.prints.keep = true;
  scan_watcher files{root, keeping};
  std::string buffer(read_bytes, '\0');
  auto folder = out_dir + "/" + name + "/files";
  if (::access(folder.c_str(), F_OK) == 0) {
    auto dir = open_root(folder);
    auto list = manifest_of(folder);
    if (!dir || !list) {
      files.problem(text_of(dir ? list.err() : dir.err()));
    } else {
      tree_reader tree{dir->get()};
      for (const auto& f : list->files)
        if (files.broken() || !feed(files, tree, f.path, buffer)) break;
    }
  }
  auto out = files.report();
  for (auto& f : out.findings)
    f.path = name + "/files/" + f.path;
  auto patch_name = name + ".patch";
  if (::access((out_dir + "/" + patch_name).c_str(), F_OK) != 0) return out;
  const auto in_files = files.take_prints();
  patch_scan patch{patch_name, options, in_files};
  auto dir = open_root(out_dir);
  if (!dir)
    patch.rest_of_it.problem(text_of(dir.err()));
  else
    patch.read(dir->get(), buffer);
  auto again = patch.rest_of_it.report();
  for (auto& f : again.findings) {
    if (f.kind == "word") continue;
    ++count_of(out, f.severity);
    out.findings.push_back(std::move(f));
  }
  auto messages = patch.messages.report();
  for (auto& f : messages.findings) {
    f.line += patch.first_line_of(f.path) - 1;
    ++count_of(out, f.severity);
    out.findings.push_back(std::move(f));
  }
  for (const auto* also : {&again, &messages}) {
    out.files += also->files;
    out.size_bytes += also->size_bytes;
    if (out.problem.empty()) out.problem = also->problem;
  }
  out.took_ms += again.took_ms; // the messages went along with it
  sort_findings(out.findings);
  return out;
}

std::string alarm_text(const scan_report& r) {
  constexpr std::size_t most = 3, path_bytes = 200, problem_bytes = 300;
  auto shown = [](const std::string& text, std::size_t bytes) {
    return shown_path(text.size() > bytes ? text.substr(0, bytes) + "..." : text);
  };
  std::string out;
  if (r.high > 0) {
    out = r.high == 1 ? "1 credential" : std::to_string(r.high) + " credentials";
    for (std::size_t i = 0; i < r.findings.size() && i <= most; ++i) {
      const auto& f = r.findings[i];
      if (f.severity != finding_severity::high) break;
      out += i == 0 ? ": " : ", ";
      out += i == most ? "..."
                       : shown(f.path, path_bytes) + ":" + std::to_string(f.line) + " " + f.rule;
    }
  }
  if (!r.problem.empty())
    out += (out.empty() ? "" : "; ") + std::string{"a scan that is not whole: "}
           + shown(r.problem, problem_bytes);
  return out.empty() ? std::to_string(r.medium) + " likely credentials of little reach" : out;
}

error scan_refusal(scan_policy policy, const scan_report& r) {
  if (policy == scan_policy::warn || !r.alarming()) return {};
  auto e = r.high > 0 ? make_error(errc::credentials_found, alarm_text(r))
                      : make_error(errc::scan_failed, r.problem);
  e.step = "scan";
  return e;
}

scan_report for_event(scan_report r) {
  if (r.findings.size() > max_event_findings) r.findings.resize(max_event_findings);
  for (auto& f : r.findings)
    if (f.path.size() > most_path_bytes) f.path = f.path.substr(0, most_path_bytes) + "...";
  if (r.problem.size() > 2 * most_path_bytes) r.problem.resize(2 * most_path_bytes);
  return r;
}

} // namespace skep::transfer
