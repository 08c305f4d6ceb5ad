#include "messages/follow.hpp"

#include <array>

namespace skep {
namespace {

constexpr auto make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    auto c = i;
    for (int k = 0; k < 8; ++k)
      c = (c & 1) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr auto crc_table = make_table();

std::uint32_t read_be(std::string_view s) {
  std::uint32_t v = 0;
  for (int i = 0; i < 4; ++i)
    v = (v << 8) | static_cast<unsigned char>(s[static_cast<std::size_t>(i)]);
  return v;
}

} // namespace

std::uint32_t crc32(std::string_view data) {
  std::uint32_t c = 0xFFFFFFFFu;
  for (char ch : data)
    c = crc_table[(c ^ static_cast<unsigned char>(ch)) & 0xFF] ^ (c >> 8);
  return c ^ 0xFFFFFFFFu;
}

result<bool> follow_reader::next(frame& out) {
  auto rest = std::string_view{buffer_}.substr(offset_);
  if (rest.size() < follow_header_size) return false;
  auto size = read_be(rest);
  if (size == 0 || size > follow_max_payload)
    return make_error(errc::bad_frame, "a follower's frame has an impossible length");
  if (rest.size() < follow_header_size + size) return false;
  auto payload = rest.substr(follow_header_size, size);
  if (crc32(payload) != read_be(rest.substr(4)))
    return make_error(errc::checksum, "a follower's frame is damaged");
  std::size_t used = 0;
  auto handle = parse_object(payload, used);
  if (!handle) return handle.err();
  const auto& o = handle->get();
  if (used != payload.size() || o.type != msgpack::type::ARRAY || o.via.array.size != 2
      || !unpack_value(o.via.array.ptr[0], out.kind))
    return make_error(errc::bad_frame, "a follower's frame is not [kind, body]");
  out.body = msgpack::object_handle(o.via.array.ptr[1], std::move(handle->zone()));
  offset_ += follow_header_size + size;
  if (offset_ == buffer_.size()) {
    std::string{}.swap(buffer_); // most streams are silent most of the time: they hold no memory
    offset_ = 0;
  } else if (offset_ > 256 * 1024) {
    buffer_.erase(0, offset_);
    offset_ = 0;
  }
  return true;
}

} // namespace skep
