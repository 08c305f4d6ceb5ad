// The small helpers of the JSON form: base64, lines, numbers at their limits.
#include "messages/commands.hpp"
#include "tests/support/catch.hpp"

using namespace skep;

namespace {

template <class T>
bool reads(const json& j, T expected) {
  T x{};
  return from_json_value(j, x) && x == expected;
}

template <class T>
bool refuses(const json& j) {
  T x{};
  return !from_json_value(j, x) && x == T{};
}

} // namespace

TEST_CASE("base64 is that of RFC 4648") {
  const std::pair<const char*, const char*> rows[] = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"},
                                                      {"\xfb\xff\xbf", "+/+/"}};
  for (auto [plain, text] : rows) {
    INFO(text);
    CHECK(base64_encode(plain) == text);
    std::string out;
    CHECK(base64_decode(text, out));
    CHECK(out == plain);
  }
}

TEST_CASE("base64 is read in both alphabets, with and without padding") {
  std::string out;
  for (const auto* text : {"+/+/", "-_-_", "+_-/"}) {
    CHECK(base64_decode(text, out));
    CHECK(out == "\xfb\xff\xbf");
  }
  for (const auto* text : {"Zg==", "Zg=", "Zg"}) {
    CHECK(base64_decode(text, out));
    CHECK(out == "f");
  }
}

TEST_CASE("what is not base64 is refused") {
  for (const auto& text :
       {std::string{"Z"}, std::string{"Zm9vY"}, std::string{"Zm 9v"}, std::string{"Zm9v\n"},
        std::string{"Zm9*"}, std::string{"=Zm9"}, std::string{"Z=m9"}, std::string("Zm\0v", 4),
        std::string{"Zm9\xc3"}, std::string{"Zg==="}, std::string{"===="}}) {
    INFO(text);
    std::string out;
    CHECK_FALSE(base64_decode(text, out));
  }
}

TEST_CASE("all bytes and sizes survive base64") {
  std::string all;
  for (int i = 0; i < 256; ++i) {
    std::string out;
    CHECK(base64_decode(base64_encode(all), out));
    CHECK(out == all);
    all.push_back(static_cast<char>(i));
  }
}

TEST_CASE("JSON integers are read only where they fit their field") {
  CHECK(reads<std::uint32_t>(json(0), 0));
  CHECK(reads<std::uint32_t>(json(4294967295u), 4294967295u));
  CHECK(reads<std::int32_t>(json(-2147483648LL), std::numeric_limits<std::int32_t>::min()));
  CHECK(reads<std::uint64_t>(json(18446744073709551615ull), 18446744073709551615ull));
  CHECK(reads<std::int64_t>(json(9223372036854775807ll), 9223372036854775807ll));
  CHECK(reads<utc_time>(json(-5), utc_time{std::chrono::milliseconds{-5}}));

  CHECK(refuses<std::uint32_t>(json(4294967296ull)));
  CHECK(refuses<std::uint32_t>(json(-1)));
  CHECK(refuses<std::uint64_t>(json(-1)));
  CHECK(refuses<std::int32_t>(json(2147483648ull)));
  CHECK(refuses<std::int32_t>(json(-2147483649LL)));
  CHECK(refuses<std::int64_t>(json(9223372036854775808ull)));
  CHECK(refuses<utc_time>(json(9223372036854775808ull)));
  for (const auto& j : {json(1.0), json(1e300), json(true), json("1"), json(nullptr)}) {
    INFO(j.dump());
    CHECK(refuses<std::uint32_t>(j));
    CHECK(refuses<std::int64_t>(j));
    CHECK(refuses<utc_time>(j));
  }
}

TEST_CASE("other JSON values are read only as what they are") {
  CHECK(reads<bool>(json(true), true));
  CHECK(refuses<bool>(json(1)));
  CHECK(refuses<bool>(json("true")));
  CHECK(reads<double>(json(0.5), 0.5));
  CHECK(reads<double>(json(3), 3.0));
  CHECK(refuses<double>(json(true)));
  CHECK(refuses<double>(json("0.5")));
  CHECK(refuses<double>(json(nullptr)));
  CHECK(refuses<std::string>(json(1)));
  using map = std::map<std::string, std::string>;
  CHECK(reads<map>(json{{"a", "b"}}, map{{"a", "b"}}));
  map x;
  CHECK_FALSE(from_json_value(json{{"a", 1}}, x));
  CHECK_FALSE(from_json_value(json::array({json::array({"a", "b"})}), x));
}

TEST_CASE("a number that JSON cannot say is refused on the wire") {
  for (auto bad :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    pane_usage in;
    in.cost_usd = bad;
    auto out = unpack<pane_usage>(pack(in));
    REQUIRE_FALSE(out.ok());
    CHECK(out.err().code == errc::bad_frame);
  }
}

TEST_CASE("a document is one line, whatever its texts hold") {
  auto line = to_line(json{{"a", "x\ny\r\0z"}, {"b", "\xe2\x80\xa8"}, {"c", "\xff"}});
  CHECK(line.find('\n') == std::string::npos);
  CHECK(line.find('\r') == std::string::npos);
  CHECK(json::parse(line)["c"] == "\xef\xbf\xbd");
}
