// A JOURNAL that stores at once and keeps its answer to a create intent back until it is told to
// give it (flush_a): what comes meanwhile comes before the create is sent.
//
//   late_answer late{svc->handles->journal(), {}};
//   auto holder = v.sys.spawn(answering_late, &late);
//   svc->handles->put_journal(holder);
//   ...                                               // and at the end:
//   svc->handles->put_journal(late.real);
//   holder = nullptr;
//   late = {};
#pragma once

#include "actors/interfaces.hpp"
#include "messages/event_io.hpp"

#include <functional>
#include <utility>

namespace skep::test {

struct late_answer {
  actors::journal_actor real;
  std::function<void()> give; ///< Empty while no answer is kept back.
};

inline bool has_create_intent(const chunk& c) {
  for (event_reader r{c.body.data}; !r.done();)
    if (auto raw = r.next(); raw && raw->type == event_traits<create_intended>::info.type)
      return true;
  return false;
}

/// `late` outlives it.
inline actors::journal_actor::behavior_type answering_late(actors::journal_actor::pointer self,
                                                           late_answer* late) {
  using namespace actors;
  return {[self, late](append_a, chunk_ptr& c) -> caf::result<std::uint64_t> {
            auto promise = self->make_response_promise<std::uint64_t>();
            self->request(late->real, caf::infinite, append_a::value, c)
                .then(
                    [late, promise, keep = has_create_intent(*c)](std::uint64_t seq) mutable {
                      if (keep)
                        late->give = [promise, seq]() mutable { promise.deliver(seq); };
                      else
                        promise.deliver(seq);
                    },
                    [promise](caf::error& e) mutable { promise.deliver(e); });
            return promise;
          },
          [late](flush_a) {
            if (late->give) std::exchange(late->give, nullptr)();
          }};
}

} // namespace skep::test
