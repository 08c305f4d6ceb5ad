#include "storage/audit_verify.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace skep::storage {
namespace {

constexpr std::size_t most_file_bytes = 1024 * 1024 * 1024;

/// What was read of a line; number 0: it could not be told.
struct seen_line {
  std::uint64_t number = 0;
  sha256_bytes sha256{};
  sha256_bytes previous{};
  /// Where `previous` is not the hash of the line above: what this line's hash would be if it were.
  std::optional<sha256_bytes> mended;
};

seen_line look_at_line(std::string_view text, const sha256_bytes& above) {
  seen_line out;
  std::uint64_t seq = 0;
  out.sha256 = sha256_of(text);
  if (!read_line_ends(text, out.number, seq, out.previous)
      || !json::accept(text)) // a byte in the middle may break it, too
    out.number = 0;
  if (out.number > 1 && out.previous != above) {
    std::string other{text};
    other.replace(other.size() - 2 - 64, 64, to_hex(above));
    out.mended = sha256_of(other);
  }
  return out;
}

std::string lines_text(std::uint64_t from, std::uint64_t to) {
  return from == to ? "line " + std::to_string(from)
                    : "lines " + std::to_string(from) + " to " + std::to_string(to);
}

class examination {
public:
  examination(std::vector<seen_line> lines, const audit_position& anchor)
      : lines_(std::move(lines)), anchor_(anchor) {}

  audit_verdict run() {
    out_.lines = lines_.size();
    out_.anchor = anchor_.line;
    name_the_nameless();
    for (std::size_t i = 0; i < lines_.size(); ++i)
      places_[lines_[i].number].push_back(i);
    order();
    missing();
    contents();
    std::stable_sort(out_.findings.begin(), out_.findings.end(),
                     [](auto& a, auto& b) { return a.line < b.line; });
    return std::move(out_);
  }

private:
  void find(audit_finding_kind what, std::uint64_t from, std::uint64_t to,
            const std::string& text) {
    out_.findings.push_back({what, from, to, text});
  }

  // A line that does not say its number, or says a wrong one, between two that do: it is the one
  // that stands there.
  void name_the_nameless() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      auto before = i == 0 ? 0 : lines_[i - 1].number;
      auto fits = lines_[i].number == before + 1;
      auto last = i + 1 == lines_.size();
      auto gap = last ? before + 1 == anchor_.line : lines_[i + 1].number == before + 2;
      if (fits || (!gap && lines_[i].number != 0)) continue;
      auto number = before + 1;
      find(audit_finding_kind::changed, number, number,
           lines_text(number, number)
               + (lines_[i].number == 0
                      ? " was changed: it is no line of the log any more"
                      : " was changed: it calls itself " + std::to_string(lines_[i].number)));
      told_.push_back(number);
      lines_[i].number = number;
    }
  }

  void order() {
    for (std::size_t i = 0; i + 1 < lines_.size(); ++i) {
      auto here = lines_[i].number, next = lines_[i + 1].number;
      if (here == next)
        find(audit_finding_kind::added, here, here, lines_text(here, here) + " stands here twice");
      else if (here > next)
        find(audit_finding_kind::swapped, next, here,
             here == next + 1
                 ? lines_text(next, here) + " were swapped"
                 : "line " + std::to_string(next) + " stands behind line " + std::to_string(here));
    }
  }

  void missing() {
    std::uint64_t expected = 1;
    auto gap = [&](std::uint64_t next) {
      if (next > expected)
        find(audit_finding_kind::removed, expected, next - 1,
             lines_text(expected, next - 1) + " was removed");
      expected = next + 1;
    };
    for (const auto& [number, places] : places_) {
      if (number > anchor_.line) {
        find(audit_finding_kind::added, number, number,
             lines_text(number, number) + " was added: the database knows "
                 + std::to_string(anchor_.line) + " lines");
        continue;
      }
      gap(number);
    }
    if (expected <= anchor_.line)
      find(audit_finding_kind::cut, expected, anchor_.line,
           "the end was cut: " + lines_text(expected, anchor_.line)
               + " is missing (when skepd was killed a moment ago and does not run: its next start "
                 "writes it again)");
  }

  bool is_told(std::uint64_t n) const {
    return std::find(told_.begin(), told_.end(), n) != told_.end();
  }
  const seen_line* find_line(std::uint64_t n) const {
    auto at = places_.find(n);
    return at == places_.end() ? nullptr : &lines_[at->second.front()];
  }
  /// The hash that line n should have: line n + 1 tells it, and the anchor that of the last one.
  std::optional<sha256_bytes> hash_told(std::uint64_t n) const {
    if (n == anchor_.line) return anchor_.sha256;
    auto* next = find_line(n + 1);
    // A line that is none any more is no witness.
    return next && !is_told(n + 1) ? std::optional{next->previous} : std::nullopt;
  }

  void contents() {
    for (const auto& [n, at] : places_) {
      const auto& line = lines_[at.front()];
      if (n == 0 || n > anchor_.line || is_told(n)) continue;
      auto told = hash_told(n);
      bool wrong = told && line.sha256 != *told;
      // Unless it is line n + 1 that was changed, in just the place where it tells n's hash.
      if (wrong && n < anchor_.line)
        if (auto* next = find_line(n + 1); next->mended && next->mended == hash_told(n + 1))
          wrong = false;
      if (n == 1 && line.previous != sha256_bytes{}) wrong = true;
      if (wrong) find(audit_finding_kind::changed, n, n, lines_text(n, n) + " was changed");
    }
  }

  std::vector<seen_line> lines_;
  audit_position anchor_;
  audit_verdict out_;
  std::map<std::uint64_t, std::vector<std::size_t>> places_; ///< Number -> where it stands.
  std::vector<std::uint64_t> told_;
};

