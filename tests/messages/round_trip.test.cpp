#include "tests/messages/message_types.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;

namespace {

constexpr fill_mode modes[] = {fill_mode::distinct, fill_mode::lowest, fill_mode::highest};

/// The default value of a type, and one filled in each way.
std::vector<any_message_ptr> values_of(const message_type& type) {
  std::vector<any_message_ptr> out;
  out.push_back(type.plain());
  for (auto mode : modes)
    out.push_back(type.filled(mode));
  return out;
}

} // namespace

TEST_CASE("a filled message differs from the default one in every field") {
  for (const auto& type : message_types()) {
    auto plain = type.plain()->fields();
    auto full = type.filled(fill_mode::distinct)->fields();
    REQUIRE(plain.size() == full.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      INFO(type.name << "." << plain[i].number);
      CHECK(plain[i].packed != full[i].packed);
    }
  }
}

TEST_CASE("every message survives msgpack unchanged") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    for (const auto& in : values_of(type)) {
      auto out = type.plain();
      CHECK(out->read(in->packed()));
      CHECK(in->same_as(*out));
      CHECK(out->packed() == in->packed());
    }
  }
}

// Through the text, as a script would read it.
TEST_CASE("every message survives JSON unchanged, on one line") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    for (const auto& in : values_of(type)) {
      auto text = to_line(in->as_json());
      auto out = type.plain();
      CHECK(text.find('\n') == std::string::npos);
      CHECK(out->read_json(json::parse(text)));
      CHECK(in->same_as(*out));
    }
  }
}

TEST_CASE("JSON has every field under its name, in the order of the list") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    auto x = type.filled(fill_mode::distinct);
    auto j = x->as_json();
    std::vector<std::string> listed, found;
    for (const auto& f : x->fields())
      listed.emplace_back(f.name);
    for (auto i = j.begin(); i != j.end(); ++i)
      found.push_back(i.key());
    CHECK(listed == found);
  }
}

TEST_CASE("JSON of another type than the field's is refused") {
  for (const auto& type : message_types()) {
    const auto j = type.filled(fill_mode::distinct)->as_json();
    auto x = type.plain();
    for (auto i = j.begin(); i != j.end(); ++i) {
      INFO(type.name << "." << i.key());
      auto bad = j;
      bad[i.key()] = nullptr;
      CHECK_FALSE(x->read_json(bad));
      bad[i.key()] = json::array({json::array()});
      CHECK_FALSE(x->read_json(bad));
    }
    INFO(type.name);
    CHECK_FALSE(x->read_json(json::array()));
    CHECK_FALSE(x->read_json(json("text")));
  }
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
  struct sent {
    std::string_view name;
    std::uint32_t number;
    std::string frame, body;
  };
  std::vector<sent> all;
#define SKEP_TEST_REQUEST(nr, Request, Reply, text)                                                \
  all.push_back({text, nr, pack_request(77, "key", filled<Request>()), pack(filled<Request>())});
  SKEP_COMMANDS(SKEP_TEST_REQUEST)
#undef SKEP_TEST_REQUEST
  for (const auto& x : all) {
    INFO(x.name);
    auto frame = unpack<request_frame>(x.frame);
    REQUIRE(frame.ok());
    CHECK(frame->version == protocol_version);
    CHECK(frame->id == 77);
    CHECK(frame->key == "key");
    CHECK(frame->command == x.number);
    CHECK(frame->body.data == x.body); // which survives by the tests above
  }
}
