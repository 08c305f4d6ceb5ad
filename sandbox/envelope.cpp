#include "sandbox/envelope.hpp"

namespace skep::sandbox {
namespace {

constexpr std::size_t header_size = 5;
constexpr unsigned flag_end = 0x02;

} // namespace

void envelope_reader::feed(std::string_view bytes) {
  if (bad_ || bytes.empty()) return;
  if (ended_) {
    bad_ = true;
    return;
  }
  buffer_.erase(0, position_);
  position_ = 0;
  buffer_.append(bytes);
}

std::optional<envelope> envelope_reader::next() {
  if (bad_) return {};
  if (pending_bytes() == 0) {
    std::string{}.swap(buffer_); // most streams are silent most of the time: they hold no memory
    position_ = 0;
    return {};
  }
  if (ended_) { // bytes behind the end
    bad_ = true;
    return {};
  }
  auto byte = [this](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(buffer_[position_ + i]));
  };
  const auto flags = byte(0);
  if (flags & ~flag_end) {
    bad_ = true;
    return {};
  }
  if (pending_bytes() < header_size) return {};
  const std::size_t size = byte(1) << 24U | byte(2) << 16U | byte(3) << 8U | byte(4);
  if (size > cap_) {
    bad_ = true;
    return {};
  }
  if (pending_bytes() < header_size + size) return {};
  envelope out{(flags & flag_end) != 0, {buffer_.data() + position_ + header_size, size}};
  position_ += header_size + size;
  ended_ = out.end_of_stream;
  return out;
}

std::string make_envelope(std::string_view payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::string out;
  out.reserve(header_size + payload.size());
  out.push_back('\0');
  for (int shift : {24, 16, 8, 0})
    out.push_back(static_cast<char>((size >> shift) & 0xffU));
  out.append(payload);
  return out;
}

} // namespace skep::sandbox
