#include "storage/audit_log.hpp"

#include "messages/commands.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {
namespace {

constexpr std::size_t most_waiting_bytes = 4 * 1024 * 1024;
constexpr std::size_t most_scanned_bytes = 512 * 1024 * 1024;
constexpr std::string_view line_begins = "{\"line\":";
constexpr std::string_view seq_begins = ",\"seq\":";
constexpr std::string_view prev_begins = ",\"prev\":\"";
constexpr std::size_t ending_bytes = 9 + 64 + 2; ///< ,"prev":"<64>"}

std::string iso_time(utc_time t) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(t);
  auto as_time = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  ::gmtime_r(&as_time, &parts);
  char text[32];
  std::string out{text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts)};
  std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>((t - seconds).count()));
  return out + text;
}

void mask_texts(json& x, const std::function<std::string(std::string_view)>& mask) {
  if (x.is_string())
    x = mask(x.get_ref<const std::string&>());
  else if (x.is_structured())
    for (auto& y : x)
      mask_texts(y, mask);
}

bool read_digits(std::string_view& text, std::uint64_t& out) {
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failed != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

std::string numbered_name(std::uint64_t first_line) {
  char name[40];
  std::snprintf(name, sizeof name, "audit-%012llu.jsonl",
                static_cast<unsigned long long>(first_line));
  return name;
}

bool is_numbered(const std::string& name) {
  return name.size() == 24 && name.starts_with("audit-") && name.ends_with(".jsonl")
         && std::all_of(name.begin() + 6, name.begin() + 18,
                        [](char c) { return c >= '0' && c <= '9'; });
}

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

} // namespace

sha256_bytes sha256_of(std::string_view data) {
  sha256_bytes out{};
  ::SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), out.data());
  return out;
}

std::string to_hex(const sha256_bytes& x) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (auto c : x) {
    out.push_back(digits[c >> 4]);
    out.push_back(digits[c & 15]);
  }
  return out;
}

bool from_hex(std::string_view text, sha256_bytes& out) {
  if (text.size() != 64) return false;
  for (std::size_t i = 0; i < 32; ++i) {
    auto two = text.substr(2 * i, 2);
    auto [end, failed] = std::from_chars(two.data(), two.data() + 2, out[i], 16);
    if (failed != std::errc{} || end != two.data() + 2) return false;
  }
  return true;
}

std::vector<std::filesystem::path> audit_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> out;
  if (auto names = names_in(directory))
    for (const auto& name : *names)
      if (is_numbered(name)) out.push_back(directory / name);
  if (path_exists(directory / "audit.jsonl")) out.push_back(directory / "audit.jsonl");
  return out;
}

result<audit_position> read_anchor(connection& db) {
  auto q = db.prepare("SELECT value FROM journal_info WHERE name = 'audit_anchor'");
  if (!q) return q.err();
  auto row = q->step();
  if (!row) return row.err();
  if (!*row) return audit_position{};
  auto value = q->text(0);
  std::string_view rest{value};
  audit_position out;
  auto space = [&] {
    if (rest.empty() || rest[0] != ' ') return false;
    rest.remove_prefix(1);
    return true;
  };
  if (!read_digits(rest, out.line) || !space() || !read_digits(rest, out.seq) || !space()
      || !from_hex(rest, out.sha256))
    return make_error(errc::audit_broken, "the anchor in the database cannot be read");
  return out;
}

bool read_line_ends(std::string_view line, std::uint64_t& number, std::uint64_t& seq,
                    sha256_bytes& previous) {
  if (!line.starts_with(line_begins) || line.size() < line_begins.size() + ending_bytes)
    return false;
  auto ending = line.substr(line.size() - ending_bytes);
  if (!ending.starts_with(prev_begins) || !ending.ends_with("\"}")
      || !from_hex(ending.substr(prev_begins.size(), 64), previous))
    return false;
  auto rest = line.substr(line_begins.size());
  if (!read_digits(rest, number) || !rest.starts_with(seq_begins)) return false;
  rest.remove_prefix(seq_begins.size());
  return read_digits(rest, seq);
}

// ---- opening --------------------------------------------------------------------------------

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
  if (files.size() > (has_active ? 1u : 0u)) {
    const auto& older = files[files.size() - (has_active ? 2 : 1)];
    auto text = read_file(older, most_scanned_bytes);
    if (!text) return text.err();
    // Its last line; what stands before it is audit_verify's business.
    std::string_view rest{*text};
    while (!rest.empty() && rest.back() == '\n')
      rest.remove_suffix(1);
    auto last = rest.substr(rest.rfind('\n') + 1);
    sha256_bytes previous{};
    if (read_line_ends(last, end_.line, end_.seq, previous)) end_.sha256 = sha256_of(last);
    if (end_.line > known.line || end_.seq > head) { // the database is older: a restored backup
      end_ = {};
      return put_all_aside();
    }
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
    if (auto done = put_aside(*text, valid); !done) return done;
    if (problem.empty()) problem = "a line does not follow the one before it";
  } else if (::truncate(active().c_str(), static_cast<off_t>(valid)) != 0) {
    return system_error(active().string(), errno);
  }
  if (problem.empty()) problem = "the last line was not whole";
  repaired_.line = end_.line + 1;
  repaired_.problem = problem;
  return {};
}

