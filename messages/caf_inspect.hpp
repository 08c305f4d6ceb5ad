// The one bridge from field lists to CAF 0.17: inspect() for every message, found by ADL.
// Included by actors/ only.
#pragma once

#include "messages/codec.hpp"

#include <caf/all.hpp>

static_assert(CAF_VERSION == 1706, "the actor code is written for CAF 0.17.6");

namespace skep {

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, bytes& x) {
  return f(caf::meta::type_name("bytes"), x.data);
}

template <class Inspector, class Tag>
typename Inspector::result_type inspect(Inspector& f, basic_id<Tag>& x) {
  return f(caf::meta::type_name("id"), x.value);
}

template <class Inspector, message T>
typename Inspector::result_type inspect(Inspector& f, T& x) {
  static_assert(check_fields<T>());
  return T::with_fields(x, [&](auto... fs) { return f(fs.value...); });
}

} // namespace skep
