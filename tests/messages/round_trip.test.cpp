#include "tests/messages/all_messages.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;

namespace {

constexpr fill_mode modes[] = {fill_mode::distinct, fill_mode::lowest, fill_mode::highest};

template <message T>
bool survives_msgpack(const T& in) {
  // Not unpack<T>(): T may be `error`, and there is no result<error>.
  auto packed = pack(in);
  std::size_t used = 0;
  auto handle = parse_object(packed, used);
  T out;
  return handle.ok() && used == packed.size() && unpack_value(handle->get(), out) && same(in, out)
         && pack(out) == packed;
}

/// Through the text, as a script would read it.
template <message T>
bool survives_json(const T& in) {
  auto text = to_line(to_json(in));
  T out;
  return text.find('\n') == std::string::npos && from_json_value(json::parse(text), out)
         && same(in, out);
}

} // namespace

TEST_CASE("a filled message differs from the default one in every field") {
  for_each_message([]<class T>(std::string_view name) {
    const T plain;
    const auto full = filled<T>();
    for (std::uint32_t number = 1; number <= 40; ++number) {
      std::string a, b;
      string_sink sa{a}, sb{b};
      packer pa{sa}, pb{sb};
      for_each_field(plain, [&](const auto& f) {
        if (f.number == number) pack_value(pa, f.value);
      });
      for_each_field(full, [&](const auto& f) {
        if (f.number == number) pack_value(pb, f.value);
      });
      INFO(name << "." << number);
      CHECK((a.empty() || a != b));
    }
  });
}

TEST_CASE("every message survives msgpack unchanged") {
  for_each_message([]<class T>(std::string_view name) {
    INFO(name);
    CHECK(survives_msgpack(T{}));
    for (auto mode : modes)
      CHECK(survives_msgpack(filled<T>(mode)));
  });
}

TEST_CASE("every message survives JSON unchanged, on one line") {
  for_each_message([]<class T>(std::string_view name) {
    INFO(name);
    CHECK(survives_json(T{}));
    for (auto mode : modes)
      CHECK(survives_json(filled<T>(mode)));
  });
}

TEST_CASE("JSON has every field under its name, in the order of the list") {
  for_each_message([]<class T>(std::string_view name) {
    INFO(name);
    const auto x = filled<T>();
    auto j = to_json(x);
    std::vector<std::string> listed, found;
    for_each_field(x, [&](const auto& f) { listed.emplace_back(f.name); });
    for (auto i = j.begin(); i != j.end(); ++i)
      found.push_back(i.key());
    CHECK(listed == found);
  });
}

TEST_CASE("JSON of another type than the field's is refused") {
  for_each_message([]<class T>(std::string_view name) {
    const auto j = to_json(filled<T>());
    for (auto i = j.begin(); i != j.end(); ++i) {
      INFO(name << "." << i.key());
      auto bad = j;
      bad[i.key()] = nullptr;
      T x;
      CHECK_FALSE(from_json_value(bad, x));
      bad[i.key()] = json::array({json::array()});
      CHECK_FALSE(from_json_value(bad, x));
    }
    T x;
    CHECK_FALSE(from_json_value(json::array(), x));
    CHECK_FALSE(from_json_value(json("text"), x));
  });
}

TEST_CASE("bytes that are not UTF-8 do not break a line of JSON") {
  notice n{severity::error, "code", "a\xff\xfe\nb"};
  auto line = to_line(to_json(n));
  CHECK(line.find('\n') == std::string::npos);
  CHECK(json::parse(line)["text"] == "a\xef\xbf\xbd\xef\xbf\xbd\nb");
}

TEST_CASE("every event survives a chunk body, in order and with its time") {
  std::string body;
  std::vector<std::uint32_t> types;
  std::int64_t at = 1'700'000'000'000;
#define SKEP_TEST_PACK(number, Type, text, cls)                                                    \
  pack_event(body, utc_time{std::chrono::milliseconds{at++}}, filled<Type>());                     \
  types.push_back(number);
  SKEP_EVENTS(SKEP_TEST_PACK)
#undef SKEP_TEST_PACK

  event_reader reader{body};
  std::size_t i = 0;
  at = 1'700'000'000'000;
  while (!reader.done()) {
    REQUIRE(i < types.size());
    auto raw = reader.next();
    REQUIRE(raw.ok());
    INFO(raw->type);
    CHECK(raw->type == types[i++]);
    CHECK(raw->at.time_since_epoch().count() == at++);
    auto e = interpret(*raw);
    REQUIRE(e.ok());
    CHECK(std::visit(
        [&]<class E>(const E& x) {
          return event_traits<E>::info.type == raw->type && same(x, filled<E>());
        },
        *e));
    auto j = event_to_json(*raw);
    CHECK(j["type"] == std::string{find_event(raw->type)->name});
    CHECK(j["at_ms"] == raw->at.time_since_epoch().count());
    CHECK(j["body"] == std::visit([](const auto& x) { return to_json(x); }, *e));
  }
  CHECK(i == types.size());
}

TEST_CASE("every request travels in a frame under its own number") {
#define SKEP_TEST_REQUEST(nr, Request, Reply, text)                                                \
  {                                                                                                \
    INFO(text);                                                                                    \
    auto frame = unpack<request_frame>(pack_request(77, "key", filled<Request>()));                \
    REQUIRE(frame.ok());                                                                           \
    CHECK(frame->version == protocol_version);                                                     \
    CHECK(frame->id == 77);                                                                        \
    CHECK(frame->key == "key");                                                                    \
    CHECK(frame->command == nr);                                                                   \
    auto body = unpack<Request>(frame->body.data);                                                 \
    REQUIRE(body.ok());                                                                            \
    CHECK(same(*body, filled<Request>()));                                                         \
  }
  SKEP_COMMANDS(SKEP_TEST_REQUEST)
#undef SKEP_TEST_REQUEST
}
