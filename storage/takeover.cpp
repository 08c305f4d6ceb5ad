// What a daemon stores before all else (journal.hpp): that it began, and what it found mended.
#include "storage/epoch_file.hpp"
#include "storage/journal.hpp"

#include <algorithm>

namespace skep::storage {
namespace {

template <event E>
void add(chunk& c, utc_time now, const E& e) {
  pack_event(c.body.data, now, e);
  ++c.count;
}

/// Stores `c` in a transaction of its own.
result<void> store(journal& j, chunk& c) {
  if (auto done = j.begin(); !done) return done;
  auto stored = j.append(c);
  // The transaction must end in either case.
  if (auto done = j.commit(); !done) return done;
  if (!stored) return stored.err();
  return {};
}

notice file_notice(const error& e) {
  return {severity::warning, "epoch_file", render(e)};
}

notice restored_notice(const epoch_mark& before, const epoch_mark& now) {
  auto text = [](const epoch_mark& x) {
    return "epoch " + std::to_string(x.epoch) + ", event " + std::to_string(x.head);
  };
  return {severity::warning, "state_restored",
          "the database (" + text(now) + ") is not the one that was last used here (" + text(before)
              + "): event numbers count anew, in a stream of another name"};
}

} // namespace

result<void> record_repair(journal& j, utc_time now) {
  if (j.audit() == nullptr || j.audit()->repaired().line == 0) return {};
  chunk c;
  add(c, now, j.audit()->repaired());
  return store(j, c);
}

result<std::uint64_t> take_epoch(journal& j, const std::string& version, std::int64_t pid,
                                 utc_time now) {
  auto known = read_epoch_mark(j.database());
  auto before = known ? *known : epoch_mark{};
  if (auto done = j.begin(); !done) return done.err();
  auto newest = j.newest_epoch();
  if (!newest) return newest.err();
  auto found = mark_of(j.database(), *newest, j.head());
  auto epoch = std::max(*newest, before.epoch) + 1;
  chunk c;
  add(c, now, daemon_started{epoch, version, pid});
  if (!known) add(c, now, file_notice(known.err()));
  result<void> renewed;
  if (is_restored(before, found)) {
    add(c, now, restored_notice(before, found));
    renewed = j.renew_stream();
  }
  auto stored = j.append(c);
  if (auto done = j.commit(); !done) return done.err();
  if (!renewed) return renewed.err();
  if (!stored) return stored.err();
  // After the COMMIT: written before it, a death between the two would look like a restored backup.
  // Nothing was done in the name of this epoch yet.
  if (auto kept = write_epoch_mark(j.database(), mark_of(j.database(), epoch, j.head())); !kept) {
    chunk told;
    add(told, now, file_notice(kept.err()));
    // On a nearly full disk it is refused, and kills are more urgent than that.
    if (auto done = store(j, told); !done && j.broken()) return done.err();
  }
  return epoch;
}

result<void> note_head(const journal& j) {
  auto newest = j.newest_epoch();
  if (!newest) return newest.err();
  return write_epoch_mark(j.database(), mark_of(j.database(), *newest, j.head()));
}

} // namespace skep::storage
