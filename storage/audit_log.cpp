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

/// Gives a file, open as `fd`, its lasting name. Synced first: nobody looks for its end again.
result<void> put_away(int fd, const std::filesystem::path& from, const std::filesystem::path& to) {
  // One process writes the log, so that nothing comes in between.
  if (path_exists(to)) return make_error(errc::exists, to.string());
  if (::fsync(fd) != 0) return system_error("cannot make durable: " + from.string(), errno);
  if (::rename(from.c_str(), to.c_str()) != 0) return system_error(from.string(), errno);
  return {};
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
  if (!put_away_) {
    auto to = options_.directory / numbered_name(file_first_line_);
    if (auto done = put_away(file_.get(), active(), to); !done) {
      failure_ = done.err();
      return; // the file goes on as it is: a long one is better than a lost one
    }
    put_away_ = true;
  }
  file_first_line_ = next;
  // Until the next one can be made, lines go on in the one that has its number already.
  if (auto done = open_file(); !done) failure_ = done.err();
  // The journal has the lines of a new file whose name a power cut takes away, not the older ones'.
  if (auto done = sync_directory(options_.directory); !done) failure_ = done.err();
}

} // namespace skep::storage