result<void> audit_log::put_aside(std::string_view found, std::uint64_t valid_bytes) {
  auto name = "audit-damaged-" + utc_stamp(now()) + ".jsonl";
  if (auto done = write_file(options_.directory / name, found); !done) return done;
  repaired_.evidence = name;
  if (::truncate(active().c_str(), static_cast<off_t>(valid_bytes)) != 0)
    return system_error(active().string(), errno);
  return {};
}

result<void> audit_log::open_file() {
  auto fd = ::open(active().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) return system_error(active().string(), errno);
  file_ = unique_fd{fd};
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

// ---- writing --------------------------------------------------------------------------------

result<void> audit_log::take(connection& db, const chunk& c, std::uint64_t first_seq,
                             const std::vector<event_place>& events, std::size_t index) {
  std::string_view body = c.body.data;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (!audited(events[i].type)) continue;
    event_reader one{body.substr(events[i].offset, events[i].size)};
    auto raw = one.next();
    if (!raw) return raw.err();
    auto event = interpret(*raw);
    if (!event) continue; // a note that does not fit its type
    auto made = std::holds_alternative<sandbox_created>(*event);
    auto entry = audit_entry_of(*event, made ? terms_of(db, c.swarm, c.sandbox) : audit_terms{});
    if (entry) add(c, first_seq + index + i, raw->at, std::move(*entry));
    if (std::holds_alternative<swarm_closed>(*event)) limits_ms_.erase(c.swarm.value);
  }
  return {};
}

audit_terms audit_log::terms_of(connection& db, const swarm_id& swarm, const sandbox_id& sandbox) {
  audit_terms out;
  auto known = limits_ms_.find(swarm.value);
  if (known == limits_ms_.end()) {
    std::int64_t limit_ms = 0;
    if (auto q = db.prepare("SELECT spec FROM swarms WHERE swarm = ?1"))
      if (auto row = q->bind(swarm).step(); row && *row)
        if (auto spec = unpack<swarm_spec>(q->blob(0))) limit_ms = spec->limit_ms;
    known = limits_ms_.emplace(swarm.value, limit_ms).first;
  }
  out.limit_ms = known->second;
  if (auto q = db.prepare("SELECT usd_per_hour FROM sandboxes WHERE sandbox = ?1"))
    if (auto row = q->bind(sandbox).step(); row && *row) out.rate_usd_per_hour = q->real(0);
  return out;
}

void audit_log::add(const chunk& c, std::uint64_t seq, utc_time at, audit_entry entry) {
  if (options_.mask) mask_texts(entry.metadata, options_.mask);
  json rest{{"ts", iso_time(at)},
            {"level", std::string{to_string(entry.level)}},
            {"category", std::string{to_string(entry.category)}},
            {"operation", std::move(entry.operation)},
            {"swarm", c.swarm.value},
            {"sandbox", c.sandbox.value},
            {"metadata", std::move(entry.metadata)}};
  auto middle = to_line(rest); // {"ts":...}
  std::string one{line_begins};
  one += std::to_string(end_.line + 1);
  one += seq_begins;
  one += std::to_string(seq);
  one += ',';
  one += std::string_view{middle}.substr(1, middle.size() - 2);
  one += prev_begins;
  one += to_hex(end_.sha256);
  one += "\"}";
  end_ = {end_.line + 1, sha256_of(one), seq};
  moved_ = true;
  if (dropped_) return;
  waiting_ += one;
  waiting_ += '\n';
}

result<void> audit_log::anchor(connection& db) {
  if (!std::exchange(moved_, false)) return {};
  return db.run("INSERT INTO journal_info VALUES ('audit_anchor', ?1) "
                "ON CONFLICT (name) DO UPDATE SET value = ?1",
                std::to_string(end_.line) + " " + std::to_string(end_.seq) + " "
                    + to_hex(end_.sha256));
}

void audit_log::write() {
  if (waiting_.empty()) return;
  if (file_bytes_ >= options_.max_file_bytes) rotate();
  std::string_view rest{waiting_};
  while (!rest.empty()) {
    auto n = ::write(file_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      failure_ = system_error("cannot write " + active().string(), errno);
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
    file_bytes_ += static_cast<std::uint64_t>(n);
  }
  waiting_.erase(0, waiting_.size() - rest.size());
  if (waiting_.empty()) {
    failure_ = {};
  } else if (waiting_.size() > most_waiting_bytes) {
    waiting_.clear();
    dropped_ = true; // a gap in the file would look like a removed line
  }
}

void audit_log::rotate() {
  std::uint64_t next = 0, seq = 0;
  sha256_bytes previous{};
  std::string_view first{waiting_};
  first = first.substr(0, first.find('\n'));
  // A line that was written in part goes on in its own file.
  if (!read_line_ends(first, next, seq, previous)) return;
  std::error_code failed;
  std::filesystem::rename(active(), options_.directory / numbered_name(file_first_line_), failed);
  if (failed) {
    failure_ = make_error(errc::io, active().string(), failed.message());
    return;
  }
  file_first_line_ = next;
  if (auto done = open_file(); !done) failure_ = done.err();
}

} // namespace skep::storage
