// The audit log: who asked for what, what was made, moved, paid and ended. One JSON object a line,
// appended and never changed.
//
//   STATE/audit.jsonl                   0600; the newest lines
//   STATE/audit-000000012345.jsonl      older ones, by the number of their first line
//   STATE/audit-damaged-STAMP.jsonl     what was found when the log was not what was written
//
//   {"line":7,"seq":41,"ts":"2026-11-26T17:01:24.123Z","level":"INFO","category":"RESOURCE",
//    "operation":"SANDBOX_CREATED","swarm":"sw_..","sandbox":"sb_..","metadata":{..},
//    "prev":"<SHA-256 of the line before, without its newline; zeros for line 1>"}
//
// Every line follows from one event of the journal (`seq`), by audit_rules.hpp. So the log needs no
// sync of its own: the journal's transaction that stores the events also stores the anchor (number
// and hash of the last line, journal_info 'audit_anchor'), the lines are written after its COMMIT,
// and what a crash kept from the file is written again from the journal, byte for byte. A log that
// was cut, or changed near its end, is seen in the same way, mended, and said (audit.repaired);
// audit_verify.hpp reads the whole of it. Only the newest file may lose its end: one that gets its
// number was synced before.
#pragma once

#include "messages/event_io.hpp"
#include "storage/audit_rules.hpp"
#include "storage/chunk_scan.hpp"
#include "storage/connection.hpp"
#include "storage/files.hpp"

#include <array>
#include <filesystem>
#include <functional>
#include <unordered_map>

namespace skep::storage {

using sha256_bytes = std::array<unsigned char, 32>;
sha256_bytes sha256_of(std::string_view data);
std::string to_hex(const sha256_bytes& x);
/// False when `text` is not 64 hexadecimal digits.
bool from_hex(std::string_view text, sha256_bytes& out);

struct audit_options {
  std::filesystem::path directory;                 ///< Where the files are; the state directory.
  std::uint64_t max_file_bytes = 16 * 1024 * 1024; ///< Then the next file is begun.
  /// Removes secrets from a text; called for every text of a line. May be empty.
  std::function<std::string(std::string_view)> mask;
};

/// Where the log ends: the last line's number (0: none), its hash, and the event it is about.
struct audit_position {
  std::uint64_t line = 0;
  sha256_bytes sha256{};
  std::uint64_t seq = 0;
  friend bool operator==(const audit_position&, const audit_position&) = default;
};

/// Files of the log in order, the newest last; only those that are there.
std::vector<std::filesystem::path> audit_files(const std::filesystem::path& directory);
/// What the database says of the log's end; line 0 when it knows of none.
result<audit_position> read_anchor(connection& db);

/// What stands in the two fixed places of a line. False when it is no line of ours.
bool read_line_ends(std::string_view line, std::uint64_t& number, std::uint64_t& seq,
                    sha256_bytes& previous);

class audit_log {
public:
  /// Opens the log behind `db`, whose journal ends at `head`. Writes what is missing, puts aside
  /// what does not belong, see repaired(). Errors: io, disk_full, sql.
  static result<audit_log> open(connection& db, audit_options options, std::uint64_t head);

  /// Makes the lines of events of a chunk that was stored, in order; the first of `events` is the
  /// chunk's event `index`. They wait for write().
  result<void> take(connection& db, const chunk& c, std::uint64_t first_seq,
                    const std::vector<event_place>& events, std::size_t index = 0);
  /// Stores the anchor; in the transaction of the chunks.
  result<void> anchor(connection& db);
  /// Appends the waiting lines, after COMMIT. When the disk refuses they wait on; beyond 4 MiB they
  /// are dropped, to be written by the next open().
  void write();

  const audit_position& end() const { return end_; }
  /// What open() had to mend; `line` 0: nothing.
  const audit_repaired& repaired() const { return repaired_; }
  /// Why lines are waiting; none when all are in the file.
  const error& failure() const { return failure_; }

private:
  explicit audit_log(audit_options options) : options_(std::move(options)) {}
  std::filesystem::path active() const { return options_.directory / "audit.jsonl"; }
  result<void> find_end(const audit_position& known, std::uint64_t head);
  result<void> find_older_end(std::vector<std::filesystem::path> older);
  result<void> put_aside(const std::filesystem::path& file, std::string_view found,
                         std::uint64_t valid_bytes);
  result<void> put_all_aside();
  result<void> settle(connection& db, const audit_position& known);
  result<void> derive(connection& db, const audit_position& known, std::uint64_t head);
  result<void> open_file();
  void rotate();
  audit_terms terms_of(connection& db, const swarm_id& swarm, const sandbox_id& sandbox);
  void add(const chunk& c, std::uint64_t seq, utc_time at, audit_entry entry);

  static constexpr std::size_t most_waiting_bytes = 4 * 1024 * 1024;

  audit_options options_;
  unique_fd file_;
  bool put_away_ = false; ///< It has its number, and the next one could not be made yet.
  std::uint64_t file_bytes_ = 0;
  std::uint64_t file_first_line_ = 1;
  audit_position end_; ///< Of what was made, also of lines that wait.
  bool moved_ = false; ///< Since the last anchor().
  std::string waiting_;
  bool dropped_ = false;
  error failure_;
  audit_repaired repaired_;
  std::unordered_map<std::string, std::int64_t> limits_ms_; ///< Hard limit by swarm.
};

} // namespace skep::storage
