#include "messages/follow.hpp"
#include "tests/support/catch.hpp"

using namespace skep;

namespace {

const pane_id pane{"pn_abc"};

std::string data_frame(std::uint64_t offset, std::string data) {
  std::string out;
  pack_follow(out, follow_kind::data, follow_data{pane, 1, offset, {std::move(data)}});
  return out;
}

/// A frame with a true length and checksum around any payload.
std::string framed(std::string_view payload) {
  std::string out;
  for (auto v : {static_cast<std::uint32_t>(payload.size()), crc32(payload)})
    for (int shift = 24; shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(v >> shift));
  return out += payload;
}

/// What reading all of `stream` gives: the offsets of its data frames, and the error at its end.
struct reading {
  std::vector<std::uint64_t> offsets;
  std::string bytes;
  error failure;
};
reading read_all(std::string_view stream, std::size_t piece) {
  reading out;
  follow_reader reader;
  for (std::size_t at = 0; at < stream.size() && !out.failure; at += piece) {
    reader.feed(stream.substr(at, piece));
    while (true) {
      follow_reader::frame f;
      auto got = reader.next(f);
      if (!got) {
        out.failure = got.err();
        break;
      }
      if (!*got) break;
      follow_data d;
      if (f.kind == follow_kind::data && unpack_value(f.body.get(), d)) {
        out.offsets.push_back(d.offset);
        out.bytes += d.data.data;
      }
    }
  }
  return out;
}

} // namespace

TEST_CASE("the checksum of a frame is the CRC-32 of zlib") {
  CHECK(crc32("") == 0);
  CHECK(crc32("123456789") == 0xCBF43926);
  CHECK(crc32(std::string(32, '\0')) == 0x190A55AD);
  CHECK(crc32(std::string(32, '\xff')) == 0xFF6CAB0B);
}

TEST_CASE("a frame is four bytes of length, four of checksum and [kind, body]") {
  std::string out;
  pack_follow(out, follow_kind::pulse, follow_pulse{5});
  // [3, {1: 5}]
  const std::string payload{"\x92\x03\x81\x01\x05"};
  CHECK(out == framed(payload));
  CHECK(out.substr(0, 4) == std::string("\0\0\0\x05", 4));
}

TEST_CASE("every kind of frame survives the stream") {
  std::string out;
  pack_follow(out, follow_kind::hello, follow_hello{"0.1", 7});
  pack_follow(out, follow_kind::data, follow_data{pane, 2, 9, {std::string("a\0b", 3)}});
  pack_follow(out, follow_kind::exit,
              follow_exit{pane, 2, -1, 9, 12, utc_time{std::chrono::milliseconds{1}}});
  pack_follow(out, follow_kind::pulse, follow_pulse{3});
  pack_follow(out, follow_kind::failure, follow_failure{"why"});
  pack_follow(out, follow_kind::dropped, follow_dropped{pane, 2, 1ull << 40});
  follow_reader reader;
  reader.feed(out);
  follow_reader::frame f;
  auto next = [&](follow_kind kind, auto x) {
    REQUIRE(reader.next(f).ok());
    CHECK(f.kind == kind);
    decltype(x) got;
    REQUIRE(unpack_value(f.body.get(), got));
    CHECK(same(got, x));
  };
  next(follow_kind::hello, follow_hello{"0.1", 7});
  next(follow_kind::data, follow_data{pane, 2, 9, {std::string("a\0b", 3)}});
  next(follow_kind::exit, follow_exit{pane, 2, -1, 9, 12, utc_time{std::chrono::milliseconds{1}}});
  next(follow_kind::pulse, follow_pulse{3});
  next(follow_kind::failure, follow_failure{"why"});
  next(follow_kind::dropped, follow_dropped{pane, 2, 1ull << 40});
  auto end = reader.next(f);
  REQUIRE(end.ok());
  CHECK_FALSE(*end);
}

