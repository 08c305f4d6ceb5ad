// Opening the audit log: where it ends, what is mended, what is written again from the journal.
#include "storage/audit_log.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {
namespace {

constexpr std::size_t most_scanned_bytes = 512 * 1024 * 1024;

/// A line of a file that was read as a whole.
struct placed_line {
  audit_position position;
  std::size_t end = 0; ///< Offset behind its newline.
};

/// Lines from the beginning of `text` as long as each follows the one before.
std::vector<placed_line> chained_lines(std::string_view text, audit_position before) {
  std::vector<placed_line> out;
  std::size_t at = 0;
  for (;;) {
    auto end = text.find('\n', at);
    if (end == std::string_view::npos) return out;
    auto one = text.substr(at, end - at);
    audit_position here;
    sha256_bytes previous{};
    if (!read_line_ends(one, here.line, here.seq, previous) || here.line != before.line + 1
        || previous != before.sha256 || here.seq <= before.seq)
      return out;
    here.sha256 = sha256_of(one);
    at = end + 1;
    out.push_back({here, at});
    before = here;
  }
}

/// Finds the last line of `text` that has its newline and its two ends, and answers the offset
/// behind it; 0, and `out` as it was, when there is none.
std::size_t last_whole_line(std::string_view text, audit_position& out) {
  while (!text.empty()) {
    auto end = text.rfind('\n');
    if (end == std::string_view::npos) return 0;
    auto before = text.substr(0, end);
    auto one = before.substr(before.rfind('\n') + 1); // npos + 1: from the beginning
    audit_position here;
    sha256_bytes previous{};
    if (read_line_ends(one, here.line, here.seq, previous)) {
      here.sha256 = sha256_of(one);
      out = here;
      return end + 1;
    }
    text = before;
  }
  return 0;
}

} // namespace

result<audit_log> audit_log::open(connection& db, audit_options options, std::uint64_t head) {
  audit_log out{std::move(options)};
  auto anchor = read_anchor(db);
  // An anchor that cannot be read vouches for nothing; the lines are made anew.
  if (!anchor && anchor.err().code != errc::audit_broken) return anchor.err();
  auto known = anchor ? *anchor : audit_position{};
  auto found = known.line == 0 ? out.put_all_aside() : out.find_end(known, head);
  if (!found) return found.err();
  if (auto done = out.open_file(); !done) return done.err();
  if (auto done = out.derive(db, known, head); !done) return done.err();
  return out;
}

// Lines that no anchor vouches for belong to another database than this one.
result<void> audit_log::put_all_aside() {
  auto files = audit_files(options_.directory);
  if (files.empty()) return {};
  auto to = "audit-former-" + utc_stamp(now());
  if (auto made = make_private_directory(options_.directory / to); !made) return made;
  for (const auto& f : files) {
    std::error_code failed;
    std::filesystem::rename(f, options_.directory / to / f.filename(), failed);
    if (failed) return make_error(errc::io, f.string(), failed.message());
  }
  repaired_ = {1, 0, "the database knows nothing of the lines that were here", to};
  return {};
}

result<void> audit_log::find_end(const audit_position& known, std::uint64_t head) {
  auto files = audit_files(options_.directory);
  auto has_active = !files.empty() && files.back() == active();
  auto older = files;
  if (has_active) older.pop_back();
  if (auto done = find_older_end(std::move(older)); !done) return done;
  if (end_.line > known.line || end_.seq > head) { // the database is older: a restored backup
    end_ = {};
    return put_all_aside();
  }
  file_first_line_ = end_.line + 1;
  if (!has_active) return {};
  auto text = read_file(active(), most_scanned_bytes);
  if (!text) return text.err();
  auto lines = chained_lines(*text, end_);
  std::string problem;
  auto leave_out = [&](auto bad, const char* why) {
    while (!lines.empty() && bad(lines.back().position)) {
      problem = why;
      lines.pop_back();
    }
  };
  leave_out([&](const auto& x) { return x.seq > head; }, "a line is about an event that the "
                                                         "journal does not have");
  leave_out([&](const auto& x) { return x.line > known.line; },
            "a line stands behind the last one");
  leave_out([&](const auto& x) { return x.line == known.line && x.sha256 != known.sha256; },
            "the last line was changed");
  auto valid = lines.empty() ? 0 : lines.back().end;
  if (!lines.empty()) end_ = lines.back().position;
  if (valid == text->size()) return {};
  auto rest = std::string_view{*text}.substr(valid);
  // A line without its end is what a crash leaves, and no evidence of anything else.
  if (rest.find('\n') != std::string_view::npos) {
    if (auto done = put_aside(active(), *text, valid); !done) return done;
    if (problem.empty()) problem = "a line does not follow the one before it";
  } else if (::truncate(active().c_str(), static_cast<off_t>(valid)) != 0) {
    return system_error(active().string(), errno);
  }
  if (problem.empty()) problem = "the last line was not whole";
  if (repaired_.line != 0) return {}; // what follows from an older file that was cut
  repaired_.line = end_.line + 1;
  repaired_.problem = problem;
  return {};
}

