#include "broker/frames.hpp"

namespace skep::broker {

namespace {

constexpr std::string_view none = "-";

void put_topic(std::string& out, char kind, const swarm_id& swarm, const sandbox_id& sandbox) {
  out.clear();
  out += kind;
  out += '/';
  out += swarm.empty() ? none : std::string_view{swarm.value};
  out += '/';
  out += sandbox.empty() ? none : std::string_view{sandbox.value};
  out += '/';
  out += '\0';
}

void put_text(packer& p, std::string_view text) {
  p.pack_str(static_cast<std::uint32_t>(text.size()));
  p.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

error bad(const char* what) {
  return make_error(errc::bad_frame, what);
}

template <class Id>
bool read_id(std::string_view text, Id& out) {
  if (text == none) return true;
  if (!valid_id(text, Id::sigil)) return false;
  out.value = text;
  return true;
}

/// Topic "K/SWARM/SANDBOX/" up to NUL; `offset` moves behind the NUL.
bool read_topic(std::string_view frame, char kind, swarm_id& swarm, sandbox_id& sandbox,
                std::size_t& offset) {
  constexpr std::size_t longest = 128;
  auto nul = frame.substr(0, longest).find('\0');
  if (nul == std::string_view::npos || nul < 4) return false;
  auto topic = frame.substr(0, nul);
  if (topic[0] != kind || topic[1] != '/' || topic.back() != '/') return false;
  auto slash = topic.find('/', 2);
  if (slash == std::string_view::npos || slash + 1 >= topic.size()) return false;
  offset = nul + 1;
  return read_id(topic.substr(2, slash - 2), swarm)
         && read_id(topic.substr(slash + 1, topic.size() - slash - 2), sandbox);
}

/// The header array with at least `size` elements and a version that we know.
result<msgpack::object_handle> read_header(std::string_view frame, std::size_t& offset,
                                           std::uint32_t size) {
  auto handle = parse_object(frame, offset);
  if (!handle) return handle.err();
  const auto& o = handle->get();
  if (o.type != msgpack::type::ARRAY || o.via.array.size < 1) return bad("header is not an array");
  std::uint32_t version = 0;
  if (!unpack_value(o.via.array.ptr[0], version) || version != frame_version)
    return make_error(errc::wrong_version, "frame version " + std::to_string(version));
  if (o.via.array.size < size) return bad("header is too short");
  return handle;
}

} // namespace

std::string topic_prefix(char kind, const selector& s) {
  std::string out{kind, '/'};
  if (s.swarm.empty()) return out;
  out += s.swarm.value + '/';
  if (!s.sandbox.empty()) out += s.sandbox.value + '/';
  return out;
}

void put_event_prefix(std::string& out, std::string_view stream, const chunk& c) {
  put_topic(out, 'e', c.swarm, c.sandbox);
  string_sink sink{out};
  packer p{sink};
  p.pack_array(6);
  p.pack_uint32(frame_version);
  put_text(p, stream);
  p.pack_uint64(c.first_seq);
  p.pack_uint32(c.count);
  p.pack_uint64(c.previous_in_sandbox);
  p.pack_uint64(c.previous_in_swarm);
}

void put_output_prefix(std::string& out, const output_frame& f) {
  put_topic(out, 'o', f.swarm, f.sandbox);
  string_sink sink{out};
  packer p{sink};
  p.pack_array(4);
  p.pack_uint32(frame_version);
  put_text(p, f.pane.value);
  p.pack_uint32(f.generation);
  p.pack_uint64(f.offset);
}

std::string encode_head(const head_frame& f) {
  std::string out{head_topic};
  out += '\0';
  string_sink sink{out};
  packer p{sink};
  p.pack_array(3);
  p.pack_uint32(frame_version);
  put_text(p, f.stream);
  p.pack_uint64(f.head);
  return out;
}

result<event_frame> decode_event(std::string_view frame) {
  event_frame out;
  std::size_t offset = 0;
  if (!read_topic(frame, 'e', out.swarm, out.sandbox, offset)) return bad("not an event topic");
  auto header = read_header(frame, offset, 6);
  if (!header) return header.err();
  const auto* x = header->get().via.array.ptr;
  if (!unpack_value(x[1], out.stream) || !unpack_value(x[2], out.first_seq)
      || !unpack_value(x[3], out.count) || !unpack_value(x[4], out.previous_in_sandbox)
      || !unpack_value(x[5], out.previous_in_swarm))
    return bad("a header element has the wrong type");
  if (out.count == 0 || out.first_seq == 0 || out.last_seq() < out.first_seq
      || out.previous_in_sandbox >= out.first_seq || out.previous_in_swarm >= out.first_seq)
    return bad("sequence numbers contradict each other");
  out.body = frame.substr(offset);
  if (out.body.size() < out.count) return bad("fewer bytes than events");
  return out;
}

result<output_frame> decode_output(std::string_view frame) {
  output_frame out;
  std::size_t offset = 0;
  if (!read_topic(frame, 'o', out.swarm, out.sandbox, offset)) return bad("not an output topic");
  auto header = read_header(frame, offset, 4);
  if (!header) return header.err();
  const auto* x = header->get().via.array.ptr;
  if (!unpack_value(x[1], out.pane) || !unpack_value(x[2], out.generation)
      || !unpack_value(x[3], out.offset))
    return bad("a header element has the wrong type");
  out.data = frame.substr(offset);
  if (out.pane.empty() || out.offset + out.data.size() < out.offset)
    return bad("no pane, or an offset that overflows");
  return out;
}

result<head_frame> decode_head(std::string_view frame) {
  if (!frame.starts_with(head_topic) || frame.size() <= head_topic.size()
      || frame[head_topic.size()] != '\0')
    return bad("not a head beacon");
  std::size_t offset = head_topic.size() + 1;
  auto header = read_header(frame, offset, 3);
  if (!header) return header.err();
  head_frame out;
  const auto* x = header->get().via.array.ptr;
  if (!unpack_value(x[1], out.stream) || !unpack_value(x[2], out.head))
    return bad("a header element has the wrong type");
  return out;
}

} // namespace skep::broker