TEST_CASE("frames come out in order and whole, however the stream is cut") {
  std::string stream, bytes;
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < 40; ++i) {
    offsets.push_back(bytes.size());
    std::string part(static_cast<std::size_t>(i * 37), static_cast<char>('a' + i % 26));
    stream += data_frame(bytes.size(), part);
    bytes += part;
  }
  for (std::size_t piece : {1u, 2u, 7u, 8u, 9u, 1000u, 4096u, 1'000'000u}) {
    INFO(piece);
    auto got = read_all(stream, piece);
    CHECK_FALSE(got.failure);
    CHECK(got.offsets == offsets);
    CHECK(got.bytes == bytes);
  }
}

TEST_CASE("a stream that was cut gives the whole frames before the cut and no error") {
  const auto one = data_frame(0, "first"), two = data_frame(5, "second");
  for (std::size_t cut = 0; cut < two.size(); ++cut) {
    INFO(cut);
    auto got = read_all(one + two.substr(0, cut), 3);
    CHECK_FALSE(got.failure);
    CHECK(got.bytes == "first");
  }
}

TEST_CASE("no flipped bit of a frame gives a frame") {
  const auto good = data_frame(0, "payload");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    INFO("bit " << bit);
    auto bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    // Enough behind it for a length that grew.
    auto got = read_all(bad + std::string(follow_max_payload + 8, '\0'), 100'000);
    CHECK(got.offsets.empty());
    CHECK((got.failure.code == errc::checksum || got.failure.code == errc::bad_frame));
    // In the length: another end of the payload, or no possible one. Behind it: the checksum.
    if (bit >= 32) CHECK(got.failure.code == errc::checksum);
  }
}

TEST_CASE("a frame longer than allowed is refused before its bytes arrive") {
  auto header = [](std::uint32_t size) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(size >> shift));
    return out + std::string(4, '\0');
  };
  follow_reader::frame f;
  for (std::uint32_t size :
       {0u, static_cast<std::uint32_t>(follow_max_payload) + 1, 0x7fffffffu, 0xffffffffu}) {
    INFO(size);
    follow_reader reader;
    reader.feed(header(size));
    auto got = reader.next(f);
    REQUIRE_FALSE(got.ok());
    CHECK(got.err().code == errc::bad_frame);
  }
  follow_reader reader;
  reader.feed(header(static_cast<std::uint32_t>(follow_max_payload)));
  auto got = reader.next(f);
  REQUIRE(got.ok());
  CHECK_FALSE(*got);
}

TEST_CASE("the largest frame passes") {
  std::string out;
  std::string data(follow_max_payload - 64, 'x');
  auto frame = data_frame(1, data);
  auto got = read_all(frame, 1000);
  CHECK_FALSE(got.failure);
  CHECK(got.bytes == data);
}

TEST_CASE("a true checksum does not make nonsense a frame") {
  struct row {
    const char* what;
    std::string payload;
  };
  for (const auto& r :
       {row{"no msgpack", "\xc1"}, row{"a number", "\x01"},
        row{"an empty array", std::string("\x90", 1)}, row{"one element", "\x91\x01"},
        row{"three elements", "\x93\x03\x80\x80"}, row{"an unknown kind", "\x92\x06\x80"},
        row{"a negative kind", "\x92\xff\x80"},
        row{"a kind in letters", "\x92\xa1"
                                 "1\x80"},
        row{"bytes behind the array", "\x92\x03\x80\x80"},
        row{"an array of 4 G elements", "\xdd\xff\xff\xff\xff\x03"},
        row{"a string of 4 GiB", "\xdb\xff\xff\xff\xff\x03"},
        row{"an array cut short", "\x92\x03"}}) {
    INFO(r.what);
    follow_reader reader;
    reader.feed(framed(r.payload));
    follow_reader::frame f;
    auto got = reader.next(f);
    REQUIRE_FALSE(got.ok());
    CHECK(got.err().code == errc::bad_frame);
  }
}

TEST_CASE("a damaged stream stays damaged: nothing behind the damage is read") {
  auto bad = data_frame(0, "first");
  bad.back() = static_cast<char>(bad.back() ^ 1);
  follow_reader reader;
  reader.feed(bad);
  reader.feed(data_frame(5, "second"));
  follow_reader::frame f;
  for (int i = 0; i < 3; ++i) {
    auto got = reader.next(f);
    REQUIRE_FALSE(got.ok());
    CHECK(got.err().code == errc::checksum);
  }
}
