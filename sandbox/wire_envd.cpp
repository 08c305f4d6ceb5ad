#include "sandbox/wire_envd.hpp"

#include "messages/ids.hpp"
#include "sandbox/envelope.hpp"
#include "sandbox/wire_json.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>

namespace skep::sandbox::wire {
namespace {

constexpr std::array<std::string_view, 6> change_names{
    "EVENT_TYPE_UNSPECIFIED", "EVENT_TYPE_CREATE", "EVENT_TYPE_WRITE",
    "EVENT_TYPE_REMOVE",      "EVENT_TYPE_RENAME", "EVENT_TYPE_CHMOD"};

bool fill_change(const value& x, file_change& out) {
  reader r{x};
  out.name = r.text("name");
  if (auto* type = r.member("type"); type && type->is_number_integer()) {
    auto n = r.integer<std::int64_t>("type");
    out.what = n >= 0 && n <= 5 ? static_cast<change>(n) : change::unknown;
  } else {
    auto i = std::find(change_names.begin(), change_names.end(), r.text("type"));
    if (i != change_names.end()) out.what = static_cast<change>(i - change_names.begin());
  }
  if (auto* info = r.member("entry")) {
    out.info.emplace();
    if (!fill_entry(*info, *out.info)) return false;
  }
  return r.good();
}

} // namespace

result<std::string> selector_body(const process_selector& which, std::string_view more) {
  if (which.pid != 0) return process_body(which.pid, more);
  if (which.tag.empty()) return make_error(errc::bad_argument, "neither a pid nor a tag");
  return process_body(which.tag, more);
}

result<std::string> watch_body(const std::string& path, const watch_options& options) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return make_error(errc::bad_argument, "not a path");
  value out{{"path", path}};
  if (options.recursive) out["recursive"] = true;
  if (options.with_entry) out["includeEntry"] = true;
  if (options.allow_network_mounts) out["allowNetworkMounts"] = true;
  return dump(out);
}

result<std::string> input_envelopes(const process_selector& which,
                                    const std::vector<std::string>& pieces, bool to_pty) {
  auto subject = selector_body(which);
  if (!subject) return subject.err();
  std::string out = make_envelope("{\"start\":" + *subject + "}");
  for (const auto& piece : pieces)
    out += make_envelope("{\"data\":{" + input_member(piece, to_pty) + "}}");
  return out;
}

result<std::string> compose_body(const std::vector<std::string>& from, const std::string& to,
                                 const std::string& user) {
  if (from.empty() || to.empty())
    return make_error(errc::bad_argument, "compose needs sources and a destination");
  value out{{"source_paths", from}, {"destination", to}};
  if (!user.empty()) out["username"] = user;
  return dump(out);
}

result<void> read_single_message(std::string_view envelopes) {
  envelope_reader in;
  in.feed(envelopes);
  bool message = false;
  while (auto x = in.next()) {
    if (!x->end_of_stream) {
      message = true;
      continue;
    }
    if (auto fine = read_end_of_stream(x->payload); !fine) return fine;
    if (message) return {};
  }
  return make_error(errc::protocol, "the stream ended too early");
}

result<std::string> read_watcher(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  auto out = r.text("watcherId");
  if (!r.good() || out.empty()) return not_understood(body);
  return out;
}

result<std::vector<file_change>> read_changes(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  std::vector<file_change> out;
  r.each("events", [&](const value& x) {
    if (!fill_change(x, out.emplace_back())) r.bad();
  });
  if (!r.good()) return not_understood(body);
  return out;
}

result<std::vector<written_file>> read_written(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array() || parsed.empty()) return not_understood(body);
  std::vector<written_file> out;
  for (const auto& x : parsed) {
    reader r{x};
    out.push_back({r.text("path"), r.text("name"), r.text_map("metadata")});
    if (!r.good()) return not_understood(body);
  }
  return out;
}

result<entry> read_bare_entry(std::string_view body) {
  entry out;
  auto parsed = parse(body);
  if (!fill_entry(parsed, out)) return not_understood(body);
  return out;
}

result<std::map<std::string, std::string>> read_texts(std::string_view body) {
  value whole{{"all", parse(body)}};
  reader r{whole};
  auto out = r.text_map("all");
  // Without the body: environments hold secrets.
  if (!r.good() || !r.member("all"))
    return make_error(errc::protocol, "the answer is not understood");
  return out;
}

result<watch_event> read_watch_event(std::string_view payload) {
  auto parsed = parse(payload);
  reader r{parsed};
  watch_event out;
  if (!r.good()) return not_understood(payload);
  out.start = r.member("start") != nullptr;
  if (auto* x = r.member("filesystem"))
    if (!fill_change(*x, out.what.emplace())) return not_understood(payload);
  return out;
}

result<multipart> make_multipart(const std::vector<file_content>& files) {
  // Random, so that no content can hold it but by chance of 36^-24.
  const auto boundary = "skep-" + random_token(24);
  multipart out;
  out.content_type = "multipart/form-data; boundary=" + boundary;
  if (files.empty()) return make_error(errc::bad_argument, "no files");
  for (const auto& file : files) {
    const bool plain = std::none_of(file.path.begin(), file.path.end(), [](char c) {
      return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    if (file.path.empty() || !plain)
      return make_error(errc::bad_argument, "a path that multipart cannot name");
    out.body += "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\""
                + file.path + "\"\r\nContent-Type: application/octet-stream\r\n\r\n" + file.content
                + "\r\n";
  }
  out.body += "--" + boundary + "--\r\n";
  return out;
}

std::string gzip(std::string_view content) {
  z_stream z{};
  constexpr int gzip_window = 15 + 16;
  std::string out;
  if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY)
      != Z_OK)
    return out; // no memory
  std::array<char, 64 << 10> piece;
  std::size_t taken = 0;
  int state = Z_OK;
  while (state == Z_OK || state == Z_BUF_ERROR) {
    const auto part = std::min<std::size_t>(content.size() - taken, 1U << 30U);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data() + taken)); // not written
    z.avail_in = static_cast<uInt>(part);
    z.next_out = reinterpret_cast<Bytef*>(piece.data());
    z.avail_out = static_cast<uInt>(piece.size());
    state = deflate(&z, taken + part == content.size() ? Z_FINISH : Z_NO_FLUSH);
    taken += part - z.avail_in;
    out.append(piece.data(), piece.size() - z.avail_out);
  }
  deflateEnd(&z);
  return out;
}

} // namespace skep::sandbox::wire
