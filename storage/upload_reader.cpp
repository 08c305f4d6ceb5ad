// reader::uploads: how fast the last uploads to a provider were.
#include "messages/codec.hpp"
#include "messages/commands.hpp"
#include "storage/reader.hpp"

#include <algorithm>

namespace skep::storage {
namespace {

/// Of a smaller one nearly all of the time goes by around it.
constexpr std::uint64_t least_bytes = std::uint64_t{1} << 20;
constexpr std::size_t most_uploads = 5;
/// So many transfers are looked at, of whatever kind: older ones say little, and reading stays
/// short.
constexpr std::int64_t most_transfers = 10'000;

// Newest first, row by row: the order of the joins is ours. Of a sandbox with several uploads none
// counts, since the later one does not send again what had arrived.
constexpr std::string_view select_uploads =
    "SELECT t.size_bytes, t.ended_at_ms - t.created_at_ms, w.spec FROM transfers t "
    "CROSS JOIN sandboxes s ON s.sandbox = t.sandbox CROSS JOIN swarms w ON w.swarm = t.swarm "
    "WHERE t.rowid > (SELECT max(rowid) FROM transfers) - ?5 AND t.direction = ?2 "
    "AND t.state = ?3 AND t.size_bytes >= ?4 AND t.ended_at_ms > t.created_at_ms "
    "AND s.provider = ?1 AND NOT EXISTS (SELECT 1 FROM transfers o WHERE o.sandbox = t.sandbox "
    "AND o.direction = ?2 AND o.transfer <> t.transfer) ORDER BY t.rowid DESC";

/// A setup is part of its sandbox's upload, and takes as long as it likes.
bool had_setup(const std::string& packed_spec) {
  auto spec = unpack<swarm_spec>(packed_spec);
  return !spec || !spec->setup.empty();
}

} // namespace

result<measured_uploads> reader::uploads(std::string_view provider) {
  auto q = db_.prepare(select_uploads);
  if (!q) return q.err();
  q->bind(provider, transfer_direction::upload, transfer_phase::done, least_bytes, most_transfers);
  std::vector<double> rates;
  while (rates.size() < most_uploads) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) break;
    if (had_setup(q->blob(2))) continue;
    rates.push_back(static_cast<double>(q->integer(0)) * 1000 / static_cast<double>(q->integer(1)));
  }
  measured_uploads out;
  if (rates.empty()) return out;
  std::sort(rates.begin(), rates.end());
  out.count = static_cast<std::uint32_t>(rates.size());
  out.bytes_per_s = static_cast<std::uint64_t>(std::max(rates[(rates.size() - 1) / 2], 1.0));
  return out;
}

} // namespace skep::storage
