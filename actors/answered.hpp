// Requests whose deadline ends with their answer.
//
// CAF hands the deadline of a request to its clock and leaves it there once the answer is in: every
// fact of a sandbox then left two behind, which held their actors in memory and woke them up to
// half a minute later. With hundreds of sandboxes that was most of what a quiet daemon did.
#pragma once

#include <caf/all.hpp>

#include <type_traits>
#include <utility>

namespace skep::actors {

/// Asks `to` and runs `ok(T)` (`ok()` for void) or `fail(caf::error&)` in `self`, which must be an
/// event-based actor; sec::request_timeout after `deadline`. For whatever each sandbox or pane
/// does; a person's command may leave its deadline behind.
template <class T, class Self, class To, class Ok, class Fail, class... Ts>
void ask(Self* self, const To& to, caf::timespan deadline, Ok ok, Fail fail, Ts&&... xs) {
  auto asked = self->request(to, deadline, std::forward<Ts>(xs)...);
  auto disarm = [self, id = asked.id()] { self->clock().cancel_request_timeout(self, id); };
  auto failed = [disarm, fail = std::move(fail)](caf::error& why) mutable {
    disarm();
    fail(why);
  };
  if constexpr (std::is_void_v<T>)
    asked.then(
        [disarm, ok = std::move(ok)]() mutable {
          disarm();
          ok();
        },
        std::move(failed));
  else
    asked.then(
        [disarm, ok = std::move(ok)](T x) mutable {
          disarm();
          ok(std::move(x));
        },
        std::move(failed));
}

} // namespace skep::actors
