#include "actors/input_fates.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

/// Calls `take` with each receipt that `want` selects, and its sequence. False: not all was read.
bool each_receipt(const services& svc, storage::chunk_selector want,
                  const std::function<void(const input_receipt& x, std::uint64_t seq)>& take) {
  if (!svc.read_chunks) return false;
  for (;;) {
    auto page = svc.read_chunks(want);
    if (!page) return false;
    for (const auto& c : page->chunks) {
      auto seq = c.first_seq;
      for (event_reader events{c.body.data}; !events.done(); ++seq) {
        auto raw = events.next();
        if (!raw) return false;
        if (raw->type != event_traits<input_receipt>::info.type) continue;
        auto e = interpret(*raw);
        if (!e) continue; // of a newer release
        if (auto* x = std::get_if<input_receipt>(&*e)) take(*x, seq);
      }
    }
    if (page->next > page->head) return true;
    want.from = page->next;
  }
}

} // namespace

std::vector<open_input> inputs_without_fate(const services& svc, const swarm_id& swarm,
                                            const sandbox_id& sandbox, const pane_id& pane) {
  storage::chunk_selector want;
  want.swarm = swarm;
  want.sandbox = sandbox;
  std::vector<open_input> open;
  auto read = each_receipt(svc, want, [&](const input_receipt& x, std::uint64_t seq) {
    if (x.pane != pane) return;
    std::erase_if(open, [&](const open_input& known) { return known.key == x.key; });
    if (x.state == receipt::accepted) open.push_back({x.key, x.size_bytes, seq});
  });
  return read ? open : std::vector<open_input>{}; // a fate may stand in what could not be read
}

std::optional<receipt> input_fate(const services& svc, std::uint64_t seq, const std::string& key) {
  if (!svc.read_chunks) return std::nullopt;
  storage::chunk_selector want;
  want.from = seq;
  want.max_chunks = 1;
  auto there = svc.read_chunks(want);
  if (!there || there->chunks.empty() || there->chunks[0].first_seq > seq) return std::nullopt;
  storage::chunk_selector rest;
  rest.from = seq;
  rest.swarm = there->chunks[0].swarm;
  rest.sandbox = there->chunks[0].sandbox;
  std::optional<receipt> fate;
  auto read = each_receipt(svc, rest, [&](const input_receipt& x, std::uint64_t at) {
    if (at >= seq && x.key == key) fate = x.state;
  });
  return read ? fate : std::nullopt;
}

} // namespace skep::actors
