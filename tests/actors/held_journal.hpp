// A JOURNAL that stores nothing until it is told to, for what must not happen before.
#pragma once

#include "tests/actors/domain_fixture.hpp"

#include <utility>
#include <vector>

namespace skep::test {

/// What it was asked to store, and who does once it is told to (flush_a).
struct held_journal {
  journal_actor real;
  std::vector<std::pair<chunk_ptr, caf::typed_response_promise<std::uint64_t>>> chunks;
};

inline journal_actor::behavior_type holding_journal(journal_actor::pointer self,
                                                    held_journal* held) {
  return {[self, held](append_a, chunk_ptr& c) -> caf::result<std::uint64_t> {
            auto promise = self->make_response_promise<std::uint64_t>();
            held->chunks.emplace_back(std::move(c), promise);
            return promise;
          },
          [self, held](flush_a) {
            for (auto& [c, promise] : std::exchange(held->chunks, {}))
              self->request(held->real, caf::infinite, append_a::value, c)
                  .then([promise = promise](std::uint64_t seq) mutable { promise.deliver(seq); },
                        [promise = promise](caf::error& e) mutable { promise.deliver(e); });
          }};
}

} // namespace skep::test