// The last whole line of the newest file with a number; what stands before it is audit_verify's
// business. Behind it may stand what a power cut left, since files were once rotated unsynced: it
// is cut off, so that lines are never written a second time beside those that are there.
result<void> audit_log::find_older_end(std::vector<std::filesystem::path> older) {
  bool cut = false;
  std::size_t whole = 0;
  for (; !older.empty() && whole == 0; older.pop_back()) {
    const auto& file = older.back();
    auto text = read_file(file, most_scanned_bytes);
    if (!text) return text.err();
    whole = last_whole_line(*text, end_);
    if (whole < text->size()) {
      cut = true;
      auto torn = std::string_view{*text}.substr(whole);
      if (torn.find('\n') != std::string_view::npos) {
        if (auto done = put_aside(file, *text, whole); !done) return done;
      } else if (::truncate(file.c_str(), static_cast<off_t>(whole)) != 0) {
        return system_error(file.string(), errno);
      }
    }
    if (whole > 0) continue;
    // Nothing is left in it, and its name is that of a line which is to be written anew.
    std::error_code failed;
    std::filesystem::remove(file, failed);
    if (failed) return make_error(errc::io, file.string(), failed.message());
    cut = true;
  }
  if (cut) {
    repaired_.line = end_.line + 1;
    repaired_.problem = "the end of an older file was not whole";
  }
  return {};
}

result<void> audit_log::put_aside(const std::filesystem::path& file, std::string_view found,
                                  std::uint64_t valid_bytes) {
  auto stem = "audit-damaged-" + utc_stamp(now());
  auto name = stem + ".jsonl";
  for (int i = 2; path_exists(options_.directory / name); ++i)
    name = stem + "-" + std::to_string(i) + ".jsonl";
  if (auto done = write_file(options_.directory / name, found); !done) return done;
  repaired_.evidence += (repaired_.evidence.empty() ? "" : ", ") + name;
  if (::truncate(file.c_str(), static_cast<off_t>(valid_bytes)) != 0)
    return system_error(file.string(), errno);
  return {};
}

result<void> audit_log::open_file() {
  auto fd = ::open(active().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) return system_error(active().string(), errno);
  file_ = unique_fd{fd};
  put_away_ = false;
  file_bytes_ = static_cast<std::uint64_t>(st.st_size);
  return {};
}

// What the journal has and the log has not: lines that a crash kept from the file, events that
// another program appended, and on the first start everything.
result<void> audit_log::derive(connection& db, const audit_position& known, std::uint64_t head) {
  auto begun_at = end_;
  bool same = end_ == known || known.line == 0 || end_.line > known.line;
  auto q = db.prepare("SELECT c.first_seq, c.count, coalesce(w.swarm, ''), coalesce(s.sandbox, ''),"
                      " c.body FROM chunks c LEFT JOIN journal_swarms w ON w.id = c.swarm "
                      "LEFT JOIN journal_sandboxes s ON s.id = c.sandbox "
                      "WHERE c.first_seq >= coalesce((SELECT max(first_seq) FROM chunks WHERE "
                      "first_seq <= ?1), 1) ORDER BY c.first_seq");
  if (!q) return q.err();
  q->bind(end_.seq);
  std::vector<event_place> places;
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) break;
    chunk c;
    q->read(0, c.first_seq);
    q->read(1, c.count);
    q->read(2, c.swarm);
    q->read(3, c.sandbox);
    q->read(4, c.body);
    if (c.first_seq > head) break;
    if (auto scanned = scan_chunk(c.body.data, c.count, places); !scanned) return scanned;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (c.first_seq + i <= begun_at.seq || !audited(places[i].type)) continue;
      auto before = end_.line;
      if (auto done = take(db, c, c.first_seq, {places[i]}, i); !done) return done;
      if (end_.line > before && end_.line == known.line) same = end_.sha256 == known.sha256;
    }
    if (waiting_.size() > most_waiting_bytes / 4)
      if (auto done = settle(db, known); !done) return done;
  }
  if (begun_at.line < known.line) {
    if (repaired_.line == 0) {
      repaired_.line = begun_at.line + 1;
      repaired_.problem = "lines were missing at the end";
    }
    repaired_.lines = std::min(known.line, end_.line) - begun_at.line;
    if (!same) repaired_.problem += "; what was written again is not what stood there";
  }
  return settle(db, known);
}

// The anchor stands before the lines do, and never goes back.
result<void> audit_log::settle(connection& db, const audit_position& known) {
  if (end_.line >= known.line)
    if (auto done = anchor(db); !done) return done;
  write();
  if (failure_) return failure_;
  return {};
}

} // namespace skep::storage
