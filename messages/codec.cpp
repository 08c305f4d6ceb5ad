#include "messages/codec.hpp"

#include <algorithm>

namespace skep {
namespace {

constexpr std::size_t max_depth = 32;

/// Walks over an object without making anything, and stops where it nests too deep or where its
/// arrays and maps announce more elements than there are bytes to hold them. What passes here can
/// be built with at most 24 bytes an announced element.
class limits_visitor : public msgpack::null_visitor {
public:
  explicit limits_visitor(std::size_t bytes) : elements_left_(bytes) {}
  bool start_array(std::uint32_t count) { return enter(count); }
  bool end_array() { return leave(); }
  bool start_map(std::uint32_t count) { return enter(2 * std::uint64_t{count}); }
  bool end_map() { return leave(); }

private:
  bool enter(std::uint64_t elements) {
    if (++depth_ > max_depth || elements > elements_left_) return false;
    elements_left_ -= elements;
    return true;
  }
  bool leave() {
    --depth_;
    return true;
  }

  std::size_t depth_ = 0;
  std::uint64_t elements_left_;
};

} // namespace

result<msgpack::object_handle> parse_object(std::string_view data, std::size_t& offset) {
  try {
    limits_visitor limits(data.size() - std::min(offset, data.size()));
    auto end = offset;
    if (!msgpack::parse(data.data(), data.size(), end, limits))
      return make_error(errc::bad_frame, "not valid msgpack, or nested too deep");
    return msgpack::unpack(data.data(), data.size(), offset);
  } catch (const std::exception& e) {
    return make_error(errc::bad_frame, "not valid msgpack", e.what());
  }
}

} // namespace skep
