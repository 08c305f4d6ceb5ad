#include "storage/chunk_scan.hpp"

#include <array>

namespace skep::storage {
namespace {

/// Deepest nesting that messages/codec.cpp accepts, with one to spare for its own counting.
constexpr std::size_t max_depth = 31;

class cursor {
public:
  explicit cursor(std::string_view data) : data_(data) {}
  std::size_t at() const { return at_; }
  bool done() const { return at_ >= data_.size(); }

  bool byte(unsigned char& out) {
    if (done()) return false;
    out = static_cast<unsigned char>(data_[at_++]);
    return true;
  }
  /// Unsigned big-endian number of `size` bytes.
  bool number(std::size_t size, std::uint64_t& out) {
    if (data_.size() - at_ < size) return false;
    out = 0;
    for (std::size_t i = 0; i < size; ++i)
      out = (out << 8) | static_cast<unsigned char>(data_[at_++]);
    return true;
  }
  bool skip(std::uint64_t size) {
    if (data_.size() - at_ < size) return false;
    at_ += static_cast<std::size_t>(size);
    return true;
  }

private:
  std::string_view data_;
  std::size_t at_ = 0;
};

/// Reads the head of one object: skips its own bytes, `children` is the number of objects in it.
bool skip_head(cursor& c, std::uint64_t& children) {
  unsigned char head = 0;
  std::uint64_t n = 0;
  children = 0;
  if (!c.byte(head)) return false;
  if (head <= 0x7f || head >= 0xe0) return true; // fixint
  if (head <= 0x8f) {                            // fixmap
    children = 2ull * (head & 0x0f);
    return true;
  }
  if (head <= 0x9f) { // fixarray
    children = head & 0x0f;
    return true;
  }
  if (head <= 0xbf) return c.skip(head & 0x1f); // fixstr
  switch (head) {
  case 0xc0: // nil
  case 0xc2: // false
  case 0xc3: // true
    return true;
  case 0xc4: // bin 8, 16, 32
  case 0xc5:
  case 0xc6:
    return c.number(1u << (head - 0xc4), n) && c.skip(n);
  case 0xc7: // ext 8, 16, 32: one byte of type more
  case 0xc8:
  case 0xc9:
    return c.number(1u << (head - 0xc7), n) && c.skip(n + 1);
  case 0xca: // float 32, 64
    return c.skip(4);
  case 0xcb:
    return c.skip(8);
  case 0xcc: // uint 8, 16, 32, 64
  case 0xcd:
  case 0xce:
  case 0xcf:
    return c.skip(1u << (head - 0xcc));
  case 0xd0: // int 8, 16, 32, 64
  case 0xd1:
  case 0xd2:
  case 0xd3:
    return c.skip(1u << (head - 0xd0));
  case 0xd4: // fixext 1, 2, 4, 8, 16
  case 0xd5:
  case 0xd6:
  case 0xd7:
  case 0xd8:
    return c.skip((1u << (head - 0xd4)) + 1);
  case 0xd9: // str 8, 16, 32
  case 0xda:
  case 0xdb:
    return c.number(1u << (head - 0xd9), n) && c.skip(n);
  case 0xdc: // array 16, 32
  case 0xdd:
    return c.number(head == 0xdc ? 2 : 4, children);
  case 0xde: // map 16, 32
  case 0xdf:
    if (!c.number(head == 0xde ? 2 : 4, n)) return false;
    children = 2 * n;
    return true;
  default: // 0xc1 is never used
    return false;
  }
}

/// Skips `count` whole objects that stand at nesting `depth`.
bool skip_objects(cursor& c, std::uint64_t count, std::size_t depth) {
  std::array<std::uint64_t, max_depth> left{};
  auto level = depth;
  left[level] = count;
  for (;;) {
    while (left[level] == 0) {
      if (level == depth) return true;
      --level;
    }
    --left[level];
    std::uint64_t children = 0;
    if (!skip_head(c, children)) return false;
    if (children > 0) {
      if (level + 1 >= max_depth) return false;
      left[++level] = children;
    }
  }
}

/// An unsigned number; false for anything else.
bool read_type(cursor& c, std::uint32_t& out) {
  unsigned char head = 0;
  std::uint64_t n = 0;
  if (!c.byte(head)) return false;
  if (head <= 0x7f)
    n = head;
  else if (head < 0xcc || head > 0xcf || !c.number(1u << (head - 0xcc), n) || n > UINT32_MAX)
    return false;
  out = static_cast<std::uint32_t>(n);
  return true;
}

/// A number of either sign.
bool skip_time(cursor& c) {
  unsigned char head = 0;
  if (!c.byte(head)) return false;
  if (head <= 0x7f || head >= 0xe0) return true;
  if (head >= 0xcc && head <= 0xcf) {
    std::uint64_t n = 0; // beyond 63 bits it is no time
    return c.number(1u << (head - 0xcc), n) && n <= INT64_MAX;
  }
  return head >= 0xd0 && head <= 0xd3 && c.skip(1u << (head - 0xd0));
}

bool scan_event(cursor& c, event_place& out) {
  unsigned char head = 0;
  std::uint64_t parts = 0;
  out.offset = c.at();
  if (!c.byte(head)) return false;
  if (head >= 0x90 && head <= 0x9f)
    parts = head & 0x0f;
  else if ((head != 0xdc && head != 0xdd) || !c.number(head == 0xdc ? 2 : 4, parts))
    return false;
  if (parts < 3 || !read_type(c, out.type) || !skip_time(c) || !skip_objects(c, parts - 2, 1))
    return false;
  out.size = c.at() - out.offset;
  return true;
}

} // namespace

result<void> scan_chunk(std::string_view body, std::uint32_t count, std::vector<event_place>& out) {
  out.clear();
  cursor c{body};
  while (!c.done()) {
    if (out.size() == count)
      return make_error(errc::bad_frame, "a chunk holds more events than it counts");
    if (!scan_event(c, out.emplace_back()))
      return make_error(errc::bad_frame, "an event of a chunk is not a whole [type, at_ms, body]");
  }
  if (out.size() != count || count == 0)
    return make_error(errc::bad_frame, "a chunk counts " + std::to_string(count)
                                           + " events and holds " + std::to_string(out.size()));
  return {};
}

} // namespace skep::storage