void split(std::string_view text, std::vector<seen_line>& out) {
  while (!text.empty()) {
    auto end = text.find('\n');
    out.push_back(
        look_at_line(text.substr(0, end), out.empty() ? sha256_bytes{} : out.back().sha256));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// Tells when a file of a directory was written to.
class write_watch {
public:
  explicit write_watch(const std::filesystem::path& directory)
      : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    if (fd_) ::inotify_add_watch(fd_.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO);
  }
  /// False when nothing was written within `most`.
  bool wait(std::chrono::milliseconds most) {
    pollfd p{fd_.get(), POLLIN, 0};
    if (!fd_ || most.count() <= 0 || ::poll(&p, 1, static_cast<int>(most.count())) <= 0)
      return false;
    char events[4096];
    while (::read(fd_.get(), events, sizeof events) > 0) {
    }
    return true;
  }

private:
  unique_fd fd_;
};

result<std::vector<seen_line>> read_lines(const std::filesystem::path& directory) {
  std::vector<seen_line> out;
  for (const auto& file : audit_files(directory)) {
    auto text = read_file(file, most_file_bytes);
    if (!text) return text.err();
    split(*text, out);
  }
  return out;
}

} // namespace

std::string_view to_string(audit_finding_kind x) {
  static constexpr std::string_view names[] = {"changed", "removed", "cut",
                                               "swapped", "added",   "unreadable"};
  return names[static_cast<std::size_t>(x)];
}

audit_verdict verify_audit_text(const std::vector<std::string>& files,
                                const audit_position& anchor) {
  std::vector<seen_line> lines;
  for (const auto& text : files)
    split(text, lines);
  return examination{std::move(lines), anchor}.run();
}

result<audit_verdict> verify_audit(const std::filesystem::path& database,
                                   std::chrono::milliseconds settle) {
  if (!path_exists(database)) return make_error(errc::file_not_found, database.string());
  open_options how;
  how.read_only = true;
  how.cache_kib = 1024;
  auto db = connection::open(database, how);
  if (!db) return db.err();
  write_watch writes{database.parent_path()};
  auto due = std::chrono::steady_clock::now() + settle;
  for (;;) {
    // The anchor first: lines that are written meanwhile are beyond it, and are left out.
    auto anchor = read_anchor(*db);
    if (!anchor && anchor.err().code != errc::audit_broken) return anchor.err();
    auto lines = read_lines(database.parent_path());
    if (!lines) return lines.err();
    if (!anchor) {
      audit_verdict out;
      out.lines = lines->size();
      out.findings.push_back({audit_finding_kind::unreadable, 0, 0, render(anchor.err())});
      return out;
    }
    auto again = read_anchor(*db);
    bool moving = again && *again != *anchor;
    if (moving && lines->size() > anchor->line) lines->resize(anchor->line);
    auto verdict = examination{std::move(*lines), *anchor}.run();
    if (verdict.findings.empty() || std::chrono::steady_clock::now() >= due) return verdict;
    // Only a running skepd makes a second look worth it: its last lines may be on their way.
    bool only_the_end = std::all_of(verdict.findings.begin(), verdict.findings.end(), [](auto& f) {
      return f.kind == audit_finding_kind::cut || f.kind == audit_finding_kind::added;
    });
    if (!moving && !only_the_end) return verdict;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        due - std::chrono::steady_clock::now());
    if (!writes.wait(left) && !moving) return verdict;
  }
}

result<std::vector<json>> read_audit(const std::filesystem::path& directory,
                                     const audit_filter& want) {
  std::deque<json> kept;
  auto wanted = [&](const json& line) {
    auto is = [&](const char* key, const std::string& value) {
      return value.empty() || (line.contains(key) && line[key] == value);
    };
    return is("level", want.level) && is("category", want.category)
           && is("operation", want.operation) && is("swarm", want.swarm);
  };
  for (const auto& file : audit_files(directory)) {
    auto text = read_file(file, most_file_bytes);
    if (!text) return text.err();
    for (std::string_view rest{*text}; !rest.empty();) {
      auto end = rest.find('\n');
      auto line = json::parse(rest.substr(0, end), nullptr, false);
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
      if (!line.is_object() || !wanted(line)) continue;
      kept.push_back(std::move(line));
      if (want.newest > 0 && kept.size() > want.newest) kept.pop_front();
    }
  }
  return std::vector<json>{std::make_move_iterator(kept.begin()),
                           std::make_move_iterator(kept.end())};
}

} // namespace skep::storage
