#include "messages/event_io.hpp"

#include <algorithm>

namespace skep {

const std::vector<event_info>& all_events() {
#define SKEP_EVENT_ROW(number, Type, text, cls) event_traits<Type>::info,
  static const std::vector<event_info> list = {SKEP_EVENTS(SKEP_EVENT_ROW)};
#undef SKEP_EVENT_ROW
  return list;
}

const event_info* find_event(std::uint32_t type) {
  const auto& list = all_events();
  auto i = std::lower_bound(list.begin(), list.end(), type,
                            [](const event_info& e, std::uint32_t t) { return e.type < t; });
  return i != list.end() && i->type == type ? &*i : nullptr;
}

result<raw_event> event_reader::next() {
  auto handle = parse_object(body_, offset_);
  if (!handle) return handle.err();
  const auto& o = handle->get();
  raw_event out;
  if (o.type != msgpack::type::ARRAY || o.via.array.size < 3
      || !unpack_value(o.via.array.ptr[0], out.type) || !unpack_value(o.via.array.ptr[1], out.at))
    return make_error(errc::bad_frame, "an event is not [type, at_ms, body]");
  out.body = msgpack::object_handle(o.via.array.ptr[2], std::move(handle->zone()));
  return out;
}

namespace {
template <event E>
result<any_event> interpret_as(const raw_event& e) {
  E x;
  if (!unpack_value(e.body.get(), x))
    return make_error(errc::bad_frame, "the body of an event does not fit its type",
                      std::string{event_traits<E>::info.name});
  return any_event{std::move(x)};
}
} // namespace

result<any_event> interpret(const raw_event& e) {
  switch (e.type) {
#define SKEP_EVENT_CASE(number, Type, text, cls)                                                   \
  case number:                                                                                     \
    return interpret_as<Type>(e);
    SKEP_EVENTS(SKEP_EVENT_CASE)
#undef SKEP_EVENT_CASE
  default:
    return make_error(errc::bad_frame, "unknown event type " + std::to_string(e.type));
  }
}

json event_to_json(const raw_event& e) {
  json out = json::object();
  const auto* known = find_event(e.type);
  out["type"] = known ? std::string{known->name} : "unknown." + std::to_string(e.type);
  out["at_ms"] = e.at.time_since_epoch().count();
  if (auto x = interpret(e)) out["body"] = std::visit([](const auto& y) { return to_json(y); }, *x);
  return out;
}

} // namespace skep
