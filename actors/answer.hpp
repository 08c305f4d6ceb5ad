// From result<T> to the answer of a request.
#pragma once

#include "actors/interfaces.hpp"

namespace skep::actors {

/// Answers the request behind `p` with the value or the error.
template <class T>
void answer(caf::typed_response_promise<T> p, const result<T>& r) {
  if (!r)
    p.deliver(to_caf(r.err()));
  else if constexpr (std::is_void_v<T>)
    static_cast<caf::response_promise&>(p).deliver(caf::unit);
  else
    p.deliver(*r);
}

} // namespace skep::actors
