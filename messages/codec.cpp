#include "messages/codec.hpp"

namespace skep {

result<msgpack::object_handle> parse_object(std::string_view data, std::size_t& offset) {
  // Arrays and maps may claim at most as many elements as there are bytes left; 32 levels deep.
  msgpack::unpack_limit limit(data.size(), data.size(), data.size(), data.size(), data.size(), 32);
  try {
    return msgpack::unpack(data.data(), data.size(), offset, nullptr, nullptr, limit);
  } catch (const std::exception& e) {
    return make_error(errc::bad_frame, "not valid msgpack", e.what());
  }
}

} // namespace skep
